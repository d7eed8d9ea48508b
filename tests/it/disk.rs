//! A7, A12, F6: state and run directories that are full or read-only. An ADD fails with code 5 and leaves nothing; a DEL
//! still runs the delegates' DEL and says what it could not do.

use crate::harness::{Node, Output, Sandbox};
use crate::kernel::isolated;
use crate::scene::*;
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};
use std::path::Path;

/// What is wrong with a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Full,
    ReadOnly,
}

use Wrong::{Full, ReadOnly};

impl Wrong {
    /// What the kernel says of it.
    fn words(self) -> &'static str {
        match self {
            Full => "No space left on device",
            ReadOnly => "Read-only file system",
        }
    }

    /// Makes it so, from now on.
    fn happens_to(self, dir: &Path) {
        match self {
            Full => {
                // More than the file system has; what was written until it was full stays.
                let filler = std::fs::write(dir.join("filler"), vec![0; 1 << 20]);
                assert!(filler.is_err(), "{} is not a small file system", dir.display());
            }
            ReadOnly => remount(dir, MsFlags::MS_RDONLY),
        }
    }

    fn ends(self, dir: &Path) {
        match self {
            Full => std::fs::remove_file(dir.join("filler")).unwrap(),
            ReadOnly => remount(dir, MsFlags::empty()),
        }
    }
}

fn remount(dir: &Path, flags: MsFlags) {
    // A sweep that a call has started may still have its lock open.
    eventually("the remounting of a directory", || {
        match mount(None::<&str>, dir, None::<&str>, MsFlags::MS_REMOUNT | flags, Some("size=256k")) {
            Err(nix::errno::Errno::EBUSY) => None,
            other => Some(other),
        }
    })
    .unwrap();
}

/// Takes its mounts away before its directories go.
struct SmallNode(Node);

impl std::ops::Deref for SmallNode {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.0
    }
}

