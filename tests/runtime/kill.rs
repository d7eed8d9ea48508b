//! SIGKILL for the plugin: what runtimes do when a pod is deleted while it starts, and what a kernel out of memory does.
//! Whatever it hits, the DEL that follows leaves nothing, and an ADD that follows instead works.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::crio::Call;
use crate::harness::{Node, Runtime, on_each_runtime, text};

on_each_runtime! {
    /// F9: a delegate that hangs keeps neither the runtime that killed the plugin waiting nor the DEL that follows.
    killed_while_a_delegate_hangs_f9 => check_killed_while_hanging;
    /// F9, F2: SIGKILL at any time of an ADD, DEL right after: the DEL is not kept waiting and nothing is left.
    killed_add_then_del_leaves_nothing_f2_f9 => check_killed;
}

/// F2: killed right before each of the calls by which the plugin changes something, or starts something.
#[test]
fn killed_before_every_change_f2() {
    let node = Node::with_meta_cni(Runtime::Modules);
    node.trace_plugin();
    let kinds =
        ["rename,renameat,renameat2,link,linkat,unlink,unlinkat", "clone,clone3,vfork", "write,pwrite64", "flock"];
    let (mut number, mut seen, mut faults) = (0, BTreeSet::new(), Vec::new());
    for kind in kinds {
        let moments = (1..).take_while(|moment| {
            number += 1;
            let pod = Call::new(&node, number, "net-a,net-b");
            let killed = !pod.make_killed_at(&format!("{kind}:signal=KILL:when={moment}")).status.success();
            // A runtime may also try again with the same container ID. What the first try left is not in its way, unless
            // that was complete but for its answer: then it is a live attachment, which no ADD touches (A11).
            if killed && moment % 2 == 0 {
                let again = pod.make("add", &[]);
                let why = text(&again.stderr);
                assert!(again.status.success() || why.contains("attached already"), "the second ADD: {why}");
            }
            pod.must("del");
            pod.end();
            let left: Vec<String> = node.left().into_iter().filter(|what| seen.insert(what.clone())).collect();
            if !left.is_empty() {
                faults.push(format!("killed before call {moment} of {kind}, then DEL: {left:#?}"));
            }
            killed
        });
        assert!(moments.count() > 1, "the ADD was never killed before {kind}");
    }
    assert!(faults.is_empty(), "left on the node:\n{}", faults.join("\n"));
}

fn check_killed(runtime: Runtime) {
    let node = Node::with_meta_cni(runtime);
    for number in 1..=12 {
        let pod = Call::new(&node, number, "net-a,net-b");
        // An undisturbed ADD takes a fraction of a second: these moments are spread over all of it.
        let start = Instant::now();
        pod.make("add", &["--kill-after", &format!("{}ms", number * number * 2)]);
        assert!(start.elapsed() < Duration::from_secs(120), "the cancelled ADD kept the runtime waiting");
        let start = Instant::now();
        pod.must("del");
        assert!(start.elapsed() < Duration::from_secs(120), "the DEL was kept waiting");
        pod.end();
        node.assert_nothing_left();
    }
}

fn check_killed_while_hanging(runtime: Runtime) {
    let node = Node::with_meta_cni(runtime);
    node.etc_cni.write_slow_network();
    let pod = Call::new(&node, 1, "net-a,net-slow");
    let start = Instant::now();
    pod.make("add", &["--kill-after", "1s"]);
    // A delegate that held the plugin's stderr would keep libcni reading for all the time it sleeps.
    assert!(start.elapsed() < Duration::from_secs(120), "the cancelled ADD kept the runtime waiting");
    pod.must("del");
    assert!(start.elapsed() < Duration::from_secs(120), "the DEL was kept waiting");
    assert!(!node.runs("sleep 601"), "the delegate lives on");
    pod.end();
    node.assert_nothing_left();
}
