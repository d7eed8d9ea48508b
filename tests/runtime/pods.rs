//! What a pod sees and what is left of it: interfaces, reachability, network status, port maps, deletion.

use serde_json::json;

use crate::harness::{Master, Node, Pod, Runtime, Sandbox, on_each_runtime};

on_each_runtime! {
    /// The harness itself, with no meta-cni in it: what fails here is not the plugin's fault.
    bare_primary_works => check_bare_primary;
    /// B1, B18-B22, B27: two pods, two extra networks each, asked for by names.
    two_networks_by_names_b1_b20_b27 => check_by_names;
    /// B1, B9, B11: the same by a JSON list that also names the interfaces.
    two_networks_by_json_b1_b11 => check_by_json;
    /// B18, B19: the same network twice is two attachments.
    same_network_twice_b18_b19 => check_twice;
    /// B33: the runtime's port mappings reach the primary alone.
    host_port_reaches_the_primary_only_b33 => check_host_port;
    /// A44: pods that start and end at the same time do not disturb one another.
    many_pods_at_once_a44 => check_many;
}

/// A13, A33: a runtime that speaks 1.1.0 gets 1.0.0 results when the master config says 1.0.0.
#[test]
fn older_list_on_a_newer_runtime_a13() {
    two_pods(&Node::with_version(Runtime::Modules, "1.0.0"), "net-a,net-b", ["net1", "net2"]);
}

fn check_bare_primary(runtime: Runtime) {
    let node = Node::start(runtime, runtime.cni_version(), |etc| etc.write_primary("net.d/10-primary.conflist"));
    assert_eq!(node.network_ready(), Ok(()));
    let a = Pod::new("a").run(&node).expect("starting pod a");
    let b = Pod::new("b").run(&node).expect("starting pod b");
    assert_eq!(a.interfaces(), ["eth0"]);
    assert_eq!(a.ip, a.address("eth0"));
    a.ping(&b, "eth0");
    a.delete();
    b.delete();
    node.assert_nothing_left();
}

fn check_by_names(runtime: Runtime) {
    two_pods(&Node::with_meta_cni(runtime), "net-a, default/net-b", ["net1", "net2"]);
}

fn check_by_json(runtime: Runtime) {
    let annotation = json!([{"name": "net-a", "interface": "storage"}, {"name": "net-b", "namespace": "default"}]);
    two_pods(&Node::with_meta_cni(runtime), &annotation.to_string(), ["storage", "net2"]);
}

/// Two pods with these networks see each other on every interface, are told about exactly, and leave nothing.
fn two_pods(node: &Node, annotation: &str, [on_a, on_b]: [&str; 2]) {
    assert_eq!(node.network_ready(), Ok(()));
    let a = Pod::new("a").networks(annotation).run(node).expect("starting pod a");
    let b = Pod::new("b").networks(annotation).run(node).expect("starting pod b");
    for pod in [&a, &b] {
        let mut expected = ["eth0", on_a, on_b];
        expected.sort_unstable();
        assert_eq!(pod.interfaces(), expected);
        assert_eq!(pod.ip, pod.address("eth0"), "the runtime reports the primary's address");
        assert_status(pod, &[("primary", "eth0"), ("default/net-a", on_a), ("default/net-b", on_b)]);
    }
    for interface in ["eth0", on_a, on_b] {
        a.ping(&b, interface);
        b.ping(&a, interface);
    }
    a.delete();
    assert_eq!(b.interfaces().len(), 3, "the other pod's deletion touched this one");
    b.delete();
    node.assert_nothing_left();
}

/// The network status names these networks on these interfaces, in order, the first of them alone the default one.
fn assert_status(pod: &Sandbox<'_>, expected: &[(&str, &str)]) {
    let status = pod.status();
    let told: Vec<_> = status.iter().map(|e| (e["name"].as_str(), e["interface"].as_str(), &e["default"])).collect();
    assert_eq!(told.len(), expected.len(), "one entry per attachment: {status:?}");
    for (position, ((name, interface, default), (network, ifname))) in told.into_iter().zip(expected).enumerate() {
        // The primary's name may carry the namespace it was found in; the others' names do.
        assert!(name.is_some_and(|name| name == *network || name.ends_with(&format!("/{network}"))), "{status:?}");
        assert_eq!(interface, Some(*ifname), "{status:?}");
        assert_eq!(default, &json!(position == 0), "{status:?}");
    }
}

fn check_twice(runtime: Runtime) {
    let node = Node::with_meta_cni(runtime);
    let pod = Pod::new("twice").networks("net-a,net-a").run(&node).expect("starting the pod");
    assert_status(&pod, &[("primary", "eth0"), ("default/net-a", "net1"), ("default/net-a", "net2")]);
    assert_ne!(pod.address("net1"), pod.address("net2"));
    pod.delete();
    node.assert_nothing_left();
}

fn check_host_port(runtime: Runtime) {
    let node = Node::with_meta_cni(runtime);
    let pod = Pod::new("server").networks("net-a").host_port(8080, 80).run(&node).expect("starting the pod");
    let rules = node.must(&["nft", "list", "ruleset"]);
    assert!(rules.contains(&format!("{}:80", pod.address("eth0"))), "no port map to the primary's address: {rules}");
    assert!(!rules.contains(&format!("{}:80", pod.address("net1"))), "a port map to net-a's address: {rules}");

    // A server in the pod answers one connection to the node's address.
    let netns = format!("--net={}", pod.netns);
    node.must(&["sh", "-c", &format!("nsenter {netns} busybox nc -l -p 80 -e echo hello >/dev/null 2>&1 &")]);
    let client = "for try in 1 2 3 4 5; do busybox nc -w 2 10.88.0.1 8080 </dev/null && exit; sleep 0.1; done; exit 1";
    assert_eq!(node.must(&["sh", "-c", client]).trim(), "hello");
    pod.delete();
    node.assert_nothing_left();
}

fn check_many(runtime: Runtime) {
    let node = Node::with_meta_cni(runtime);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let node = &node;
            scope.spawn(move || {
                let pod = Pod::new(&format!("pod-{number}")).networks("net-a,net-b").run(node);
                let pod = pod.expect("starting one of eight pods");
                assert_eq!(pod.interfaces(), ["eth0", "net1", "net2"]);
                pod.status();
                pod.delete();
            });
        }
    });
    node.assert_nothing_left();
}

/// A pod that asks for nothing has its primary alone, and the status says so.
#[test]
fn pod_without_networks_b27() {
    let node = Node::with_meta_cni(Runtime::Modules);
    let pod = Pod::new("plain").run(&node).expect("starting the pod");
    assert_eq!(pod.interfaces(), ["eth0"]);
    assert_status(&pod, &[("primary", "eth0")]);
    pod.delete();
    node.assert_nothing_left();
}

/// B1: pods may ask for a network of another namespace.
#[test]
fn network_of_another_namespace_b1() {
    let node = Node::start(Runtime::Modules, "1.1.0", |etc| {
        etc.write_all(&Master::default());
        etc.write_network("other", "net-c", &json!([{"type": "macvlan", "master": "uplink0", "mode": "bridge"}]));
    });
    let refused = Pod::new("same").networks("net-c").run(&node).err().expect("its own namespace has no net-c");
    assert!(refused.contains("net-c"), "{refused}");
    node.assert_nothing_left();
    let pod = Pod::new("across").networks("other/net-c").run(&node).expect("starting the pod");
    assert_status(&pod, &[("primary", "eth0"), ("other/net-c", "net1")]);
    pod.delete();
    node.assert_nothing_left();
}
