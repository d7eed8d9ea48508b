//! What a third user did whom everything goes wrong for, to records, the queue and the sweep: one test for each defect.

use crate::harness::Sandbox;
use crate::scene::*;
use crate::sweep::{entry, entry_path, gone, loud};
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

#[test]
fn f6_a_pipe_in_the_place_of_the_time_of_the_sweep_holds_no_del_up() {
    let node = loud(&json!({ "DEL": { "error": { "code": 42, "msg": "busy" } } }));
    let sandbox = Sandbox::new();
    let _ = std::fs::remove_file(node.run_dir().join("sweep"));
    nix::unistd::mkfifo(&node.run_dir().join("sweep"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    succeeded(&node.call("ADD", &sandbox).run());
    refused(&node.call("DEL", &sandbox).run(), 42);
    assert_eq!(entry(&entry_path(&node, &sandbox, "eth0"))["attempts"], 1);
}

#[test]
fn f6_an_entry_of_the_queue_with_a_time_that_nobody_set_is_due() {
    let node = loud(&json!({ "DEL": { "error": { "code": 42, "msg": "busy" }, "fail_first": 1 } }));
    let dead = gone(&node);
    refused(&node.call("DEL", &dead).run(), 42);
    let path = entry_path(&node, &dead, "eth0");
    let mut flipped = entry(&path);
    // One bit of it.
    flipped["due"] = (flipped["due"].as_u64().unwrap() | 1 << 40).into();
    std::fs::write(&path, flipped.to_string()).unwrap();
    let mut gc = crate::gc_command::gc(&node, &["--queued"]);
    eventually("no other sweep", || (gc.status().unwrap().success() && !path.exists()).then_some(()));
    nothing_left(&node, &dead);
}

#[test]
fn a17_a_record_that_is_a_link_to_nothing_is_put_aside_for_good() {
    let node = loud(&json!({}));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    let path = record_path(&node, &sandbox, "eth0");
    std::fs::remove_file(&path).unwrap();
    symlink("/nowhere/at/all", &path).unwrap();
    succeeded(&node.call("DEL", &sandbox).run());
    assert!(std::fs::symlink_metadata(path.parent().unwrap()).is_err(), "its directory");
    let aside: Vec<_> = std::fs::read_dir(node.state().join("quarantine")).unwrap().flatten().collect();
    assert_eq!(aside.len(), 2, "the link and the reason: {aside:?}");
}

#[test]
fn f6_a_queue_that_is_no_directory_keeps_no_pod() {
    let node = loud(&json!({}));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    node.write("state/queue", "");
    succeeded(&node.call("DEL", &sandbox).run());
    assert_eq!(node.records(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a16_the_namespace_of_the_host_is_given_to_no_plugin_whatever_a_record_says() {
    let node = loud(&json!({}));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    let path = record_path(&node, &sandbox, "eth0");
    let mut record = record(&path);
    let own = std::fs::metadata("/proc/self/ns/net").unwrap();
    record["sandbox"]["netns"] = "/proc/self/ns/net".into();
    record["netns"] = json!({ "dev": own.dev(), "ino": own.ino() });
    seal(&path, &record);
    succeeded(&node.call("DEL", &sandbox).run());
    let del = &node.calls_of("DEL")[0];
    // The one that this call names is no more that of the record.
    assert_eq!(del.env["CNI_NETNS"], "");
    nothing_left(&node, &sandbox);
}

/// Writes `record` as it would be written.
fn seal(path: &Path, record: &Value) {
    let text = record.to_string();
    let checksum = crc32fast::hash(text.as_bytes());
    let sealed = format!("{{\"version\":1,\"checksum\":\"crc32:{checksum:08x}\",\"record\":{text}}}");
    std::fs::write(path, sealed).unwrap();
}

#[test]
fn g4_what_is_wrong_with_a_record_is_said_with_its_path_once() {
    let node = loud(&json!({}));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    let path = record_path(&node, &sandbox, "eth0");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = refused(&node.call("CHECK", &sandbox).run(), 3);
    let msg = error["msg"].as_str().unwrap();
    assert!(msg.ends_with("eth0.json is no regular file"), "{msg}");
    assert_eq!(msg.matches("eth0.json").count(), 1, "{msg}");
}
