//! A28, A29, A31, A32, F14: what a GC tells the plugins of which networks, word for word, and when it tells them nothing.

use crate::harness::{Node, Output, Recorded, Sandbox, fields};
use crate::scene::*;
use serde_json::{Value, json};
use std::time::Duration;

/// A list of one scripted plugin that knows GC.
fn speaking(name: &str, kind: &str, script: &Value) -> Value {
    json!({ "cniVersion": "1.1.0", "name": name, "plugins": [{ "type": kind, "script": script }] })
}

/// A node whose primary is `cluster` (plugin `main`), with the network `default/net-a` (plugin `extra`).
fn node() -> Node {
    let node = Node::new();
    node.primary(&speaking("cluster", "main", &json!({})));
    node.nad("default", "net-a", &speaking("net-a", "extra", &json!({})));
    node
}

/// GC with this list; `null` gives none.
fn gc(node: &Node, valid: Value) -> Output {
    node.node_call("GC").set("cniVersion", "1.1.0".into()).set("cni.dev/valid-attachments", valid).run()
}

/// The runtime's list of these sandboxes.
fn listing(sandboxes: &[&Sandbox]) -> Value {
    sandboxes.iter().map(|sandbox| json!({ "containerID": sandbox.id, "ifname": "eth0" })).collect()
}

fn added(node: &Node, networks: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).networks(networks).run());
    sandbox
}

/// `network ifname ...` of each plugin that was told, in order: the network it was told of and the interfaces valid there.
fn told(node: &Node, sandboxes: &[&Sandbox]) -> Vec<String> {
    let name = |one: &Value| {
        let at =
            sandboxes.iter().position(|sandbox| one["containerID"] == sandbox.id.as_str()).expect("a known sandbox");
        format!(" {at}:{}", one["ifname"].as_str().unwrap())
    };
    let line = |call: Recorded| {
        let config = call.config();
        assert_eq!(config["cni.dev/valid-attachments"], config["cni.dev/attachments"], "both names, as libcni has it");
        let mut names: Vec<String> = config["cni.dev/valid-attachments"].as_array().unwrap().iter().map(name).collect();
        names.sort();
        format!("{} {}{}", config["name"].as_str().unwrap(), call.kind, names.concat())
    };
    node.calls_of("GC").into_iter().map(line).collect()
}

