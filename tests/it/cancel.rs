//! F9, A44: calls of one sandbox never interleave, and a DEL ends what an earlier call left running.

use crate::harness::{Call, Node, Output, Running, Sandbox};
use crate::kernel::isolated;
use crate::scene::*;
use meta_cni::act::Context;
use meta_cni::act::sandbox::{Reclaimed, reclaim};
use meta_cni::cni::{CniArgs, ContainerId, SearchPath};
use meta_cni::config::MasterConfig;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a DEL may take more than it waits.
const FAST: Duration = Duration::from_secs(1);

/// How long a DEL waits for a process that left all groups.
const STRAY: Duration = Duration::from_secs(2);

/// What it says then.
const WITHOUT: &str = "DEL goes on without the sandbox's lock";

/// DEL, which has to succeed, leave nothing and wait for nobody: it has the lock before it would go on without.
#[track_caller]
fn quick_del(node: &Node, sandbox: &Sandbox) {
    let del = node.call("DEL", sandbox).run();
    succeeded(&del);
    assert!(!node.log().contains(WITHOUT), "DEL took {:?}; log:\n{}", del.elapsed, node.log());
    nothing_left(node, sandbox);
}

/// A node whose primary's ADD hangs, and that ADD under way.
fn hanging() -> (Node, Sandbox, Running) {
    let node = node_with(&json!({ "ADD": { "sleep_ms": HANGS_MS } }));
    let sandbox = Sandbox::new();
    let add = node.call("ADD", &sandbox).start();
    (node, sandbox, add)
}

#[test]
fn f9_del_ends_an_add_and_its_delegate() {
    let (node, sandbox, add) = hanging();
    let delegate = first_call(&node, "ADD");
    let plugin = u64::from(add.pid());
    quick_del(&node, &sandbox);
    ended(delegate.pid);
    assert_eq!(add.wait().signal, Some(9), "the ADD is ended before its delegate");
    ended(plugin);
    assert_eq!(node.order(), ["ADD eth0 main", "DEL eth0 main"]);
    assert!(node.calls()[1].begin_ns > delegate.begin_ns && node.calls()[0].end_ns.is_none());
}

#[test]
fn f9_del_ends_the_delegate_of_a_killed_add() {
    let (node, sandbox, mut add) = hanging();
    let delegate = first_call(&node, "ADD");
    add.kill();
    add.wait();
    assert!(runs(delegate.pid), "the delegate outlives the plugin, or this proves nothing");
    quick_del(&node, &sandbox);
    ended(delegate.pid);
}

#[test]
fn f9_del_ends_a_delegate_that_the_killed_add_left_with_descendants() {
    let node = node_with(&json!({ "ADD": { "spawn_grandchild": { "ms": HANGS_MS }, "sleep_ms": HANGS_MS } }));
    let sandbox = Sandbox::new();
    let mut add = node.call("ADD", &sandbox).start();
    let grandchild = grandchild(&node);
    let delegate = first_call(&node, "ADD").pid;
    add.kill();
    add.wait();
    // The group lives on without its leader.
    kill(delegate);
    ended(delegate);
    assert!(runs(grandchild));
    quick_del(&node, &sandbox);
    ended(grandchild);
}

#[test]
fn f9_an_add_whose_delegate_is_killed_takes_it_back() {
    let (node, sandbox, add) = hanging();
    kill(first_call(&node, "ADD").pid);
    refused(&add.wait(), 704);
    assert_eq!(node.order(), ["ADD eth0 main", "DEL eth0 main"]);
    quick_del(&node, &sandbox);
    assert_eq!(node.order().len(), 2, "F14: the DEL of an ADD that was undone runs nobody");
}

#[test]
fn f2_f9_what_a_killed_delegate_had_started_ends_before_its_del() {
    // An iptables of a portmap that the kernel killed for want of memory, say: it goes on, and DEL would run beside it.
    let script = json!({ "ADD": { "spawn_grandchild": { "ms": HANGS_MS }, "signal": 9 }, "DEL": { "sleep_ms": 300 } });
    let node = node_with(&script);
    let sandbox = Sandbox::new();
    let add = node.call("ADD", &sandbox).start();
    first_call(&node, "DEL");
    assert!(!runs(grandchild(&node)), "it runs beside the DEL");
    refused(&add.wait(), 704);
    quick_del(&node, &sandbox);
}

