//! F2, F5, F6, F14: the sweep. It is started by plugin calls, finishes what is gone, leaves what is alive, and is in nobody's
//! way. What a person's `meta-cni gc` says is in `gc.rs`.

use crate::harness::{Call, Node, Sandbox, boot_seconds, files_below};
use crate::kernel::isolated;
use crate::scene::*;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// A sweep is due at this time of `CLOCK_BOOTTIME`.
pub fn due_at(node: &Node, seconds: u64) {
    let mut options = std::fs::File::options();
    let file = options.write(true).create(true).truncate(false).open(node.run_dir().join("sweep")).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

/// How many sweeps have ended.
fn sweeps(node: &Node) -> usize {
    node.log().matches(" swept").count()
}

/// A call of the plugin that is about nothing: every call ends by looking whether a sweep is due.
fn any_call(node: &Node) -> Call {
    node.node_call("GC").set("cniVersion", json!("1.1.0"))
}

/// Waits for one more sweep to end than there were, which a plugin call starts now.
#[track_caller]
fn swept(node: &Node) {
    let before = sweeps(node);
    due_at(node, 0);
    succeeded(&any_call(node).run());
    eventually("a sweep that a plugin call started", || (sweeps(node) > before).then_some(()));
}

/// A node with a plugin that does what `script` says, which logs everything.
pub fn loud(script: &Value) -> Node {
    let node = node_with(script);
    node.master(&json!({ "logLevel": "debug" }));
    node
}

/// A sandbox that was attached and whose namespace is gone, without a DEL.
pub fn gone(node: &Node) -> Sandbox {
    let mut sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    sandbox.netns.vanish();
    sandbox
}

fn dels_of(node: &Node, sandbox: &Sandbox) -> usize {
    node.calls_of("DEL").iter().filter(|call| call.container() == sandbox.id).count()
}

pub fn entry_path(node: &Node, sandbox: &Sandbox, ifname: &str) -> PathBuf {
    node.state().join("queue").join(&sandbox.id).join(format!("{ifname}.json"))
}

pub fn entry(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every file of the node with its content, and when that was changed.
pub fn state_of(node: &Node) -> Vec<(PathBuf, Vec<u8>, i64)> {
    let files = [files_below(&node.state()), files_below(&node.run_dir())].concat();
    let of = |path: PathBuf| (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().ctime_nsec(), path);
    files.into_iter().map(of).map(|(bytes, time, path)| (path, bytes, time)).collect()
}

#[test]
fn f2_f5_what_a_killed_add_left_is_freed_by_a_sweep_that_another_call_starts() {
    isolated(|_| {
        let node = real_node();
        let release = node.root().join("release");
        node.nad("default", "slow", &scripted("slow", "extra", &json!({ "ADD": { "block_until_file": release } })));
        let [mut killed, other] = [Sandbox::new(), Sandbox::new()];
        let mut add = node.call("ADD", &killed).networks("slow").start();
        first_call(&node, "ADD");
        add.kill();
        add.wait();
        killed.netns.vanish();
        std::fs::write(release, "").unwrap();
        assert_eq!(leases().len(), 1, "the primary's");
        let kept = leases();
        let delegate = node.calls_of("ADD")[0].pid;
        eventually("the end of the delegate", || (!runs(delegate)).then_some(()));
        due_at(&node, 0);
        succeeded(&node.call("ADD", &other).run());
        eventually("the lease of the dead", || leases().iter().all(|lease| !kept.contains(lease)).then_some(()));
        eventually("the end of the sweep", || left_of(&node, &killed).is_empty().then_some(()));
        // The kernel ends a namespace, and the links in it, some time after its last user.
        eventually("the end of the dead's link", || (host_veths().len() == 1).then_some(()));
        assert_eq!(leases().len(), 1, "the living keep theirs");
        assert_eq!(other.netns.links(), ["eth0"]);
        let dels = node.calls_of("DEL");
        assert_eq!((dels.len(), dels[0].kind.as_str()), (1, "extra"), "of the attachment that had only been begun too");
        succeeded(&node.call("DEL", &other).run());
    });
}

#[test]
fn f5_what_is_alive_is_never_touched() {
    isolated(|_| {
        let node = real_node();
        node.master(&json!({ "logLevel": "debug" }));
        let release = node.root().join("release");
        node.nad("default", "slow", &scripted("slow", "extra", &json!({ "ADD": { "block_until_file": release } })));
        node.nad(
            "default",
            "no",
            &scripted("no", "extra", &json!({ "ADD": { "error": { "code": 99, "msg": "no" } } })),
        );
        let [whole, begun, undone] = [Sandbox::new(), Sandbox::new(), Sandbox::new()];
        succeeded(&node.call("ADD", &whole).run());
        let mut add = node.call("ADD", &begun).networks("slow").start();
        first_call(&node, "ADD");
        add.kill();
        add.wait();
        std::fs::write(release, "").unwrap();
        let delegate = node.calls_of("ADD")[0].pid;
        eventually("the end of the delegate", || (!runs(delegate)).then_some(()));
        refused(&node.call("ADD", &undone).networks("no").run(), 99);
        let before = (leases(), files_below(&node.state()), node.calls().len());
        swept(&node);
        // Nor when the node says that everything is of an earlier epoch.
        std::fs::remove_file(node.run_dir().join("epoch")).unwrap();
        swept(&node);
        assert_eq!((leases(), files_below(&node.state()), node.calls().len()), before);
        succeeded(&node.call("CHECK", &whole).run());
        for sandbox in [&whole, &begun, &undone] {
            succeeded(&node.call("DEL", sandbox).run());
            nothing_left(&node, sandbox);
        }
        assert_eq!((leases().len(), host_veths().len()), (0, 0));
    });
}

#[test]
fn f6_a_del_that_failed_is_done_again_at_its_time_until_it_heals() {
    let node = loud(&json!({ "DEL": { "error": { "code": 42, "msg": "busy" }, "fail_first": 3 } }));
    let mut sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    due_at(&node, boot_seconds() + 1000);
    let before = boot_seconds();
    refused(&node.call("DEL", &sandbox).run(), 42);
    let path = entry_path(&node, &sandbox, "eth0");
    let at = entry(&path)["due"].as_u64().unwrap();
    assert!((before + 1..=boot_seconds() + 1).contains(&at), "a second after the first attempt");
    let next = || u64::try_from(std::fs::metadata(node.run_dir().join("sweep")).unwrap().mtime()).unwrap();
    assert_eq!(next(), at, "the sweep is due with it");
    sandbox.netns.vanish();
    let due = |seconds: u64| {
        let mut entry = entry(&path);
        entry["due"] = seconds.into();
        std::fs::write(&path, entry.to_string()).unwrap();
    };
    due(boot_seconds() + 100);
    swept(&node);
    assert_eq!((dels_of(&node, &sandbox), path.exists()), (1, true), "its time has not come");
    assert!((boot_seconds() + 90..=boot_seconds() + 100).contains(&next()), "but the sweep's is then");
    due(boot_seconds());
    let before = boot_seconds();
    swept(&node);
    assert_eq!(dels_of(&node, &sandbox), 3, "with the namespace and without");
    assert_eq!(entry(&path)["attempts"], 2);
    let at = entry(&path)["due"].as_u64().unwrap();
    assert!((before + 2..=boot_seconds() + 2).contains(&at), "two seconds after the second");
    due(boot_seconds());
    swept(&node);
    assert_eq!(dels_of(&node, &sandbox), 4);
    nothing_left(&node, &sandbox);
    assert!(next() > boot_seconds() + 500, "nothing is due for ten minutes");
}

/// Makes the DEL in the queue due now.
fn due_now(path: &Path) {
    let mut entry = entry(path);
    entry["due"] = 0.into();
    std::fs::write(path, entry.to_string()).unwrap();
}

#[test]
fn f6_a_del_that_fails_for_want_of_the_namespace_is_tried_without_from_the_second_attempt_on() {
    let refuses = json!({ "DEL": { "error": { "code": 42, "msg": "no namespace" }, "fail_if_netns": true } });
    let node = loud(&refuses);
    let netnses = |sandbox: &Sandbox| -> Vec<String> {
        let dels = node.calls_of("DEL").into_iter().filter(|call| call.container() == sandbox.id);
        dels.map(|call| call.env["CNI_NETNS"].clone()).collect()
    };
    let mut sandbox = gone(&node);
    let path = entry_path(&node, &sandbox, "eth0");
    let netns = sandbox.netns.path().display().to_string();
    swept(&node);
    assert_eq!((netnses(&sandbox), path.exists()), (vec![netns.clone()], true), "not at the first");
    due_now(&path);
    swept(&node);
    assert_eq!(netnses(&sandbox), [netns.clone(), netns, String::new()]);
    nothing_left(&node, &sandbox);
    // The runtime's own second attempt too; and never while the namespace is there.
    sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    let netns = sandbox.netns.path().display().to_string();
    for _ in 0..3 {
        refused(&node.call("DEL", &sandbox).run(), 42);
    }
    assert_eq!(netnses(&sandbox), vec![netns.clone(); 3]);
    sandbox.netns.vanish();
    succeeded(&node.call("DEL", &sandbox).run());
    assert_eq!(netnses(&sandbox)[3..], [netns, String::new()]);
    nothing_left(&node, &sandbox);
}

#[test]
fn f6_a_del_that_failed_is_done_again_though_the_namespace_is_there() {
    let node = loud(&json!({ "DEL": { "error": { "code": 42, "msg": "busy" }, "fail_first": 1 } }));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    refused(&node.call("DEL", &sandbox).run(), 42);
    let path = entry_path(&node, &sandbox, "eth0");
    // Of another epoch: then the times of this one's clock say nothing.
    let mut of_another = entry(&path);
    of_another["epoch"] = "another".into();
    of_another["due"] = u64::MAX.into();
    std::fs::write(&path, of_another.to_string()).unwrap();
    swept(&node);
    assert_eq!(dels_of(&node, &sandbox), 2);
    nothing_left(&node, &sandbox);
}

#[test]
fn f6_an_entry_of_an_earlier_attachment_does_not_touch_the_one_of_now() {
    let node = loud(&json!({ "DEL": { "error": { "code": 42, "msg": "busy" }, "fail_first": 1 } }));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    refused(&node.call("DEL", &sandbox).run(), 42);
    let path = entry_path(&node, &sandbox, "eth0");
    let stale = std::fs::read(&path).unwrap();
    // The record was lost, and the sandbox attached once more.
    std::fs::remove_file(record_path(&node, &sandbox, "eth0")).unwrap();
    succeeded(&node.call("ADD", &sandbox).run());
    std::fs::write(&path, stale).unwrap();
    let mut due = entry(&path);
    due["due"] = 0.into();
    std::fs::write(&path, due.to_string()).unwrap();
    swept(&node);
    assert_eq!(dels_of(&node, &sandbox), 1);
    succeeded(&node.call("CHECK", &sandbox).run());
}

#[test]
fn f6_an_entry_without_a_record_is_dropped() {
    let node = loud(&json!({}));
    let sandbox = Sandbox::new();
    for text in ["{\"version\":1,\"attempts\":3,\"error\":\"\",\"epoch\":\"\"}", "damaged"] {
        let path = entry_path(&node, &sandbox, "eth0");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        swept(&node);
        nothing_left(&node, &sandbox);
    }
    assert_eq!(node.order(), Vec::<String>::new());
}

#[test]
fn f6_what_can_never_heal_is_given_up_after_everything_was_tried() {
    let node = loud(&json!({}));
    node.nad("default", "net-a", &scripted("net-a", "extra", &json!({})));
    let mut sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).networks("net-a").run());
    sandbox.netns.vanish();
    std::fs::remove_file(node.plugins().join("extra")).unwrap();
    swept(&node);
    let dels: Vec<String> = node.calls_of("DEL").iter().map(|call| call.brief()).collect();
    assert_eq!(dels, ["DEL eth0 main"]);
    // A plugin may be on its way to its directory: not the first attempt gives up.
    let path = entry_path(&node, &sandbox, "net1");
    let mut often = entry(&path);
    (often["attempts"], often["due"]) = (12.into(), 0.into());
    std::fs::write(&path, often.to_string()).unwrap();
    swept(&node);
    nothing_left(&node, &sandbox);
    assert!(node.log().contains("given up, because it can never heal"), "{}", node.log());
}

