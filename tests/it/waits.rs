//! D7, D8 as an ADD has them: it waits for what is on its way, no longer than its budget, and takes the last good one for
//! what is torn.

use crate::harness::{Call, Node, Output, Running, Sandbox};
use crate::scene::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// From the primary's file being whole to its delegate running.
const PROMPT: Duration = Duration::from_millis(50);

/// What is seen by an event, or looked at four times a second where events cannot be had, is seen within this. Everything is looked
/// at each second without an event too, and nothing comes sooner than 100 ms after such a look.
pub const SOON: Duration = Duration::from_millis(600);

/// How many attempts a wait gets on a machine that has other things to do; a poll would miss in all of them.
const ATTEMPTS: usize = 8;

pub fn primary() -> Value {
    scripted("cluster", "main", &json!({}))
}

/// A node without a primary, though with its plugin.
pub fn waiting_node() -> Node {
    let node = Node::new();
    node.install_plugin("main");
    node.master(&json!({ "addBudget": "120s" }));
    node
}

/// Starts an ADD and waits until its log says that it waits.
fn waiting(node: &Node, sandbox: &Sandbox) -> Running {
    let add = node.call("ADD", sandbox).start();
    let id = &sandbox.id;
    eventually("an ADD that waits", || {
        node.log().lines().any(|line| line.contains(id) && line.contains("waiting for the primary")).then_some(())
    });
    // The watch is set before the question that found nothing is asked again.
    std::thread::sleep(Duration::from_millis(100));
    add
}

/// How long after its start the delegate of an ADD runs that has to wait for nothing: how slow the machine is.
fn undisturbed() -> Duration {
    let node = waiting_node();
    node.primary(&primary());
    let began = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    succeeded(&node.call("ADD", &Sandbox::new()).run());
    Duration::from_nanos(node.calls_of("ADD")[0].begin_ns).saturating_sub(began)
}

/// How long after `act` the delegate ran.
pub fn delay(node: &Node, add: Running, act: impl FnOnce()) -> Duration {
    act();
    let whole = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    succeeded(&add.wait());
    Duration::from_nanos(node.calls_of("ADD").last().unwrap().begin_ns).saturating_sub(whole)
}

