//! A17, F1: records that something happened to, and those that another version wrote.

use crate::harness::{Node, Sandbox, files_below};
use crate::kernel::isolated;
use crate::scene::*;
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

/// What happens to the file of a record.
type Damage = Box<dyn Fn(&Path)>;

/// A damage by its name.
type NamedDamage = (&'static str, fn(&Path));

fn rewritten(change: impl Fn(&mut Vec<u8>) + 'static) -> Damage {
    Box::new(move |path| {
        let mut bytes = std::fs::read(path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    })
}

/// The file is no plain file of root's any more, or in the wrong place.
const OUTSIDE: [NamedDamage; 7] = [
    ("of another user", |path| chown(path, Some(65534), None).unwrap()),
    ("writable by all", |path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o606)).unwrap()),
    ("a symlink to a good one", |path| {
        let away = path.ancestors().nth(3).unwrap().join("away");
        std::fs::rename(path, &away).unwrap();
        symlink(away, path).unwrap();
    }),
    ("a directory", |path| {
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir(path).unwrap();
    }),
    ("a pipe that nobody writes", |path| {
        std::fs::remove_file(path).unwrap();
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    }),
    ("of another interface", |path| std::fs::rename(path, path.with_file_name("net7.json")).unwrap()),
    ("of another sandbox", |path| {
        let text = std::fs::read_to_string(path).unwrap();
        let id = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let (text, _) = text.split_once('\u{1e}').unwrap();
        let record = text.split_once("\"record\":").unwrap().1.strip_suffix('}').unwrap();
        std::fs::write(path, sealed(1, &record.replace(id, "somebody-else"))).unwrap();
    }),
];

/// Every damage to a record of `size` bytes, by name; each must be noticed.
fn damages(size: usize) -> Vec<(String, Damage)> {
    let mut all: Vec<(String, Damage)> = vec![
        ("empty".into(), rewritten(Vec::clear)),
        ("zeros".into(), rewritten(|bytes| bytes.fill(0))),
        ("JSON of another kind".into(), rewritten(|bytes| *bytes = b"{\"version\":1}".to_vec())),
        ("too large".into(), rewritten(|bytes| bytes.resize(5 << 20, b' '))),
    ];
    all.extend(OUTSIDE.map(|(what, damage)| (what.to_owned(), Box::new(damage) as Damage)));
    let cut = |at: usize| rewritten(move |bytes| bytes.truncate(at));
    all.extend((0..size).step_by(50).map(|at| (format!("cut at {at}"), cut(at))));
    // Bytes of the content are under the checksum; those of the envelope are looked at by a unit test.
    let flip = |at: usize| rewritten(move |bytes| bytes[at] ^= 1 << (at % 8));
    all.extend((60..size - 1).step_by(37).map(|at| (format!("bit flipped at {at}"), flip(at))));
    all
}

fn sealed(version: u32, record: &str) -> String {
    let checksum = crc32fast::hash(record.as_bytes());
    format!("{{\"version\":{version},\"checksum\":\"crc32:{checksum:08x}\",\"future\":[1],\"record\":{record}}}")
}

