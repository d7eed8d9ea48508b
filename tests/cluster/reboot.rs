//! A node that loses its power.

use std::time::Instant;

use serde_json::Value;

use super::cluster::{Cluster, NODES, wait_until};
use super::view;
use super::workload::{Deployment, ready};

const PODS: usize = 20;

/// Records, each of another pod, and how many hundredths of it are left.
const DAMAGED: [(&str, u64); 3] = [("net1.json", 0), ("eth0.json", 50), ("net2.json", 0)];

/// F5: everything on a node dies at once, its memory is empty, the kernel has another boot ID. The pods come back with all
/// their networks, and the addresses of those that died with it are free again: as many are taken as there are pods. D14: also
/// with files that did not reach the disk wholly: records of three pods and the primary's last good configuration.
pub fn pods_come_back_and_nothing_leaks(cluster: &Cluster) {
    let node = "n2";
    let deployment = Deployment::create(cluster, "survivor", PODS, "net-a,net-b");
    deployment.wait();
    let before = on(&deployment.pods(), node).len();
    assert!(before > 0, "no pod is on {node}");
    let boot = cluster.on(node, ["cat", "/proc/sys/kernel/random/boot_id"]);
    damage(cluster, node);
    let lost = Instant::now();
    cluster.reboot(node);
    assert_ne!(boot, cluster.on(node, ["cat", "/proc/sys/kernel/random/boot_id"]));
    wait_until("all pods run with all their networks", || all_there(cluster, &deployment));
    let back = lost.elapsed().as_secs_f64();
    for network in ["primary", "net-a", "net-b"] {
        wait_until("as many addresses are taken as there are pods", || {
            let (taken, pods) = (view::leases(cluster, node, network), on(&deployment.pods(), node).len());
            if taken.len() == pods { Ok(()) } else { Err(format!("{pods} pods, {network} has {taken:?}")) }
        });
    }
    wait_until("the damaged records are put aside", || {
        let aside = view::names(&cluster.folder(node, "var-lib-cni/meta-cni/quarantine"));
        let reasons = aside.iter().filter(|name| name.ends_with(".reason")).count();
        if reasons == DAMAGED.len() { Ok(()) } else { Err(format!("{aside:?}")) }
    });
    let free = lost.elapsed().as_secs_f64();
    let namespaces = view::of_pods(cluster, &deployment.pods()).unwrap();
    let unreachable = view::unreachable(cluster, &namespaces, &view::BOTH);
    assert!(unreachable.is_empty(), "{unreachable:#?}");
    deployment.delete();
    wait_until("nothing of the pods is left", || view::nothing_left(cluster));
    println!(
        "{before} of {PODS} pods were on {node} when it lost its power; all are back after {back:.1} s, and no more addresses are \
         taken after {free:.1} s"
    );
}

/// What a power cut leaves of files that were written a moment ago: nothing of one, half of another.
fn damage(cluster: &Cluster, node: &str) {
    let state = cluster.folder(node, "var-lib-cni/meta-cni");
    let sandboxes = std::fs::read_dir(state.join("attachments")).unwrap().map(|entry| entry.unwrap().path());
    let records = sandboxes.zip(DAMAGED).map(|(sandbox, (file, part))| (sandbox.join(file), part));
    let damaged: Vec<_> = records.chain([(state.join("primary.json"), 50)]).collect();
    assert_eq!(damaged.len(), DAMAGED.len() + 1, "fewer pods than files to damage");
    for (file, part) in damaged {
        let whole = std::fs::metadata(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).len();
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(whole * part / 100).unwrap();
    }
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