#[test]
fn f9_del_ends_what_a_finished_add_left_in_its_group() {
    let node = node_with(&json!({ "ADD": { "spawn_grandchild": { "ms": HANGS_MS } } }));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    let grandchild = grandchild(&node);
    assert!(runs(grandchild), "it holds the lock, or this proves nothing");
    quick_del(&node, &sandbox);
    ended(grandchild);
}

#[test]
fn f9_del_goes_on_beside_a_process_that_left_all_groups_and_names_it() {
    within(STRAY + FAST, "DEL", || {
        let node = node_with(&json!({ "ADD": { "spawn_grandchild": { "ms": HANGS_MS, "setsid": true } } }));
        let sandbox = Sandbox::new();
        succeeded(&node.call("ADD", &sandbox).run());
        let stray = grandchild(&node);
        let del = node.call("DEL", &sandbox).run();
        let lived = runs(stray);
        kill(stray);
        succeeded(&del);
        assert!(del.elapsed >= STRAY, "{:?}", del.elapsed);
        assert!(lived, "a plugin's own daemon is not ours to end");
        assert!(node.log().contains(WITHOUT) && node.log().contains(&format!("process {stray}")), "{}", node.log());
        assert_eq!(node.calls_of("DEL").len(), 1);
        assert_eq!(node.records(), Vec::<std::path::PathBuf>::new());
        del.elapsed
    });
}

/// Somebody who holds the sandbox's lock, with this content in its file.
struct Holder(Child);

impl Holder {
    fn start(node: &Node, sandbox: &Sandbox, content: impl Fn(u32) -> String) -> Self {
        let path = lock_path(node, sandbox);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let child = Command::new("flock")
            .args(["--no-fork", "--exclusive"])
            .arg(&path)
            .args(["sleep", "600"])
            .env("META_CNI_CALLER", &sandbox.id)
            .process_group(0)
            .spawn()
            .expect("running flock (package util-linux)");
        let comm = format!("/proc/{}/comm", child.id());
        eventually("the holder", || (std::fs::read_to_string(&comm).ok()? == "sleep\n").then_some(()));
        std::fs::write(&path, content(child.id())).unwrap();
        Self(child)
    }

