//! A25, A26, B28, D15: what a network needs beside its configuration is waited for by events, and STATUS says at once what is
//! missing, whatever hangs.

use crate::harness::{Node, Output, Sandbox};
use crate::scene::*;
use crate::waits::{SOON, delay, ends_at_its_budget, limit, waiting_node, without_inotify};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Who waits for what hangs is not back by then; who does not is, however busy the machine is.
const BEFORE: Duration = Duration::from_secs(60);

/// What STATUS says when the second it has is over before it knows.
const LATE: &str = "could not be looked at in time";

/// A node whose primary is flannel's plugin, by name, with its subnet file at `path` of the node.
fn flannel(path: &str) -> (Node, PathBuf) {
    let node = waiting_node();
    let file = node.root().join(path);
    let mut list = scripted("cbr0", "flannel", &json!({}));
    list["plugins"][0]["subnetFile"] = json!(file);
    node.primary(&list);
    (node, file)
}

/// A node that waits for an indicator in a directory that is there.
fn indicated() -> (Node, PathBuf) {
    let node = waiting_node();
    node.primary(&scripted("cluster", "main", &json!({})));
    std::fs::create_dir(node.root().join("ready")).unwrap();
    let file = node.root().join("ready/indicator");
    node.master(&json!({ "readinessindicatorfile": file }));
    (node, file)
}

fn write(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "FLANNEL_MTU=1450\n").unwrap();
}

#[track_caller]
fn waits_for(node: &Node, file: &Path) {
    let says = || node.log().lines().any(|line| line.contains("waiting for") && line.contains(file.to_str().unwrap()));
    eventually("an ADD that waits", || says().then_some(()));
}

/// The ADD of a node, traced from its start to its end; `file` comes when it has waited for a while. Gives the lines of the trace,
/// and for how long it waited.
fn traced(node: &Node, file: &Path) -> (Vec<String>, Duration) {
    // Not in a directory that is watched.
    let trace = node.write("traces/trace", "");
    let calls = "trace=read,%file";
    let strace = ["strace", "-f", "-y", "-qq", "-o", trace.to_str().unwrap(), "-e", calls];
    let sandbox = Sandbox::new();
    let began = Instant::now();
    let add = node.call("ADD", &sandbox).through(&strace).start();
    waits_for(node, file);
    // What is to be seen is that nothing happens.
    std::thread::sleep(Duration::from_millis(2500));
    write(file);
    succeeded(&add.wait());
    let waited = began.elapsed();
    (std::fs::read_to_string(trace).unwrap().lines().map(str::to_owned).collect(), waited)
}

#[test]
fn b28_d15_a_wait_for_readiness_is_woken_by_an_event_and_polls_nothing() {
    type Scene = fn() -> (Node, PathBuf);
    let scenes: [(&str, Scene); 3] = [
        ("indicator", indicated),
        ("profile", || flannel("subnet.env")),
        ("profile, two directories missing", || flannel("run/flannel/subnet.env")),
    ];
    for (what, scene) in scenes {
        // The look that comes each second may be the first that finds it, though not every time.
        let found: Vec<Vec<String>> = (0..4).map_while(|_| by_no_event(what, scene())).collect();
        assert!(found.len() < 4, "{what}: no event before the look that found it: {found:#?}");
    }
}

/// The part of the trace from the last look that found nothing to the one that found it, when no event is in it.
fn by_no_event(what: &str, (node, file): (Node, PathBuf)) -> Option<Vec<String>> {
    let (trace, waited) = traced(&node, &file);
    // Looks of the plugin itself: what it runs has the path in its configuration only.
    let looks: Vec<usize> = (0..trace.len()).filter(|at| is_look(&trace[*at], &file)).collect();
    // Each question is two looks, at the directory and at the file: one a second, and a few at both ends. A poll would ask four
    // times a second.
    let most = 2 * usize::try_from(waited.as_secs()).unwrap() + 8;
    assert!(looks.len() >= 2 && looks.len() <= most, "{what}: {} looks in {waited:?}", looks.len());
    let found = looks.iter().position(|at| !trace[*at].contains("ENOENT")).expect("it was found");
    let last = looks[found.checked_sub(1).expect("it was missing first")];
    let between = &trace[last..=looks[found]];
    let woken = between.iter().any(|line| line.contains("anon_inode:inotify") && !line.contains("= -1"));
    (!woken).then(|| between.to_vec())
}

