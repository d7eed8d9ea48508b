//! Addresses and hardware addresses that the pod asks for (B5-B8, B17).

use crate::combination::Axes;
use crate::network::{Network, bridge, bridge_network, host_local, macvlan, scripted, with};
use crate::row::{Row, row};
use crate::view::neighbour;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MAC: &str = "02:00:00:00:00:07";

pub fn rows() -> Vec<Row> {
    let mut rows = given_addresses();
    rows.extend(given_macs());
    rows.extend(guid());
    rows.extend(undeclared());
    rows.extend(malformed());
    rows.extend(claims());
    rows
}

fn given_addresses() -> Vec<Row> {
    let able =
        |number: u8, ipam: Value| with(bridge(number), &json!({ "capabilities": { "ips": true }, "ipam": ipam }));
    vec![
        row("B5_ips_by_macvlan_and_static", Axes::Json)
            .network(Network::of("net-a", [macvlan()]))
            .wants(json!({ "name": "net-a", "ips": ["10.99.0.7/24", "fd00:99::7/64"] }))
            .shows("net1", &["10.99.0.7/24", "fd00:99::7/64"])
            .reaches("net1", "10.99.0.1")
            .reaches("net1", "fd00:99::1"),
        row("B5_ips_by_bridge_and_static", Axes::Json)
            .network(Network::of("net-a", [able(20, json!({ "type": "static" }))]))
            .wants(json!({ "name": "net-a", "ips": ["10.20.0.7/24", "10.20.0.8/24", "fd00:20::7/64"] }))
            .shows("net1", &["10.20.0.7/24", "10.20.0.8/24", "fd00:20::7/64"]),
        row("B5_ips_without_prefix_by_host_local", Axes::Json)
            .network(Network::of("net-a", [able(20, host_local(20))]))
            .wants(json!({ "name": "net-a", "ips": ["10.20.0.77", "fd00:20::77"] }))
            .shows("net1", &["10.20.0.77/24", "fd00:20::77/64"])
            .reaches("net1", "10.20.0.1")
            .reaches("net1", "fd00:20::1"),
    ]
}

fn given_macs() -> Vec<Row> {
    let capability = json!({ "capabilities": { "mac": true } });
    let by = |kind: &str, axes, plugins: Vec<Value>, gateway: &'static str| {
        row(format!("B7_mac_by_{kind}"), axes)
            .network(Network::of("net-a", plugins))
            .wants(json!({ "name": "net-a", "mac": "02-00-00-00-00-07" }))
            .reaches("net1", gateway)
            .proof(move |pod| {
                assert_eq!(pod.link("net1").mac, MAC);
                let other = if gateway == "10.99.0.1" { pod.outside() } else { &pod.host };
                let address = pod.address("net1", true).to_string();
                assert_eq!(neighbour(other, &address).as_deref(), Some(MAC), "what the neighbour knows");
            })
    };
    let fixed = json!({ "type": "static", "addresses": [{ "address": "10.99.0.7/24" }] });
    vec![
        by("bridge", Axes::Json, vec![with(bridge(20), &capability)], "10.20.0.1"),
        by("macvlan", Axes::Json, vec![with(with(macvlan(), &capability), &json!({ "ipam": fixed }))], "10.99.0.1"),
        by("tuning", Axes::ChainJson, vec![bridge(20), with(json!({ "type": "tuning" }), &capability)], "10.20.0.1"),
    ]
}

/// There is no InfiniBand here: what the plugin is handed is as far as it can be followed.
fn guid() -> Vec<Row> {
    let plugin = with(scripted("fabric", &json!({})), &json!({ "capabilities": { "infinibandGUID": true } }));
    vec![
        row("B8_infiniband_guid_is_handed_over", Axes::Json)
            .scripted("fabric")
            .network(Network::of("net-a", [plugin]))
            .wants(json!({ "name": "net-a", "infiniband-guid": "24:8A:07:03:00:8D:AE:2E" }))
            .ending(|pod| {
                pod.must("DEL");
                let calls = pod.node.calls();
                let operations: Vec<&str> = calls.iter().map(|call| call.operation.as_str()).collect();
                let check: &[&str] = if pod.combination.has_check() { &["CHECK"] } else { &[] };
                assert_eq!(operations, [&["ADD"], check, &["DEL"]].concat());
                for call in calls {
                    let handed = json!({ "infinibandGUID": "24:8a:07:03:00:8d:ae:2e" });
                    assert_eq!(call.config()["runtimeConfig"], handed, "{}", call.brief());
                }
            }),
    ]
}