impl Drop for SmallNode {
    fn drop(&mut self) {
        for dir in [self.state(), self.run_dir()] {
            let _ = nix::mount::umount2(&dir, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

/// A node whose state and run directories are small file systems, with a primary and the network `default/net-a`. Only
/// for tests in namespaces of their own.
fn small_node() -> SmallNode {
    let node = SmallNode(node_with(&json!({})));
    for dir in [node.state(), node.run_dir()] {
        mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), Some("size=256k,mode=700")).unwrap();
    }
    node.nad("default", "net-a", &scripted("net-a", "extra", &json!({})));
    node
}

#[track_caller]
fn says(output: &Output, wrong: Wrong, place: &Path) -> Value {
    let error = refused(output, 5);
    let msg = error["msg"].as_str().unwrap();
    assert!(msg.contains(wrong.words()) && msg.contains(place.to_str().unwrap()), "{msg}");
    error
}

#[test]
fn f1_an_add_that_cannot_write_fails_with_code_5_and_leaves_nothing() {
    for wrong in [Full, ReadOnly] {
        for place in [Node::state, Node::run_dir] {
            isolated(|_| {
                let node = small_node();
                let sandbox = Sandbox::new();
                let place = place(&node);
                wrong.happens_to(&place);
                says(&node.call("ADD", &sandbox).networks("net-a").run(), wrong, &place);
                assert_eq!(node.order(), Vec::<String>::new(), "{wrong:?}: what is not on record is not run");
                nothing_left(&node, &sandbox);
                wrong.ends(&place);
                succeeded(&node.call("ADD", &sandbox).networks("net-a").run());
                succeeded(&node.call("DEL", &sandbox).run());
                nothing_left(&node, &sandbox);
            });
        }
    }
}

#[test]
fn f1_a12_an_add_whose_disk_fills_up_on_the_way_takes_everything_back() {
    for wrong in [Full, ReadOnly] {
        isolated(|_| {
            let node = small_node();
            let go = node.root().join("go");
            node.primary(&scripted("cluster", "main", &json!({ "ADD": { "block_until_file": go } })));
            let sandbox = Sandbox::new();
            let add = node.call("ADD", &sandbox).networks("net-a").start();
            eventually("the first delegate", || node.calls().into_iter().next());
            wrong.happens_to(&node.state());
            std::fs::write(&go, "").unwrap();
            says(&add.wait(), wrong, &node.state());
            assert_eq!(node.order(), ["ADD eth0 main", "DEL eth0 main"]);
            wrong.ends(&node.state());
            succeeded(&node.call("DEL", &sandbox).run());
            nothing_left(&node, &sandbox);
        });
    }
}

/// DEL of an attached pod while `place` is `wrong`; gives the answer.
fn del_while(node: &Node, sandbox: &Sandbox, wrong: Wrong, place: &Path) -> Output {
    succeeded(&node.call("ADD", sandbox).networks("net-a").run());
    wrong.happens_to(place);
    let del = node.call("DEL", sandbox).run();
    assert_eq!(node.order()[2..], ["DEL net1 extra", "DEL eth0 main"], "{wrong:?} {}: {del:?}", place.display());
    del
}

#[test]
fn f6_a_del_with_a_full_disk_is_complete() {
    for place in [Node::state, Node::run_dir] {
        isolated(|_| {
            let node = small_node();
            let sandbox = Sandbox::new();
            let place = place(&node);
            let del = del_while(&node, &sandbox, Full, &place);
            succeeded(&del);
            nothing_left(&node, &sandbox);
        });
    }
}

#[test]
fn f6_a_del_with_a_read_only_state_directory_runs_the_delegates_and_says_what_it_could_not_do() {
    isolated(|_| {
        let node = small_node();
        let sandbox = Sandbox::new();
        let del = del_while(&node, &sandbox, ReadOnly, &node.state());
        says(&del, ReadOnly, &node.state());
        assert!(node.log().contains(ReadOnly.words()));
        ReadOnly.ends(&node.state());
        succeeded(&node.call("DEL", &sandbox).run());
        nothing_left(&node, &sandbox);
    });
}

#[test]
fn f6_a_del_with_a_read_only_run_directory_runs_the_delegates_and_says_what_it_could_not_do() {
    isolated(|_| {
        let node = small_node();
        let sandbox = Sandbox::new();
        let del = del_while(&node, &sandbox, ReadOnly, &node.run_dir());
        succeeded(&del);
        assert!(node.log().contains(ReadOnly.words()), "{}", node.log());
        assert_eq!(node.records(), Vec::<std::path::PathBuf>::new());
    });
}

#[test]
fn a17_a_damaged_record_that_cannot_be_put_aside_does_not_stop_the_del() {
    isolated(|_| {
        let node = small_node();
        let sandbox = Sandbox::new();
        succeeded(&node.call("ADD", &sandbox).networks("net-a").run());
        std::fs::write(record_path(&node, &sandbox, "eth0"), "{").unwrap();
        ReadOnly.happens_to(&node.state());
        says(&node.call("DEL", &sandbox).run(), ReadOnly, &node.state());
        let mut deleted = node.order()[2..].to_vec();
        deleted.sort();
        assert_eq!(deleted, ["DEL eth0 main", "DEL net1 extra"]);
    });
}

#[test]
fn f6_a_failed_del_that_cannot_be_queued_is_an_error_and_keeps_its_record() {
    isolated(|_| {
        let node = small_node();
        let sandbox = Sandbox::new();
        node.script("extra", &json!({ "DEL": { "error": { "code": 42, "msg": "busy" } } }));
        node.nad("default", "net-a", &json!({ "cniVersion": "1.0.0", "name": "net-a", "type": "extra" }));
        let del = del_while(&node, &sandbox, Full, &node.state());
        refused(&del, 42);
        assert_eq!(node.records(), [record_path(&node, &sandbox, "net1")]);
        assert!(node.log().contains("could not be queued"), "{}", node.log());
    });
}
