//! Which namespaces a pod may take networks from (B32).

use crate::combination::Axes;
use crate::network::bridge_network;
use crate::row::{Row, row};
use serde_json::{Value, json};

pub fn rows() -> Vec<Row> {
    let asked = [
        ("its_own", "tenant", json!({}), true),
        ("the_default_one_is_everybodys", "default", json!({}), true),
        ("another_is_refused", "other", json!({}), false),
        ("one_of_everybodys", "other", json!({ "globalNamespaces": "some,other" }), true),
        (
            "the_default_one_when_it_is_not_everybodys_is_refused",
            "default",
            json!({ "globalNamespaces": "some" }),
            false,
        ),
    ];
    let mut rows: Vec<Row> = asked.iter().map(|(name, from, keys, may)| of_networks(name, from, keys, *may)).collect();
    rows.extend(asked.iter().map(|(name, from, keys, may)| of_default_network(name, from, keys, *may)));
    rows
}

fn isolated(name: String, keys: &Value) -> Row {
    let mut master = json!({ "namespaceIsolation": true });
    crate::row::merge(&mut master, keys);
    // One row that is refused and one that is not are written in every way.
    let plain = keys.as_object().is_some_and(serde_json::Map::is_empty);
    row(name, if plain { Axes::All } else { Axes::Diagonal }).master(master).pod("tenant", "web")
}

fn of_networks(name: &str, namespace: &'static str, keys: &Value, may: bool) -> Row {
    let row = isolated(format!("B32_a_network_of_{name}"), keys)
        .network(bridge_network("net-a", 20).namespace(namespace))
        .wants(json!({ "name": "net-a", "namespace": namespace }));
    match may {
        true => row.shows("net1", &["10.20.0.2/24", "fd00:20::2/64"]).reaches("net1", "10.20.0.1"),
        false => row.refused(7, &["net-a", "tenant"]),
    }
}

/// The annotation that replaces the primary is no way around it.
fn of_default_network(name: &str, namespace: &'static str, keys: &Value, may: bool) -> Row {
    let row = isolated(format!("B32_a_default_network_of_{name}"), keys)
        .network(bridge_network("net-a", 20).namespace(namespace))
        .default_network(json!({ "name": "net-a", "namespace": namespace }));
    match may {
        true => row.shows("eth0", &["10.20.0.2/24", "fd00:20::2/64"]).reaches("eth0", "10.20.0.1"),
        false => row.refused(7, &["net-a", "tenant"]),
    }
}
