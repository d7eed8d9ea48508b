//! B6: `capabilityCheck: "verify"`. Plugins that declare nothing get `IP=` and `MAC=` in `CNI_ARGS`, and the kernel is asked
//! whether they heeded them.

use crate::harness::{Node, Sandbox};
use crate::kernel::{Node as Kernel, ip, ip_in, isolated};
use crate::scene::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A node that verifies, with the primary ptp and these networks.
fn node_of(networks: &[(&str, Value)]) -> Node {
    let node = Node::new();
    install_real(&node, &["ptp", "macvlan", "bridge", "host-local", "static", "tuning"]);
    ip(&["link", "add", "uplink0", "type", "veth", "peer", "name", "uplink1"]);
    ip(&["link", "set", "uplink0", "up"]);
    let ipam = json!({ "type": "host-local", "subnet": "10.77.1.0/24" });
    let primary = json!({ "cniVersion": "1.0.0", "name": "cluster", "type": "ptp", "ipam": ipam });
    node.write("conf/10-primary.conflist", &primary.to_string());
    node.master(&json!({ "capabilityCheck": "verify" }));
    for (name, plugins) in networks {
        let list = json!({ "cniVersion": "1.0.0", "name": name, "plugins": plugins });
        node.nad_text("default", name, &list.to_string());
    }
    node
}

fn host_local(number: u8) -> Value {
    json!({ "type": "host-local", "subnet": format!("10.77.{number}.0/24") })
}

fn pod(kernel: &Kernel) -> (Sandbox, PathBuf) {
    (Sandbox::new(), kernel.netns("pod"))
}

/// MAC and addresses of a link.
fn link(pod: &Path, name: &str) -> (String, Vec<String>) {
    let links: Vec<Value> = serde_json::from_str(&ip_in(pod, &["-json", "address", "show", name])).unwrap();
    let global = links[0]["addr_info"].as_array().unwrap().iter().filter(|address| address["scope"] == "global");
    let addresses = global.map(|address| format!("{}/{}", address["local"].as_str().unwrap(), address["prefixlen"]));
    (links[0]["address"].as_str().unwrap().to_owned(), addresses.collect())
}

#[test]
fn b6_plugins_that_declare_nothing_do_what_is_asked_for_as_under_multus() {
    isolated(|kernel| {
        let node = node_of(&[
            ("fast", json!([{ "type": "macvlan", "master": "uplink0", "ipam": { "type": "static" } }])),
            ("tuned", json!([{ "type": "ptp", "ipam": host_local(2) }, { "type": "tuning" }])),
        ]);
        let (sandbox, pod) = pod(kernel);
        let wishes = r#"[{ "name": "fast", "ips": ["10.99.0.7/24", "fd99::7/64"], "mac": "02:00:00:00:00:07" },
            { "name": "tuned", "ips": ["10.77.2.9"], "mac": "02:00:00:00:00:09" }]"#;
        let call =
            |operation: &str| node.call(operation, &sandbox).env("CNI_NETNS", pod.to_str().unwrap()).networks(wishes);
        succeeded(&call("ADD").run());
        let fast = ["10.99.0.7/24", "fd99::7/64"].map(str::to_owned).to_vec();
        assert_eq!(link(&pod, "net1"), ("02:00:00:00:00:07".to_owned(), fast));
        assert_eq!(link(&pod, "net2"), ("02:00:00:00:00:09".to_owned(), vec!["10.77.2.9/24".to_owned()]));
        assert!(!node.log().contains("capabilityCheck"), "{}", node.log());
        succeeded(&call("CHECK").run());
        succeeded(&call("DEL").run());
        assert_eq!(leases(), Vec::<String>::new());
        nothing_left(&node, &sandbox);
    });
}

#[test]
fn b6_what_the_kernel_does_not_show_is_refused_and_undone() {
    let ignored = json!([{ "type": "ptp", "ipam": host_local(2) }]);
    let none = json!([{ "type": "scripted-none", "script": { "ADD": { "result": { "cniVersion": "1.0.0" } } } }]);
    for (plugins, wish, asked, found) in [
        (&ignored, r#""mac": "02:00:00:00:00:07""#, "\"mac\" asks for 02:00:00:00:00:07", "net1 is "),
        (&ignored, r#""ips": ["10.77.2.9/16"]"#, "\"ips\" asks for 10.77.2.9/16", "net1 has 10.77.2.9/24"),
        (&none, r#""ips": ["10.77.2.9"]"#, "10.77.2.9 was asked for", "no interface net1"),
    ] {
        isolated(|kernel| {
            let node = node_of(&[("a", plugins.clone())]);
            node.install_plugin("scripted-none");
            let (sandbox, pod) = pod(kernel);
            let wishes = format!(r#"[{{ "name": "a", {wish} }}]"#);
            let call = |operation: &str| {
                node.call(operation, &sandbox).env("CNI_NETNS", pod.to_str().unwrap()).networks(&wishes)
            };
            let error = refused(&call("ADD").run(), 706);
            let msg = error["msg"].as_str().unwrap();
            assert!(msg.starts_with("network \"default/a\" net1: ADD: "), "{msg}");
            assert!(msg.contains(asked) && msg.contains(found), "{msg}");
            assert_eq!(leases(), Vec::<String>::new(), "undone");
            let links = ip_in(&pod, &["-oneline", "link", "show"]);
            assert_eq!(links.lines().count(), 1, "only the loopback is left: {links}");
            succeeded(&call("DEL").run());
            nothing_left(&node, &sandbox);
        });
    }
}

#[test]
fn b6_the_runtimes_own_arguments_stay_as_they_are_in_every_operation() {
    let node = node_with(&json!({}));
    let capabilities = json!({ "ips": true, "mac": true });
    let extra =
        json!({ "cniVersion": "1.0.0", "name": "a", "plugins": [{ "type": "extra", "capabilities": capabilities }] });
    node.nad("default", "a", &extra);
    node.master(&json!({ "capabilityCheck": "verify" }));
    let sandbox = Sandbox::new();
    let wishes =
        r#"[{ "name": "a", "ips": ["10.99.0.7/24", "fd99::7"], "mac": "02-00-00-00-00-0A" }, { "name": "a" }]"#;
    for operation in ["ADD", "CHECK", "DEL"] {
        succeeded(&node.call(operation, &sandbox).networks(wishes).more_args("X=a=b;").run());
    }
    let runtime = format!("{};X=a=b;", sandbox.args());
    for operation in ["ADD", "CHECK", "DEL"] {
        let mut seen: Vec<(String, String)> = node
            .calls_of(operation)
            .iter()
            .map(|call| (call.ifname().to_owned(), call.env["CNI_ARGS"].clone()))
            .collect();
        seen.sort();
        let asked = format!("{runtime}IP=10.99.0.7/24,fd99::7;MAC=02:00:00:00:00:0a");
        let expected = [("eth0", &runtime), ("net1", &asked), ("net2", &runtime)];
        assert_eq!(seen, expected.map(|(name, args)| (name.to_owned(), args.clone())), "{operation}");
    }
}
