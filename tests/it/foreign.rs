//! F13: pods that others added, with what they kept of them: libcni's cache, and Multus' scratch file with its cache.
//! Real delegates, added as those others run them; the shapes are those that libcni 1.3 and Multus 4.3 write.

use crate::harness::{Call, Node, Sandbox};
use crate::kernel::isolated;
use crate::scene::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where libcni keeps its cache.
const CACHE: &str = "/var/lib/cni";

/// Where Multus keeps its scratch files.
const MULTUS: &str = "/var/lib/cni/multus";

fn base64(value: &Value) -> String {
    STANDARD.encode(value.to_string())
}

/// A node with real plugins whose primary is another one now, so that only what was kept can lead to the old networks.
fn later_node() -> Node {
    let node = Node::new();
    install_real(&node, &["bridge", "host-local"]);
    node.primary(&scripted("of-now", "main", &json!({})));
    node
}

/// ADD of the list's only plugin, as libcni runs it; gives the result.
fn add_by_hand(node: &Node, sandbox: &Sandbox, list: &Value, ifname: &str) -> Value {
    let mut config = list["plugins"][0].clone();
    config["name"] = list["name"].clone();
    config["cniVersion"] = list["cniVersion"].clone();
    let plugins = node.plugins();
    let output = Call::new(&plugins.join("bridge"), config)
        .env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", &sandbox.id)
        .env("CNI_NETNS", &sandbox.netns.path().display().to_string())
        .env("CNI_IFNAME", ifname)
        .env("CNI_PATH", &plugins.display().to_string())
        .run();
    succeeded(&output);
    serde_json::from_str(&output.stdout).unwrap()
}

/// An entry of libcni's cache in `dir`.
fn cached(dir: &str, sandbox: &Sandbox, list: &Value, ifname: &str, result: &Value) -> PathBuf {
    let name = list["name"].as_str().unwrap();
    let args: Vec<Vec<String>> =
        sandbox.args().split(';').map(|pair| pair.splitn(2, '=').map(str::to_owned).collect()).collect();
    let entry = json!({
        "kind": "cniCacheV1", "containerId": sandbox.id, "config": base64(list), "ifName": ifname, "networkName": name,
        "netns": sandbox.netns.path(), "cniArgs": args, "capabilityArgs": {}, "result": result,
    });
    let path = Path::new(dir).join("results").join(format!("{name}-{}-{ifname}", sandbox.id));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, entry.to_string()).unwrap();
    path
}

/// Multus' scratch file for these delegates: the list of a path, of which its own copy has lost keys, and lists of NADs.
fn scratch(sandbox: &Sandbox, delegates: &[(&str, &Value, Option<&str>)]) -> PathBuf {
    let elements: Vec<Value> = delegates
        .iter()
        .enumerate()
        .map(|(at, (nad, list, ifname))| {
            let mut lossy = (*list).clone();
            if at == 0 {
                lossy["plugins"][0].as_object_mut().unwrap().remove("ipam");
            }
            let mut element = json!({
                "Conf": { "cniVersion": list["cniVersion"], "name": list["name"], "ipam": {}, "dns": {} },
                "ConfList": { "cniVersion": list["cniVersion"], "name": list["name"], "plugins": [{ "type": "bridge", "ipam": {}, "dns": {} }] },
                "CNINetworkConfigList": { "Name": "", "CNIVersion": "", "DisableCheck": false, "DisableGC": false,
                    "LoadOnlyInlinedPlugins": false, "Plugins": null, "Bytes": null },
                "Name": nad, "IsFilterV4Gateway": false, "IsFilterV6Gateway": false, "Bytes": base64(&lossy),
            });
            if at == 0 {
                element["CNINetworkConfigList"]["Bytes"] = base64(list).into();
            }
            if let Some(ifname) = ifname {
                element["ifnameRequest"] = (*ifname).into();
            }
            element
        })
        .collect();
    std::fs::create_dir_all(MULTUS).unwrap();
    let path = Path::new(MULTUS).join(&sandbox.id);
    std::fs::write(&path, Value::from(elements).to_string()).unwrap();
    path
}

#[track_caller]
fn all_gone(node: &Node, sandbox: &Sandbox) {
    assert_eq!(leases(), Vec::<String>::new(), "{}", node.log());
    assert_eq!(host_veths(), Vec::<String>::new());
    assert_eq!(sandbox.netns.links(), Vec::<String>::new());
    assert_eq!(node.order(), Vec::<String>::new(), "the primary of now had nothing to do with it");
    nothing_left(node, sandbox);
}

#[test]
fn f13_a_pod_from_before_is_deleted_by_libcnis_cache() {
    isolated(|_| {
        let node = later_node();
        let [sandbox, other] = [Sandbox::new(), Sandbox::new()];
        let list = bridge("before", 4);
        for pod in [&sandbox, &other] {
            let result = add_by_hand(&node, pod, &list, "eth0");
            cached(CACHE, pod, &list, "eth0", &result);
        }
        assert_eq!((leases().len(), host_veths().len()), (2, 2));
        succeeded(&node.call("DEL", &sandbox).run());
        assert_eq!((leases().len(), host_veths().len()), (1, 1), "the other pod's stay");
        assert_eq!(other.netns.links(), ["eth0"]);
        succeeded(&node.call("DEL", &other).run());
        all_gone(&node, &sandbox);
        all_gone(&node, &other);
    });
}

