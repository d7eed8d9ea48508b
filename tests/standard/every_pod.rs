//! Networks that a pod has without asking, and the one that replaces its primary.

use crate::combination::Axes;
use crate::network::bridge_network;
use crate::row::{Row, row};
use serde_json::{Value, json};

pub fn rows() -> Vec<Row> {
    vec![
        everywhere_in(Axes::All, "B27_default_networks_come_before_those_asked_for", json!({}))
            .shows("net1", &["10.20.0.2/24", "fd00:20::2/64"])
            .shows("net2", &["10.21.0.2/24", "fd00:21::2/64"])
            .reaches("net1", "fd00:20::1")
            .reaches("net2", "10.21.0.1"),
        // The namespace counts, not the name.
        everywhere("B27_a_pod_called_like_a_system_namespace_has_default_networks", json!({}))
            .pod("default", "kube-system")
            .shows("net1", &["10.20.0.2/24", "fd00:20::2/64"])
            .reaches("net1", "10.20.0.1"),
        everywhere("B27_a_pod_of_a_system_namespace_has_none", json!({ "systemNamespaces": ["infra"] }))
            .pod("infra", "web")
            .shows("net1", &["10.21.0.2/24", "fd00:21::2/64"])
            .proof(|pod| assert_eq!(pod.link_names(), ["eth0", "net1"])),
        everywhere("B27_system_namespaces_replace_kube_system", json!({ "systemNamespaces": ["infra"] }))
            .pod("kube-system", "web")
            .shows("net1", &["10.20.0.2/24", "fd00:20::2/64"])
            .reaches("net1", "10.20.0.1"),
        replaced(
            Axes::All,
            "B27_a_default_network_takes_the_primarys_place",
            json!({ "name": "net-a", "namespace": "other" }),
        )
        .network(bridge_network("net-a", 20).namespace("other")),
        replaced(
            Axes::Diagonal,
            "B27_a_default_network_without_namespace_is_of_the_systems",
            json!({ "name": "net-a" }),
        )
        .network(bridge_network("net-a", 20).namespace("kube-system"))
        .network(bridge_network("net-a", 22)),
    ]
}

fn everywhere(name: &str, keys: Value) -> Row {
    everywhere_in(Axes::Diagonal, name, keys)
}

fn everywhere_in(axes: Axes, name: &str, keys: Value) -> Row {
    let mut master = json!({ "defaultNetworks": ["everywhere"] });
    crate::row::merge(&mut master, &keys);
    row(name, axes)
        .master(master)
        .network(bridge_network("everywhere", 20).namespace("kube-system"))
        .network(bridge_network("net-b", 21))
        .wants(json!({ "name": "net-b", "namespace": "default" }))
}

fn replaced(axes: Axes, name: &str, element: Value) -> Row {
    let namespace = element["namespace"].as_str().unwrap_or("kube-system").to_owned();
    row(name, axes)
        .default_network(element)
        .network(bridge_network("net-b", 21))
        .wants(json!({ "name": "net-b" }))
        .shows("eth0", &["10.20.0.2/24", "fd00:20::2/64"])
        .shows("net1", &["10.21.0.2/24", "fd00:21::2/64"])
        .reaches("eth0", "10.20.0.1")
        .reaches("net1", "fd00:21::1")
        .proof(move |pod| {
            assert_eq!(pod.link_names(), ["eth0", "net1"]);
            let status = pod.status();
            assert_eq!(status[0]["name"], format!("{namespace}/net-a"));
            assert_eq!((&status[0]["default"], &status[1]["default"]), (&json!(true), &json!(false)), "B22");
        })
}
