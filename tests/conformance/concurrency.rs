//! Calls that run at once: different sandboxes do not disturb each other, one sandbox's calls never interleave.

use crate::harness::{Call, Output, Recorded, Sandbox};
use crate::judge::nothing_left;
use crate::world::{Subject, World, scripted};
use crate::{Check, Needs, check};
use serde_json::json;
use std::time::{Duration, Instant};

pub fn checks() -> Vec<Check> {
    vec![
        check("A44_concurrent_adds_of_different_sandboxes", Needs::Nothing, different_sandboxes),
        check("A44_F9_del_during_add_does_not_interleave", Needs::Nothing, |s| del_during_add(s, false)),
        check("A44_F9_del_after_a_killed_add_does_not_interleave", Needs::Nothing, |s| del_during_add(s, true)),
        check("A44_two_dels_of_one_sandbox_at_once", Needs::Nothing, two_dels),
        check("A44_two_adds_of_one_sandbox_never_interleave", Needs::Nothing, two_adds),
    ]
}

fn at_once(calls: Vec<Call>) -> Vec<Output> {
    let threads: Vec<_> = calls.into_iter().map(|call| std::thread::spawn(move || call.run())).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn different_sandboxes(subject: &Subject) {
    let world = World::with_extras(subject, 2);
    let sandboxes: Vec<_> = (0..12).map(|_| Sandbox::new()).collect();
    for operation in ["ADD", "CHECK", "DEL"] {
        let outputs = at_once(sandboxes.iter().map(|sandbox| world.call_for(operation, sandbox)).collect());
        for (output, sandbox) in outputs.iter().zip(&sandboxes) {
            let answer = output.success();
            if operation == "ADD" {
                assert_eq!(answer["interfaces"][0]["sandbox"], sandbox.netns.path().display().to_string());
            }
            let calls = world.calls_of(operation);
            let own: Vec<_> = calls.iter().filter(|call| call.container() == sandbox.id).collect();
            assert_eq!(own.len(), 3, "{operation}");
            assert!(own.iter().all(|call| call.env["CNI_NETNS"] == sandbox.netns.path().display().to_string()));
        }
    }
    nothing_left(&world);
}

fn wait_for(world: &World, kind: &str) -> Recorded {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        if let Some(call) = world.node.calls().into_iter().find(|call| call.kind == kind) {
            return call;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("{kind} was not called within 60 s");
}

/// No two delegates of the sandbox ran at once. One without an end was killed, and must be gone.
fn never_interleaved(calls: &[Recorded]) {
    for (at, one) in calls.iter().enumerate() {
        for other in &calls[at + 1..] {
            match one.end_ns {
                Some(end) => assert!(end <= other.begin_ns, "{} overlaps {}", one.brief(), other.brief()),
                None => assert!(ends(one.pid), "{} still runs", one.brief()),
            }
        }
    }
}

fn is_running(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// One that was killed takes a moment to go.
fn ends(pid: u64) -> bool {
    let began = Instant::now();
    while is_running(pid) && began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(1));
    }
    !is_running(pid)
}

/// The pod is deleted while its ADD still runs; a killed ADD leaves its delegate running.
fn del_during_add(subject: &Subject, killed: bool) {
    let world = World::with_extras(subject, 1);
    world.extra(&scripted("net-slow", "slow", &json!({ "ADD": { "sleep_ms": 30_000 } })));
    let mut add = world.call("ADD").start();
    let slow = wait_for(&world, "slow");
    if killed {
        add.kill();
        assert!(is_running(slow.pid), "the delegate outlives the plugin, or this check judges nothing");
    }
    let began = Instant::now();
    world.del();
    assert!(began.elapsed() < Duration::from_secs(20), "DEL took {:?}", began.elapsed());
    let output = add.wait();
    assert_ne!(output.exit, Some(0), "an ADD that a DEL passed reports success: {output:?}");
    let calls = world.node.calls();
    never_interleaved(&calls);
    let last = |operation: &str, kind: &str| {
        calls.iter().rposition(|call| (call.operation.as_str(), call.kind.as_str()) == (operation, kind))
    };
    for kind in ["main", "extra-a", "slow"] {
        assert!(last("DEL", kind) > last("ADD", kind), "{kind} is still attached: {:?}", world.node.order());
    }
    nothing_left(&world);
}

fn two_dels(subject: &Subject) {
    let world = World::new(subject);
    world.primary(&scripted("cluster", "main", &json!({ "DEL": { "sleep_ms": 200 } })));
    world.add();
    for output in at_once(vec![world.call("DEL"), world.call("DEL")]) {
        output.success();
    }
    never_interleaved(&world.node.calls());
    nothing_left(&world);
}

fn two_adds(subject: &Subject) {
    let world = World::new(subject);
    world.primary(&scripted("cluster", "main", &json!({ "ADD": { "sleep_ms": 200 } })));
    let outputs = at_once(vec![world.call("ADD"), world.call("ADD")]);
    let served = outputs.iter().find(|output| output.exit == Some(0));
    served.unwrap_or_else(|| panic!("both failed: {outputs:?}")).success();
    never_interleaved(&world.node.calls());
    world.del();
    nothing_left(&world);
}
