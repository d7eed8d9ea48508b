//! A34: plugins in the directory that has a list's name, beside the list's file, are part of the list, whatever named that
//! file; and nothing of such a chain is ever lost.

use crate::harness::{Node, Sandbox};
use crate::kernel::isolated;
use crate::scene::*;
use crate::waits::SOON;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

/// A list of the plugin `main`.
fn list(name: &str) -> Value {
    scripted(name, "main", &json!({}))
}

/// Puts two plugins beside a list of this name in `dir` of the node, the second first.
fn chain(node: &Node, dir: &str, name: &str) {
    for (file, kind) in [("20-second.conf", "second"), ("10-first.conf", "first")] {
        node.install_plugin(kind);
        let config = format!(r#"{{ "name": "other", "cniVersion": "0.3.1", "k": 1.50, "type": "{kind}" }}"#);
        node.write(&format!("{dir}/{name}/{file}"), &config);
    }
}

/// A node with the list `cluster` as its primary and two plugins beside it.
fn chained() -> Node {
    let node = Node::new();
    node.primary(&list("cluster"));
    chain(&node, "conf", "cluster");
    node
}

/// ADD and DEL, and the plugins that ran on this interface, in order.
#[track_caller]
fn lifetime(node: &Node, ifname: &str, networks: &str) -> Vec<String> {
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).networks(networks).run());
    // What DEL needs is recorded: the files are not looked at again.
    for dir in ["conf", "confs"] {
        for path in crate::harness::files_below(&node.root().join(dir)) {
            std::fs::remove_file(path).unwrap();
        }
    }
    succeeded(&node.call("DEL", &sandbox).run());
    nothing_left(node, &sandbox);
    let calls = node.calls();
    calls
        .iter()
        .filter(|call| call.ifname() == ifname)
        .map(|call| format!("{} {}", call.operation, call.kind))
        .collect()
}

const WHOLE: [&str; 6] = ["ADD main", "ADD first", "ADD second", "DEL second", "DEL first", "DEL main"];
const ALONE: [&str; 2] = ["ADD main", "DEL main"];