    fn pid(&self) -> u64 {
        self.0.id().into()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The ID of a process that is no more.
fn dead() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn f9_a_plugin_that_was_started_and_never_noted_is_ended_by_the_lock_it_holds() {
    let node = node_with(&json!({}));
    let sandbox = Sandbox::new();
    // The call died after `start` and before `run`: the plugin it started holds the lock and nobody wrote its ID.
    let (call, seen) = (dead(), ticks());
    let holder = Holder::start(&node, &sandbox, |_| format!("call {call} {seen} ADD\nstart {seen} main\n"));
    quick_del(&node, &sandbox);
    ended(holder.pid());
}

#[test]
fn f9_a_process_that_only_has_the_recorded_id_is_never_ended() {
    const LATER: u64 = u64::MAX / 2;
    assert!(ticks() > 100, "the machine has just booted");
    let contents: [fn(u32) -> String; 4] = [
        |pid| format!("call {pid} 1 ADD\n"),
        |pid| format!("call 1999999999 1 ADD\nrun {pid} 1 main\n"),
        // It held the lock before the plugin was announced.
        |_| format!("call 1999999999 1 ADD\nstart {LATER} main\n"),
        // A line that was not written to its end.
        |pid| format!("call 1999999999 1 ADD\nrun {pid} {LATER}"),
    ];
    std::thread::scope(|scope| {
        for content in contents {
            scope.spawn(move || {
                let node = node_with(&json!({}));
                let sandbox = Sandbox::new();
                let innocent = Holder::start(&node, &sandbox, content);
                let del = node.call("DEL", &sandbox).run();
                succeeded(&del);
                let what = content(7);
                assert!(runs(innocent.pid()), "ended: {what}");
                assert!(del.elapsed >= STRAY, "{what}: {:?}", del.elapsed);
                assert!(node.log().contains(&format!("process {}", innocent.pid())), "{what}: {}", node.log());
            });
        }
    });
}

/// A process in a group of its own whose leader has ended, as every daemon that forks twice: the group, and the process.
struct Leaderless(Child, u64);

impl Leaderless {
    fn start() -> Self {
        let leader =
            Command::new("sh").args(["-c", "sleep 600 & echo $!"]).process_group(0).stdout(Stdio::piped()).spawn();
        let mut leader = leader.unwrap();
        let mut line = String::new();
        BufReader::new(leader.stdout.take().unwrap()).read_line(&mut line).unwrap();
        leader.wait().unwrap();
        Self(leader, line.trim().parse().unwrap())
    }
}

impl Drop for Leaderless {
    fn drop(&mut self) {
        kill(self.1);
    }
}

#[test]
fn f9_a_group_that_only_has_the_recorded_id_is_never_ended() {
    let node = node_with(&json!({}));
    let sandbox = Sandbox::new();
    let innocent = Leaderless::start();
    // The plugin and its group are long gone, and its ID was given to somebody else since; who holds the lock left all groups.
    let content = |_| format!("call 1999999999 1 ADD\nrun {} 1 main\n", innocent.0.id());
    let _stray = Holder::start(&node, &sandbox, content);
    succeeded(&node.call("DEL", &sandbox).run());
    assert!(runs(innocent.1), "ended: {}", node.log());
}

/// Waits until what was seen before is of an earlier time.
fn ticks_pass() {
    let then = ticks();
    eventually("the clock goes on", || (ticks() > then + 2).then_some(()));
}

/// Takes the sandbox's lock as the sweep does.
fn reclaimed(node: &Node, sandbox: &Sandbox, patience: Duration) -> Reclaimed {
    let config = MasterConfig::from_stdin(node.master_config().to_string().as_bytes()).unwrap();
    let context = Context::new(config, CniArgs::default(), SearchPath::default());
    reclaim(&context, &ContainerId::new(&sandbox.id).unwrap(), patience).unwrap()
}

#[test]
fn f9_the_sweep_ends_what_a_dead_call_left_and_nobody_else_who_holds_the_lock() {
    type Content = fn(u32) -> String;
    const HOUR: Duration = Duration::from_secs(3600);
    let (none, alive, ended) = (Duration::ZERO, true, false);
    let contents: [(Content, Duration, bool); 5] = [
        // An ADD that came after the sweep's look at what the lock says.
        (|pid| format!("call {pid} {} ADD\n", ticks()), none, alive),
        // It has just taken the lock and not written anything.
        (|_| String::new(), none, alive),
        (|pid| format!("call {} {} ADD\nrun {pid} {} main\n", dead(), ticks() - 100, ticks() - 1), none, ended),
        (|_| format!("call {} {} ADD\nstart {} main\n", dead(), ticks() - 100, ticks() - 90), none, ended),
        (|pid| format!("call {} {} ADD\nrun {pid} {} main\n", dead(), ticks() - 100, ticks() - 1), HOUR, alive),
    ];
    for (at, (content, patience, lives)) in contents.into_iter().enumerate() {
        let node = node_with(&json!({}));
        let sandbox = Sandbox::new();
        let holder = Holder::start(&node, &sandbox, |pid| {
            ticks_pass();
            content(pid)
        });
        ticks_pass();
        let reclaimed = reclaimed(&node, &sandbox, patience);
        assert_eq!(runs(holder.pid()), lives, "{at}");
        match reclaimed {
            Reclaimed::Busy => assert!(lives, "{at}"),
            Reclaimed::Yes(lock) => assert!(!lives && lock.is_some(), "{at}"),
        }
        if lives {
            within(FAST, "nobody is waited for", || {
                let began = Instant::now();
                assert!(matches!(self::reclaimed(&node, &sandbox, patience), Reclaimed::Busy), "{at}");
                began.elapsed()
            });
        }
    }
}

#[test]
fn f9_the_sweep_ends_no_process_that_only_looks_at_the_lock() {
    let node = node_with(&json!({}));
    let [sandbox, other] = [Sandbox::new(), Sandbox::new()];
    let seen = ticks();
    let held = Holder::start(&node, &sandbox, |_| format!("call {} {seen} ADD\nstart {seen} main\n", dead()));
    // Another call, which leads its group and tries for the lock; and a plugin of another sandbox.
    let lookers = [&sandbox.id[1..], &other.id].map(|id| {
        let mut command = Command::new("sleep");
        command.arg("600").env("META_CNI_CALLER", id).process_group(0);
        command.stdin(std::fs::File::open(lock_path(&node, &sandbox)).unwrap());
        Holder(command.spawn().unwrap())
    });
    ticks_pass();
    let Reclaimed::Yes(Some(_)) = reclaimed(&node, &sandbox, Duration::ZERO) else { panic!("a dead call's plugin") };
    ended(held.pid());
    assert!(lookers.iter().all(|one| runs(one.pid())));
}

/// Delegates of the sandbox ran one after the other, each to its end.
#[track_caller]
fn one_after_the_other(node: &Node) {
    let calls = node.calls();
    for pair in calls.windows(2) {
        let end = pair[0].end_ns.unwrap_or_else(|| panic!("{} was ended", pair[0].brief()));
        assert!(end <= pair[1].begin_ns, "{} overlaps {}", pair[0].brief(), pair[1].brief());
    }
}

/// Starts `first`, and `second` once a delegate of `first` runs.
fn beside(node: &Node, first: &Call, second: &Call, operation: &str) -> [Output; 2] {
    let first = first.start();
    first_call(node, operation);
    let second = second.start();
    [first.wait(), second.wait()]
}

#[test]
fn f9_a_del_waits_for_a_del() {
    let node = node_with(&json!({ "DEL": { "sleep_ms": 400 } }));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    let del = node.call("DEL", &sandbox);
    for output in beside(&node, &del, &del, "DEL") {
        succeeded(&output);
    }
    one_after_the_other(&node);
    nothing_left(&node, &sandbox);
}

#[test]
fn f9_a_check_waits_for_an_add() {
    let node = node_with(&json!({ "ADD": { "sleep_ms": 400 } }));
    let sandbox = Sandbox::new();
    let [add, check] = beside(&node, &node.call("ADD", &sandbox), &node.call("CHECK", &sandbox), "ADD");
    succeeded(&add);
    succeeded(&check);
    one_after_the_other(&node);
    assert_eq!(node.order(), ["ADD eth0 main", "CHECK eth0 main"]);
}

#[test]
fn a44_of_two_adds_of_a_sandbox_at_once_one_attaches() {
    let node = node_with(&json!({ "ADD": { "sleep_ms": 200 } }));
    let sandbox = Sandbox::new();
    let add = node.call("ADD", &sandbox);
    let running = [add.start(), add.start()];
    let mut outputs: Vec<Output> = running.into_iter().map(Running::wait).collect();
    outputs.sort_by_key(|output| output.exit);
    succeeded(&outputs[0]);
    refused(&outputs[1], 7);
    assert_eq!(node.order(), ["ADD eth0 main"], "what is attached stays as it is");
    quick_del(&node, &sandbox);
}

#[test]
fn f9_an_add_whose_lock_a_del_took_away_takes_its_work_back() {
    let node = node_with(&json!({ "ADD": { "block_until_file": "/nonexistent" } }));
    let go = node.root().join("go");
    node.primary(&scripted("cluster", "main", &json!({ "ADD": { "block_until_file": go } })));
    let sandbox = Sandbox::new();
    let add = node.call("ADD", &sandbox).start();
    first_call(&node, "ADD");
    // As a DEL does that cannot see the ADD's processes.
    std::fs::remove_file(lock_path(&node, &sandbox)).unwrap();
    std::fs::write(go, "").unwrap();
    refused(&add.wait(), 11);
    assert_eq!(node.order(), ["ADD eth0 main", "DEL eth0 main"]);
    quick_del(&node, &sandbox);
}

#[test]
fn a44_fifty_adds_of_different_sandboxes_at_once() {
    isolated(|_| {
        let node = real_node();
        // Waits are not what is measured here.
        node.master(&json!({ "addBudget": "240s", "delBudget": "240s" }));
        let sandboxes: Vec<Sandbox> = (0..50).map(|_| Sandbox::new()).collect();
        for (operation, attached) in [("ADD", 50), ("DEL", 0)] {
            let running: Vec<Running> = sandboxes.iter().map(|sandbox| node.call(operation, sandbox).start()).collect();
            for output in running.into_iter().map(Running::wait) {
                succeeded(&output);
                let address = || serde_json::from_str::<Value>(&output.stdout).unwrap()["ips"][0]["address"].clone();
                assert!(operation == "DEL" || address().is_string(), "{output:?}");
            }
            // Leases are named by address, so fifty of them are fifty addresses.
            assert_eq!(leases().len(), attached, "after {operation}");
            assert_eq!(host_veths().len(), attached, "after {operation}");
            assert_eq!(node.records().len(), attached, "after {operation}");
        }
        for sandbox in &sandboxes {
            nothing_left(&node, sandbox);
        }
    });
}
