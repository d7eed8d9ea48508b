//! GC: what is dead goes, what lives stays, and each delegated network is told of its own attachments, all of them or nothing.

use crate::harness::Sandbox;
use crate::judge::{nothing_left, refused};
use crate::world::{Subject, World, scripted};
use crate::{Check, Needs, check};
use serde_json::{Value, json};

pub fn checks() -> Vec<Check> {
    vec![
        check("A31_gc_succeeds_with_no_prior_attachment", Needs::Nothing, gc_with_nothing),
        check("A30_gc_leaves_what_is_alive", Needs::Nothing, gc_leaves_the_living),
        check("A30_gc_ends_what_is_dead_and_unlisted", Needs::Nothing, gc_ends_the_dead),
        check("A28_gc_tells_each_network_its_own_attachments", Needs::Nothing, own_attachments),
        check("A28_gc_takes_what_is_unlisted_and_alive_for_valid", Needs::Nothing, alive_is_valid),
        check("A28_gc_tells_nothing_while_a_listed_attachment_is_unknown", Needs::Nothing, unknown_listed),
        check("A29_gc_goes_to_every_network_whatever_one_says", Needs::Nothing, every_network),
        check("A32_gc_heeds_disable_gc::primary", Needs::Nothing, |subject| disabled(subject, "cluster")),
        check("A32_gc_heeds_disable_gc::additional", Needs::Nothing, |subject| disabled(subject, "net-a")),
    ]
}

/// A list of one plugin that knows GC.
fn newest(name: &str, kind: &str, script: &Value) -> Value {
    let mut config = scripted(name, kind, script);
    config["cniVersion"] = "1.1.0".into();
    config
}

/// A world whose primary and whose pods' network `net-a` know GC.
fn speaking(subject: &Subject) -> World {
    let world = World::new(subject);
    world.primary(&newest("cluster", "main", &json!({})));
    world.extra(&newest("net-a", "extra-a", &json!({})));
    world
}

fn gc(world: &World, valid: Value) {
    world.node_call("GC").set("cni.dev/valid-attachments", valid).run().success();
}

/// The runtime's list: of its own interface in each sandbox.
fn listing(sandboxes: &[&Sandbox]) -> Value {
    sandboxes.iter().map(|sandbox| json!({ "containerID": sandbox.id, "ifname": "eth0" })).collect()
}

/// What the plugin `kind` was last told: `<container> <ifname>`, sorted.
#[track_caller]
fn told(world: &World, kind: &str) -> Vec<String> {
    let call = world.calls_of("GC").into_iter().rfind(|call| call.kind == kind);
    let config = call.unwrap_or_else(|| panic!("{kind} was not told of the GC")).config();
    let valid = config["cni.dev/valid-attachments"].as_array().expect("a list of valid attachments").clone();
    let name = |one: &Value| format!("{} {}", one["containerID"].as_str().unwrap(), one["ifname"].as_str().unwrap());
    let mut names: Vec<String> = valid.iter().map(name).collect();
    names.sort();
    names
}

/// `<container> <ifname>` of these sandboxes, sorted.
fn named(sandboxes: &[&Sandbox], ifname: &str) -> Vec<String> {
    let mut names: Vec<String> = sandboxes.iter().map(|sandbox| format!("{} {ifname}", sandbox.id)).collect();
    names.sort();
    names
}

fn gc_with_nothing(subject: &Subject) {
    let world = World::new(subject);
    gc(&world, json!([]));
    std::fs::remove_dir_all(world.node.state()).unwrap();
    gc(&world, json!([]));
    world.add();
    world.del();
}

/// CRI-O calls GC with a list that knows nothing of additional interfaces.
fn gc_leaves_the_living(subject: &Subject) {
    let world = World::with_extras(subject, 2);
    world.add();
    gc(&world, json!([{ "containerID": world.sandbox.id, "ifname": "eth0" }]));
    gc(&world, json!([]));
    assert_eq!(world.order_of("DEL"), Vec::<String>::new(), "GC ended attachments of a sandbox that lives");
    world.del();
    assert_eq!(world.order_of("DEL"), ["net2 extra-b", "net1 extra-a", "eth0 main"]);
}

fn gc_ends_the_dead(subject: &Subject) {
    let mut world = World::with_extras(subject, 2);
    world.add();
    world.sandbox.netns.vanish();
    gc(&world, json!([]));
    assert_eq!(world.order_of("DEL"), ["net2 extra-b", "net1 extra-a", "eth0 main"]);
    nothing_left(&world);
}

fn own_attachments(subject: &Subject) {
    let world = speaking(subject);
    let other = Sandbox::new();
    world.add();
    world.call_for("ADD", &other).run().success();
    let all = [&world.sandbox, &other];
    gc(&world, listing(&all));
    assert_eq!(told(&world, "main"), named(&all, "eth0"));
    assert_eq!(told(&world, "extra-a"), named(&all, "net1"));
    let stray = world.calls_of("GC").into_iter().find(|call| {
        ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]
            .iter()
            .any(|key| call.env.get(*key).is_some_and(|v| !v.is_empty()))
    });
    assert!(stray.is_none(), "a GC is about no sandbox: {stray:?}");
}

fn alive_is_valid(subject: &Subject) {
    let world = speaking(subject);
    let mut dead = Sandbox::new();
    world.add();
    world.call_for("ADD", &dead).run().success();
    dead.netns.vanish();
    gc(&world, json!([]));
    assert_eq!(told(&world, "main"), named(&[&world.sandbox], "eth0"));
    assert_eq!(told(&world, "extra-a"), named(&[&world.sandbox], "net1"));
}

/// Pods of before the meta-plugin was there: what they have is not known.
fn unknown_listed(subject: &Subject) {
    let world = speaking(subject);
    let before = Sandbox::new();
    world.add();
    gc(&world, listing(&[&world.sandbox, &before]));
    assert_eq!(world.calls_of("GC").len(), 0, "a plugin was told a list that leaves out what such a pod has");
    gc(&world, listing(&[&world.sandbox]));
    assert_eq!(told(&world, "extra-a"), named(&[&world.sandbox], "net1"), "the list is known again");
}

fn every_network(subject: &Subject) {
    let world = World::new(subject);
    let fails = |msg: &str| json!({ "GC": { "error": { "code": 123, "msg": msg } } });
    world.primary(&newest("cluster", "main", &fails("first complaint")));
    world.extra(&newest("net-a", "extra-a", &fails("second complaint")));
    world.extra(&newest("net-b", "extra-b", &json!({})));
    world.add();
    let output = world.node_call("GC").set("cni.dev/valid-attachments", listing(&[&world.sandbox])).run();
    let refusal = refused(&output);
    assert!(["first complaint", "second complaint"].iter().all(|word| refusal.says(word)), "{refusal:?}");
    assert_eq!(told(&world, "extra-b"), named(&[&world.sandbox], "net2"));
}

fn disabled(subject: &Subject, which: &str) {
    let world = speaking(subject);
    let mut exempt = newest(which, if which == "cluster" { "main" } else { "extra-a" }, &json!({}));
    exempt["disableGC"] = true.into();
    if which == "cluster" {
        world.primary(&exempt);
    } else {
        world.extra(&exempt);
    }
    world.add();
    gc(&world, listing(&[&world.sandbox]));
    let kinds: Vec<String> = world.calls_of("GC").into_iter().map(|call| call.kind).collect();
    assert_eq!(kinds, [if which == "cluster" { "extra-a" } else { "main" }]);
}
