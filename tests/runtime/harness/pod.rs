//! Pods as kubelet asks for them, and what the kernel, the runtime and meta-cni say about them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Node;
use super::node::text;

/// The annotation by which a pod asks for networks.
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// What kubelet would ask the runtime for.
pub(crate) struct Pod {
    name: String,
    annotations: Map<String, Value>,
    port_mappings: Vec<Value>,
}

impl Pod {
    pub(crate) fn new(name: &str) -> Self {
        // kubelet's own annotations are always there.
        let kubelet =
            json!({"kubernetes.io/config.source": "api", "kubernetes.io/config.seen": "2026-01-01T00:00:00Z"});
        let Value::Object(annotations) = kubelet else { unreachable!("an object is an object") };
        Self { name: name.to_owned(), annotations, port_mappings: Vec::new() }
    }

    pub(crate) fn networks(mut self, annotation: &str) -> Self {
        self.annotations.insert(NETWORKS.to_owned(), annotation.into());
        self
    }

    pub(crate) fn host_port(mut self, host: u16, container: u16) -> Self {
        self.port_mappings.push(json!({"protocol": "TCP", "host_port": host, "container_port": container}));
        self
    }

    /// Limits of the node's own annotations: what the pod may send and receive in a second, in bits.
    pub(crate) fn bandwidth(mut self, ingress: &str, egress: &str) -> Self {
        self.annotations.insert("kubernetes.io/ingress-bandwidth".to_owned(), ingress.into());
        self.annotations.insert("kubernetes.io/egress-bandwidth".to_owned(), egress.into());
        self
    }

    /// The request that kubelet would make of the runtime.
    pub(crate) fn request(&self, node: &Node) -> Value {
        json!({"config": {
            "metadata": {"namespace": "default", "name": self.name, "uid": format!("uid-{}", self.name)},
            "annotations": self.annotations,
            "labels": {"io.kubernetes.pod.namespace": "default", "io.kubernetes.pod.name": self.name},
            "port_mappings": self.port_mappings,
            "log_directory": format!("/var/log/pods/{}", self.name),
            "dns_config": {"servers": ["10.88.0.10"], "searches": ["default.svc.cluster.local"]},
            "linux": {"cgroup_parent": node.cgroup()},
        }})
    }

    /// Asks the runtime for the sandbox; the error is what kubelet would show in an Event.
    pub(crate) fn run(self, node: &Node) -> Result<Sandbox<'_>, String> {
        let answer = node.cri("RunPodSandbox", &self.request(node))?;
        Sandbox::of(node, answer["podSandboxId"].as_str().expect("a sandbox has an ID"))
    }
}

/// A pod that runs.
pub(crate) struct Sandbox<'n> {
    pub(crate) node: &'n Node,
    pub(crate) id: String,
    pub(crate) netns: String,
    /// The address the runtime reports for it.
    pub(crate) ip: String,
}

impl<'n> Sandbox<'n> {
    /// The sandbox that the runtime knows by this ID.
    pub(crate) fn of(node: &'n Node, id: &str) -> Result<Self, String> {
        let status = node.cri("PodSandboxStatus", &json!({"podSandboxId": id, "verbose": true}))?;
        let info: Value = serde_json::from_str(status["info"]["info"].as_str().expect("verbose status has info"))
            .expect("info is JSON");
        let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array().expect("a sandbox has namespaces");
        let network = namespaces.iter().find(|n| n["type"] == "network").expect("one is for the network");
        let netns = network["path"].as_str().expect("the network namespace has a path").to_owned();
        let ip = status["status"]["network"]["ip"].as_str().expect("a sandbox has an address").to_owned();
        Ok(Self { node, id: id.to_owned(), netns, ip })
    }

    /// Runs a command in the pod's network namespace.
    pub(crate) fn run(&self, command: &[&str]) -> std::process::Output {
        let netns = format!("--net={}", self.netns);
        let mut all = vec!["nsenter", &netns];
        all.extend(command);
        self.node.run(&all)
    }

    /// The pod's links but `lo`, as the kernel has them: name, MAC address, IPv4 addresses.
    pub(crate) fn links(&self) -> Vec<(String, String, Vec<String>)> {
        let output = self.run(&["ip", "-json", "address"]);
        let links: Vec<Value> = serde_json::from_slice(&output.stdout).expect("ip prints JSON");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut all: Vec<_> = links
            .iter()
            .filter(|link| link["ifname"] != "lo")
            .map(|link| {
                let infos = link["addr_info"].as_array().map_or(&[][..], Vec::as_slice);
                let ips = infos.iter().filter(|a| a["family"] == "inet").map(|a| word(&a["local"])).collect();
                (word(&link["ifname"]), word(&link["address"]), ips)
            })
            .collect();
        all.sort();
        all
    }

    pub(crate) fn interfaces(&self) -> Vec<String> {
        self.links().into_iter().map(|(name, ..)| name).collect()
    }