#[test]
fn f13_a_pod_of_multus_is_deleted_with_all_its_networks() {
    isolated(|_| {
        let node = later_node();
        let sandbox = Sandbox::new();
        let lists = [bridge("cluster", 5), bridge("a", 6), bridge("b", 7)];
        let names = [("", "eth0", None), ("default/a", "net1", None), ("default/b", "fast0", Some("fast0"))];
        let mut files = Vec::new();
        let mut delegates = Vec::new();
        for (list, (nad, ifname, request)) in lists.iter().zip(names) {
            let result = add_by_hand(&node, &sandbox, list, ifname);
            files.push(cached(MULTUS, &sandbox, list, ifname, &result));
            delegates.push((nad, list, request));
        }
        files.push(scratch(&sandbox, &delegates));
        assert_eq!((leases().len(), host_veths().len()), (3, 3));
        succeeded(&node.call("DEL", &sandbox).run());
        all_gone(&node, &sandbox);
        for file in files {
            assert!(!file.exists(), "Multus' own files go too: {}", file.display());
        }
    });
}

#[test]
fn f13_a_pod_of_multus_whose_namespace_and_cache_are_gone_leaves_no_lease() {
    isolated(|_| {
        let node = later_node();
        let mut sandbox = Sandbox::new();
        let lists = [bridge("cluster", 5), bridge("a", 6)];
        add_by_hand(&node, &sandbox, &lists[0], "eth0");
        add_by_hand(&node, &sandbox, &lists[1], "net1");
        let scratch = scratch(&sandbox, &[("", &lists[0], None), ("default/a", &lists[1], None)]);
        sandbox.netns.vanish();
        succeeded(&node.call("DEL", &sandbox).env("CNI_NETNS", "").run());
        assert_eq!(leases(), Vec::<String>::new(), "{}", node.log());
        assert!(!scratch.exists());
        nothing_left(&node, &sandbox);
    });
}

#[test]
fn f13_a_del_of_multus_network_that_fails_is_kept_and_tried_again() {
    isolated(|_| {
        let node = later_node();
        let sandbox = Sandbox::new();
        node.install_plugin("extra");
        let fails = json!({ "DEL": { "error": { "code": 44, "msg": "not now" }, "fail_first": 1 } });
        let lists = [bridge("cluster", 5), scripted("a", "extra", &fails)];
        add_by_hand(&node, &sandbox, &lists[0], "eth0");
        scratch(&sandbox, &[("", &lists[0], None), ("default/a", &lists[1], None)]);
        refused(&node.call("DEL", &sandbox).run(), 44);
        assert_eq!(leases(), Vec::<String>::new(), "the other one is deleted all the same");
        succeeded(&node.call("DEL", &sandbox).run());
        // The sweep may have been faster, and then what Multus kept is found once more.
        let order = node.order();
        assert!((2..=3).contains(&order.len()) && order.iter().all(|call| call == "DEL net1 extra"), "{order:?}");
        nothing_left(&node, &sandbox);
    });
}

#[test]
fn f13_f6_a_pod_of_multus_whose_plugin_is_away_for_a_moment_is_not_forgotten() {
    isolated(|_| {
        let node = later_node();
        let sandbox = Sandbox::new();
        let list = bridge("cluster", 5);
        add_by_hand(&node, &sandbox, &list, "eth0");
        scratch(&sandbox, &[("", &list, None)]);
        while_away(&node, "bridge", || {
            succeeded(&node.call("DEL", &sandbox).run());
            assert!(record_path(&node, &sandbox, "eth0").exists() && !leases().is_empty(), "{}", node.log());
        });
        succeeded(&node.call("DEL", &sandbox).run());
        all_gone(&node, &sandbox);
    });
}

#[test]
fn f13_without_a_trace_of_an_attachment_the_primary_is_asked_only_if_the_sandbox_has_no_other() {
    let node = node_with(&json!({}));
    let [living, unknown] = [Sandbox::new(), Sandbox::new()];
    succeeded(&node.call("ADD", &living).run());
    succeeded(&node.call("DEL", &living).env("CNI_IFNAME", "eth5").run());
    assert_eq!(node.order(), ["ADD eth0 main"]);
    succeeded(&node.call("CHECK", &living).run());
    succeeded(&node.call("DEL", &unknown).env("CNI_IFNAME", "eth5").run());
    assert_eq!(node.order()[2..], ["DEL eth5 main"]);
    // A damaged record of it is a trace.
    succeeded(&node.call("ADD", &living).env("CNI_IFNAME", "eth1").run());
    std::fs::write(node.state().join("attachments").join(&living.id).join("eth1.json"), "").unwrap();
    succeeded(&node.call("DEL", &living).env("CNI_IFNAME", "eth1").run());
    assert_eq!(node.order()[4..], ["DEL eth1 main"]);
}
