//! C1, C2, C5, and C4 as the command line shows it: the file in which plugins tell of an attachment's device.

use crate::harness::{Node, Recorded, Sandbox, files_below, plugin_under_test};
use crate::scene::*;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const DEVICE: &str = r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:01:02.3"}}"#;

/// A list of the plugins `kind`, which declares the capability and does this on ADD, and `<kind>-silent`, which does not.
fn list(name: &str, kind: &str, add: &Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": name, "plugins": [
        { "type": kind, "capabilities": { "CNIDeviceInfoFile": true }, "script": { "ADD": add } },
        { "type": format!("{kind}-silent"), "capabilities": { "mac": true } },
        { "type": format!("{kind}-last"), "capabilities": { "CNIDeviceInfoFile": true } },
    ] })
}

/// A node whose primary and network `default/net-a` tell of a device.
fn node() -> Node {
    on(Node::new())
}

fn on(node: Node) -> Node {
    node.primary(&list("cluster", "main", &json!({ "device_info": DEVICE })));
    node.nad("default", "net-a", &list("net-a", "extra", &json!({ "device_info": DEVICE })));
    node
}

/// Where the file of an attachment is.
fn file(node: &Node, sandbox: &Sandbox, network: &str, ifname: &str) -> PathBuf {
    node.root().join("devinfo/cni").join(format!("{network}-{}_{ifname}", sandbox.id))
}

fn files(node: &Node) -> Vec<PathBuf> {
    files_below(&node.root().join("devinfo"))
}

/// What a plugin was told of such a file.
fn told(call: &Recorded) -> Option<String> {
    call.config()["runtimeConfig"]["CNIDeviceInfoFile"].as_str().map(str::to_owned)
}

/// What `meta-cni status` shows as `device-info` of each attachment.
fn shown(node: &Node, sandbox: &Sandbox) -> Vec<Value> {
    let output = std::process::Command::new(plugin_under_test())
        .args(["status", "--output", "json", "--container", &sandbox.id, "--state-dir"])
        .arg(node.state())
        .output()
        .unwrap();
    let status: Vec<Value> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    status.into_iter().map(|mut entry| entry["device-info"].take()).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn c1_c2_every_plugin_that_declares_it_is_told_one_file_for_each_attachment_by_every_operation() {
    let node = node();
    let sandbox = Sandbox::new();
    let call = |operation: &str| node.call(operation, &sandbox).networks("net-a,net-a");
    // The primary too, whatever the runtime says, and without a device ID.
    succeeded(&call("ADD").runtime_config("CNIDeviceInfoFile", json!("/etc/passwd")).run());
    succeeded(&call("CHECK").run());
    succeeded(&call("DEL").run());
    let expected = [("eth0", "cluster"), ("net1", "default-net-a"), ("net2", "default-net-a")]
        .map(|(ifname, network)| (ifname, file(&node, &sandbox, network, ifname).display().to_string()));
    let calls = node.calls();
    assert_eq!(calls.len(), 3 * 9, "{:?}", node.order());
    for call in calls {
        let (_, file) = expected.iter().find(|(ifname, _)| *ifname == call.ifname()).unwrap();
        let declares = !call.kind.ends_with("-silent");
        assert_eq!(told(&call).as_ref(), declares.then_some(file), "{}", call.brief());
    }
}

#[test]
fn c1_the_directory_is_made_for_all_to_read_and_only_when_it_is_wanted() {
    let scripts = tempfile::tempdir().unwrap();
    let strict = scripts.path().join("strict");
    std::fs::write(&strict, format!("#!/bin/sh\numask 077\nexec {}\n", plugin_under_test().display())).unwrap();
    set_mode(&strict, 0o755);
    let node = on(Node::with_plugin(&strict));
    node.nad("default", "plain", &scripted("plain", "plain", &json!({})));
    let base = node.root().join("deep/devinfo");
    node.master(&json!({ "deviceInfoDir": base }));
    let primary = scripted("cluster", "main", &json!({}));
    node.write("conf/10-primary.conflist", &primary.to_string());
    succeeded(&node.call("ADD", &Sandbox::new()).networks("plain").run());
    assert!(!node.root().join("deep").exists(), "nobody declared the capability");
    succeeded(&node.call("ADD", &Sandbox::new()).networks("net-a").run());
    let all = [node.root().join("deep"), base.clone(), base.join("cni")];
    assert_eq!(all.each_ref().map(|dir| mode(dir)), [0o755; 3]);
    // As Multus leaves it, and as an admin may want it.
    for (before, after) in [(0, 0o755), (0o750, 0o750)] {
        set_mode(&base.join("cni"), before);
        succeeded(&node.call("ADD", &Sandbox::new()).networks("net-a").run());
        assert_eq!(mode(&base.join("cni")), after);
    }
}

#[test]
fn c5_the_file_goes_with_its_attachment() {
    let node = node();
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).networks("net-a").run());
    assert_eq!(
        files(&node),
        [file(&node, &sandbox, "cluster", "eth0"), file(&node, &sandbox, "default-net-a", "net1")]
    );
    // It is the one that was recorded, wherever such files are now.
    node.master(&json!({ "deviceInfoDir": node.root().join("elsewhere") }));
    succeeded(&node.call("DEL", &sandbox).run());
    assert_eq!(files(&node), Vec::<PathBuf>::new());
    nothing_left(&node, &sandbox);
}

