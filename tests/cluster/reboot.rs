//! A node that loses its power.

use serde_json::Value;

use super::cluster::{Cluster, NODES, wait_until};
use super::view;
use super::workload::{Deployment, ready};

const PODS: usize = 20;

/// F5: everything on a node dies at once, its memory is empty, the kernel has another boot ID. The pods come back with all
/// their networks, and the addresses of those that died with it are free again: as many are taken as there are pods.
pub fn pods_come_back_and_nothing_leaks(cluster: &Cluster) {
    let node = "n2";
    let deployment = Deployment::create(cluster, "survivor", PODS, "net-a,net-b");
    deployment.wait();
    let before = on(&deployment.pods(), node).len();
    assert!(before > 0, "no pod is on {node}");
    let boot = cluster.on(node, ["cat", "/proc/sys/kernel/random/boot_id"]);
    cluster.reboot(node);
    assert_ne!(boot, cluster.on(node, ["cat", "/proc/sys/kernel/random/boot_id"]));
    wait_until("all pods run with all their networks", || all_there(cluster, &deployment));
    for network in ["primary", "net-a", "net-b"] {
        wait_until("as many addresses are taken as there are pods", || {
            let (taken, pods) = (view::leases(cluster, node, network), on(&deployment.pods(), node).len());
            if taken.len() == pods { Ok(()) } else { Err(format!("{pods} pods, {network} has {taken:?}")) }
        });
    }
    let namespaces = view::of_pods(cluster, &deployment.pods()).unwrap();
    let unreachable = view::unreachable(cluster, &namespaces, &view::BOTH);
    assert!(unreachable.is_empty(), "{unreachable:#?}");
    deployment.delete();
    wait_until("nothing of the pods is left", || view::nothing_left(cluster));
    println!("{before} of {PODS} pods were on {node} when it lost its power, and all are back");
}

/// The API server goes on believing that pods are Ready until kubelet says otherwise: what counts is the kernel.
fn all_there(cluster: &Cluster, deployment: &Deployment<'_>) -> Result<(), String> {
    let pods = deployment.pods();
    if pods.len() != PODS {
        return Err(format!("{} pods", pods.len()));
    }
    pods.iter().try_for_each(ready)?;
    let found = view::of_pods(cluster, &pods)?;
    let faults = view::faults(&found, &view::BOTH);
    let namespaces: usize = NODES.into_iter().map(|node| view::namespaces(cluster, node).len()).sum();
    match (faults.is_empty(), namespaces) {
        (true, PODS) => Ok(()),
        (true, other) => Err(format!("{other} namespaces for {PODS} pods")),
        (false, _) => Err(format!("{faults:#?}")),
    }
}

fn on<'p>(pods: &'p [Value], node: &str) -> Vec<&'p Value> {
    pods.iter().filter(|pod| pod["spec"]["nodeName"] == node).collect()
}