#[test]
fn f5_d14_addresses_of_a_primary_that_turns_up_late_are_released_then() {
    isolated(|_| {
        let node = real_node();
        node.master(&json!({ "logLevel": "debug" }));
        let sandbox = gone(&node);
        // The power failed, and all that was kept of it is the address.
        std::fs::remove_dir_all(node.state()).unwrap();
        std::fs::remove_file(node.run_dir().join("epoch")).unwrap();
        let all = leases();
        let [lease] = &all[..] else { panic!("one address") };
        let lease = Path::new("/var/lib/cni/networks").join(lease);
        let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        std::fs::File::options().write(true).open(&lease).unwrap().set_modified(long_ago).unwrap();
        let primary = node.conf().join("10-primary.conflist");
        let text = std::fs::read_to_string(&primary).unwrap();
        std::fs::remove_file(&primary).unwrap();
        swept(&node);
        assert!(lease.exists(), "nobody knows the network");
        std::fs::write(&primary, text).unwrap();
        swept(&node);
        assert!(!lease.exists(), "{}: {}", sandbox.id, node.log());
    });
}

#[test]
fn f14_sweeps_and_gcs_between_an_undone_add_and_its_del_make_it_call_nobody() {
    let node = loud(&json!({}));
    node.nad("default", "no", &scripted("no", "extra", &json!({ "ADD": { "error": { "code": 99, "msg": "no" } } })));
    let [tried, mut gone, mut forgotten] = [Sandbox::new(), Sandbox::new(), Sandbox::new()];
    for sandbox in [&tried, &gone, &forgotten] {
        refused(&node.call("ADD", sandbox).networks("no").run(), 99);
    }
    let before = node.calls().len();
    [&mut gone, &mut forgotten].into_iter().for_each(|sandbox| sandbox.netns.vanish());
    swept(&node);
    succeeded(&any_call(&node).set("cni.dev/valid-attachments", json!([])).run());
    swept(&node);
    for sandbox in [&tried, &gone] {
        assert_eq!(left_of(&node, sandbox).len(), 3, "two tombstones and their lock");
        succeeded(&node.call("DEL", sandbox).run());
        assert_eq!(node.calls().len(), before, "{:?}", node.order());
        nothing_left(&node, sandbox);
    }
    // Of an earlier epoch: nobody is left to send its DEL.
    std::fs::remove_file(node.run_dir().join("epoch")).unwrap();
    swept(&node);
    nothing_left(&node, &forgotten);
    assert_eq!(node.calls().len(), before, "{:?}", node.order());
}