fn is_look(line: &str, file: &Path) -> bool {
    let path = format!("\"{}\"", file.display());
    line.contains("stat") && line.contains(&path)
}

#[test]
fn e3_without_an_inotify_instance_readiness_is_polled() {
    let scenes: [fn() -> (Node, PathBuf); 2] = [indicated, || flannel("subnet.env")];
    for scene in scenes {
        within(SOON, "each 250 ms", || {
            let (node, file) = scene();
            let (add, _sandbox) = without_inotify(&node);
            limit(add.pid(), 1024);
            std::thread::sleep(Duration::from_millis(100));
            delay(&node, add, || write(&file))
        });
    }
}

#[test]
fn d7_a_primary_that_would_refuse_every_add_is_waited_for_and_not_called() {
    let (node, file) = flannel("run/flannel/subnet.env");
    node.master(&json!({ "addBudget": "700ms" }));
    let sandbox = Sandbox::new();
    let add = ends_at_its_budget(&node.call("ADD", &sandbox), file.to_str().unwrap());
    assert!(refused(&add, 11)["msg"].as_str().unwrap().contains("network \"cbr0\" is not ready"), "{add:?}");
    nothing_left(&node, &sandbox);
    assert_eq!(node.order(), Vec::<String>::new());
    // A DEL needs none of it.
    succeeded(&node.call("DEL", &sandbox).run());
    write(&file);
    succeeded(&node.call("ADD", &sandbox).run());
}

/// A profile of the node's own for the plugin `main`.
fn profile(node: &Node, ready: &Value) {
    let profile = json!({ "name": "mine", "match": { "plugin_type_any": ["main"] }, "ready": ready });
    node.write("delegates/mine.json", &profile.to_string());
}

#[test]
fn e8_what_makes_readiness_only_likely_is_waited_for_a_while_and_stops_no_pod() {
    let node = node_with(&json!({}));
    let socket = node.root().join("agent.sock");
    profile(&node, &json!({ "awaits": [{ "path": socket }], "wait_s": 1 }));
    let add = node.call("ADD", &Sandbox::new()).run();
    succeeded(&add);
    assert!(add.elapsed >= Duration::from_secs(1), "{:?}", add.elapsed);
    assert!(node.log().contains("agent.sock is not there; the plugin is run all the same"), "{}", node.log());
    succeeded(&status(&node));
    // One that comes ends the wait.
    profile(&node, &json!({ "awaits": [{ "path": socket }], "wait_s": 3600 }));
    node.master(&json!({ "addBudget": "240s" }));
    let sandbox = Sandbox::new();
    let add = node.call("ADD", &sandbox).start();
    eventually("a second wait", || (node.log().matches("waiting for {").count() == 2).then_some(()));
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let add = add.wait();
    succeeded(&add);
    assert!(add.elapsed < BEFORE, "{:?}", add.elapsed);
}

/// STATUS, asked again when the machine was so busy that it could not look in its second.
fn status(node: &Node) -> Output {
    node.master(&json!({ "cniVersion": "1.1.0" }));
    let late = || node.log().matches(LATE).count();
    eventually("STATUS in time", || {
        let before = late();
        let output = node.node_call("STATUS").run();
        (late() == before).then_some(output)
    })
}

