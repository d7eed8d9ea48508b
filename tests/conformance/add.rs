//! ADD as a whole: order, names, what exists already, and how everything is undone when one attachment fails.

use crate::judge::{nothing_attached, nothing_left, refused, undone};
use crate::world::{Subject, World, list, scripted};
use crate::{Check, Needs, check};
use serde_json::{Value, json};

pub fn checks() -> Vec<Check> {
    let mut checks = vec![
        check("A11_existing_interface_is_left_untouched::primary", Needs::Nothing, |s| existing(s, "eth0", "")),
        check("A11_existing_interface_is_left_untouched::requested", Needs::Nothing, |s| {
            existing(s, "net7", "net-a@net7");
        }),
        check("A11_second_add_of_a_live_sandbox_undoes_nothing", Needs::Nothing, second_add),
        check("B27_primary_is_attached_first_and_always", Needs::Nothing, primary_first),
        check("B31_attachments_of_a_pod_never_run_at_once", Needs::Nothing, never_at_once),
        check("B18_same_network_twice_is_two_attachments", Needs::Nothing, same_network_twice),
        check("B19_one_tuple_per_attachment::ADD_DEL", Needs::Nothing, |s| one_tuple(s, &["ADD", "DEL"])),
        check("B19_one_tuple_per_attachment::CHECK", Needs::Nothing, |s| one_tuple(s, &["ADD", "CHECK", "DEL"])),
        check("B11_requested_name_is_cni_ifname", Needs::Nothing, requested_name),
        check("F14_del_of_an_undone_add_runs_no_delegate", Needs::Nothing, complete_undo),
        check("A12_undo_that_fails_keeps_the_first_error", Needs::Nothing, undo_fails),
        check("A12_add_after_a_failed_add_of_the_same_sandbox", Needs::Nothing, add_after_failure),
    ];
    for (network, plugin) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 2)] {
        for (how, script) in [
            ("error", json!({ "error": { "code": 123, "msg": "no" } })),
            ("signal", json!({ "signal": 9 })),
            ("garbage", json!({ "stdout": "garbage" })),
        ] {
            let name = format!("A12_B29_failure_is_undone::network_{network}_plugin_{plugin}_{how}");
            checks.push(check(name, Needs::Nothing, move |s| failure(s, (network, plugin), &script)));
        }
    }
    checks
}

fn existing(subject: &Subject, ifname: &str, annotation: &str) {
    let world = World::new(subject);
    world.node.nad("default", "net-a", &list("net-a", "extra-a"));
    world.sandbox.netns.add_link(ifname);
    let before = world.sandbox.netns.links_json();
    refused(&world.call("ADD").networks(annotation).run()).names(&[ifname]);
    assert_eq!(world.sandbox.netns.links_json(), before, "the interface was touched");
    let dels: Vec<_> = world.calls_of("DEL").into_iter().filter(|call| call.ifname() == ifname).collect();
    assert!(dels.is_empty(), "DEL would have deleted an interface that is somebody else's");
    nothing_attached(&world);
}

/// What kubelet does after a restart at a bad moment: ADD again, for a sandbox that lives.
fn second_add(subject: &Subject) {
    let world = World::with_extras(subject, 1);
    world.add();
    world.sandbox.netns.add_link("eth0");
    world.sandbox.netns.add_link("net1");
    refused(&world.call("ADD").run()).names(&["eth0"]);
    assert_eq!(world.order_of("DEL"), Vec::<String>::new(), "the live attachments were undone");
    assert_eq!(world.sandbox.netns.links(), ["eth0", "net1"]);
    world.del();
    assert_eq!(world.order_of("DEL"), ["net1 extra-a", "eth0 main"], "the first ADD's record is still good");
}

fn primary_first(subject: &Subject) {
    let world = World::with_extras(subject, 3);
    world.add();
    assert_eq!(world.order_of("ADD"), ["eth0 main", "net1 extra-a", "net2 extra-b", "net3 extra-c"]);
    let plain = World::new(subject);
    plain.add();
    assert_eq!(plain.order_of("ADD"), ["eth0 main"]);
}

fn never_at_once(subject: &Subject) {
    let world = World::new(subject);
    let slow = json!({ "ADD": { "sleep_ms": 60 }, "DEL": { "sleep_ms": 60 } });
    world.primary(&scripted("cluster", "main", &slow));
    for name in ["a", "b"] {
        world.extra(&scripted(&format!("net-{name}"), &format!("extra-{name}"), &slow));
    }
    world.add();
    world.del();
    let calls = world.node.calls();
    assert_eq!(calls.len(), 6);
    for pair in calls.windows(2) {
        let end = pair[0].end_ns.expect("the call ended");
        assert!(end <= pair[1].begin_ns, "{} overlaps {}", pair[0].brief(), pair[1].brief());
    }
}