#[test]
fn f5_of_fifty_calls_at_once_one_starts_one_sweep() {
    let node = loud(&json!({}));
    let dead = gone(&node);
    // All of them end in one moment.
    let release = node.root().join("release");
    node.primary(&scripted("cluster", "main", &json!({ "ADD": { "block_until_file": release } })));
    std::fs::remove_file(node.run_dir().join("sweep")).unwrap();
    let pods: Vec<Sandbox> = (0..50).map(|_| Sandbox::new()).collect();
    let running: Vec<_> = pods.iter().map(|pod| node.call("ADD", pod).start()).collect();
    eventually("fifty ADDs", || (node.calls_of("ADD").len() == 51).then_some(()));
    std::fs::write(release, "").unwrap();
    running.into_iter().for_each(|call| succeeded(&call.wait()));
    eventually("the sweep's end", || (sweeps(&node) > 0).then_some(()));
    nothing_left(&node, &dead);
    assert_eq!(node.log().matches("a sweep is due; started").count(), 1);
    assert_eq!((sweeps(&node), dels_of(&node, &dead), node.calls_of("DEL").len()), (1, 1, 1));
}

#[test]
fn f5_a_sweep_is_no_part_of_the_call_that_starts_it() {
    let release = "release";
    let node = loud(&json!({}));
    let path = node.root().join(release);
    node.script("main", &json!({ "DEL": { "block_until_file": path } }));
    let dead = gone(&node);
    due_at(&node, 0);
    let big = "x".repeat(200_000);
    let other = Sandbox::new();
    let output = node.call("ADD", &other).annotation("big", &big).run();
    succeeded(&output);
    assert!(output.released, "nobody holds the runtime's pipes");
    let del = first_call(&node, "DEL");
    // Its DEL hangs, and nobody is held up by that.
    let third = Sandbox::new();
    let output = node.call("ADD", &third).run();
    succeeded(&output);
    succeeded(&node.call("CHECK", &third).run());
    assert!(runs(del.pid) && node.calls_of("DEL").len() == 1 && sweeps(&node) == 0, "the sweep is still at it");
    assert_ne!(del.sid, u64::from(std::process::id()), "a session of its own");
    let status = std::fs::read_to_string(format!("/proc/{}/stat", del.ppid)).unwrap();
    let fields: Vec<&str> = status.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!(fields[3], del.ppid.to_string(), "the sweep leads its session");
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", del.ppid)).unwrap();
    let mut names: Vec<&str> = environment.split('\0').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
    names.retain(|name| name.starts_with("CNI_") || name.starts_with("META_CNI"));
    assert_eq!(names, ["CNI_PATH"]);
    let link = |name: &str| std::fs::read_link(format!("/proc/{}/{name}", del.ppid)).unwrap();
    assert_eq!((link("cwd"), link("fd/1"), link("fd/2")), ("/".into(), "/dev/null".into(), "/dev/null".into()));
    let held: Vec<_> = std::fs::read_dir(format!("/proc/{}/fd", del.ppid)).unwrap().flatten().collect();
    let locks = held.iter().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let locks: Vec<_> = locks.filter(|path| path.extension().is_some_and(|ending| ending == "lock")).collect();
    assert_eq!(locks, [lock_path(&node, &dead)], "and no lock but that of the sandbox it works on");
    std::fs::write(path, "").unwrap();
    eventually("the sweep's end", || (sweeps(&node) > 0).then_some(()));
    nothing_left(&node, &dead);
}