/// The place that `clusterNetwork` names, and how the primary comes to it.
type Place = (&'static str, fn(&Node) -> Value, fn(&Node));

/// As a writer does it that knows its trade: a temporary name, one rename.
fn rename_into(path: PathBuf, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let temporary = path.with_file_name(".new");
    std::fs::write(&temporary, text).unwrap();
    std::fs::rename(temporary, path).unwrap();
}

const PLACES: [Place; 4] = [
    (
        "file, by rename",
        |node| json!(node.conf().join("10-primary.conflist")),
        |node| {
            rename_into(node.conf().join("10-primary.conflist"), &primary().to_string());
        },
    ),
    (
        "file, in place",
        |node| json!(node.conf().join("10-primary.conflist")),
        |node| {
            std::fs::write(node.conf().join("10-primary.conflist"), primary().to_string()).unwrap();
        },
    ),
    (
        "directory",
        |node| json!(node.conf()),
        |node| {
            rename_into(node.conf().join("05-any.conflist"), &primary().to_string());
        },
    ),
    (
        "name in confDir",
        |_| json!("cluster"),
        |node| {
            rename_into(node.conf_dir().join("x.conflist"), &primary().to_string());
        },
    ),
];

#[test]
fn d7_an_add_goes_on_within_50_ms_of_the_primary_being_whole() {
    for (what, place, comes) in PLACES {
        let delays: Vec<(Duration, Duration)> = (0..ATTEMPTS)
            .scan(false, |done, _| {
                let undisturbed = undisturbed();
                let node = waiting_node();
                node.master(&json!({ "clusterNetwork": place(&node) }));
                // The other place of a named primary is there too, so that everything can be watched.
                std::fs::create_dir_all(node.networks().join("kube-system")).unwrap();
                let sandbox = Sandbox::new();
                let add = waiting(&node, &sandbox);
                let delay = delay(&node, add, || comes(&node));
                (!std::mem::replace(done, delay <= PROMPT + undisturbed)).then_some((delay, undisturbed))
            })
            .collect();
        // On a machine at rest an ADD that waits for nothing takes a few of these 50 ms.
        assert!(delays.iter().any(|(delay, undisturbed)| *delay <= PROMPT + *undisturbed), "{what}: {delays:?}");
    }
}

#[test]
fn d7_a_primary_that_is_named_and_comes_as_a_manifest_is_seen() {
    within(SOON, "by event, not by tick", || {
        let node = waiting_node();
        node.master(&json!({ "clusterNetwork": "cluster" }));
        let sandbox = Sandbox::new();
        let add = waiting(&node, &sandbox);
        // Its directory was not there either.
        let delay = delay(&node, add, || node.nad("kube-system", "cluster", &primary()));
        assert_eq!(record(&record_path(&node, &sandbox, "eth0"))["attachment"]["network"], "kube-system/cluster");
        delay
    });
}

#[test]
fn d15_a_primary_whose_directory_was_missing_is_seen() {
    within(SOON, "by event, not by tick", || {
        let node = waiting_node();
        let path = node.root().join("later/still/10-primary.conflist");
        node.master(&json!({ "clusterNetwork": path }));
        let sandbox = Sandbox::new();
        let add = waiting(&node, &sandbox);
        delay(&node, add, || rename_into(path, &primary().to_string()))
    });
}

#[test]
fn d8_a_half_written_primary_is_waited_for() {
    let text = primary().to_string();
    for first in ["", "{", &text[..text.len() / 2], "\0\0\0\0"] {
        within(SOON, &format!("by event, not by tick, after {first:?}"), || {
            let node = waiting_node();
            let path = node.conf().join("10-primary.conflist");
            std::fs::write(&path, first).unwrap();
            let sandbox = Sandbox::new();
            let add = waiting(&node, &sandbox);
            assert_eq!(node.order(), Vec::<String>::new());
            delay(&node, add, || std::fs::write(&path, &text).unwrap())
        });
    }
}

#[test]
fn d8_the_last_good_primary_is_used_while_its_file_is_torn() {
    let node = waiting_node();
    node.master(&json!({ "addBudget": "240s" }));
    let path = node.write("conf/10-primary.conflist", &primary().to_string());
    succeeded(&node.call("ADD", &Sandbox::new()).run());
    for torn in ["", "{\"name\":", "\0", "[]", "{\"name\":\"x\",\"plugins\":[]}"] {
        std::fs::write(&path, torn).unwrap();
        let add = node.call("ADD", &Sandbox::new()).run();
        succeeded(&add);
        // Its budget ends long after that.
        assert!(add.elapsed < PATIENCE, "{torn:?}: {:?}", add.elapsed);
        assert_eq!(node.calls_of("ADD").last().unwrap().network(), "cluster", "{torn:?}");
    }
    assert!(node.log().contains("the last good one is"), "{}", node.log());
    // A new one is taken at once, and one that is gone is no torn one.
    std::fs::write(&path, scripted("newer", "main", &json!({})).to_string()).unwrap();
    succeeded(&node.call("ADD", &Sandbox::new()).run());
    assert_eq!(node.calls_of("ADD").last().unwrap().network(), "newer");
    std::fs::remove_file(&path).unwrap();
    node.master(&json!({ "addBudget": "200ms" }));
    refused(&node.call("ADD", &Sandbox::new()).run(), 11);
}

#[test]
fn d8_a_torn_manifest_of_a_primary_by_name_is_waited_for_and_then_the_last_good_one_is_used() {
    let node = waiting_node();
    node.master(&json!({ "addBudget": "120s", "clusterNetwork": "cluster" }));
    node.manifest("kube-system", "cluster.json", "{\"apiVersion\": \"k8s.cni.cncf.io/v1\", ");
    let sandbox = Sandbox::new();
    let add = waiting(&node, &sandbox);
    assert_eq!(node.order(), Vec::<String>::new());
    node.nad_text("kube-system", "cluster", &primary().to_string());
    succeeded(&add.wait());
    node.manifest("kube-system", "cluster.json", "{");
    succeeded(&node.call("ADD", &Sandbox::new()).run());
    assert_eq!(node.calls_of("ADD").last().unwrap().network(), "cluster");
    assert!(node.log().contains("the last good one is"), "{}", node.log());
}

/// The call answers code 11, at the end of a budget of 700 ms and not much later. Gives its last answer.
#[track_caller]
pub fn ends_at_its_budget(call: &Call, word: &str) -> Output {
    let mut last = None;
    within(Duration::from_millis(1700), word, || {
        let output = call.run();
        let error = refused(&output, 11);
        assert!(error["msg"].as_str().unwrap().contains(word), "{error}");
        assert!(output.elapsed >= Duration::from_millis(700), "{:?}", output.elapsed);
        last.insert(output).elapsed
    });
    last.unwrap()
}

#[test]
fn d7_a_wait_ends_with_its_budget() {
    for (what, content) in [("absent", None), ("empty", Some("")), ("half", Some("{"))] {
        let node = waiting_node();
        node.master(&json!({ "addBudget": "700ms" }));
        if let Some(content) = content {
            node.write("conf/10-primary.conflist", content);
        }
        let sandbox = Sandbox::new();
        ends_at_its_budget(&node.call("ADD", &sandbox), "10-primary.conflist");
        nothing_left(&node, &sandbox);
        assert_eq!(node.order(), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn b28_an_add_waits_for_the_readiness_indicator_file() {
    let node = waiting_node();
    node.primary(&primary());
    let ready = node.root().join("ready/indicator");
    std::fs::create_dir(ready.parent().unwrap()).unwrap();
    node.master(&json!({ "readinessindicatorfile": ready, "addBudget": "700ms" }));
    ends_at_its_budget(&node.call("ADD", &Sandbox::new()), "ready/indicator");
    node.master(&json!({ "addBudget": "120s" }));
    within(SOON, "by event, not by tick", || {
        let _ = std::fs::remove_file(&ready);
        let sandbox = Sandbox::new();
        let before = node.order();
        let add = node.call("ADD", &sandbox).start();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(node.order(), before);
        delay(&node, add, || std::fs::write(&ready, "").unwrap())
    });
}

#[test]
fn f9_the_lock_of_a_sandbox_is_waited_for_no_longer_than_the_budget() {
    let node = node_with(&json!({ "ADD": { "sleep_ms": HANGS_MS } }));
    let sandbox = Sandbox::new();
    let first = node.call("ADD", &sandbox).start();
    first_call(&node, "ADD");
    node.master(&json!({ "addBudget": "700ms" }));
    ends_at_its_budget(&node.call("CHECK", &sandbox), "main");
    succeeded(&node.call("DEL", &sandbox).run());
    drop(first);
}

/// The open files that a process may have.
pub fn limit(pid: u32, files: u32) {
    let status = Command::new("prlimit").arg(format!("--pid={pid}")).arg(format!("--nofile={files}:1024")).status();
    assert!(status.expect("running prlimit (package util-linux)").success());
}

/// True if a process has the thread that is told of events.
fn watches(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads
        .flatten()
        .any(|thread| std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.starts_with("notify")))
}

/// An ADD that found no inotify instance: as many are open as may be. The kernel says the same of too many files.
pub fn without_inotify(node: &Node) -> (Running, Sandbox) {
    let plugin = crate::harness::plugin_under_test();
    for files in (4..24).rev() {
        let wrapper =
            node.write("limited", &format!("#!/bin/sh\nexec prlimit --nofile={files}:1024 {}\n", plugin.display()));
        std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let sandbox = Sandbox::new();
        let mut add = through(&wrapper, node, &sandbox);
        let polls = || node.log().lines().any(|line| line.contains(&*sandbox.id) && line.contains("no inotify"));
        let polls = eventually("an ADD that waits, or has ended", || {
            let (over, watches) = (add.is_over(), watches(add.pid()));
            let polls = polls();
            (polls || over || watches).then_some(polls)
        });
        if polls {
            return (add, sandbox);
        }
    }
    panic!("no limit at which inotify alone is out of reach:\n{}", node.log());
}

/// The ADD by another program than the plugin itself.
fn through(program: &Path, node: &Node, sandbox: &Sandbox) -> Running {
    let mut call = Call::new(program, node.call("ADD", sandbox).config().clone());
    for (key, value) in [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", &*sandbox.id),
        ("CNI_NETNS", sandbox.netns.path().to_str().unwrap()),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", &*sandbox.args()),
        ("CNI_PATH", node.plugins().to_str().unwrap()),
    ] {
        call = call.env(key, value);
    }
    call.start()
}

#[test]
fn e3_d15_without_an_inotify_instance_files_are_polled() {
    within(SOON, "each 250 ms", || {
        let node = waiting_node();
        let (add, _sandbox) = without_inotify(&node);
        limit(add.pid(), 1024);
        std::thread::sleep(Duration::from_millis(100));
        delay(&node, add, || rename_into(node.conf().join("10-primary.conflist"), &primary().to_string()))
    });
}