#[test]
fn a28_a29_every_network_is_told_its_own_attachments_and_nothing_of_one_sandbox() {
    let node = node();
    let odd = r#"{"cniVersion":"1.1.0","name":"net-a","listUnknown":1,"plugins":[{"type":"extra","n":1.50e1,"capabilities":{"ips":true},"runtimeConfig":{"ips":["9.9.9.9/8"]}}]}"#;
    node.nad_text("default", "net-a", odd);
    let [first, second] = [added(&node, "net-a,net-a"), added(&node, r#"[{"name":"net-a","ips":["10.0.0.7/24"]}]"#)];
    succeeded(&gc(&node, listing(&[&first, &second])));
    let valid = ["cluster main 0:eth0 1:eth0", "net-a extra 0:net1 0:net2 1:net1"];
    assert_eq!(told(&node, &[&first, &second]), valid);
    let call = &node.calls_of("GC")[1];
    for key in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
        assert!(!call.variables.contains(&key.to_owned()), "{key}");
    }
    assert!(call.env["CNI_PATH"].contains(node.plugins().to_str().unwrap()));
    let keys: Vec<String> = fields(&call.stdin).into_iter().map(|(key, _)| key).collect();
    let expected = ["type", "n", "cniVersion", "name", "cni.dev/valid-attachments", "cni.dev/attachments"];
    assert_eq!(keys, expected);
    assert!(call.stdin.contains("1.50e1"), "A36: {}", call.stdin);
}

#[test]
fn a28_what_is_unlisted_and_alive_is_valid_and_what_is_dead_was_deleted_before() {
    let node = node();
    let [listed, alive, mut dead] = [added(&node, "net-a"), added(&node, "net-a"), added(&node, "net-a")];
    dead.netns.vanish();
    succeeded(&gc(&node, listing(&[&listed])));
    let valid = ["cluster main 0:eth0 1:eth0", "net-a extra 0:net1 1:net1"];
    assert_eq!(told(&node, &[&listed, &alive]), valid);
    let order: Vec<String> = node.order().into_iter().skip(6).collect();
    assert_eq!(order, ["DEL net1 extra", "DEL eth0 main", "GC  main", "GC  extra"], "A30 comes first");
    nothing_left(&node, &dead);
}

#[test]
fn a28_two_manifests_that_share_a_name_share_the_list() {
    let node = node();
    node.nad("default", "net-b", &speaking("net-a", "other", &json!({})));
    let pod = added(&node, "net-a,net-b");
    succeeded(&gc(&node, listing(&[&pod])));
    let both = "0:net1 0:net2";
    assert_eq!(
        told(&node, &[&pod]),
        ["cluster main 0:eth0".to_owned(), format!("net-a extra {both}"), format!("net-a other {both}")]
    );
}

#[test]
fn a28_while_a_listed_attachment_has_no_record_nothing_is_forwarded() {
    let node = node();
    let pod = added(&node, "net-a");
    let before = Sandbox::new();
    for (what, listed) in [("before meta-cni", &[&pod, &before][..]), ("alone", &[&before])] {
        succeeded(&gc(&node, listing(listed)));
        assert_eq!(node.calls_of("GC").len(), 0, "{what}");
    }
    assert!(node.log().contains("not wholly, on record"), "{}", node.log());
    let net1 = record_path(&node, &pod, "net1");
    let aside = node.root().join("aside");
    std::fs::rename(&net1, &aside).unwrap();
    succeeded(&gc(&node, listing(&[&pod])));
    assert_eq!(node.calls_of("GC").len(), 0, "one of its records is lost");
    std::fs::rename(&aside, &net1).unwrap();
    succeeded(&gc(&node, listing(&[&pod])));
    assert_eq!(node.calls_of("GC").len(), 2);
}

#[test]
fn a28_the_attachment_of_a_damaged_record_is_valid_everywhere() {
    let node = node();
    let pod = added(&node, "net-a");
    std::fs::write(record_path(&node, &pod, "net1"), "{").unwrap();
    succeeded(&gc(&node, listing(&[&pod])));
    assert_eq!(node.calls_of("GC").len(), 0, "listed, and not wholly on record");
    succeeded(&gc(&node, json!([])));
    assert_eq!(told(&node, &[&pod]), ["cluster main 0:eth0 0:net1", "net-a extra 0:net1"]);
}

#[test]
fn a31_without_any_attachment_every_network_is_told_that_there_is_none() {
    let node = node();
    node.nad("other", "net-b", &speaking("net-b", "extra-b", &json!({})));
    node.write("confs/default.conflist", &speaking("every-pod", "every", &json!({})).to_string());
    node.install_plugin("every");
    node.master(&json!({ "defaultNetworks": ["every-pod"] }));
    node.manifest("default", "broken.yaml", "{");
    succeeded(&gc(&node, json!([])));
    assert_eq!(told(&node, &[]), ["cluster main", "every-pod every", "net-a extra", "net-b extra-b"]);
    succeeded(&gc(&node, Value::Null));
    assert_eq!(node.calls_of("GC").len(), 4, "no list: nothing is known to be gone");
}

#[test]
fn a29_a_network_that_only_a_record_knows_is_told_too() {
    let node = node();
    let pod = added(&node, "net-a");
    std::fs::remove_dir_all(node.networks()).unwrap();
    node.primary(&speaking("cluster", "later", &json!({})));
    succeeded(&gc(&node, listing(&[&pod])));
    // The last primary of which a pod was added is on record.
    let valid = ["cluster later 0:eth0", "cluster main 0:eth0", "net-a extra 0:net1"];
    assert_eq!(told(&node, &[&pod]), valid);
}

#[test]
fn a29_gc_goes_on_after_a_failure_and_reports_all() {
    let node = Node::new();
    let fails = |msg: &str| json!({ "GC": { "error": { "code": 123, "msg": msg } } });
    node.primary(&speaking("cluster", "main", &fails("no lock")));
    node.nad("default", "net-a", &speaking("net-a", "extra", &json!({ "GC": { "exit": 3 } })));
    node.nad("default", "net-b", &speaking("net-b", "last", &json!({})));
    let error = refused(&gc(&node, json!([])), 123);
    let text = error.to_string();
    assert!(text.contains(r#"network \"cluster\" (main): GC: no lock"#), "{error}");
    assert!(text.contains("net-a") && text.contains("exit code 3"), "{error}");
    assert_eq!(told(&node, &[]), ["cluster main", "net-a extra", "net-b last"]);
}

#[test]
fn a29_a_plugin_that_does_not_know_gc_or_is_not_there_is_no_failure() {
    let node = node();
    let unknown = json!({ "GC": { "error": { "code": 4, "msg": "unknown CNI_COMMAND: GC" } } });
    node.nad("default", "net-a", &speaking("net-a", "extra", &unknown));
    node.nad_text("default", "net-b", &speaking("net-b", "nowhere", &json!({})).to_string());
    node.nad("default", "net-c", &scripted("net-c", "too-old", &json!({})));
    succeeded(&gc(&node, json!([])));
    assert_eq!(told(&node, &[]), ["cluster main", "net-a extra"]);
    assert!(node.log().contains("plugin nowhere is not in"), "{}", node.log());
}

#[test]
fn a29_a_plugin_that_hangs_takes_no_more_than_the_budget() {
    let node = node();
    node.primary(&speaking("cluster", "main", &json!({ "GC": { "sleep_ms": HANGS_MS } })));
    node.master(&json!({ "delBudget": "1s" }));
    let output = gc(&node, json!([]));
    let error = refused(&output, 703);
    assert!(error["msg"].as_str().unwrap().contains("(main): GC"), "{error}");
    assert!(error.to_string().contains("1 of 2 plugins were not told"), "{error}");
    assert!(output.elapsed < PATIENCE, "{output:?}");
}

#[test]
fn a32_a_network_with_disable_gc_is_left_alone_by_its_name() {
    let node = node();
    let mut exempt = speaking("net-a", "extra", &json!({}));
    let pod = added(&node, "net-a");
    exempt["disableGC"] = true.into();
    node.nad("default", "net-a", &exempt);
    succeeded(&gc(&node, listing(&[&pod])));
    assert_eq!(told(&node, &[&pod]), ["cluster main 0:eth0"], "also by the list of the record");
}

#[test]
fn f14_an_undone_add_is_valid_nowhere_and_its_del_still_calls_no_delegate() {
    let node = node();
    node.nad("default", "net-a", &speaking("net-a", "extra", &json!({ "ADD": { "error": { "code": 99 } } })));
    let sandbox = Sandbox::new();
    refused(&node.call("ADD", &sandbox).networks("net-a").run(), 99);
    succeeded(&gc(&node, listing(&[&sandbox])));
    assert_eq!(told(&node, &[&sandbox]), ["cluster main", "net-a extra"]);
    let before = node.calls_of("DEL").len();
    succeeded(&node.call("DEL", &sandbox).run());
    assert_eq!(node.calls_of("DEL").len(), before);
    nothing_left(&node, &sandbox);
}

#[test]
fn a28_an_add_under_way_and_a_gc_never_meet_at_the_plugins() {
    let node = node();
    let go = node.root().join("go");
    node.nad("default", "net-a", &speaking("net-a", "extra", &json!({ "ADD": { "block_until_file": go } })));
    let sandbox = Sandbox::new();
    let add = node.call("ADD", &sandbox).networks("net-a").start();
    eventually("the delegate of net-a", || node.calls().into_iter().find(|call| call.kind == "extra"));
    succeeded(&gc(&node, json!([])));
    assert_eq!(node.calls_of("GC").len(), 0, "an ADD is under way");
    std::fs::write(&go, "").unwrap();
    succeeded(&add.wait());

    let release = node.root().join("release");
    node.primary(&speaking("cluster", "main", &json!({ "GC": { "block_until_file": release } })));
    let call = node.node_call("GC").set("cniVersion", "1.1.0".into());
    let clearing = call.set("cni.dev/valid-attachments", listing(&[&sandbox])).start();
    first_call(&node, "GC");
    let late = Sandbox::new();
    let mut add = node.call("ADD", &late).start();
    std::thread::sleep(Duration::from_millis(100));
    assert!(!add.is_over(), "it waits: {:?}", node.order());
    assert_eq!(node.calls_of("ADD").len(), 2);
    std::fs::write(&release, "").unwrap();
    succeeded(&clearing.wait());
    succeeded(&add.wait());
}