#[test]
fn f9_a_sandbox_that_is_being_worked_on_is_not_gone() {
    let release = "release";
    let node = loud(&json!({}));
    let path = node.root().join(release);
    node.nad("default", "slow", &scripted("slow", "extra", &json!({ "ADD": { "block_until_file": path } })));
    let mut sandbox = Sandbox::new();
    let add = node.call("ADD", &sandbox).networks("slow").start();
    first_call(&node, "ADD");
    eventually("the second ADD", || (node.calls_of("ADD").len() == 2).then_some(()));
    sandbox.netns.vanish();
    swept(&node);
    assert_eq!(node.calls_of("DEL").len(), 0);
    assert!(node.log().contains("busy=1"), "{}", node.log());
    std::fs::write(path, "").unwrap();
    add.wait();
    swept(&node);
    assert_eq!(dels_of(&node, &sandbox), 2);
    nothing_left(&node, &sandbox);
}

#[test]
fn f9_f10_a_delegate_that_nobody_is_left_to_end_is_ended_by_the_sweep_at_its_deadline() {
    let node = loud(&json!({}));
    let quick = json!({ "name": "quick", "match": { "plugin_type_any": ["main", "short"] },
        "deadline": { "add_attempt_s": 4, "del_attempt_s": 4 } });
    node.write("delegates/quick.json", &quick.to_string());
    let mut pods = ["short", "long"].map(|kind| {
        node.nad("default", kind, &scripted(kind, kind, &json!({ "ADD": { "sleep_ms": HANGS_MS } })));
        let pod = Sandbox::new();
        let mut add = node.call("ADD", &pod).networks(kind).start();
        let hangs = |call: &crate::harness::Recorded| call.kind == kind;
        let delegate = eventually("the delegate", || node.calls_of("ADD").into_iter().find(hangs));
        add.kill();
        add.wait();
        (pod, delegate.pid)
    });
    pods.iter_mut().for_each(|(pod, _)| pod.netns.vanish());
    let [(short, first), (long, second)] = &pods;
    eventually("the end of the delegate", || {
        swept(&node);
        (!runs(*first)).then_some(())
    });
    assert_eq!((dels_of(&node, short), dels_of(&node, long)), (2, 0));
    nothing_left(&node, short);
    assert!(runs(*second), "it has 100 s");
    kill(*second);
    ended(*second);
    swept(&node);
    nothing_left(&node, long);
}