#[test]
fn a17_del_puts_a_damaged_record_aside_falls_back_and_succeeds() {
    let node = node_with(&json!({}));
    let size = {
        let sandbox = Sandbox::new();
        succeeded(&node.call("ADD", &sandbox).run());
        // The outcome after the record is that of a writer that died, if it is not whole.
        let bytes = std::fs::read(record_path(&node, &sandbox, "eth0")).unwrap();
        // Another record may be a few bytes shorter: process IDs and times are in it.
        bytes.iter().position(|byte| *byte == 0x1e).unwrap() - 16
    };
    for (what, damage) in damages(size) {
        let sandbox = Sandbox::new();
        succeeded(&node.call("ADD", &sandbox).run());
        damage(&record_path(&node, &sandbox, "eth0"));
        let check = node.call("CHECK", &sandbox).run();
        assert_ne!(check.exit, Some(0), "{what}: CHECK passes");
        let del = node.call("DEL", &sandbox).run();
        assert_eq!(del.exit, Some(0), "{what}: {del:?}");
        let calls = node.calls_of("DEL");
        let mine: Vec<_> = calls.iter().filter(|call| call.container() == sandbox.id).collect();
        assert_eq!(mine.len(), 1, "{what}: the current primary's DEL is run");
        let left = left_of(&node, &sandbox);
        let quarantine = node.state().join("quarantine");
        let aside = std::fs::read_dir(&quarantine).unwrap().flatten().map(|entry| entry.file_name());
        let aside = aside.map(|name| name.to_string_lossy().into_owned());
        let aside = aside.filter(|name| name.starts_with(&format!("{}.", sandbox.id)));
        let (reasons, aside): (Vec<_>, Vec<_>) = aside.partition(|name| name.ends_with(".reason"));
        assert_eq!((aside.len(), reasons), (1, vec![format!("{}.reason", aside[0])]), "{what}: put aside");
        assert!(left.iter().all(|path| path.starts_with(&quarantine)), "{what}: left {left:?}");
        succeeded(&node.call("DEL", &sandbox).run());
    }
    assert!(node.log().contains("a damaged record is put aside"));
}

#[test]
fn a17_the_undamaged_records_of_the_sandbox_are_used() {
    let node = node_with(&json!({}));
    node.nad("default", "net-a", &scripted("net-a", "extra", &json!({})));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).networks("net-a").run());
    std::fs::write(record_path(&node, &sandbox, "eth0"), "").unwrap();
    succeeded(&node.call("DEL", &sandbox).run());
    let mut deleted = node.order()[2..].to_vec();
    deleted.sort();
    assert_eq!(deleted, ["DEL eth0 main", "DEL net1 extra"]);
}

#[test]
fn a17_del_with_a_damaged_record_frees_the_primarys_lease_and_link() {
    isolated(|_| {
        let node = real_node();
        let sandbox = Sandbox::new();
        succeeded(&node.call("ADD", &sandbox).run());
        assert_eq!((leases().len(), host_veths().len()), (1, 1));
        std::fs::write(record_path(&node, &sandbox, "eth0"), "{").unwrap();
        succeeded(&node.call("DEL", &sandbox).run());
        assert_eq!((leases().len(), host_veths().len()), (0, 0));
    });
}

#[test]
fn a17_what_is_in_the_place_of_a_sandboxs_directory_is_put_aside_like_a_damaged_record() {
    type Replacement = (&'static str, fn(&Path));
    let replacements: [Replacement; 3] = [
        ("a file", |path| std::fs::write(path, "by hand").unwrap()),
        ("a pipe", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRUSR).unwrap()),
        ("a symlink to a file", |path| symlink("/etc/hostname", path).unwrap()),
    ];
    for (what, replace) in replacements {
        for operation in ["DEL", "ADD"] {
            isolated(|_| {
                let node = real_node();
                let sandbox = Sandbox::new();
                succeeded(&node.call("ADD", &sandbox).run());
                assert_eq!((leases().len(), host_veths().len()), (1, 1));
                let dir = record_path(&node, &sandbox, "eth0").parent().unwrap().to_owned();
                std::fs::remove_dir_all(&dir).unwrap();
                replace(&dir);
                assert_ne!(node.call("CHECK", &sandbox).run().exit, Some(0), "{what}");
                succeeded(&node.call(operation, &sandbox).run());
                let aside = files_below(&node.state().join("quarantine"));
                assert_eq!(aside.len(), 2, "{what} {operation}: it and its reason: {aside:?}");
                let reason = std::fs::read_to_string(&aside[1]).unwrap();
                assert!(reason.starts_with(&format!("{} is no directory\n", dir.display())), "{reason}");
                if operation == "ADD" {
                    assert_eq!((leases().len(), host_veths().len()), (1, 1), "{what}");
                    succeeded(&node.call("DEL", &sandbox).run());
                }
                assert_eq!((leases().len(), host_veths().len()), (0, 0), "{what} {operation}");
                assert_eq!(left_of(&node, &sandbox), aside, "{what} {operation}");
                succeeded(&node.call("DEL", &sandbox).run());
            });
        }
    }
}