#[test]
fn a25_status_says_what_a_primary_that_is_not_ready_lacks() {
    let (node, file) = flannel("run/flannel/subnet.env");
    let error = refused(&status(&node), 50);
    for word in ["cbr0", "is not ready", file.to_str().unwrap(), "flannel"] {
        assert!(error["msg"].as_str().unwrap().contains(word), "{word}: {error}");
    }
    write(&file);
    succeeded(&status(&node));
    // Nothing is missing that the plugin does without.
    node.write("delegates/flannel.json", r#"{"name":"flannel","match":{"plugin_type_any":["flannel"]}}"#);
    std::fs::remove_file(&file).unwrap();
    succeeded(&status(&node));
}

fn fifo(path: &Path) {
    let _ = std::fs::remove_file(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

#[test]
fn a26_status_waits_for_no_pipe_and_no_lock() {
    let node = node_with(&json!({}));
    succeeded(&status(&node));
    // The last answer, the token, the profiles, a manifest that no pod of this node is given by itself.
    for path in ["run/status/00000000.json", "delegates/x.json", "networks/default/net-a.json", "state/master.json"] {
        fifo(&node.root().join(path));
    }
    for entry in std::fs::read_dir(node.run_dir().join("status")).unwrap() {
        fifo(&entry.unwrap().path());
    }
    let locks: Vec<std::fs::File> = ["adding", "sweeping", "sweep", "master.lock", "sandboxes/x.lock"]
        .iter()
        .map(|name| {
            let path = node.run_dir().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            fs2::FileExt::lock_exclusive(&file).unwrap();
            file
        })
        .collect();
    let output = status(&node);
    succeeded(&output);
    assert!(output.elapsed < BEFORE);
    // The primary's file itself: the last good one.
    let primary = node.conf().join("10-primary.conflist");
    fifo(&primary);
    succeeded(&status(&node));
    // And none.
    fifo(&node.state().join("primary.json"));
    let output = status(&node);
    assert!(refused(&output, 50)["msg"].as_str().unwrap().contains("10-primary.conflist"), "{output:?}");
    assert!(output.elapsed < BEFORE);
    drop(locks);
}

/// A file system that never answers, over a directory, for the calling thread's mount namespace.
pub struct Hanging(PathBuf, #[expect(dead_code, reason = "closed last")] std::fs::File);

impl Hanging {
    pub fn over(dir: &Path) -> Self {
        use std::os::fd::AsRawFd as _;
        let fuse = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").expect("this test needs FUSE");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
        nix::mount::mount(Some("hangs"), dir, Some("fuse"), nix::mount::MsFlags::empty(), Some(&*options)).unwrap();
        Self(dir.to_owned(), fuse)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
}

/// STATUS while the directory of the primary hangs.
fn status_on_a_disk_that_hangs(node: &Node) -> Output {
    let _hanging = Hanging::over(&node.conf());
    let late = || node.log().matches(LATE).count();
    let before = late();
    let output = node.node_call("STATUS").run();
    assert!(output.elapsed < BEFORE, "{:?}", output.elapsed);
    assert_eq!(late(), before + 1, "{}", node.log());
    output
}

#[test]
fn a26_on_a_disk_that_hangs_status_is_the_last_answer() {
    crate::kernel::isolated(|_| {
        let node = Node::new();
        node.install_plugin("main");
        node.master(&json!({ "cniVersion": "1.1.0" }));
        // None is known, so it is ready.
        succeeded(&status_on_a_disk_that_hangs(&node));
        refused(&status(&node), 50);
        refused(&status_on_a_disk_that_hangs(&node), 50);
        node.primary(&scripted("cluster", "main", &json!({})));
        succeeded(&status(&node));
        succeeded(&status_on_a_disk_that_hangs(&node));
    });
}

#[test]
fn a26_a_plugin_that_hangs_and_one_that_is_not_ready_are_told_apart() {
    let node = Node::new();
    let hangs = json!({ "STATUS": { "sleep_ms": HANGS_MS } });
    let not = json!({ "STATUS": { "error": { "code": 50, "msg": "agent is away" } } });
    let list = |first: &Value, second: &Value| json!({ "cniVersion": "1.1.0", "name": "cluster", "plugins": [{ "type": "main", "script": first }, { "type": "second", "script": second }] });
    node.primary(&list(&hangs, &json!({})));
    let output = status(&node);
    succeeded(&output);
    assert!(output.elapsed < BEFORE, "{:?}", output.elapsed);
    node.primary(&list(&hangs, &not));
    let output = status(&node);
    assert!(refused(&output, 50)["msg"].as_str().unwrap().contains("agent is away"), "{output:?}");
    assert!(output.elapsed < BEFORE, "{:?}", output.elapsed);
}
