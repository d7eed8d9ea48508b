//! What the runtime believes about the node's network: STATUS as containerd 2 calls it, and a primary that comes late.

use crate::harness::{Master, Node, Pod, Runtime};

const PRIMARY: &str = "primary.d/10-primary.conflist";

/// A25, A27: the runtime asks for STATUS; with a primary the node is ready, without one it is not, and it becomes ready
/// when the primary comes, with no restart of anything.
#[test]
fn status_follows_the_primary_a25_a27() {
    let node = Node::start(Runtime::Modules, "1.1.0", |etc| etc.write_master(&Master::default()));
    let reason = node.network_ready().expect_err("without a primary no pod could be started");
    assert!(reason.contains("primary") || reason.contains(PRIMARY), "the reason names the primary: {reason}");
    node.etc_cni.write_primary(PRIMARY);
    assert_eq!(node.network_ready(), Ok(()));
    let pod = Pod::new("a").run(&node).expect("starting a pod after the primary came");
    pod.delete();
    node.assert_nothing_left();
}

/// D9, D8: the primary's file goes after it was seen: its last good state stays in force for pods that are there, and
/// they are deleted completely.
#[test]
fn primary_gone_before_the_pod_d9() {
    let node = Node::with_meta_cni(Runtime::Modules);
    let pod = Pod::new("a").networks("net-a,net-b").run(&node).expect("starting the pod");
    node.etc_cni.remove(PRIMARY);
    node.etc_cni.remove("meta-cni/networks/default/net-a.json");
    pod.delete();
    node.assert_nothing_left();
}

/// A25: a network that pods ask for and that is broken is no reason to stop the node.
#[test]
fn broken_extra_network_is_not_the_nodes_a25() {
    let node = Node::with_meta_cni(Runtime::Modules);
    node.etc_cni.write_network("default", "net-a", &serde_json::json!([{"type": "no-such-plugin"}]));
    assert_eq!(node.network_ready(), Ok(()));
    let refused = Pod::new("a").networks("net-a").run(&node).err().expect("its network's plugin is missing");
    assert!(refused.contains("no-such-plugin"), "{refused}");
    node.assert_nothing_left();
    let pod = Pod::new("b").run(&node).expect("a pod without that network starts");
    pod.delete();
    node.assert_nothing_left();
}