type Source = (&'static str, fn(&Node), &'static str, &'static str);

/// How a list can come from a file: what makes it so, the interface it is on, and what the pod asks for.
const SOURCES: [Source; 7] = [
    ("clusterNetwork, a file", |node| chain(node, "conf", "cluster"), "eth0", ""),
    (
        "clusterNetwork, a directory",
        |node| {
            chain(node, "conf", "cluster");
            node.master(&json!({ "clusterNetwork": node.conf() }));
        },
        "eth0",
        "",
    ),
    (
        "clusterNetwork, a name in confDir",
        |node| {
            node.write("confs/a.conflist", &list("named").to_string());
            chain(node, "confs", "named");
            node.master(&json!({ "clusterNetwork": "named" }));
        },
        "eth0",
        "",
    ),
    (
        "clusterNetwork, a manifest without config",
        |node| {
            named_by_manifest(node, "kube-system");
            node.master(&json!({ "clusterNetwork": "named" }));
        },
        "eth0",
        "",
    ),
    (
        "defaultNetworks, a file",
        |node| {
            let path = node.write("confs/a.conflist", &list("everywhere").to_string());
            chain(node, "confs", "everywhere");
            node.master(&json!({ "defaultNetworks": [path] }));
        },
        "net1",
        "",
    ),
    (
        "defaultNetworks, a name in confDir",
        |node| {
            node.write("confs/a.conflist", &list("everywhere").to_string());
            chain(node, "confs", "everywhere");
            node.master(&json!({ "defaultNetworks": ["everywhere"] }));
        },
        "net1",
        "",
    ),
    ("a manifest without config", |node| named_by_manifest(node, "default"), "net1", "named"),
];

fn named_by_manifest(node: &Node, namespace: &str) {
    node.nad_text(namespace, "named", "");
    node.write("confs/a.conflist", &list("named").to_string());
    chain(node, "confs", "named");
}

#[test]
fn a34_every_list_from_a_file_has_the_plugins_beside_it() {
    for (what, make, ifname, networks) in SOURCES {
        let node = Node::new();
        node.primary(&list("cluster"));
        make(&node);
        assert_eq!(lifetime(&node, ifname, networks), WHOLE, "{what}");
        let calls = node.calls_of("ADD");
        let second = calls.iter().find(|call| call.kind == "second").unwrap();
        assert_ne!(second.network(), "other", "{what}: the list's name");
        assert_eq!(second.config()["cniVersion"], "1.0.0", "{what}: the list's version");
        assert!(second.stdin.contains("\"k\":1.50"), "{what}: what was read: {}", second.stdin);
        assert!(second.prev_result().is_some(), "{what}");
    }
}

type Alone = (&'static str, fn(&Node), &'static str);

/// Where a directory of that name is none of the list's.
const ALONE_SOURCES: [Alone; 5] = [
    (
        "loadOnlyInlinedPlugins",
        |node| {
            let mut list = list("cluster");
            list["loadOnlyInlinedPlugins"] = json!(true);
            node.primary(&list);
            chain(node, "conf", "cluster");
        },
        "eth0",
    ),
    (
        "a single configuration",
        |node| {
            let path = node.write("conf/a.conf", r#"{"cniVersion":"1.0.0","name":"cluster","type":"main"}"#);
            chain(node, "conf", "cluster");
            node.master(&json!({ "clusterNetwork": path }));
        },
        "eth0",
    ),
    (
        "inline delegates",
        |node| {
            chain(node, "conf", "cluster");
            node.master(&json!({ "clusterNetwork": null, "delegates": [list("cluster")] }));
        },
        "eth0",
    ),
    (
        "a manifest with config",
        |node| {
            node.nad("default", "named", &list("named"));
            chain(node, "confs", "named");
            chain(node, "networks/default", "named");
        },
        "net1",
    ),
    (
        "what is no plugin",
        |node| {
            for file in [".10-hidden.conf", "10-a.conf.bak", "10-a.conflist", "README", "deeper.conf/10-a.conf"] {
                node.write(&format!("conf/cluster/{file}"), "{");
            }
        },
        "eth0",
    ),
];

#[test]
fn a34_nothing_else_has_the_plugins_of_a_directory() {
    for (what, make, ifname) in ALONE_SOURCES {
        let node = Node::new();
        node.primary(&list("cluster"));
        node.nad("default", "named", &list("named"));
        make(&node);
        let networks = if ifname == "net1" { "named" } else { "" };
        assert_eq!(lifetime(&node, ifname, networks), ALONE, "{what}");
    }
}

#[test]
fn a34_a_list_may_be_made_of_its_directory_alone() {
    let node = chained();
    let bare = json!({ "cniVersion": "1.0.0", "name": "cluster" });
    node.write("conf/10-primary.conflist", &bare.to_string());
    assert_eq!(lifetime(&node, "eth0", ""), ["ADD first", "ADD second", "DEL second", "DEL first"]);
    for (what, list, alone) in [
        ("no plugins and no directory", bare.clone(), true),
        ("no plugins, and none wanted", json!({ "name": "cluster", "loadOnlyInlinedPlugins": true }), false),
        ("an empty list of plugins", json!({ "name": "cluster", "plugins": [] }), false),
    ] {
        let node = chained();
        node.master(&json!({ "addBudget": "100ms" }));
        node.write("conf/10-primary.conflist", &list.to_string());
        if alone {
            std::fs::remove_dir_all(node.conf().join("cluster")).unwrap();
        }
        let error = refused(&node.call("ADD", &Sandbox::new()).run(), 11);
        assert!(error["msg"].as_str().unwrap().contains("plugins"), "{what}: {error}");
        assert_eq!(node.order(), Vec::<String>::new(), "{what}");
    }
}

/// What makes the chain of `chained` unusable.
type Breaks = (&'static str, fn(&Node));

const BROKEN: [Breaks; 7] = [
    ("torn", |node| drop(node.write("conf/cluster/20-second.conf", "{\"type\":"))),
    ("empty", |node| drop(node.write("conf/cluster/20-second.conf", ""))),
    ("a list", |node| drop(node.write("conf/cluster/20-second.conf", r#"{"name":"x","plugins":[{"type":"second"}]}"#))),
    ("a path", |node| drop(node.write("conf/cluster/20-second.conf", r#"{"type":"../second"}"#))),
    ("too large", |node| {
        let text = json!({ "type": "second", "x": "x".repeat(1 << 20) });
        node.write("conf/cluster/20-second.conf", &text.to_string());
    }),
    ("anybody's", |node| {
        let path = node.conf().join("cluster/20-second.conf");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
    }),
    ("a link to nowhere", |node| {
        let path = node.conf().join("cluster/20-second.conf");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", path).unwrap();
    }),
];

#[test]
fn a34_d8_a_plugin_that_cannot_be_used_is_never_left_out() {
    for (what, breaks) in BROKEN {
        // No pod before: nothing can be used but what is there.
        let node = chained();
        node.master(&json!({ "addBudget": "100ms" }));
        breaks(&node);
        let error = refused(&node.call("ADD", &Sandbox::new()).run(), 11);
        assert!(error["msg"].as_str().unwrap().contains("cluster/20-second.conf"), "{what}: {error}");
        assert_eq!(node.order(), Vec::<String>::new(), "{what}");

        // A pod before: the last good chain is the whole one, for a primary in a directory too.
        for place in ["conf/10-primary.conflist", "conf"] {
            let node = chained();
            node.master(&json!({ "clusterNetwork": node.root().join(place) }));
            succeeded(&node.call("ADD", &Sandbox::new()).run());
            breaks(&node);
            assert_eq!(lifetime(&node, "eth0", "")[3..], WHOLE, "{what}, {place}");
            assert!(node.log().contains("the last good one is"), "{what}: {}", node.log());
        }
    }
}

#[test]
fn a34_a_network_that_a_pod_asks_for_is_refused_with_the_file_that_is_wrong() {
    let node = Node::new();
    node.primary(&list("cluster"));
    named_by_manifest(&node, "default");
    node.write("confs/named/20-second.conf", "{");
    let error = refused(&node.call("ADD", &Sandbox::new()).networks("named").run(), 7);
    assert!(error["msg"].as_str().unwrap().contains("confs/named/20-second.conf"), "{error}");
    assert_eq!(node.order(), Vec::<String>::new());
}

#[test]
fn a34_d6_a_plugin_beside_a_list_is_no_way_to_nest() {
    let nested = r#"{"type":"first","delegates":[{"type":"meta-cni"}]}"#;
    for named in [false, true] {
        let node = chained();
        if named {
            named_by_manifest(&node, "kube-system");
            node.master(&json!({ "clusterNetwork": "named" }));
        }
        let file = if named { "confs/named/10-first.conf" } else { "conf/cluster/10-first.conf" };
        node.write(file, nested);
        let error = refused(&node.call("ADD", &Sandbox::new()).run(), 7);
        let msg = error["msg"].as_str().unwrap();
        assert!(msg.contains(file) && msg.contains("would run meta-cni from meta-cni"), "{error}");
        assert_eq!(node.order(), Vec::<String>::new());
    }
}

/// From the torn plugin of an ADD that waits being whole to its answer.
fn delay() -> Duration {
    let node = chained();
    node.master(&json!({ "addBudget": "120s" }));
    let whole = std::fs::read_to_string(node.conf().join("cluster/20-second.conf")).unwrap();
    node.write("conf/cluster/20-second.conf", "{");
    let sandbox = Sandbox::new();
    let add = node.call("ADD", &sandbox).start();
    eventually("an ADD that waits", || node.log().contains("waiting for the primary").then_some(()));
    std::thread::sleep(Duration::from_millis(100));
    let began = std::time::Instant::now();
    node.write("conf/cluster/20-second.conf", &whole);
    succeeded(&add.wait());
    assert_eq!(node.order(), ["ADD eth0 main", "ADD eth0 first", "ADD eth0 second"]);
    began.elapsed()
}

#[test]
fn a34_d7_a_plugin_that_becomes_whole_is_seen_at_once() {
    within(SOON, "by event, not by tick", delay);
}

#[test]
fn a34_what_runs_is_what_plan_shows() {
    let node = chained();
    let pod = node.write("pod.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: default}}");
    let config = node.write("master.conf", &node.master_config().to_string());
    let output = std::process::Command::new(crate::harness::plugin_under_test())
        .args(["plan", "--output", "json", "--pod"])
        .arg(pod)
        .arg("--config")
        .arg(config)
        .arg("--bin-dir")
        .arg(node.plugins())
        .output()
        .unwrap();
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let calls = plan["attachments"][0]["calls"].as_array().unwrap();
    let plugins: Vec<_> = calls.iter().map(|call| call["plugin"].as_str().unwrap()).collect();
    assert_eq!(plugins, ["main", "first", "second"]);
}

#[test]
fn a34_a_real_tuning_plugin_beside_the_primary_sets_what_it_says() {
    isolated(|kernel| {
        let node = real_node();
        install_real(&node, &["tuning"]);
        node.write(
            "conf/cluster/10-tuning.conf",
            r#"{"type":"tuning","sysctl":{"net.ipv4.conf.eth0.arp_filter":"1"}}"#,
        );
        let sandbox = Sandbox::new();
        let pod = kernel.netns("pod");
        let call = |operation: &str| node.call(operation, &sandbox).env("CNI_NETNS", pod.to_str().unwrap());
        succeeded(&call("ADD").run());
        assert_eq!(sysctl(&pod, "net/ipv4/conf/eth0/arp_filter"), "1");
        succeeded(&call("CHECK").run());
        succeeded(&call("DEL").run());
        nothing_left(&node, &sandbox);
        assert_eq!(leases(), Vec::<String>::new());
    });
}
