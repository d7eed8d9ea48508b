//! The network status annotation beside what the kernel shows (B20-B24, B26).

use crate::combination::Axes;
use crate::network::{Network, bridge, bridge_network, host_local, macvlan, scripted, with};
use crate::pod::Pod;
use crate::row::{Row, row};
use serde_json::{Value, json};

pub fn rows() -> Vec<Row> {
    let fixed =
        json!({ "type": "static", "addresses": [{ "address": "10.99.0.7/24" }, { "address": "fd00:99::7/64" }] });
    let dns =
        json!({ "nameservers": ["10.20.0.53"], "domain": "example", "search": ["a.example"], "options": ["ndots:2"] });
    vec![
        row("B20_B22_B23_B24_status_says_what_the_kernel_shows", Axes::All)
            .network(bridge_network("net-a", 20).namespace("other"))
            .network(Network::of("net-b", [with(macvlan(), &json!({ "ipam": fixed }))]))
            .network(Network::of("net-c", [json!({ "type": "ptp", "ipam": host_local(22) })]))
            .wants(json!({ "name": "net-a", "namespace": "other" }))
            .wants(json!({ "name": "net-b", "interface": "fast0" }))
            .wants(json!({ "name": "net-c" }))
            .proof(|pod| {
                let names = ["cluster", "other/net-a", "default/net-b", "default/net-c"];
                agrees(pod, &["eth0", "net1", "fast0", "net3"], &names);
            }),
        row("B24_status_of_a_chain_is_that_of_the_pods_interface", Axes::Chain)
            .network(Network::of("net-a", [bridge(20), json!({ "type": "tuning", "mac": "02:00:00:00:00:07" })]))
            .wants(json!({ "name": "net-a" }))
            .proof(|pod| {
                agrees(pod, &["eth0", "net1"], &["cluster", "default/net-a"]);
                assert_eq!(pod.status()[1]["mac"], "02:00:00:00:00:07");
            }),
        row("B26_status_has_the_networks_resolvers", Axes::All)
            .network(Network::of("net-a", [with(bridge(20), &json!({ "dns": dns }))]))
            .wants(json!({ "name": "net-a" }))
            .reaches("net1", "10.20.0.1")
            .proof(move |pod| {
                let status = pod.status();
                assert_eq!((&status[0]["dns"], &status[1]["dns"]), (&json!({}), &dns));
            }),
        row("B21_status_of_an_attachment_without_interface_is_minimal", Axes::All)
            .scripted("bare")
            .network(Network::of(
                "net-a",
                [scripted("bare", &json!({ "ADD": { "result": { "cniVersion": "$CNIVERSION" } } }))],
            ))
            .network(bridge_network("net-b", 21))
            .wants(json!({ "name": "net-a" }))
            .wants(json!({ "name": "net-b" }))
            .proof(|pod| {
                let status = pod.status();
                assert_eq!(status.len(), 3);
                assert_eq!(status[1], json!({ "name": "default/net-a", "default": false, "dns": {} }));
                assert_eq!(status[2]["interface"], "net2");
            }),
    ]
}

/// One entry for each interface, in order, that says of it what the kernel does; the primary's is the default.
#[track_caller]
fn agrees(pod: &Pod<'_>, interfaces: &[&str], names: &[&str]) {
    let entry = |(at, (ifname, name)): (usize, (&&str, &&str))| {
        let link = pod.link(ifname);
        let ips: Vec<&str> = link.addresses.iter().filter_map(|address| address.split('/').next()).collect();
        json!({ "name": name, "interface": ifname, "ips": ips, "mac": link.mac, "default": at == 0 })
    };
    let expected: Vec<Value> = interfaces.iter().zip(names).enumerate().map(entry).collect();
    let status = pod.status();
    let told: Vec<Value> = status
        .iter()
        .map(|entry| {
            let keys = ["name", "interface", "ips", "mac", "default"];
            keys.iter().map(|key| ((*key).to_owned(), entry[*key].clone())).collect::<serde_json::Map<_, _>>().into()
        })
        .collect();
    assert_eq!(told, expected);
    for (entry, ifname) in status.iter().zip(interfaces) {
        // Results have had it since CNI 1.1.0 only.
        assert!(entry["mtu"].is_null() || entry["mtu"] == pod.link(ifname).mtu, "{entry}");
    }
}
