//! What a third user did whom everything goes wrong for, to records, the queue and the sweep: one test for each defect.

use crate::harness::Sandbox;
use crate::scene::*;
use crate::sweep::{entry, entry_path, gone, loud};
use nix::sys::stat::Mode;
use serde_json::json;
use std::os::unix::fs::symlink;

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
