//! A deployment of 100 pods with two networks each, beside the same deployment on the bare primary.

use super::cluster::{Cluster, NODES, wait_until};
use super::view;
use super::workload::{failed_sandboxes, ready, timed};

/// A44, B18, B27, B31: a burst of annotated pods. Every pod is Ready, not one sandbox failed on the way, each has exactly its
/// three interfaces with addresses of their networks, each is reached over each; after the deletion nothing is left. How long it
/// took is printed beside the bare primary's time before and after, and not judged.
pub fn all_pods_get_all_networks(cluster: &Cluster) {
    let pods = std::env::var("META_CNI_CLUSTER_PODS").map_or(100, |pods| pods.parse().expect("a number of pods"));
    // The first pods of a node pay for what is not in memory yet; neither side should.
    bare(cluster, "warm-up", pods / 5);
    let before = bare(cluster, "bare-before", pods);

    let failed = failed_sandboxes(cluster);
    let (deployment, ours) = timed(cluster, "burst", pods, "net-a,net-b");
    let failed = failed_sandboxes(cluster) - failed;
    assert_eq!(failed, 0, "sandboxes failed on the way");
    let list = deployment.pods();
    assert_eq!(list.len(), pods);
    for pod in &list {
        ready(pod).unwrap();
    }
    let namespaces = view::of_pods(cluster, &list).unwrap();
    view::assert_right(&namespaces, &view::BOTH);
    let unreachable = view::unreachable(cluster, &namespaces, &view::BOTH);
    assert!(unreachable.is_empty(), "{unreachable:#?}");
    deployment.delete();
    wait_until("nothing of the pods is left", || view::nothing_left(cluster));

    let after = bare(cluster, "bare-after", pods);
    let ours = ours.as_secs_f64();
    let ratio = ours * 2.0 / (before + after);
    println!(
        "{pods} pods Ready after {ours:.1} s with two networks, {failed} failed sandboxes; bare primary {before:.1} s before and \
         {after:.1} s after: x {ratio:.2}"
    );
}

/// Seconds that the deployment takes on the primary alone, without meta-cni; afterwards the nodes have meta-cni again.
fn bare(cluster: &Cluster, name: &'static str, pods: usize) -> f64 {
    become_network(cluster, "bare", "primary");
    let failed = failed_sandboxes(cluster);
    let (deployment, took) = timed(cluster, name, pods, "");
    assert_eq!(failed_sandboxes(cluster) - failed, 0, "sandboxes of the bare primary failed");
    deployment.delete();
    wait_until("nothing of the pods is left", || view::nothing_left(cluster));
    become_network(cluster, "meta-cni", "meta-cni");
    took.as_secs_f64()
}

/// Writes /etc/cni of both nodes and waits until the runtime has loaded that network.
fn become_network(cluster: &Cluster, kind: &str, name: &str) {
    for node in NODES {
        cluster.network_is(node, kind);
        wait_until("the runtime has loaded the network", || {
            let (loaded, _) = cluster.loaded(node)?;
            if loaded == name { Ok(()) } else { Err(format!("{node} has {loaded:?} and not {name:?}")) }
        });
    }
}
