//! What the kernel and the nodes' disks say about pods: the judges of every test here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::cluster::{Cluster, NODES};

/// A pod's IPv4 address on each of its interfaces but `lo`.
pub type Interfaces = BTreeMap<String, String>;

/// What a pod that asks for net-a and net-b has: interface and the start of its address. A node has a part of each network.
pub const BOTH: [(&str, &str); 3] = [("eth0", "10.244."), ("net1", "10.89."), ("net2", "10.90.")];

/// One pod's network namespace.
#[derive(Debug)]
pub struct Namespace {
    node: &'static str,
    path: String,
    pub interfaces: Interfaces,
}

/// Every network namespace of a pod on a node.
pub fn namespaces(cluster: &Cluster, node: &'static str) -> Vec<Namespace> {
    let look = r#"for n in /run/netns/cni-*; do [ -e "$n" ] || continue; printf '%s ' "$n"; nsenter --net="$n" ip -json -4 address || echo; done"#;
    let printed = cluster.on(node, ["sh", "-c", look]);
    printed.lines().filter_map(|line| namespace(node, line)).collect()
}

/// A line is a path and what `ip` says there; `ip` says nothing of a namespace that went in between.
fn namespace(node: &'static str, line: &str) -> Option<Namespace> {
    let (path, links) = line.split_once(' ')?;
    let links: Vec<Value> = serde_json::from_str(links).ok()?;
    let address = |link: &Value| {
        let name = link["ifname"].as_str()?.to_owned();
        Some((name, link["addr_info"][0]["local"].as_str().unwrap_or("none").to_owned()))
    };
    let interfaces = links.iter().filter_map(address).filter(|(name, _)| name != "lo").collect();
    Some(Namespace { node, path: path.to_owned(), interfaces })
}

/// Each pod's namespace by its name, found by the address that the API server has for it; a pod without one is a fault.
pub fn of_pods(cluster: &Cluster, pods: &[Value]) -> Result<BTreeMap<String, Namespace>, String> {
    let mut all: Vec<Namespace> = NODES.into_iter().flat_map(|node| namespaces(cluster, node)).collect();
    let mut found = BTreeMap::new();
    for pod in pods {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (name, ip) = (word(&pod["metadata"]["name"]), word(&pod["status"]["podIP"]));
        let node = &pod["spec"]["nodeName"];
        let at = all.iter().position(|ns| ns.node == node && ns.interfaces.get("eth0") == Some(&ip));
        let at = at.ok_or_else(|| format!("pod {name} on {node}: no namespace has its address {ip:?} on eth0"))?;
        found.insert(name, all.swap_remove(at));
    }
    Ok(found)
}

/// What is wrong with pods that should have exactly these interfaces: one missing or too many, an address of another network,
/// an address that two of them have.
pub fn faults(pods: &BTreeMap<String, Namespace>, expected: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, namespace) in pods {
        let has: BTreeSet<&str> = namespace.interfaces.keys().map(String::as_str).collect();
        let asked: BTreeSet<&str> = expected.iter().map(|(interface, _)| *interface).collect();
        if has != asked {
            faults.push(format!("{name} has {has:?} and not {asked:?}"));
        }
        for (interface, start) in expected {
            let Some(address) = namespace.interfaces.get(*interface) else { continue };
            if !address.starts_with(start) {
                faults.push(format!("{name}: {interface} has {address}, not one of {start}"));
            }
            if !seen.insert(address) {
                faults.push(format!("{name}: {interface} has {address}, which another has too"));
            }
        }
    }
    faults
}

/// Each of the pods has exactly these interfaces.
#[track_caller]
pub fn assert_right(pods: &BTreeMap<String, Namespace>, expected: &[(&str, &str)]) {
    let faults = faults(pods, expected);
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Pings in a ring, each pod the next one, over each interface by itself: what did not answer. The ring leads through both nodes.
pub fn unreachable(cluster: &Cluster, pods: &BTreeMap<String, Namespace>, expected: &[(&str, &str)]) -> Vec<String> {
    let ring: Vec<&Namespace> = pods.values().collect();
    let mut scripts: BTreeMap<&str, String> = BTreeMap::new();
    for (at, from) in ring.iter().enumerate() {
        let to = ring[(at + 1) % ring.len()];
        for (interface, _) in expected {
            let Some(address) = to.interfaces.get(*interface) else { continue };
            let ping = format!("busybox ping -c 1 -W 20 -I {interface} {address}");
            let line = format!("nsenter --net={} {ping} >/dev/null || echo {ping}\n", from.path);
            scripts.entry(from.node).or_default().push_str(&line);
        }
    }
    assert!(scripts.len() == NODES.len(), "the pods are not on both nodes: {:?}", scripts.keys());
    let failed = scripts.iter().flat_map(|(node, script)| {
        let printed = cluster.on(node, ["sh", "-c", script]);
        printed.lines().map(|line| format!("on {node}: {line}")).collect::<Vec<_>>()
    });
    failed.collect()
}

/// What a node still has of pods: addresses, records, the runtime's cached results, namespaces, links on the bridges, DELs to do.
pub fn left(cluster: &Cluster, node: &'static str) -> BTreeSet<String> {
    let mut left = BTreeSet::new();
    for network in ["primary", "net-a", "net-b"] {
        for lease in leases(cluster, node, network) {
            left.insert(format!("{node}: address {lease} of {network}"));
        }
    }
    for folder in ["var-lib-cni/meta-cni/attachments", "var-lib-cni/meta-cni/queue", "var-lib-cni/results", "run/netns"]
    {
        for name in names(&cluster.folder(node, folder)) {
            left.insert(format!("{node}: {folder}/{name}"));
        }
    }
    let links: Vec<Value> = serde_json::from_str(&cluster.on(node, ["ip", "-json", "link"])).expect("ip prints JSON");
    let of_the_node = ["lo", "eth0", "cni0", "br-a", "br-b", "lan-a", "lan-b"];
    let name = |link: &Value| link["ifname"].as_str().expect("a link has a name").to_owned();
    let others = links.iter().map(name).filter(|name| !of_the_node.contains(&name.as_str()));
    left.extend(others.map(|name| format!("{node}: link {name}")));
    left
}

/// The addresses of a network that are taken on a node.
pub fn leases(cluster: &Cluster, node: &str, network: &str) -> Vec<String> {
    let all = names(&cluster.folder(node, "var-lib-cni/networks").join(network));
    all.into_iter().filter(|name| name.starts_with(|c: char| c.is_ascii_digit())).collect()
}

/// What is in a folder; nothing if there is none.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Nothing of any pod is on any node.
pub fn nothing_left(cluster: &Cluster) -> Result<(), String> {
    let left: BTreeSet<String> = NODES.into_iter().flat_map(|node| left(cluster, node)).collect();
    if left.is_empty() { Ok(()) } else { Err(format!("{} left: {left:#?}", left.len())) }
}