#[test]
fn a17_damaged_records_of_the_dead_are_put_aside_and_freed_and_those_of_the_living_stay() {
    isolated(|_| {
        let node = real_node();
        node.master(&json!({ "logLevel": "debug" }));
        // Told by what is legible, by libcni's cache, and not at all; dead and alive.
        let damages: [(&str, bool, bool); 5] = [
            // A damaged path that leads nowhere proves nothing: it may be the damage.
            ("legible", true, false),
            ("legible", false, false),
            ("cached", true, true),
            ("cached", false, false),
            ("nothing", true, false),
        ];
        let mut kept = Vec::new();
        let mut freed = Vec::new();
        for (told, dead, goes) in damages {
            let mut sandbox = Sandbox::new();
            succeeded(&node.call("ADD", &sandbox).run());
            let path = record_path(&node, &sandbox, "eth0");
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[20] ^= 1;
            std::fs::write(&path, if told == "legible" { bytes } else { Vec::new() }).unwrap();
            if told == "cached" {
                let cache = json!({ "kind": "cniCacheV1", "containerId": sandbox.id, "config": "", "ifName": "eth0",
                    "networkName": "meta-cni", "result": { "interfaces": [{ "name": "eth0", "sandbox": sandbox.netns.path() }] } });
                std::fs::create_dir_all("/var/lib/cni/results").unwrap();
                std::fs::write(format!("/var/lib/cni/results/meta-cni-{}-eth0", sandbox.id), cache.to_string())
                    .unwrap();
            }
            if dead {
                sandbox.netns.vanish();
            }
            if goes { &mut freed } else { &mut kept }.push(sandbox);
        }
        assert_eq!(leases().len(), 5);
        swept(&node);
        for sandbox in &freed {
            let left = left_of(&node, sandbox);
            assert_eq!(left.len(), 2, "{left:?}");
            assert!(left.iter().all(|path| path.starts_with(node.state().join("quarantine"))), "{left:?}");
            let reason = std::fs::read_to_string(&left[1]).unwrap();
            assert!(reason.contains("eth0.json") && reason.ends_with('\n'), "{reason}");
        }
        assert_eq!(leases().len(), kept.len());
        let log = node.log();
        let is_named = |sandbox: &Sandbox| {
            log.lines().any(|line| line.contains(&sandbox.id) && line.contains("nothing says whether it is alive"))
        };
        // All but those that are known to be alive.
        assert_eq!(kept.iter().map(is_named).collect::<Vec<_>>(), [true, false, false, true], "{log}");
        for sandbox in &kept {
            assert!(record_path(&node, sandbox, "eth0").exists());
            succeeded(&node.call("DEL", sandbox).run());
        }
        assert_eq!(leases().len(), 0);
    });
}

