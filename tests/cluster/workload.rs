//! Pods by the dozen: deployments that ask for networks, and how long they take.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::{Cluster, IMAGE, LONG, wait_until};

/// The annotation by which a pod asks for networks.
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// A deployment of pods that sleep.
pub struct Deployment<'c> {
    cluster: &'c Cluster,
    name: &'static str,
    replicas: usize,
}

impl<'c> Deployment<'c> {
    /// Hands it to the API server. Its pods ask for `networks`, an annotation's value; empty is a pod without one.
    pub fn create(cluster: &'c Cluster, name: &'static str, replicas: usize, networks: &str) -> Self {
        cluster.create(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}, "annotations": annotations(networks)},
                    "spec": sleeping(),
                },
            },
        }));
        Self { cluster, name, replicas }
    }

    /// Waits until every pod is Ready.
    pub fn wait(&self) {
        let condition = format!("--for=jsonpath={{.status.readyReplicas}}={}", self.replicas);
        let limit = format!("--timeout={}s", LONG.as_secs());
        self.cluster.ask(["wait", &format!("deployment/{}", self.name), &condition, &limit]);
    }

    /// Its pods, as the API server has them now.
    pub fn pods(&self) -> Vec<Value> {
        self.cluster.items(["pods", "--selector", &format!("app={}", self.name)])
    }

    /// Deletes it and waits until its last pod is gone.
    pub fn delete(self) {
        self.cluster.kubectl(["delete", "deployment", self.name]);
        let gone = || match self.pods().len() {
            0 => Ok(()),
            pods => Err(format!("{pods} pods of {} are still there", self.name)),
        };
        wait_until("all pods are gone", gone);
    }
}

/// From the deployment's creation until its last pod is Ready; it is left running.
pub fn timed<'c>(
    cluster: &'c Cluster,
    name: &'static str,
    replicas: usize,
    networks: &str,
) -> (Deployment<'c>, Duration) {
    let start = Instant::now();
    let deployment = Deployment::create(cluster, name, replicas, networks);
    deployment.wait();
    (deployment, start.elapsed())
}

/// A pod on this node, whatever the scheduler thinks of it.
pub fn pod_on(node: &str, name: &str, networks: &str) -> Value {
    let mut spec = sleeping();
    spec["nodeName"] = node.into();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations(networks)},
        "spec": spec,
    })
}

/// Why a pod is not Ready, if it is not.
pub fn ready(pod: &Value) -> Result<(), String> {
    let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
    if ready { Ok(()) } else { Err(format!("pod {} is not Ready: {}", pod["metadata"]["name"], pod["status"])) }
}

/// How often a sandbox of any pod could not be made, by kubelet's Events of the whole life of the cluster.
pub fn failed_sandboxes(cluster: &Cluster) -> u64 {
    let events = cluster.items(["events", "--field-selector", "reason=FailedCreatePodSandBox"]);
    // An Event that was seen once may have no count.
    events.iter().map(|event| event["count"].as_u64().unwrap_or(1).max(1)).sum()
}

fn annotations(networks: &str) -> Value {
    if networks.is_empty() { json!({}) } else { json!({NETWORKS: networks}) }
}

fn sleeping() -> Value {
    json!({
        "automountServiceAccountToken": false,
        "dnsPolicy": "Default",
        "containers": [{"name": "sleeper", "image": IMAGE, "imagePullPolicy": "Never"}],
    })
}
