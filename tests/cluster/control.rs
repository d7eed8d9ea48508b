//! That the judges of the other tests can fail: a cluster on which one network is broken.

use std::collections::BTreeMap;

use serde_json::json;

use super::cluster::{Cluster, wait_until};
use super::ready::{create_and_wait, delete, wait_until_ready};
use super::view;
use super::workload::{failed_sandboxes, pod_on, ready};

/// B29: a pod of which one network cannot be attached never becomes Ready, its failed sandboxes are counted and say which network
/// it was, what was attached is given back at once; A25: its node stays Ready. And a pod that lacks a network is a fault to `view`.
pub fn a_broken_network_is_seen(cluster: &Cluster) {
    let node = "n1";
    let failed = failed_sandboxes(cluster);
    break_network(cluster, node);
    cluster.create(&pod_on(node, "broken", "net-a,net-broken"));
    wait_until("two sandboxes failed", || {
        let events = failed_sandboxes(cluster) - failed;
        if events >= 2 { Ok(()) } else { Err(format!("{events} failed")) }
    });
    let pod = cluster.get(["pod", "broken"]);
    assert!(ready(&pod).is_err(), "{pod}");
    let events = cluster.items(["events", "--field-selector", "reason=FailedCreatePodSandBox"]);
    let message = events[0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("net-broken") && message.contains("no-such-plugin"), "{message}");
    wait_until_ready(cluster, node);
    delete(cluster, "broken");
    wait_until("nothing of the pod is left", || view::nothing_left(cluster));

    create_and_wait(cluster, &pod_on(node, "single", "net-a"));
    let single = [cluster.get(["pod", "single"])];
    let namespaces = view::of_pods(cluster, &single).unwrap();
    let faults = view::faults(&namespaces, &view::BOTH);
    assert!(
        faults.iter().any(|fault| fault.starts_with("single has")),
        "net2 is missing, and nobody says so: {faults:?}"
    );
    view::assert_right(&namespaces, &view::BOTH[..2]);
    let left = view::nothing_left(cluster).expect_err("a pod runs");
    for part in ["of primary", "of net-a", "meta-cni/attachments", "run/netns", "link veth", "var-lib-cni/results"] {
        assert!(left.contains(part), "nobody sees what runs now ({part}): {left}");
    }
    delete(cluster, "single");
    wait_until("nothing of the pod is left", || view::nothing_left(cluster));
    let gone = view::of_pods(cluster, &single).map(|found: BTreeMap<_, _>| found.len());
    assert!(gone.is_err(), "a pod that is gone has a namespace: {gone:?}");
}

/// A network of which no plugin is there.
fn break_network(cluster: &Cluster, node: &str) {
    let config = json!({"cniVersion": "1.0.0", "name": "net-broken", "type": "no-such-plugin"});
    let manifest = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"namespace": "default", "name": "net-broken"},
        "spec": {"config": config.to_string()},
    });
    let file = cluster.folder(node, "etc-cni/meta-cni/networks/default/net-broken.json");
    std::fs::write(file, manifest.to_string()).unwrap();
}