/// True for a lease of the sandbox.
fn is_of(path: &Path, sandbox: &Sandbox) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.starts_with(&sandbox.id))
}

#[test]
fn d14_after_a_reboot_in_the_middle_of_everything_one_sweep_frees_all() {
    isolated(|_| {
        let node = real_node();
        node.master(&json!({ "logLevel": "debug" }));
        let mut pods: Vec<Sandbox> = (0..6).map(|_| Sandbox::new()).collect();
        for pod in &pods {
            succeeded(&node.call("ADD", pod).run());
        }
        pods.iter_mut().for_each(|pod| pod.netns.vanish());
        // What a power cut can leave of a record: nothing, zeros, a part.
        for (pod, damage) in pods.iter().zip([b"".as_slice(), &[0; 100], b"{\"version\":1,\"checks"]) {
            let path = record_path(&node, pod, "eth0");
            std::fs::write(&path, damage).unwrap();
            // It is from before the boot.
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
        }
        // Of the last one nothing is on record at all; its address is from before the boot.
        std::fs::remove_dir_all(record_path(&node, &pods[5], "eth0").parent().unwrap()).unwrap();
        let addresses = files_below(Path::new("/var/lib/cni/networks"));
        let lost: Vec<_> = addresses.iter().filter(|path| is_of(path, &pods[5])).collect();
        assert_eq!(lost.len(), 1);
        std::fs::File::options().write(true).open(lost[0]).unwrap().set_modified(UNIX_EPOCH).unwrap();
        for file in files_below(&node.run_dir()) {
            std::fs::remove_file(file).unwrap();
        }
        assert_eq!((leases().len(), sweeps(&node)), (6, 0));
        let new = Sandbox::new();
        succeeded(&node.call("ADD", &new).run());
        eventually("the sweep's end", || (sweeps(&node) > 0).then_some(()));
        assert_eq!((leases().len(), new.netns.links()), (1, vec!["eth0".to_owned()]));
        assert_eq!(node.records().len(), 1);
    });
}

/// A lease of a sandbox that nobody knows, from before the kernel's start.
fn lease_of_before(network: &str, address: &str) -> PathBuf {
    let path = Path::new("/var/lib/cni/networks").join(network).join(address);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "of-before\r\nnet1").unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
    path
}