#[test]
fn a17_an_add_that_puts_a_damaged_record_aside_gives_back_what_the_primary_made() {
    isolated(|_| {
        let node = real_node();
        let sandbox = Sandbox::new();
        succeeded(&node.call("ADD", &sandbox).run());
        std::fs::write(record_path(&node, &sandbox, "eth0"), "{").unwrap();
        // Whatever this one comes to, the DEL after it finds no damaged record any more.
        refused(&node.call("ADD", &sandbox).networks("nowhere").run(), 7);
        assert_eq!((leases().len(), host_veths().len()), (0, 0));
        succeeded(&node.call("ADD", &sandbox).run());
        succeeded(&node.call("DEL", &sandbox).run());
        assert_eq!((leases().len(), host_veths().len()), (0, 0));
    });
}

#[test]
fn a17_f2_a_del_that_is_killed_amid_what_is_lost_leaves_the_next_one_all_of_it() {
    isolated(|_| {
        let node = real_node();
        let go = node.root().join("go");
        let mut primary = scripted("cluster", "main", &json!({ "DEL": { "block_until_file": go } }));
        primary["plugins"][0]["ipam"] = json!({ "type": "host-local" });
        node.primary(&primary);
        node.nad_text("default", "net-a", &bridge("net-a", 2).to_string());
        let sandbox = Sandbox::new();
        succeeded(&node.call("ADD", &sandbox).networks("net-a").run());
        let lease = Path::new("/var/lib/cni/networks/cluster/10.77.1.9");
        std::fs::create_dir_all(lease.parent().unwrap()).unwrap();
        std::fs::write(lease, format!("{}\r\neth0", sandbox.id)).unwrap();
        let eth0 = record_path(&node, &sandbox, "eth0");
        std::fs::write(&eth0, "damaged").unwrap();
        std::fs::remove_file(record_path(&node, &sandbox, "net1")).unwrap();
        let mut del = node.call("DEL", &sandbox).start();
        let delegate = first_call(&node, "DEL");
        del.kill();
        del.wait();
        assert_eq!(record(&eth0)["netns"], Value::Null, "the lease is on record, where the damaged one was");
        std::fs::write(go, "").unwrap();
        eventually("the end of the delegate", || (!runs(delegate.pid)).then_some(()));
        std::fs::remove_file(lease).unwrap();
        assert_eq!(leases().len(), 1, "that of net1, of which nothing tells any more");
        assert!(record_path(&node, &sandbox, "eth0:lost").exists(), "that something is lost is still known");
        succeeded(&node.call("DEL", &sandbox).run());
        assert_eq!((leases(), host_veths()), (vec![], vec![]), "{}", node.log());
        let aside = files_below(&node.state().join("quarantine"));
        assert_eq!((left_of(&node, &sandbox), aside.len()), (aside.clone(), 2), "one file and its reason");
        assert_eq!(std::fs::read_to_string(&aside[0]).unwrap(), "damaged");
    });
}