    /// The IPv4 address of an interface.
    pub(crate) fn address(&self, interface: &str) -> String {
        let links = self.links();
        let link = links.iter().find(|(name, ..)| name == interface);
        let (.., ips) = link.unwrap_or_else(|| panic!("the pod has no {interface}, only {links:?}"));
        ips.first().unwrap_or_else(|| panic!("{interface} has no address: {links:?}")).clone()
    }

    /// Pings another pod's address on this interface through the own interface of that name.
    pub(crate) fn ping(&self, peer: &Sandbox<'_>, interface: &str) {
        let address = peer.address(interface);
        let output = self.run(&["busybox", "ping", "-c", "1", "-W", "3", "-I", interface, &address]);
        assert!(output.status.success(), "ping {address} over {interface}: {}", text(&output.stdout));
    }

    /// The network status as `meta-cni status` prints it, after comparing it with the kernel.
    pub(crate) fn status(&self) -> Vec<Value> {
        let printed = self.node.must(&["/opt/cni/bin/meta-cni", "status", "--container", &self.id, "--output", "json"]);
        let status: Vec<Value> = serde_json::from_str(&printed).expect("meta-cni status prints a JSON list");
        let mut told: Vec<_> = status
            .iter()
            .map(|entry| {
                let ips = entry["ips"].as_array().map_or(&[][..], Vec::as_slice);
                let ips = ips.iter().map(|ip| ip.as_str().expect("an ip is a string").to_owned()).collect();
                let word = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
                (word("interface"), word("mac").to_lowercase(), ips)
            })
            .collect();
        told.sort();
        assert_eq!(told, self.links(), "meta-cni status (left) and the kernel (right); printed: {printed}");
        status
    }

    /// Stops and removes the pod as kubelet does.
    pub(crate) fn delete(&self) {
        self.stop();
        self.node.cri("RemovePodSandbox", &json!({"podSandboxId": self.id})).expect("removing the sandbox");
    }

    pub(crate) fn stop(&self) {
        self.node.cri("StopPodSandbox", &json!({"podSandboxId": self.id})).expect("stopping the sandbox");
    }
}

impl Node {
    /// Nothing on the node remembers any pod: no address is taken, no link but the bridges and the uplink is there, no
    /// packet rule holds a pod's address, no record, cache entry or lock file is left.
    pub(crate) fn assert_nothing_left(&self) {
        let left = self.left();
        assert!(left.is_empty(), "left on the node: {left:#?}");
    }

    /// What `assert_nothing_left` speaks of.
    pub(crate) fn left(&self) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        for folder in ["var-lib-cni", "run/meta-cni"] {
            files_left(&self.folder(folder), &mut left);
        }
        let links: Vec<Value> = serde_json::from_str(&self.must(&["ip", "-json", "link"])).expect("ip prints JSON");
        for link in &links {
            let name = link["ifname"].as_str().expect("a link has a name");
            if !["lo", "cni0", "cni1", "br-a", "uplink0", "uplink1"].contains(&name) {
                left.insert(format!("link {name}"));
            }
        }
        for rule in self.must(&["nft", "list", "ruleset"]).lines() {
            // Addresses end in .1 for the gateways; a pod's is any other in these subnets.
            let pods = ["10.87.0.", "10.88.0.", "10.89.1.", "10.89.2."];
            let of_a_pod = |subnet: &&str| {
                rule.match_indices(*subnet).any(|(at, _)| {
                    let host: String = rule[at + subnet.len()..].chars().take_while(char::is_ascii_digit).collect();
                    !matches!(host.as_str(), "0" | "1")
                })
            };
            if pods.iter().any(of_a_pod) {
                left.insert(format!("packet rule {}", rule.trim()));
            }
        }
        left
    }
}

/// Files that name a sandbox by their existence. Locks and counters that a network has once are not among them.
fn files_left(folder: &Path, left: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.expect("reading a folder of the node")) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            // A container ID is 64 hexadecimal digits; its folder must go with the last thing in it.
            if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
                left.insert(format!("folder {}", path.display()));
            }
            // The verdicts of STATUS are about the node's plugins.
            if !path.ends_with("run/meta-cni/status") {
                files_left(&path, left);
            }
            continue;
        }
        let of_a_network = name == "lock" || name.starts_with("last_reserved_ip.");
        // The maker of the epoch may die on the way: at most once per boot, in a place that a boot empties.
        let known = ["primary.json", "epoch", "adding", "sweep", "sweeping"];
        let of_the_daemon = ["master.json", "master.lock", "meta-cnid.health", "meta-cnid.lock", "runtime.json"];
        let of_the_node =
            known.contains(&name.as_str()) || of_the_daemon.contains(&name.as_str()) || name.starts_with(".epoch.");
        if !of_a_network && !of_the_node {
            left.insert(format!("file {}", path.display()));
        }
    }
}
