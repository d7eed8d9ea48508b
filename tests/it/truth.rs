//! B21-B25: the network status says what the kernel shows, whatever the results of the delegates say; and what they say when
//! the namespace is gone.

use crate::harness::{Node, Sandbox, plugin_under_test};
use crate::kernel::{Node as Kernel, ip_in, isolated};
use crate::scene::*;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The entries of the annotation that `meta-cni status` prints.
fn annotation(node: &Node, sandbox: &Sandbox) -> Vec<Value> {
    let output = Command::new(plugin_under_test())
        .env_clear()
        .args(["status", "--output", "json", "--container", &sandbox.id, "--state-dir", node.state().to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// `key` of each entry.
fn column(entries: &[Value], key: &str) -> Vec<Value> {
    entries.iter().map(|entry| entry.get(key).cloned().unwrap_or_default()).collect()
}

fn link(pod: &Path, name: &str) -> (Value, Value) {
    let links: Vec<Value> = serde_json::from_str(&ip_in(pod, &["-json", "link", "show", name])).unwrap();
    (links[0]["address"].clone(), links[0]["mtu"].clone())
}

fn added(node: &Node, kernel: &Kernel, networks: &str) -> (Sandbox, std::path::PathBuf) {
    let (sandbox, pod) = (Sandbox::new(), kernel.netns("pod"));
    succeeded(&node.call("ADD", &sandbox).env("CNI_NETNS", pod.to_str().unwrap()).networks(networks).run());
    (sandbox, pod)
}

#[test]
fn b24_the_mac_of_the_aws_vpc_cni_is_the_kernels_and_not_a_route_tables_number() {
    // As its version 1.20 and later print it: `mac` a route table, `sandbox` of the dummy a device's number.
    let aws = json!({ "cniVersion": "0.4.0",
        "interfaces": [{ "name": "eni0123456789a" }, { "name": "$IFNAME", "mac": "0", "sandbox": "$NETNS" },
            { "name": "dummy0123456789a", "mac": "0", "sandbox": "0" }],
        "ips": [{ "version": "4", "interface": 1, "address": "192.0.2.7/32" }], "dns": {} });
    // As its version 1.5.7 printed it: no version and no interfaces.
    let old = json!({ "ips": [{ "version": "4", "address": "192.0.2.7/32" }], "dns": {} });
    for result in [aws, old] {
        isolated(|kernel| {
            let node = node_with(&json!({ "ADD": { "result": result } }));
            let (sandbox, pod) = added(&node, kernel, "");
            let before = annotation(&node, &sandbox);
            ip_in(&pod, &["link", "add", "eth0", "mtu", "9001", "type", "veth", "peer", "name", "far"]);
            ip_in(&pod, &["address", "add", "192.0.2.7/32", "dev", "eth0"]);
            for name in ["eth0", "far"] {
                ip_in(&pod, &["link", "set", name, "up"]);
            }
            ip_in(&pod, &["route", "add", "169.254.1.1", "dev", "eth0", "scope", "link"]);
            ip_in(&pod, &["route", "add", "default", "via", "169.254.1.1", "dev", "eth0"]);
            let entries = annotation(&node, &sandbox);
            let (mac, mtu) = link(&pod, "eth0");
            assert_eq!(mtu, 9001);
            let expected = json!([{ "name": "cluster", "interface": "eth0", "ips": ["192.0.2.7"], "mac": mac, "mtu": mtu,
                "default": true, "dns": {}, "default-route": ["169.254.1.1"] }]);
            assert_eq!(Value::from(entries), expected);

            // Without the namespace the result is all there is.
            kernel.remove_netns(&pod);
            assert_eq!(annotation(&node, &sandbox), before);
        });
    }
}

#[test]
fn b21_b22_b23_b24_b25_real_plugins_are_told_as_the_kernel_has_them() {
    isolated(|kernel| {
        let node = Node::new();
        install_real(&node, &["ptp", "bridge", "host-local"]);
        // A result of 0.2.0 has no interfaces, one of 0.4.0 no MTU.
        let ipam = json!({ "type": "host-local", "subnet": "10.77.1.0/24", "routes": [{ "dst": "0.0.0.0/0" }] });
        let primary = json!({ "cniVersion": "0.2.0", "name": "cluster", "type": "ptp", "mtu": 1380, "ipam": ipam });
        node.write("conf/10-primary.conflist", &primary.to_string());
        let mut chain = bridge("chain", 2);
        chain["cniVersion"] = "0.4.0".into();
        chain["plugins"][0]["mtu"] = 1400.into();
        node.nad_text("default", "chain", &chain.to_string());
        // A chain that makes no interface.
        let bare = json!({ "cniVersion": "1.0.0", "name": "bare", "type": "scripted-none" });
        node.nad("default", "bare", &bare);
        node.script("scripted-none", &json!({ "ADD": { "result": { "cniVersion": "1.0.0" } } }));

        let (sandbox, pod) = added(&node, kernel, "chain,bare");
        ip_in(&pod, &["link", "set", "net1", "address", "02:00:00:00:00:42"]);
        ip_in(&pod, &["address", "add", "fd77::9/64", "dev", "net1", "nodad"]);
        let entries = annotation(&node, &sandbox);
        assert_eq!(column(&entries, "name"), ["cluster", "default/chain", "default/bare"]);
        assert_eq!(column(&entries, "default"), [json!(true), json!(false), json!(false)]);
        assert_eq!(column(&entries, "interface"), [json!("eth0"), json!("net1"), Value::Null]);
        assert_eq!(column(&entries, "ips"), [json!(["10.77.1.2"]), json!(["10.77.2.2", "fd77::9"]), Value::Null]);
        assert_eq!(column(&entries, "mac"), [link(&pod, "eth0").0, json!("02:00:00:00:00:42"), Value::Null]);
        assert_eq!(column(&entries, "mtu"), [json!(1380), json!(1400), Value::Null]);
        assert_eq!(column(&entries, "default-route"), [json!(["10.77.1.1"]), Value::Null, Value::Null]);

        // The default route moves, the mark of the cluster's network does not.
        ip_in(&pod, &["route", "replace", "default", "via", "10.77.2.1", "dev", "net1"]);
        let entries = annotation(&node, &sandbox);
        assert_eq!(column(&entries, "default"), [json!(true), json!(false), json!(false)]);
        assert_eq!(column(&entries, "default-route"), [Value::Null, json!(["10.77.2.1"]), Value::Null]);
        succeeded(&node.call("DEL", &sandbox).env("CNI_NETNS", pod.to_str().unwrap()).run());
    });
}
