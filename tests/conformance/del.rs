//! DEL: the very same words to the delegates as at ADD, in reverse, whatever has happened to the node since.

use crate::harness::fields;
use crate::judge::{nothing_left, refused, refused_with};
use crate::world::{Subject, World, list, scripted};
use crate::{Check, Needs, check};
use serde_json::{Value, json};

/// A plugin configuration that only a faithful copy keeps: key order, number texts, escapes, nested unknown keys, nulls.
const ODD: &str = r#"{"cniVersion":"1.0.0","name":"net-odd","plugins":[{"zeta":1.0,"type":"extra-odd","alpha":1e3,
"big":12345678901234567890,"neg":-0.0,"text":"\u00e9\u0001é/\/","nothing":null,"flag":false,"empty":{},"none":[],
"ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/16","rangeStart":"10.1.0.9"}]],"routes":[{"dst":"0.0.0.0/0"}]},
"x-vendor":{"b":{"deep":[1,2.50,{"c":"d"}]},"a":1},"dns":{"nameservers":["1.1.1.1"]}},
{"type":"extra-second","capabilities":{"portMappings":true},"unknown":[[[]]]}],"listUnknown":{"k":1}}"#;

pub fn checks() -> Vec<Check> {
    let mut checks = vec![
        check("A18_del_gets_prev_result_from_0.4.0", Needs::Nothing, prev_result),
        check("A18_every_plugin_of_a_chain_gets_the_final_result", Needs::Nothing, final_result),
        check("A19_A36_del_gets_the_very_config_of_add::primary", Needs::Nothing, |s| very_config(s, true)),
        check("A19_A36_del_gets_the_very_config_of_add::additional", Needs::Nothing, |s| very_config(s, false)),
        check("A19_del_gets_the_config_of_add_when_the_network_changed", Needs::Nothing, network_changed),
        check("A20_del_gets_the_runtime_config_of_add", Needs::Nothing, same_runtime_config),
        check("A21_del_is_the_exact_reverse_of_add", Needs::Nothing, reverse),
        check("B30_del_tries_all_and_reports_the_failure", Needs::Nothing, tries_all),
        check("F6_del_after_a_failed_del_ends_what_is_left", Needs::Nothing, tries_again),
        check("F7_del_needs_nothing_but_the_record", Needs::OwnKeys, nothing_but_the_record),
        check("A16_del_succeeds::twice", Needs::Nothing, twice),
        check("A16_del_succeeds::netns_vanished", Needs::Nothing, netns_vanished),
        check("A16_del_succeeds::netns_is_not_set", Needs::Nothing, |s| netns_is(s, None)),
        check("A16_del_succeeds::netns_is_empty", Needs::Nothing, |s| netns_is(s, Some(""))),
        check("A16_del_succeeds::never_added", Needs::Nothing, never_added),
        check("A16_del_succeeds::state_is_gone", Needs::Nothing, state_is_gone),
        check("A16_del_leaves_nothing", Needs::Nothing, leaves_nothing),
        check("A16_del_after_a_refused_add_leaves_nothing", Needs::Nothing, after_a_refusal),
    ];
    for (name, change) in [
        ("older_version", json!({ "cniVersion": "0.4.0" })),
        ("another_name", json!({ "name": "before-the-upgrade" })),
        ("without_our_keys", json!({ "networkDirs": null, "addBudget": null, "confDir": null, "capabilities": null })),
        ("with_keys_of_another_version", json!({ "someOldKey": true, "futureKey": { "a": [1] } })),
    ] {
        checks.push(check(format!("A16_del_with_the_config_of_another_version::{name}"), Needs::Nothing, move |s| {
            another_config(s, &change);
        }));
    }
    checks
}

fn prev_result(subject: &Subject) {
    for (version, given) in [("0.3.1", false), ("0.4.0", true), ("1.0.0", true), ("1.1.0", true)] {
        let world = World::new(subject);
        let config =
            |name: &str, kind: &str| json!({ "cniVersion": version, "name": name, "plugins": [{ "type": kind }] });
        world.primary(&config("cluster", "main"));
        world.extra(&config("net-a", "extra-a"));
        world.add();
        world.del();
        for del in world.calls_of("DEL") {
            let Some(previous) = del.prev_result() else {
                assert!(!given, "{} of {version} has no prevResult", del.brief());
                continue;
            };
            assert!(given, "{} of {version} has a prevResult", del.brief());
            assert_eq!(previous["interfaces"][0]["name"], del.ifname(), "the result of another attachment");
            assert_eq!(previous["cniVersion"], version);
        }
    }
}