/// What no plugin of the chain says it can do.
fn undeclared() -> Vec<Row> {
    let keys = [
        ("ips", json!(["10.20.0.7/24"])),
        ("mac", json!(MAC)),
        ("infiniband-guid", json!("24:8a:07:03:00:8d:ae:2e")),
        ("portMappings", json!([{ "hostPort": 18080, "containerPort": 80 }])),
        ("bandwidth", json!({ "ingressRate": 8_000_000, "ingressBurst": 800_000 })),
    ];
    keys.into_iter()
        .map(|(key, value)| {
            row(format!("B6_{key}_that_no_plugin_declares_is_refused"), Axes::Json)
                .network(bridge_network("net-a", 20))
                .network(Network::of(
                    "net-b",
                    [with(bridge(21), &json!({ "capabilities": { key: false, "dns": true } }))],
                ))
                .wants(json!({ "name": "net-a" }))
                .wants(json!({ "name": "net-b", key: value }))
                .refused(7, &[key, "net-b", "bridge"])
        })
        .collect()
}

/// Values that no plugin could do anything with, by statement and key.
fn impossible() -> Vec<(&'static str, Vec<Value>)> {
    let ports = |mapping: Value| json!({ "portMappings": [{ "hostPort": 18080, "containerPort": 80 }, mapping] });
    vec![
        (
            "B5_ips",
            vec![
                json!({ "ips": [] }),
                json!({ "ips": ["10.20.0.300"] }),
                json!({ "ips": ["10.20.0.7/24", "fd00::g"] }),
                json!({ "ips": ["10.20.0.7/33"] }),
                json!({ "ips": ["fd00::7/129"] }),
            ],
        ),
        (
            "B7_mac",
            vec![
                json!({ "mac": "02:00:00:00:00" }),
                json!({ "mac": "02:00:00:00:00:00:00:07" }),
                json!({ "mac": "02:00:00:00:00:0g" }),
            ],
        ),
        ("B8_infiniband_guid", vec![json!({ "infiniband-guid": MAC }), json!({ "infiniband-guid": "" })]),
        ("B12_cni_args", vec![json!({ "cni-args": ["mtu"] }), json!({ "cni-args": "mtu=1400" })]),
        (
            "B13_port_mappings",
            vec![
                ports(json!({ "hostPort": 0, "containerPort": 80 })),
                ports(json!({ "hostPort": 18081, "containerPort": 65536 })),
                ports(json!({ "containerPort": 80 })),
                ports(json!({ "hostPort": 18081 })),
                ports(json!({ "hostPort": 18081, "containerPort": 80, "protocol": "icmp" })),
            ],
        ),
        (
            "B14_bandwidth",
            vec![
                json!({ "bandwidth": {} }),
                json!({ "bandwidth": { "ingressRate": 0, "ingressBurst": 800_000 } }),
                json!({ "bandwidth": { "ingressRate": 8_000_000, "egressBurst": 800_000 } }),
            ],
        ),
        (
            "B17_ipam_claim_reference",
            vec![
                json!({ "ipam-claim-reference": "claim-1", "ips": ["10.20.0.7/24"] }),
                json!({ "ipam-claim-reference": "Claim_1" }),
            ],
        ),
    ]
}

/// Each element is refused by a network whose plugin declares everything.
fn malformed() -> Vec<Row> {
    impossible()
        .into_iter()
        .map(|(name, values)| {
            let names = ["ips", "mac", "infinibandGUID", "portMappings", "bandwidth"];
            let capabilities =
                json!({ "capabilities": names.map(|name| (name, true)).into_iter().collect::<BTreeMap<_, _>>() });
            row(format!("{name}_that_cannot_be_is_refused"), Axes::Json)
                .network(Network::of("net-a", [with(bridge(20), &capabilities)]))
                .attempts(values.into_iter().map(|keys| with(json!({ "name": "net-a" }), &keys)))
                .refused(7, &["networks"])
        })
        .chain([row("B15_two_elements_that_want_the_default_route_are_refused", Axes::Json)
            .network(bridge_network("net-a", 20))
            .network(bridge_network("net-b", 21))
            .wants(json!({ "name": "net-a", "default-route": ["10.20.0.1"] }))
            .wants(json!({ "name": "net-b", "default-route": ["10.21.0.1"] }))
            .refused(7, &["default-route"])])
        .collect()
}

fn claims() -> Vec<Row> {
    vec![
        row("B17_claim_is_taken_alone", Axes::Json)
            .network(bridge_network("net-a", 20))
            .wants(json!({ "name": "net-a", "ipam-claim-reference": "claim-1" }))
            .shows("net1", &["10.20.0.2/24", "fd00:20::2/64"])
            .reaches("net1", "fd00:20::1"),
    ]
}
