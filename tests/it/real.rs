//! A13, A22, A38, B5, B11: the reference plugins themselves, chained and by every version they share with us; what the kernel
//! shows is what was asked for, CHECK passes, and DEL leaves nothing.

use crate::harness::{Node, Sandbox};
use crate::kernel::{Node as Kernel, ip, ip_in, isolated};
use crate::scene::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A node whose primary is ptp with host-local, with the networks `chain` (bridge, tuning, portmap and bandwidth) and `vlan`
/// (macvlan with static addresses) of this version.
fn node_of(version: &str) -> Node {
    let node = Node::new();
    install_real(&node, &["ptp", "bridge", "macvlan", "host-local", "static", "tuning", "portmap", "bandwidth"]);
    ip(&["link", "add", "uplink0", "type", "veth", "peer", "name", "uplink1"]);
    ip(&["link", "set", "uplink0", "up"]);
    ip(&["link", "set", "uplink1", "up"]);
    let ranges = |subnet: &str| json!({ "type": "host-local", "ranges": [[{ "subnet": subnet }]] });
    let primary = json!({ "cniVersion": version, "name": "cluster", "plugins": [
        { "type": "ptp", "ipMasq": false, "ipam": ranges("10.77.1.0/24") },
    ] });
    node.write("conf/10-primary.conflist", &primary.to_string());
    let chain = json!({ "cniVersion": version, "name": "chain", "plugins": [
        { "type": "bridge", "bridge": "br2", "isGateway": true, "ipam": ranges("10.77.2.0/24") },
        { "type": "tuning", "capabilities": { "mac": true }, "sysctl": { "net.ipv4.conf.net1.arp_filter": "1" } },
        { "type": "portmap", "capabilities": { "portMappings": true } },
        { "type": "bandwidth", "capabilities": { "bandwidth": true } },
    ] });
    let vlan = json!({ "cniVersion": version, "name": "vlan", "plugins": [
        { "type": "macvlan", "master": "uplink0", "mode": "bridge", "capabilities": { "ips": true }, "ipam": { "type": "static" } },
    ] });
    node.nad_text("default", "chain", &chain.to_string());
    node.nad_text("default", "vlan", &vlan.to_string());
    node
}

const WISHES: &str = r#"[
    { "name": "chain", "mac": "02:00:00:00:00:07", "bandwidth": { "ingressRate": 8000000, "ingressBurst": 800000 },
      "portMappings": [{ "hostPort": 18080, "containerPort": 80 }] },
    { "name": "vlan", "interface": "fast0", "ips": ["10.99.0.7/24", "fd99::7/64"] }
]"#;

/// Links of the namespace with their addresses, as `ip` gives them.
fn interfaces(path: &Path) -> Vec<Value> {
    serde_json::from_str(&ip_in(path, &["-json", "address", "show"])).unwrap()
}

fn addresses(interfaces: &[Value], name: &str) -> Vec<String> {
    let link = interfaces.iter().find(|link| link["ifname"] == name);
    let link = link.unwrap_or_else(|| panic!("no {name} in {interfaces:?}"));
    let all = link["addr_info"].as_array().unwrap().iter().filter(|address| address["scope"] == "global");
    all.map(|address| format!("{}/{}", address["local"].as_str().unwrap(), address["prefixlen"])).collect()
}

/// What the kernel of the node has of pods: links, queueing and rules that name a port.
fn traces() -> (Vec<String>, bool, bool) {
    let queueing = std::process::Command::new("tc").args(["qdisc", "show"]).output().unwrap();
    let rules = std::process::Command::new("iptables-save").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let veths = host_veths().into_iter().filter(|name| !name.starts_with("uplink")).collect();
    (veths, text(queueing.stdout).contains("tbf"), text(rules.stdout).contains("18080"))
}

fn all_of_it(kernel: &Kernel, version: &str) {
    let node = node_of(version);
    let sandbox = Sandbox::new();
    let pod: PathBuf = kernel.netns("pod");
    let call = |operation: &str| {
        let call = node.call(operation, &sandbox).env("CNI_NETNS", pod.to_str().unwrap());
        call.networks(WISHES).set("cniVersion", json!(version))
    };
    let added = call("ADD").run();
    succeeded(&added);
    assert_eq!(added.json()["cniVersion"], version, "A13");

    let seen = interfaces(&pod);
    assert_eq!(addresses(&seen, "eth0"), ["10.77.1.2/24"], "{version}: ptp");
    assert_eq!(addresses(&seen, "net1"), ["10.77.2.2/24"], "{version}: bridge");
    assert_eq!(addresses(&seen, "fast0"), ["10.99.0.7/24", "fd99::7/64"], "{version}: B5, B11");
    let mac = seen.iter().find(|link| link["ifname"] == "net1").unwrap()["address"].clone();
    assert_eq!(mac, "02:00:00:00:00:07", "{version}: A38, tuning does what the pod asks for");
    let (veths, limited, mapped) = traces();
    assert_eq!((veths.len(), limited, mapped), (2, true, true), "{version}: bandwidth and portmap");

    // portmap's own CHECK fails without IPv6 rules in the version that Debian has, so the pod with it is not checked.
    succeeded(&call("DEL").run());
    assert_eq!(traces(), (Vec::new(), false, false), "{version}: after DEL");
    assert_eq!(leases(), Vec::<String>::new());
    assert_eq!(interfaces(&pod).len(), 1, "{version}: only the loopback is left");
    nothing_left(&node, &sandbox);
}

#[test]
fn a13_a38_b5_b11_the_reference_plugins_do_what_the_pod_asks_for_by_every_version() {
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        isolated(|kernel| all_of_it(kernel, version));
    }
}

#[test]
fn a22_check_passes_right_after_add_with_the_reference_plugins() {
    for version in ["0.4.0", "1.0.0"] {
        isolated(|kernel| {
            let node = node_of(version);
            let sandbox = Sandbox::new();
            let pod = kernel.netns("pod");
            let wishes = r#"[{ "name": "vlan", "interface": "fast0", "ips": ["10.99.0.7/24"] }]"#;
            let call = |operation: &str| {
                let call = node.call(operation, &sandbox).env("CNI_NETNS", pod.to_str().unwrap());
                call.networks(wishes).set("cniVersion", json!(version))
            };
            succeeded(&call("ADD").run());
            succeeded(&call("CHECK").run());
            ip_in(&pod, &["link", "del", "fast0"]);
            let failed = call("CHECK").run();
            assert_ne!(failed.exit, Some(0), "{version}: CHECK says that an interface is gone");
            succeeded(&call("DEL").run());
            nothing_left(&node, &sandbox);
        });
    }
}