fn final_result(subject: &Subject) {
    let world = World::new(subject);
    let last = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{ "name": "$IFNAME", "sandbox": "$NETNS", "mac": "02:00:00:00:00:01" }, { "name": "host0" }],
        "ips": [{ "address": "10.3.2.1/24", "interface": 0 }],
        "x-unknown": { "kept": 1.50 },
    });
    world.primary(&json!({ "cniVersion": "1.0.0", "name": "cluster", "plugins": [
        { "type": "main" }, { "type": "chained", "script": { "ADD": { "result": last } } }, { "type": "third" },
    ] }));
    world.add();
    world.del();
    let adds = world.calls_of("ADD");
    assert_eq!(adds[0].prev_result(), None);
    assert_eq!(adds[1].prev_result().unwrap()["interfaces"].as_array().unwrap().len(), 1, "the first plugin's result");
    let dels = world.calls_of("DEL");
    assert_eq!(dels.len(), 3);
    for del in dels {
        let previous = del.prev_result().unwrap();
        assert_eq!(previous["ips"][0]["address"], "10.3.2.1/24", "{}", del.brief());
        assert_eq!(previous["interfaces"].as_array().unwrap().len(), 2, "{}", del.brief());
    }
}

/// Every key but `prevResult`, with the exact text of its value, in order.
fn config_text(stdin: &str) -> Vec<(String, String)> {
    fields(stdin).into_iter().filter(|(key, _)| key != "prevResult").collect()
}

/// Each plugin's config at DEL (and CHECK) is, key by key and byte by byte, what it was at ADD.
fn same_as_at_add(world: &World) {
    let adds = world.calls_of("ADD");
    assert!(!adds.is_empty());
    for later in world.node.calls().iter().filter(|call| call.operation != "ADD") {
        let add = adds.iter().find(|add| (&add.kind, add.ifname()) == (&later.kind, later.ifname())).unwrap();
        let (before, now) = (config_text(&add.stdin), config_text(&later.stdin));
        for field in &before {
            assert!(now.contains(field), "{}: {field:?} became {now:?}", later.brief());
        }
        assert_eq!(before.len(), now.len(), "{}: keys were added: {now:?}", later.brief());
    }
}

fn very_config(subject: &Subject, primary: bool) {
    let world = World::new(subject);
    let parsed: Value = serde_json::from_str(ODD).unwrap();
    if primary {
        world.primary(&parsed);
        world.node.write("conf/10-primary.conflist", ODD);
    } else {
        world.extra(&parsed);
        world.node.nad_text("default", "net-odd", ODD);
    }
    for operation in ["ADD", "CHECK", "DEL"] {
        world.call(operation).run().success();
    }
    same_as_at_add(&world);
    let adds = world.calls_of("ADD");
    let odd = adds.iter().find(|call| call.kind == "extra-odd").expect("the odd plugin ran");
    let at_add = config_text(&odd.stdin);
    for (key, text) in fields(plugin_text()) {
        let given = at_add.iter().find(|(name, _)| *name == key).map(|(_, text)| text.as_str());
        assert_eq!(given, Some(text.as_str()), "key {key:?} did not reach the delegate as it was written");
    }
    assert!(!odd.stdin.contains("listUnknown"), "keys of the list are not keys of its plugins");
}

/// The first plugin of `ODD` as it is written.
fn plugin_text() -> &'static str {
    let start = ODD.find(r#"{"zeta""#).unwrap();
    let end = ODD.find(r#"{"type":"extra-second""#).unwrap();
    ODD[start..end].trim_end().trim_end_matches(',')
}

fn network_changed(subject: &Subject) {
    let world = World::new(subject);
    let mut primary = list("cluster", "main");
    primary["plugins"][0]["generation"] = 1.into();
    world.primary(&primary);
    let mut extra = list("net-a", "extra-a");
    extra["plugins"][0]["generation"] = 1.into();
    world.extra(&extra);
    world.add();
    primary["plugins"][0]["generation"] = 2.into();
    world.primary(&primary);
    extra["plugins"] = json!([{ "type": "extra-b", "generation": 2 }]);
    world.extra(&extra);
    world.del();
    assert_eq!(world.order_of("DEL"), ["net1 extra-a", "eth0 main"]);
    same_as_at_add(&world);
    nothing_left(&world);
}

fn same_runtime_config(subject: &Subject) {
    let world = World::new(subject);
    let mut primary = list("cluster", "main");
    primary["plugins"][0]["capabilities"] = json!({ "portMappings": true, "bandwidth": true, "x-future": true });
    world.primary(&primary);
    let mappings = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]);
    let call = world
        .call("ADD")
        .runtime_config("portMappings", mappings.clone())
        .runtime_config("bandwidth", json!({ "ingressRate": 1000, "ingressBurst": 2000 }))
        .runtime_config("x-future", json!({ "a": [1, 2.50] }));
    call.run().success();
    world.call("CHECK").run().success();
    world.call("DEL").runtime_config("portMappings", json!([{ "hostPort": 1 }])).run().success();
    same_as_at_add(&world);
    let add = world.calls_of("ADD")[0].config();
    assert_eq!(add["runtimeConfig"]["portMappings"], mappings);
    assert_eq!(world.calls_of("DEL").len(), 1);
}