#[test]
fn f5_a_network_that_becomes_known_later_in_the_epoch_is_looked_through_too() {
    isolated(|_| {
        let node = real_node();
        node.master(&json!({ "logLevel": "debug" }));
        let first = lease_of_before("net-a", "10.77.2.9");
        let manifest = |name: &str, number| node.nad_text("default", name, &bridge(name, number).to_string());
        manifest("net-a", 2);
        swept(&node);
        assert!(!first.exists(), "{}", node.log());
        // Nothing is looked for twice where nothing can be.
        let again = lease_of_before("net-a", "10.77.2.10");
        swept(&node);
        assert!(again.exists(), "{}", node.log());
        let second = lease_of_before("net-b", "10.77.3.9");
        manifest("net-b", 3);
        swept(&node);
        assert!(!second.exists() && !again.exists(), "{}", node.log());
        // Another configuration on the same node, which does not know them, has the first one's work not done again.
        let third = lease_of_before("net-b", "10.77.3.10");
        let here = node.networks();
        node.master(&json!({ "networkDirs": [node.root().join("none")] }));
        swept(&node);
        node.master(&json!({ "networkDirs": [here] }));
        swept(&node);
        assert!(third.exists(), "{}", node.log());
    });
}

#[test]
fn f5_a_place_that_cannot_be_looked_through_now_is_tried_again() {
    isolated(|_| {
        let node = real_node();
        node.master(&json!({ "logLevel": "debug" }));
        node.nad_text("default", "net-a", &bridge("net-a", 2).to_string());
        let place = Path::new("/var/lib/cni/networks/net-a");
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, "no directory").unwrap();
        swept(&node);
        std::fs::remove_file(place).unwrap();
        let lease = lease_of_before("net-a", "10.77.2.9");
        eventually("another look", || {
            swept(&node);
            (!lease.exists()).then_some(())
        });
    });
}

#[test]
fn f2_a_sweep_that_is_killed_anywhere_is_finished_by_the_next() {
    isolated(|_| {
        let node = real_node();
        node.master(&json!({ "logLevel": "debug" }));
        for round in 0..4 {
            let mut dead: Vec<Sandbox> = (0..4).map(|_| Sandbox::new()).collect();
            for pod in &dead {
                succeeded(&node.call("ADD", pod).run());
            }
            dead.iter_mut().for_each(|pod| pod.netns.vanish());
            for step in 0..6 {
                let mut sweep = crate::gc_command::gc(&node, &["--queued"]).spawn().unwrap();
                std::thread::sleep(Duration::from_micros(1500 * (step * 4 + round)));
                sweep.kill().unwrap();
                sweep.wait().unwrap();
            }
            // A delegate of a sweep that was killed may hold its sandbox's lock for a moment.
            eventually("a sweep that finishes", || {
                swept(&node);
                dead.iter().all(|pod| left_of(&node, pod).is_empty()).then_some(())
            });
            assert_eq!(leases(), Vec::<String>::new());
            // The kernel takes the links of a namespace that is gone in its own time.
            eventually("its links go", || host_veths().is_empty().then_some(()));
        }
    });
}

#[test]
fn what_stands_for_nothing_goes_unless_somebody_holds_it() {
    let node = loud(&json!({}));
    let [stray, held, empty] = [Sandbox::new(), Sandbox::new(), Sandbox::new()];
    let live = Sandbox::new();
    succeeded(&node.call("ADD", &live).run());
    for sandbox in [&stray, &held] {
        std::fs::write(lock_path(&node, sandbox), "call 999999 1 ADD\n").unwrap();
    }
    for dir in ["attachments", "queue"] {
        std::fs::create_dir_all(node.state().join(dir).join(&empty.id)).unwrap();
    }
    let old = |path: PathBuf| {
        std::fs::File::create(&path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        path
    };
    let quarantine = node.state().join("quarantine");
    std::fs::create_dir(&quarantine).unwrap();
    let temporary = [
        old(node.state().join(".primary.json.x.tmp")),
        old(node.run_dir().join(".epoch.x")),
        old(quarantine.join(".c1.eth0.1.reason.x.tmp")),
        old(record_path(&node, &live, "eth0").with_file_name(".eth0.json.x.tmp")),
    ];
    let lock = std::fs::File::open(lock_path(&node, &held)).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    swept(&node);
    nothing_left(&node, &stray);
    nothing_left(&node, &empty);
    assert!(temporary.iter().all(|path| !path.exists()), "{temporary:?}");
    assert!(lock_path(&node, &held).exists() && lock_path(&node, &live).exists());
    succeeded(&node.call("CHECK", &live).run());
}