fn same_network_twice(subject: &Subject) {
    let world = World::new(subject);
    world.node.nad("default", "net-a", &list("net-a", "extra-a"));
    for operation in ["ADD", "CHECK", "DEL"] {
        world.call(operation).networks("net-a,net-a").run().success();
    }
    assert_eq!(world.order_of("ADD"), ["eth0 main", "net1 extra-a", "net2 extra-a"]);
    assert_eq!(world.order_of("DEL"), ["net2 extra-a", "net1 extra-a", "eth0 main"]);
    let results: Vec<_> = world.calls_of("DEL").iter().map(|call| call.prev_result().unwrap()).collect();
    assert_ne!(results[0]["ips"], results[1]["ips"], "each attachment has a result of its own");
}

fn one_tuple(subject: &Subject, operations: &[&str]) {
    let world = World::with_extras(subject, 3);
    for operation in operations {
        world.call(operation).run().success();
    }
    let tuples = |operation: &str| {
        let calls = world.calls_of(operation);
        let mut tuples: Vec<_> =
            calls.iter().map(|c| (c.container().to_owned(), c.network(), c.ifname().to_owned())).collect();
        tuples.sort();
        tuples
    };
    let added = tuples("ADD");
    assert_eq!(added.len(), 4);
    let mut distinct = added.clone();
    distinct.dedup();
    assert_eq!(added, distinct);
    for operation in operations {
        assert_eq!(added, tuples(operation), "{operation}");
    }
}

fn requested_name(subject: &Subject) {
    let world = World::new(subject);
    world.node.nad("default", "net-a", &list("net-a", "extra-a"));
    for operation in ["ADD", "DEL"] {
        world.call(operation).networks("net-a@lake0, net-a@lake1").run().success();
        let mut order = world.order_of(operation);
        order.sort();
        assert_eq!(order, ["eth0 main", "lake0 extra-a", "lake1 extra-a"]);
    }
}

/// Three networks of three plugins each; the one at `at` fails.
fn failure(subject: &Subject, at: (usize, usize), script: &Value) {
    let world = World::new(subject);
    for network in 0..3 {
        let plugins: Vec<Value> = (0..3)
            .map(|plugin| {
                let kind = format!("plugin-{network}{plugin}");
                let add = if (network, plugin) == at { script.clone() } else { json!({}) };
                json!({ "type": kind, "script": { "ADD": add } })
            })
            .collect();
        let config = json!({ "cniVersion": "1.0.0", "name": format!("net-{network}"), "plugins": plugins });
        if network == 0 {
            world.primary(&config);
        } else {
            world.extra(&config);
        }
    }
    refused(&world.call("ADD").run());
    let all: Vec<String> = (0..9).map(|n| format!("plugin-{}{}", n / 3, n % 3)).collect();
    let kinds = |operation: &str| world.calls_of(operation).into_iter().map(|c| c.kind).collect::<Vec<_>>();
    let attempted = &all[..=at.0 * 3 + at.1];
    assert_eq!(kinds("ADD"), attempted, "B29: nothing runs after the failure");
    let mut dels = kinds("DEL");
    let last = &all[..(at.0 + 1) * 3];
    assert!(dels.iter().all(|kind| last.contains(kind)), "DEL of a network that was never tried: {dels:?}");
    dels.retain(|kind| attempted.contains(kind));
    dels.reverse();
    assert_eq!(dels, attempted, "each attempted plugin is undone, in reverse");
    nothing_attached(&world);
    world.del();
    nothing_left(&world);
}

fn complete_undo(subject: &Subject) {
    let world = World::with_extras(subject, 2);
    world.extra(&scripted("net-z", "extra-z", &json!({ "ADD": { "exit": 1 } })));
    for _ in 0..3 {
        refused(&world.call("ADD").run());
        nothing_attached(&world);
    }
    undone(&world);
}

fn undo_fails(subject: &Subject) {
    let world = World::new(subject);
    world.primary(&scripted("cluster", "main", &json!({ "DEL": { "error": { "code": 200, "msg": "second" } } })));
    let first = json!({ "ADD": { "error": { "code": 123, "msg": "first" } } });
    world.extra(&scripted("net-a", "extra-a", &first));
    let refusal = refused(&world.call("ADD").run());
    refusal.names(&["first"]);
    assert_eq!(world.order_of("DEL"), ["net1 extra-a", "eth0 main"], "everything is tried");
}

fn add_after_failure(subject: &Subject) {
    let world = World::new(subject);
    let first = json!({ "ADD": { "fail_first": 1, "error": { "code": 123, "msg": "not yet" } } });
    world.extra(&scripted("net-a", "extra-a", &first));
    refused(&world.call("ADD").run());
    nothing_attached(&world);
    world.add();
    world.del();
    let order = world.node.order();
    let end = &order[order.len() - 4..];
    assert_eq!(end, ["ADD eth0 main", "ADD net1 extra-a", "DEL net1 extra-a", "DEL eth0 main"]);
}