#[test]
fn a17_f4_a_call_for_another_interface_leaves_a_living_one_with_a_damaged_record_alone() {
    // Told by what can be read of the record, by the runtime's cache and not at all.
    for (legible, cached) in [(true, false), (false, true), (false, false)] {
        isolated(|_| {
            let what = format!("legible {legible}, cached {cached}");
            let node = real_node();
            node.nad_text("default", "net-a", &bridge("net-a", 2).to_string());
            let sandbox = Sandbox::new();
            let call = |operation: &str, ifname: &str| node.call(operation, &sandbox).env("CNI_IFNAME", ifname);
            succeeded(&call("ADD", "eth0").networks("net-a").run());
            for ifname in ["eth0", "net1"] {
                let path = record_path(&node, &sandbox, ifname);
                let mut bytes = std::fs::read(&path).unwrap();
                bytes[20] ^= 1;
                std::fs::write(&path, if legible { bytes } else { Vec::new() }).unwrap();
            }
            // The runtime's own loopback network says nothing.
            let entries = [("cni-loopback", "lo"), ("meta-cni", "eth0")];
            for (network, ifname) in &entries[..1 + usize::from(cached)] {
                let entry = json!({ "kind": "cniCacheV1", "containerId": sandbox.id, "ifName": ifname, "config": "",
                    "networkName": network, "netns": sandbox.netns.path() });
                let path = Path::new("/var/lib/cni/results").join(format!("{network}-{}-{ifname}", sandbox.id));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, entry.to_string()).unwrap();
            }
            let of_eth0 = leases();
            assert_eq!(of_eth0.len(), 2);
            succeeded(&call("ADD", "eth1").run());
            let now = leases();
            assert!(now.len() == 3 && of_eth0.iter().all(|lease| now.contains(lease)), "{what}: {now:?}");
            assert_eq!(sandbox.netns.links().len(), 3, "{what}");
            succeeded(&call("DEL", "eth1").run());
            // For all that anybody knows it was the last call of the sandbox.
            let left = if legible || cached { (of_eth0, 2) } else { (vec![], 0) };
            assert_eq!((leases(), sandbox.netns.links().len()), left, "{what}");
            succeeded(&call("DEL", "eth0").run());
            assert_eq!((leases().len(), host_veths().len()), (0, 0), "{what}: {}", node.log());
            let quarantine = node.state().join("quarantine");
            assert_eq!(left_of(&node, &sandbox), files_below(&quarantine), "{what}");
            assert_eq!(files_below(&quarantine).len(), 4, "{what}");
        });
    }
}

#[test]
fn a17_a_damaged_record_that_is_put_aside_is_not_queued_any_more() {
    let node = node_with(&json!({ "DEL": { "fail_first": 1, "error": { "code": 100 } } }));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    refused(&node.call("DEL", &sandbox).run(), 100);
    assert_eq!(files_below(&node.state().join("queue")).len(), 1, "it is queued, or this proves nothing");
    std::fs::write(record_path(&node, &sandbox, "eth0"), "{").unwrap();
    succeeded(&node.call("DEL", &sandbox).run());
    assert!(left_of(&node, &sandbox).iter().all(|path| path.starts_with(node.state().join("quarantine"))));
}

#[test]
fn a17_f6_a_fallback_that_was_cut_short_is_queued_and_done_again() {
    let cases: [(&str, Option<&str>, Value); 4] = [
        ("killed", Some("{"), json!({ "signal": 9 })),
        // It said why: nobody knows whether it is the one to ask, and the pod must go.
        ("refused", Some("{"), json!({ "error": { "code": 100 } })),
        // Nothing says that anything was begun on that interface, or at all.
        ("of another interface", None, json!({ "signal": 9 })),
        ("without a record", None, json!({ "signal": 9 })),
    ];
    for (what, damage, mut failure) in cases {
        failure["fail_first"] = json!(1);
        let node = node_with(&json!({ "DEL": failure }));
        let sandbox = Sandbox::new();
        succeeded(&node.call("ADD", &sandbox).run());
        let path = record_path(&node, &sandbox, "eth0");
        match (what, damage) {
            (_, Some(text)) => std::fs::write(&path, text).unwrap(),
            ("without a record", None) => std::fs::remove_file(&path).unwrap(),
            (_, None) => std::fs::rename(&path, path.with_file_name("net1.json")).unwrap(),
        }
        let quarantine = node.state().join("quarantine");
        if what == "killed" {
            refused(&node.call("DEL", &sandbox).run(), 704);
            assert_eq!((node.records().len(), files_below(&node.state().join("queue")).len()), (1, 1), "{what}");
        }
        succeeded(&node.call("DEL", &sandbox).run());
        let dels = node.calls_of("DEL").len();
        assert_eq!(dels, if what == "killed" { 2 } else { 1 }, "{what}");
        let left = left_of(&node, &sandbox);
        assert!(left.iter().all(|path| path.starts_with(&quarantine)), "{what}: left {left:?}");
    }
}