fn reverse(subject: &Subject) {
    let world = World::new(subject);
    let chain = |name: &str, kinds: [&str; 3]| json!({ "cniVersion": "1.0.0", "name": name, "plugins": kinds.map(|kind| json!({ "type": kind })) });
    world.primary(&chain("cluster", ["a", "b", "c"]));
    world.extra(&chain("net-1", ["d", "e", "f"]));
    world.extra(&chain("net-2", ["g", "h", "i"]));
    world.add();
    world.del();
    let mut adds = world.order_of("ADD");
    assert_eq!(adds.len(), 9);
    adds.reverse();
    assert_eq!(world.order_of("DEL"), adds);
}

/// A pod whose second additional network cannot be deleted at the first try.
fn failing_once(subject: &Subject) -> World {
    let world = World::new(subject);
    world.extra(&list("net-a", "extra-a"));
    let failing = json!({ "DEL": { "fail_first": 1, "error": { "code": 123, "msg": "not now" } } });
    world.extra(&scripted("net-b", "extra-b", &failing));
    world.extra(&list("net-c", "extra-c"));
    world.add();
    world
}

fn tries_all(subject: &Subject) {
    let world = failing_once(subject);
    refused(&world.call("DEL").run()).names(&["not now"]);
    assert_eq!(world.order_of("DEL"), ["net3 extra-c", "net2 extra-b", "net1 extra-a", "eth0 main"]);
}

fn tries_again(subject: &Subject) {
    let world = failing_once(subject);
    refused_with(&world.call("DEL").run(), 123).names(&["net-b", "extra-b", "net2"]);
    world.del();
    let order = world.order_of("DEL");
    assert!(order[4..].contains(&"net2 extra-b".to_owned()), "what failed is tried again: {order:?}");
    nothing_left(&world);
}

/// No primary, no networks, no daemon, no API server, and a config that names none of them.
fn nothing_but_the_record(subject: &Subject) {
    let world = World::with_extras(subject, 2);
    world.add();
    for dir in [world.node.networks(), world.node.conf(), world.node.conf_dir(), world.node.root().join("delegates")] {
        std::fs::remove_dir_all(dir).unwrap();
    }
    world.call("DEL").set("clusterNetwork", Value::Null).set("runtimeConfig", Value::Null).run().success();
    assert_eq!(world.order_of("DEL"), ["net2 extra-b", "net1 extra-a", "eth0 main"]);
    same_as_at_add(&world);
    nothing_left(&world);
}

fn twice(subject: &Subject) {
    let world = World::with_extras(subject, 1);
    world.add();
    for _ in 0..3 {
        world.del();
    }
    assert_eq!(world.order_of("DEL")[..2], ["net1 extra-a", "eth0 main"]);
    nothing_left(&world);
}

fn netns_vanished(subject: &Subject) {
    let mut world = World::with_extras(subject, 1);
    world.add();
    world.sandbox.netns.vanish();
    world.del();
    assert_eq!(world.order_of("DEL"), ["net1 extra-a", "eth0 main"]);
    nothing_left(&world);
}

fn netns_is(subject: &Subject, value: Option<&str>) {
    let world = World::with_extras(subject, 1);
    world.add();
    let call = world.call("DEL");
    let call = match value {
        Some(value) => call.env("CNI_NETNS", value),
        None => call.without("CNI_NETNS"),
    };
    call.run().success();
    assert_eq!(world.order_of("DEL"), ["net1 extra-a", "eth0 main"]);
    nothing_left(&world);
}

fn never_added(subject: &Subject) {
    let mut world = World::with_extras(subject, 1);
    for _ in 0..2 {
        world.del();
    }
    nothing_left(&world);
    world.add();
    assert_eq!(world.order_of("ADD"), ["eth0 main", "net1 extra-a"], "a DEL before ADD is forgotten");
    world.del();
    nothing_left(&world);
    world.sandbox = crate::harness::Sandbox::new();
    world.sandbox.netns.vanish();
    world.del();
    nothing_left(&world);
}

fn state_is_gone(subject: &Subject) {
    let world = World::with_extras(subject, 1);
    world.add();
    std::fs::remove_dir_all(world.node.state()).unwrap();
    world.del();
    nothing_left(&world);
    world.add();
    world.del();
    nothing_left(&world);
}

fn leaves_nothing(subject: &Subject) {
    let world = World::with_extras(subject, 3);
    world.add();
    let left = || crate::harness::files_below(&world.node.state());
    assert!(
        left().iter().any(|path| path.to_string_lossy().contains(&world.sandbox.id)),
        "ADD left no record to judge"
    );
    world.del();
    nothing_left(&world);
}

fn after_a_refusal(subject: &Subject) {
    let world = World::new(subject);
    refused(&world.call("ADD").networks("no-such-network").run());
    world.call("DEL").networks("no-such-network").run().success();
    nothing_left(&world);
    world.add();
}

fn another_config(subject: &Subject, change: &Value) {
    let world = World::with_extras(subject, 1);
    world.add();
    let mut call = world.call("DEL");
    for (key, value) in change.as_object().unwrap() {
        call = call.set(key, value.clone());
    }
    call.run().success();
    assert_eq!(world.order_of("DEL"), ["net1 extra-a", "eth0 main"]);
    nothing_left(&world);
}
