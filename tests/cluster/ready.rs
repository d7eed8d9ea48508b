//! What kubelet believes about the node's network, and ports of the node that lead to a pod.

use std::fs;

use serde_json::{Value, json};

use super::cluster::{Cluster, IMAGE, wait_until};
use super::view;
use super::workload::{failed_sandboxes, pod_on, ready};

/// D7: a node on which no primary was ever there has no master config, and kubelet says that it is not Ready; the daemon says what
/// it waits for. The primary's file comes, the daemon writes, containerd loads, kubelet says Ready, and the pod that waited starts
/// with all its networks. Nothing is restarted but the daemon, which finds a new node.
pub fn a_node_waits_for_its_first_primary(cluster: &Cluster) {
    let node = "n2";
    let primary = cluster.folder(node, "etc-cni/primary.d/10-primary.conflist");
    let aside = primary.with_extension("aside");
    let master = cluster.folder(node, "etc-cni/net.d/00-meta-cni.conflist");
    let config = cluster.folder(node, "etc-cni/meta-cni/daemon.json");
    let kept = fs::read(&config).unwrap();
    cluster.stop_daemon(node);
    fs::rename(&primary, &aside).unwrap();
    fs::remove_file(&master).unwrap();
    for known in ["primary.json", "master.json"] {
        fs::remove_file(cluster.folder(node, "var-lib-cni/meta-cni").join(known)).unwrap();
    }
    fs::write(&config, kept).unwrap();
    wait_until("the daemon says what it waits for", || {
        let told = cluster.ask_daemon(node, "/readyz");
        if told.contains("waiting for the primary: /etc/cni/primary.d") { Ok(()) } else { Err(told) }
    });
    wait_until("the node is not Ready", || not_ready(cluster, node, "cni plugin not initialized"));
    cluster.create(&pod_on(node, "first", "net-a,net-b"));
    assert!(!master.exists(), "nothing was to be written");

    fs::rename(&aside, &primary).unwrap();
    wait_until_ready(cluster, node);
    wait_until("the pod that waited is Ready", || ready(&cluster.get(["pod", "first"])));
    view::assert_right(&view::of_pods(cluster, &[cluster.get(["pod", "first"])]).unwrap(), &view::BOTH);
    let told = cluster.ask_daemon(node, "/readyz");
    assert!(told.contains(" 200 "), "{told}");
    delete(cluster, "first");
    wait_until("nothing of the pod is left", || view::nothing_left(cluster));
}

/// A25, D7, D9: the primary's config goes. The daemon leaves its file, which is right again as soon as the primary is; containerd asks
/// for STATUS, and kubelet says that the node is not Ready and why; a pod that runs goes on. The config comes back, and the node is
/// Ready and starts the pod that waited, with all its networks.
pub fn the_node_follows_the_primary(cluster: &Cluster) {
    let node = "n2";
    create_and_wait(cluster, &pod_on(node, "early", "net-a,net-b"));
    let primary = cluster.folder(node, "etc-cni/primary.d/10-primary.conflist");
    let aside = primary.with_extension("aside");
    fs::rename(&primary, &aside).unwrap();
    wait_until("the node is not Ready", || not_ready(cluster, node, "10-primary.conflist"));
    let told = cluster.ask_daemon(node, "/readyz");
    assert!(told.contains(" 503 ") && told.contains("waiting for the primary"), "{told}");
    assert!(cluster.folder(node, "etc-cni/net.d/00-meta-cni.conflist").exists(), "the file stays");
    wait_until_ready(cluster, "n1");
    cluster.create(&pod_on(node, "late", "net-a,net-b"));
    let early = view::of_pods(cluster, &[cluster.get(["pod", "early"])]).unwrap();
    view::assert_right(&early, &view::BOTH);
    fs::rename(&aside, &primary).unwrap();
    wait_until_ready(cluster, node);
    wait_until("the pod that waited is Ready", || ready(&cluster.get(["pod", "late"])));
    let pods = [cluster.get(["pod", "early"]), cluster.get(["pod", "late"])];
    view::assert_right(&view::of_pods(cluster, &pods).unwrap(), &view::BOTH);
    delete(cluster, "early");
    delete(cluster, "late");
    wait_until("nothing of the pods is left", || view::nothing_left(cluster));
}

/// A38, B33: a pod with two networks more and a port of the node: who asks the node on that port is answered by the pod.
pub fn a_host_port_reaches_the_pod(cluster: &Cluster) {
    let failed = failed_sandboxes(cluster);
    let mut pod = pod_on("n1", "server", "net-a,net-b");
    pod["spec"]["containers"] = json!([{
        "name": "server", "image": IMAGE, "imagePullPolicy": "Never",
        "command": ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/"],
        "ports": [{"containerPort": 8080, "hostPort": 8088}],
        "readinessProbe": {"httpGet": {"path": "/pause", "port": 8080}, "periodSeconds": 1},
    }]);
    create_and_wait(cluster, &pod);
    let ask = r"printf 'GET /pause HTTP/1.0\r\n\r\n' | busybox nc -w 60 198.18.0.11 8088";
    let served = cluster.on("n2", ["sh", "-c", ask]);
    assert!(served.contains("#!/bin/sh"), "{served}");
    let spoken = cluster.kubectl(["exec", "server", "--", "busybox", "ip", "-o", "link"]);
    assert!(spoken.contains("net2"), "kubectl exec shows the pod's own links: {spoken}");
    assert_eq!(failed_sandboxes(cluster), failed);
    delete(cluster, "server");
    wait_until("nothing of the pod is left", || view::nothing_left(cluster));
}

/// Whether kubelet says that its node is not Ready, with this in the reason; else what it says.
fn not_ready(cluster: &Cluster, node: &str, reason: &str) -> Result<(), String> {
    let condition = condition(cluster, node);
    let message = condition["message"].as_str().unwrap_or_default();
    if condition["status"] == "False" && message.contains(reason) { Ok(()) } else { Err(condition.to_string()) }
}

/// What kubelet says about its node being Ready.
pub fn condition(cluster: &Cluster, node: &str) -> Value {
    let node = cluster.get(["node", node]);
    let conditions = node["status"]["conditions"].as_array().expect("a node has conditions");
    conditions.iter().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default()
}

/// Waits until kubelet says that its node is Ready.
pub fn wait_until_ready(cluster: &Cluster, node: &str) {
    wait_until("the node is Ready", || {
        let condition = condition(cluster, node);
        if condition["status"] == "True" { Ok(()) } else { Err(condition.to_string()) }
    });
}

/// Hands the pod to the API server and waits until it is Ready.
pub fn create_and_wait(cluster: &Cluster, pod: &Value) {
    let name = pod["metadata"]["name"].as_str().expect("a pod has a name");
    cluster.create(pod);
    wait_until("the pod is Ready", || ready(&cluster.get(["pod", name])));
}

pub fn delete(cluster: &Cluster, pod: &str) {
    cluster.kubectl(["delete", "pod", pod, "--grace-period", "1", "--timeout", "300s"]);
}
