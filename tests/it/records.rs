//! F1, F14, A11, A42: what is on disk, when it comes and when it goes.

use crate::harness::{Node, Sandbox, files_below};
use crate::kernel::isolated;
use crate::scene::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// A record as far as exact bytes matter.
#[derive(Deserialize)]
struct Exact<T> {
    record: T,
}

#[derive(Deserialize)]
struct ExactOutcome {
    result: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ExactRecord {
    attachment: ExactAttachment,
    result: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ExactAttachment {
    calls: Vec<ExactCall>,
}

#[derive(Deserialize)]
struct ExactCall {
    config: Box<RawValue>,
}

#[track_caller]
fn exact(path: &Path) -> ExactRecord {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut texts = text.split(|byte| *byte == 0x1e);
    let mut record = serde_json::from_slice::<Exact<ExactRecord>>(texts.next().unwrap()).unwrap().record;
    for outcome in texts {
        record.result = serde_json::from_slice::<Exact<ExactOutcome>>(outcome).unwrap().record.result;
    }
    record
}

/// A node with a primary and the network `default/net-a`, whose delegates run until the file given here is there.
fn held() -> (Node, [std::path::PathBuf; 2]) {
    let node = Node::new();
    let go = [node.root().join("go-main"), node.root().join("go-extra")];
    let script = |go: &Path, odd: &str| json!({ "ADD": { "block_until_file": go }, "odd": odd });
    node.primary(&scripted("cluster", "main", &script(&go[0], "\u{e9} \" \\")));
    node.nad("default", "net-a", &scripted("net-a", "extra", &script(&go[1], "")));
    (node, go)
}

#[test]
fn f1_a_record_is_on_disk_before_its_delegate_runs_and_holds_what_del_needs() {
    let (node, go) = held();
    let sandbox = Sandbox::new();
    let add = node.call("ADD", &sandbox).networks("net-a").start();
    let [eth0, net1] = ["eth0", "net1"].map(|ifname| record_path(&node, &sandbox, ifname));
    let main = first_call(&node, "ADD");
    assert!(!net1.exists(), "each attachment's record comes with its own delegate");
    let seen = record(&eth0);
    let netns = std::fs::metadata(sandbox.netns.path()).unwrap();
    assert_eq!(seen["state"], "begun");
    assert_eq!(seen["result"], Value::Null);
    assert_eq!(seen["of"], 2);
    assert_eq!(seen["request"], "eth0");
    assert_eq!(seen["netns"], json!({ "dev": netns.dev(), "ino": netns.ino() }));
    assert_eq!(seen["call"]["pid"], add.pid());
    assert_eq!(seen["sandbox"]["containerID"], sandbox.id);
    assert_eq!(seen["sandbox"]["pod"], json!({ "namespace": "default", "name": sandbox.pod, "uid": sandbox.uid }));
    assert_eq!(seen["attachment"]["args"], sandbox.args());
    assert_eq!(seen["attachment"]["ordinal"], 0);
    let epoch = std::fs::read_to_string(node.run_dir().join("epoch")).unwrap();
    assert!(seen["epoch"].as_str().unwrap().ends_with(&format!(":{epoch}")));
    assert_eq!(exact(&eth0).attachment.calls[0].config.get(), main.stdin, "the very bytes that the plugin was given");
    for path in [eth0.as_path(), eth0.parent().unwrap()] {
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }

    std::fs::write(&go[0], "").unwrap();
    let extra = eventually("the other delegate", || node.calls().into_iter().find(|call| call.kind == "extra"));
    assert_eq!(record(&eth0)["state"], "attached", "F1: what was made is on record before anything else runs");
    assert_eq!(record(&net1)["state"], "begun");
    assert_eq!(exact(&net1).attachment.calls[0].config.get(), extra.stdin);
    std::fs::write(&go[1], "").unwrap();
    succeeded(&add.wait());
    assert_eq!(record(&net1)["state"], "attached");
}

#[test]
fn a42_the_result_is_kept_byte_for_byte_and_only_whole_files_are_there() {
    let text = r#"{"cniVersion":"1.0.0", "ips":[ ],"x": 1.50}"#;
    let node = node_with(&json!({ "ADD": { "stdout": text } }));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    let path = record_path(&node, &sandbox, "eth0");
    assert_eq!(exact(&path).result.unwrap().get(), text);
    assert_eq!(files_below(path.parent().unwrap()), [path]);
}

#[test]
fn f1_a_record_goes_when_every_del_succeeded_and_not_before() {
    let (node, go) = held();
    let sandbox = Sandbox::new();
    go.iter().for_each(|path| std::fs::write(path, "").unwrap());
    succeeded(&node.call("ADD", &sandbox).networks("net-a").run());
    let release = node.root().join("release");
    node.script("main", &json!({ "DEL": { "block_until_file": release } }));
    node.script("extra", &json!({ "DEL": { "error": { "code": 42, "msg": "busy" }, "fail_first": 1 } }));
    let [eth0, net1] = ["eth0", "net1"].map(|ifname| record_path(&node, &sandbox, ifname));
    let del = node.call("DEL", &sandbox).start();
    eventually("the primary's DEL", || node.calls_of("DEL").into_iter().find(|call| call.kind == "main"));
    assert!(eth0.exists(), "its DEL has not succeeded yet");
    assert!(net1.exists(), "its DEL failed");
    let queued = node.state().join("queue").join(&sandbox.id).join("net1.json");
    let queued: Value = serde_json::from_str(&std::fs::read_to_string(queued).expect("F6: queued")).unwrap();
    assert_eq!(queued["attempts"], 1);
    assert!(queued["error"].as_str().unwrap().contains("busy"), "{queued}");
    std::fs::write(release, "").unwrap();
    refused(&del.wait(), 42);
    assert!(!eth0.exists() && net1.exists());
    succeeded(&node.call("DEL", &sandbox).run());
    nothing_left(&node, &sandbox);
    let del_of_main = node.calls_of("DEL").iter().filter(|call| call.kind == "main").count();
    assert_eq!(del_of_main, 1, "what was deleted is not deleted again");
}

/// A node whose network `default/net-a` refuses every ADD.
fn failing() -> Node {
    let node = node_with(&json!({}));
    let script = json!({ "ADD": { "error": { "code": 99, "msg": "no" } } });
    node.nad("default", "net-a", &scripted("net-a", "extra", &script));
    node
}

#[test]
fn f14_an_undone_add_leaves_tombstones_that_outlive_gc_and_go_with_its_del() {
    for namespace_lives in [true, false] {
        let node = failing();
        let mut sandbox = Sandbox::new();
        refused(&node.call("ADD", &sandbox).networks("net-a").run(), 99);
        let undone = ["ADD eth0 main", "ADD net1 extra", "DEL net1 extra", "DEL eth0 main"];
        assert_eq!(node.order(), undone);
        for ifname in ["eth0", "net1"] {
            let tombstone = record(&record_path(&node, &sandbox, ifname));
            assert_eq!((&tombstone["state"], &tombstone["result"]), (&json!("undone"), &Value::Null));
        }
        if !namespace_lives {
            sandbox.netns.vanish();
        }
        node.master(&json!({ "cniVersion": "1.1.0" }));
        let gc = node.node_call("GC").set("cni.dev/valid-attachments", json!([]));
        succeeded(&gc.run());
        assert_eq!(node.records().len(), 2, "GC does not end a tombstone");
        succeeded(&node.call("DEL", &sandbox).run());
        assert_eq!(node.order(), undone, "neither GC nor DEL runs a delegate");
        nothing_left(&node, &sandbox);
    }
}

#[test]
fn f14_an_add_after_an_undone_one_starts_afresh() {
    let node = failing();
    let sandbox = Sandbox::new();
    refused(&node.call("ADD", &sandbox).networks("net-a").run(), 99);
    let before = node.order().len();
    succeeded(&node.call("ADD", &sandbox).run());
    assert_eq!(node.order()[before..], ["ADD eth0 main"]);
    assert!(!record_path(&node, &sandbox, "net1").exists(), "the tombstone of the earlier ADD is gone");
    succeeded(&node.call("DEL", &sandbox).run());
    assert_eq!(node.order()[before..], ["ADD eth0 main", "DEL eth0 main"]);
    nothing_left(&node, &sandbox);
}

#[test]
fn f14_an_add_that_is_refused_before_it_begins_leaves_the_tombstones_of_the_one_before() {
    let node = failing();
    let sandbox = Sandbox::new();
    refused(&node.call("ADD", &sandbox).networks("net-a").run(), 99);
    let undone = node.order();
    refused(&node.call("ADD", &sandbox).networks("nowhere").run(), 7);
    succeeded(&node.call("DEL", &sandbox).run());
    assert_eq!(node.order(), undone, "nothing was begun since, so the DEL runs nobody");
    nothing_left(&node, &sandbox);
}

#[test]
fn f1_what_a_killed_add_left_is_deleted_by_the_next_add_of_the_sandbox() {
    isolated(|_| {
        let node = real_node();
        let hangs = json!({ "ADD": { "sleep_ms": HANGS_MS } });
        node.nad("default", "net-a", &scripted("net-a", "extra", &hangs));
        let sandbox = Sandbox::new();
        let mut add = node.call("ADD", &sandbox).networks("net-a").start();
        let delegate = first_call(&node, "ADD").pid;
        add.kill();
        add.wait();
        kill(delegate);
        ended(delegate);
        assert_eq!((leases().len(), host_veths().len()), (1, 1), "there is something to delete");
        let old = leases();

        node.nad("default", "net-a", &scripted("net-a", "extra", &json!({})));
        succeeded(&node.call("ADD", &sandbox).networks("net-a").run());
        assert_eq!(node.order(), ["ADD net1 extra", "DEL net1 extra", "ADD net1 extra"]);
        assert_eq!(sandbox.netns.links(), ["eth0"]);
        assert_eq!((leases().len(), host_veths().len()), (1, 1));
        assert_ne!(leases(), old, "a lease of its own");
        succeeded(&node.call("DEL", &sandbox).run());
        assert_eq!((leases().len(), host_veths().len()), (0, 0));
        nothing_left(&node, &sandbox);
    });
}

#[test]
fn a11_a_whole_and_living_sandbox_is_never_touched_by_another_add() {
    isolated(|_| {
        let node = real_node();
        node.nad_text("default", "net-a", &bridge("net-a", 2).to_string());
        let sandbox = Sandbox::new();
        let add = node.call("ADD", &sandbox).networks("net-a");
        succeeded(&add.run());
        let state = || {
            let records: Vec<String> = node.records().iter().map(|p| std::fs::read_to_string(p).unwrap()).collect();
            (sandbox.netns.run(&["ip", "-json", "address", "show"]), leases(), host_veths(), records)
        };
        let before = state();
        assert_eq!((before.1.len(), before.2.len(), before.3.len()), (2, 2, 2));
        for again in [add.clone(), node.call("ADD", &sandbox)] {
            let error = refused(&again.run(), 7);
            assert!(error["msg"].as_str().unwrap().contains("attached already"), "{error}");
            assert_eq!(state(), before);
        }
        succeeded(&node.call("DEL", &sandbox).run());
        assert_eq!((leases().len(), host_veths().len(), sandbox.netns.links().len()), (0, 0, 0));
        nothing_left(&node, &sandbox);
    });
}

#[test]
fn a16_a_path_that_is_now_another_namespace_is_given_to_no_plugin() {
    isolated(|kernel| {
        let node = real_node();
        node.nad("default", "net-a", &scripted("net-a", "extra", &json!({})));
        let sandbox = Sandbox::new();
        let path = kernel.netns("pod");
        let call = |operation: &str| node.call(operation, &sandbox).env("CNI_NETNS", path.to_str().unwrap());
        succeeded(&call("ADD").networks("net-a").run());
        assert_eq!(leases().len(), 1);
        // The next pod gets the same path, and its interface has the same name. Its namespace is there before the first
        // one goes, because the kernel gives an inode number again at once.
        let next = kernel.netns("next");
        kernel.remove_netns(&path);
        std::fs::write(&path, "").unwrap();
        crate::kernel::bind(&next, &path);
        crate::kernel::ip_in(&path, &["link", "add", "eth0", "type", "bridge"]);
        succeeded(&call("DEL").run());
        let del = &node.calls_of("DEL")[0];
        assert_eq!(del.env["CNI_NETNS"], "", "the other pod's namespace");
        assert!(crate::kernel::ip_in(&path, &["link", "show"]).contains("eth0"), "the other pod's interface");
        assert_eq!(leases(), Vec::<String>::new());
        nothing_left(&node, &sandbox);
    });
}