#[test]
fn a17_an_add_puts_a_damaged_record_aside_and_goes_on() {
    let node = node_with(&json!({}));
    let sandbox = Sandbox::new();
    let path = record_path(&node, &sandbox, "net5");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "no record").unwrap();
    succeeded(&node.call("ADD", &sandbox).run());
    assert!(!path.exists());
    let aside = files_below(&node.state().join("quarantine"));
    let reason = std::fs::read_to_string(&aside[1]).unwrap();
    assert!(aside.len() == 2 && reason.contains("net5.json is not a record"), "{aside:?}: {reason}");
}

/// Adds, rewrites the record by `change` and deletes; gives the node.
fn deleted_by_rewritten_record(version: u32, change: impl Fn(&mut Value)) -> (Node, Sandbox) {
    let node = node_with(&json!({ "mark": "of the ADD" }));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    let path = record_path(&node, &sandbox, "eth0");
    let mut record = record(&path);
    change(&mut record);
    std::fs::write(&path, sealed(version, &record.to_string())).unwrap();
    // What DEL runs can come from the record alone.
    node.primary(&scripted("cluster", "main", &json!({ "mark": "of now" })));
    succeeded(&node.call("CHECK", &sandbox).run());
    succeeded(&node.call("DEL", &sandbox).run());
    (node, sandbox)
}

#[test]
fn f1_a_record_of_the_next_version_is_used_with_keys_that_we_do_not_know() {
    for version in [1, 2] {
        let (node, sandbox) = deleted_by_rewritten_record(version, |record| {
            for at in ["", "/sandbox", "/sandbox/pod", "/netns", "/attachment", "/attachment/deadline", "/call"] {
                record.pointer_mut(at).unwrap()["futureKey"] = json!({ "a": [1, null] });
            }
            record["attachment"]["calls"][0]["futureKey"] = json!(true);
        });
        let del = &node.calls_of("DEL")[0];
        assert_eq!(del.config()["plugins"], Value::Null);
        assert_eq!(del.config()["script"]["mark"], "of the ADD", "version {version}");
        nothing_left(&node, &sandbox);
    }
}

#[test]
fn f1_a_record_without_its_optional_keys_is_used() {
    let (node, sandbox) = deleted_by_rewritten_record(1, |record| {
        record["sandbox"].as_object_mut().unwrap().remove("pod");
    });
    assert_eq!(node.calls_of("DEL")[0].config()["script"]["mark"], "of the ADD");
    nothing_left(&node, &sandbox);
}

#[test]
fn a42_an_outcome_that_is_not_whole_is_as_if_the_attachment_had_only_been_begun() {
    let node = node_with(&json!({ "mark": "of the ADD" }));
    let attached = || {
        let sandbox = Sandbox::new();
        succeeded(&node.call("ADD", &sandbox).run());
        let path = record_path(&node, &sandbox, "eth0");
        let bytes = std::fs::read(&path).unwrap();
        let begins = bytes.iter().position(|byte| *byte == 0x1e).unwrap();
        (sandbox, path, bytes, begins)
    };
    let (_, _, bytes, begins) = attached();
    // Records are not all of one length, because process IDs and times are in them: what happens to one is counted from
    // where its own outcome begins, and stops short of its end.
    let length = bytes.len() - begins - 16;
    let cuts = (0..length).step_by(20).map(|at| (at, false));
    let flips = (60..length).step_by(20).map(|at| (at, true));
    for (at, flip) in cuts.chain(flips) {
        let (sandbox, path, mut bytes, begins) = attached();
        match flip {
            true => bytes[begins + at] ^= 1,
            false => bytes.truncate(begins + at),
        }
        std::fs::write(&path, bytes).unwrap();
        let check = node.call("CHECK", &sandbox).run();
        assert_ne!(check.exit, Some(0), "at {at}, flip {flip}: CHECK passes");
        succeeded(&node.call("DEL", &sandbox).run());
        let del = node.calls_of("DEL").pop().unwrap();
        assert_eq!((del.container(), &del.config()["script"]["mark"]), (&*sandbox.id, &json!("of the ADD")));
        assert_eq!(del.prev_result(), None, "at {at}, flip {flip}");
        nothing_left(&node, &sandbox);
    }
    assert_eq!(node.calls_of("CHECK").len(), 0);
}
