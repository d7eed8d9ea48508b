//! STATUS and GC: quick, forwarded where the delegate speaks them, and never blamed on what a plain pod does not need.

use crate::judge::{nothing_left, refused_with};
use crate::world::{Subject, World, list, scripted};
use crate::{Check, Needs, check};
use serde_json::{Value, json};
use std::time::Duration;

/// One second, and what starting a process may take while other tests run.
const PROMPT: Duration = Duration::from_millis(1300);

pub fn checks() -> Vec<Check> {
    let mut checks = vec![
        check("A26_status_answers_within_a_second::slow_delegate", Needs::Nothing, slow_delegate),
        check("A26_status_answers_within_a_second::readiness_file_missing", Needs::Nothing, readiness_file),
        check("A27_status_is_forwarded_with_the_whole_config", Needs::Nothing, whole_config),
        check("A27_status_is_forwarded_to_default_networks", Needs::OwnKeys, default_networks),
        check("A27_status_is_not_forwarded_below_1.1.0", Needs::Nothing, not_below),
        check("A25_status_ignores_networks_that_pods_ask_for", Needs::Nothing, ignores_requested),
        check("A31_gc_succeeds_with_no_prior_attachment", Needs::Nothing, gc_with_nothing),
        check("A30_gc_leaves_what_is_alive", Needs::Nothing, gc_leaves_the_living),
        check("A30_gc_ends_what_is_dead_and_unlisted", Needs::Nothing, gc_ends_the_dead),
    ];
    for code in [50_u64, 51] {
        checks.push(check(format!("A27_status_of_the_primary_is_ours::{code}"), Needs::Nothing, move |s| {
            not_ready(s, code);
        }));
    }
    checks
}

fn newest(name: &str, kind: &str, script: &Value) -> Value {
    let mut config = scripted(name, kind, script);
    config["cniVersion"] = "1.1.0".into();
    config
}

fn slow_delegate(subject: &Subject) {
    let world = World::new(subject);
    world.primary(&newest("cluster", "main", &json!({ "STATUS": { "sleep_ms": 8000 } })));
    let output = world.node_call("STATUS").run();
    output.success();
    assert!(output.elapsed < PROMPT, "took {:?}", output.elapsed);
    assert_eq!(world.calls_of("STATUS").len(), 1, "the primary was asked");
}

fn readiness_file(subject: &Subject) {
    let world = World::new(subject);
    world.node.master(&json!({ "readinessindicatorfile": world.node.root().join("not-there") }));
    let output = world.node_call("STATUS").run();
    assert!(output.elapsed < PROMPT, "took {:?}", output.elapsed);
    refused_with(&output, 50);
    world.node.write("not-there", "");
    world.node_call("STATUS").run().success();
}

fn whole_config(subject: &Subject) {
    let world = World::new(subject);
    let mut config = newest("cluster", "main", &json!({}));
    config["plugins"][0]["ipam"] = json!({ "type": "x", "ranges": [[{ "subnet": "10.0.0.0/8" }]] });
    config["plugins"][0]["x-vendor"] = json!({ "deep": [1] });
    config["plugins"].as_array_mut().unwrap().push(json!({ "type": "second" }));
    world.primary(&config);
    world.node_call("STATUS").run().success();
    let calls = world.calls_of("STATUS");
    let kinds: Vec<_> = calls.iter().map(|call| call.kind.as_str()).collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    let main = calls.iter().find(|call| call.kind == "main").expect("main was asked").config();
    for key in ["ipam", "x-vendor"] {
        assert_eq!(main[key], config["plugins"][0][key], "{key}");
    }
    assert_eq!((&main["name"], &main["cniVersion"]), (&json!("cluster"), &json!("1.1.0")));
}

fn default_networks(subject: &Subject) {
    let world = World::new(subject);
    world.primary(&newest("cluster", "main", &json!({})));
    world.node.nad("kube-system", "everywhere", &newest("everywhere", "extra-e", &json!({})));
    world.node.master(&json!({ "defaultNetworks": ["everywhere"] }));
    world.node_call("STATUS").run().success();
    let mut kinds: Vec<_> = world.calls_of("STATUS").into_iter().map(|call| call.kind).collect();
    kinds.sort();
    assert_eq!(kinds, ["extra-e", "main"]);
    let failing = json!({ "STATUS": { "error": { "code": 50, "msg": "agent is away" } } });
    world.node.nad("kube-system", "everywhere", &newest("everywhere", "extra-e", &failing));
    refused_with(&world.node_call("STATUS").run(), 50);
}

fn not_below(subject: &Subject) {
    let world = World::new(subject);
    world.primary(&newest("cluster", "new", &json!({})));
    world.node_call("STATUS").run().success();
    world.primary(&list("cluster", "old"));
    world.node_call("STATUS").run().success();
    let kinds: Vec<_> = world.calls_of("STATUS").into_iter().map(|call| call.kind).collect();
    assert_eq!(kinds, ["new"]);
}

fn not_ready(subject: &Subject, code: u64) {
    let world = World::new(subject);
    let failing = json!({ "STATUS": { "error": { "code": code, "msg": "agent is away" } } });
    world.primary(&newest("cluster", "main", &failing));
    let output = world.node_call("STATUS").run();
    let refusal = refused_with(&output, code);
    refusal.names(&["agent is away"]);
    refusal.tells(&["cluster", "main"]);
    world.primary(&newest("cluster", "main", &json!({})));
    world.node_call("STATUS").run().success();
}

fn ignores_requested(subject: &Subject) {
    let world = World::new(subject);
    world.primary(&newest("cluster", "main", &json!({})));
    let failing = json!({ "STATUS": { "error": { "code": 50, "msg": "agent is away" } } });
    world.node.nad("default", "net-a", &newest("net-a", "extra-a", &failing));
    world.call("ADD").networks("net-a").run().success();
    world.node_call("STATUS").run().success();
    let kinds: Vec<_> = world.calls_of("STATUS").into_iter().map(|call| call.kind).collect();
    assert_eq!(kinds, ["main"]);
}

fn gc(world: &World, valid: Value) {
    world.node_call("GC").set("cni.dev/valid-attachments", valid).run().success();
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