#[test]
fn c5_the_file_stays_until_the_del_is_done() {
    let node = node();
    let sandbox = Sandbox::new();
    node.script("main-last", &json!({ "DEL": { "fail_first": 1, "error": {} } }));
    succeeded(&node.call("ADD", &sandbox).run());
    refused(&node.call("DEL", &sandbox).run(), 100);
    assert_eq!(files(&node), [file(&node, &sandbox, "cluster", "eth0")]);
    succeeded(&node.call("DEL", &sandbox).run());
    assert_eq!(files(&node), Vec::<PathBuf>::new());
}

#[test]
fn c5_the_file_goes_with_an_add_that_failed() {
    let node = node();
    let sandbox = Sandbox::new();
    node.script("extra-last", &json!({ "ADD": { "error": { "code": 123 } } }));
    refused(&node.call("ADD", &sandbox).networks("net-a").run(), 123);
    assert_eq!(node.calls_of("ADD").len(), 6, "the file was written before: {:?}", node.order());
    assert_eq!(files(&node), Vec::<PathBuf>::new());
    succeeded(&node.call("DEL", &sandbox).run());
    nothing_left(&node, &sandbox);
}

#[test]
fn c5_the_file_goes_when_gc_finishes_the_sandbox() {
    let node = node();
    let mut sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).networks("net-a").run());
    assert_eq!(files(&node).len(), 2);
    sandbox.netns.vanish();
    let gc = node.node_call("GC").set("cniVersion", json!("1.1.0"));
    succeeded(&gc.set("cni.dev/valid-attachments", json!([])).run());
    assert_eq!(files(&node), Vec::<PathBuf>::new());
    nothing_left(&node, &sandbox);
}

#[test]
fn c1_what_an_earlier_pod_left_is_nobodys_device() {
    let node = Node::new();
    node.primary(&list("cluster", "main", &json!({})));
    let secret = node.write("secret", "{}");
    for link in [false, true] {
        let sandbox = Sandbox::new();
        let stale = file(&node, &sandbox, "cluster", "eth0");
        node.write("devinfo/cni/other", DEVICE);
        if link {
            std::os::unix::fs::symlink(&secret, &stale).unwrap();
        } else {
            std::fs::write(&stale, DEVICE).unwrap();
        }
        succeeded(&node.call("ADD", &sandbox).run());
        assert!(std::fs::symlink_metadata(&stale).is_err(), "gone before the plugins ran");
        assert_eq!(shown(&node, &sandbox), [Value::Null]);
        succeeded(&node.call("DEL", &sandbox).run());
    }
    assert!(secret.exists() && node.root().join("devinfo/cni/other").exists(), "nothing else was touched");
}

#[test]
fn c1_without_a_place_for_the_file_nothing_is_attached() {
    for networks in ["", "net-a"] {
        let node = node();
        if networks == "net-a" {
            node.write("conf/10-primary.conflist", &scripted("cluster", "main", &json!({})).to_string());
        }
        let place = node.write("in-the-way", "");
        node.master(&json!({ "deviceInfoDir": place }));
        let sandbox = Sandbox::new();
        let error = refused(&node.call("ADD", &sandbox).networks(networks).run(), 5);
        assert!(error["msg"].as_str().unwrap().contains("in-the-way/cni"), "{error}");
        assert_eq!(node.calls_of("ADD").len(), node.calls_of("DEL").len(), "{:?}", node.order());
        succeeded(&node.call("DEL", &sandbox).run());
        nothing_left(&node, &sandbox);
    }
}

type Spoils = (&'static str, fn(&Path));

#[test]
fn c4_status_shows_what_the_plugin_told_and_nothing_else() {
    let node = node();
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).networks("net-a").run());
    let device: Value = serde_json::from_str(DEVICE).unwrap();
    assert_eq!(shown(&node, &sandbox), [device.clone(), device.clone()]);
    let spoils: [Spoils; 7] = [
        ("gone", |file| std::fs::remove_file(file).unwrap()),
        ("half", |file| std::fs::write(file, &DEVICE[..20]).unwrap()),
        ("no object", |file| std::fs::write(file, "[1]").unwrap()),
        ("large", |file| std::fs::write(file, format!(r#"{{"x":"{}"}}"#, "x".repeat(65536))).unwrap()),
        ("anybody's", |file| set_mode(file, 0o666)),
        ("a link", |file| {
            std::fs::rename(file, file.with_extension("moved")).unwrap();
            std::os::unix::fs::symlink(file.with_extension("moved"), file).unwrap();
        }),
        ("a directory", |file| std::fs::create_dir(file).unwrap()),
    ];
    let file = file(&node, &sandbox, "default-net-a", "net1");
    for (what, spoil) in spoils {
        let _ = std::fs::remove_file(&file);
        if what != "a directory" {
            std::fs::write(&file, DEVICE).unwrap();
            assert_eq!(shown(&node, &sandbox), [device.clone(), device.clone()], "before {what}");
        }
        spoil(&file);
        assert_eq!(shown(&node, &sandbox), [device.clone(), Value::Null], "{what}");
    }
    // Nor does what cannot be removed hold the pod.
    succeeded(&node.call("DEL", &sandbox).run());
    assert!(node.log().contains("stays behind") && file.is_dir(), "{}", node.log());
    nothing_left(&node, &sandbox);
}
