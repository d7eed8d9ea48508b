//! Interfaces: their names, the same network twice, many networks (B9-B11, B18, B19, B31).

use crate::combination::Axes;
use crate::network::{Network, bridge, bridge_network, macvlan, scripted, with};
use crate::pod::Pod;
use crate::row::{Row, row};
use serde_json::{Value, json};

/// Networks of the pod that has many.
const MANY: u8 = 16;

pub fn rows() -> Vec<Row> {
    let mut rows = names();
    rows.extend(again());
    rows.push(many());
    rows
}

fn names() -> Vec<Row> {
    let fixed =
        json!({ "type": "static", "addresses": [{ "address": "10.99.0.7/24" }, { "address": "fd00:99::7/64" }] });
    let two = |axes: Axes, name: &str, first: Value, second: Value| {
        row(name, axes)
            .network(bridge_network("net-a", 20))
            .network(bridge_network("net-b", 21))
            .wants(with(json!({ "name": "net-a" }), &first))
            .wants(with(json!({ "name": "net-b" }), &second))
    };
    vec![
        row("B11_the_interface_has_the_name_asked_for", Axes::All)
            .network(bridge_network("net-a", 20))
            .network(Network::of("net-b", [with(macvlan(), &json!({ "ipam": fixed }))]))
            .network(bridge_network("net-c", 22))
            .wants(json!({ "name": "net-a", "interface": "storage.15byte" }))
            .wants(json!({ "name": "net-b", "interface": "fast0" }))
            .wants(json!({ "name": "net-c" }))
            .shows("storage.15byte", &["10.20.0.2/24", "fd00:20::2/64"])
            .shows("fast0", &["10.99.0.7/24", "fd00:99::7/64"])
            .shows("net3", &["10.22.0.2/24", "fd00:22::2/64"])
            .reaches("storage.15byte", "10.20.0.1")
            .reaches("fast0", "fd00:99::1"),
        row("B9_a_name_that_the_kernel_refuses_is_refused", Axes::All)
            .network(bridge_network("net-a", 20))
            .attempts(
                ["sixteen-bytes-16", "a b", "a:b", "..", "lo", "all"]
                    .map(|interface| json!({ "name": "net-a", "interface": interface })),
            )
            .refused(7, &["networks"]),
        two(
            Axes::Diagonal,
            "B10_one_name_for_two_is_refused",
            json!({ "interface": "fast0" }),
            json!({ "interface": "fast0" }),
        )
        .refused(7, &["fast0"]),
        two(Axes::Diagonal, "B10_the_primarys_name_is_refused", json!({}), json!({ "interface": "eth0" }))
            .refused(7, &["eth0"]),
        two(Axes::All, "B10_a_name_that_the_pod_has_already_is_refused", json!({}), json!({ "interface": "fast0" }))
            .prepare(occupied("fast0"))
            .refused(7, &["fast0"]),
        two(Axes::All, "B10_a_name_that_was_not_asked_for_moves_on", json!({}), json!({ "interface": "net2" }))
            .prepare(occupied("net1"))
            .shows("net1", &[])
            .shows("net2", &["10.21.0.2/24", "fd00:21::2/64"])
            .shows("net3", &["10.20.0.2/24", "fd00:20::2/64"])
            .reaches("net3", "10.20.0.1"),
    ]
}

/// A link that was in the pod before.
fn occupied(name: &'static str) -> impl Fn(&Pod<'_>) + Send + Sync {
    move |pod| drop(pod.netns.said("ip", &["link", "add", name, "type", "bridge"]))
}

fn again() -> Vec<Row> {
    vec![
        row("B18_the_same_network_twice_is_two_attachments", Axes::All)
            .network(bridge_network("net-a", 20))
            .wants(json!({ "name": "net-a" }))
            .wants(json!({ "name": "net-a", "namespace": "default" }))
            .shows("net1", &["10.20.0.2/24", "fd00:20::2/64"])
            .shows("net2", &["10.20.0.3/24", "fd00:20::3/64"])
            .reaches("net1", "10.20.0.1")
            .reaches("net2", "fd00:20::1")
            .proof(|pod| {
                let told = |key: &str| pod.status().iter().map(|entry| entry[key].clone()).collect::<Vec<_>>();
                assert_eq!(told("name"), ["cluster", "default/net-a", "default/net-a"]);
                assert_eq!(told("interface"), ["eth0", "net1", "net2"]);
                assert_eq!(told("ips")[1..], [json!(["10.20.0.2", "fd00:20::2"]), json!(["10.20.0.3", "fd00:20::3"])]);
            }),
        row("B19_B31_every_call_has_its_attachments_names_and_none_overlap", Axes::All)
            .scripted("slow")
            .primary(Network::of("cluster", [scripted("slow", &slow())]))
            .network(Network::of("net-a", [scripted("slow", &slow())]))
            .network(Network::of("net-b", [scripted("slow", &slow())]))
            .wants(json!({ "name": "net-a" }))
            .wants(json!({ "name": "net-b", "interface": "fast0" }))
            .wants(json!({ "name": "net-a" }))
            .ending(one_after_the_other),
    ]
}

/// Long enough for two calls at once to be seen.
fn slow() -> Value {
    let wait = json!({ "sleep_ms": 3 });
    json!({ "ADD": wait, "CHECK": wait, "DEL": wait })
}

fn one_after_the_other(pod: &Pod<'_>) {
    pod.must("DEL");
    let calls = pod.node.calls();
    let told = |operation: &str| {
        let own = calls.iter().filter(|call| call.operation == operation);
        own.map(|call| format!("{} {}", call.ifname(), call.network())).collect::<Vec<_>>()
    };
    let added = ["eth0 cluster", "net1 net-a", "fast0 net-b", "net3 net-a"];
    assert_eq!(told("ADD"), added, "B19");
    assert_eq!(told("DEL"), [added[3], added[2], added[1], added[0]], "B19");
    let checked = told("CHECK");
    assert_eq!(checked.len(), if pod.combination.has_check() { 4 } else { 0 });
    assert!(checked.iter().all(|call| added.contains(&call.as_str())), "B19: {checked:?}");
    for call in &calls {
        assert_eq!(call.container(), pod.sandbox.id, "B19");
        assert_eq!(call.env["CNI_NETNS"], pod.netns.path.to_str().unwrap(), "B19");
    }
    for pair in calls.windows(2) {
        let end = pair[0].end_ns.expect("a call that ended");
        assert!(end <= pair[1].begin_ns, "B31: {} began before {} had ended", pair[1].brief(), pair[0].brief());
    }
}

/// Each of them is reached over both families.
fn many() -> Row {
    let mut row = row(format!("B1_{MANY}_networks_in_one_pod"), Axes::Diagonal);
    for number in 0..MANY {
        let name = format!("net-{number}");
        row = row.network(Network::of(&name, [bridge(100 + number)])).wants(json!({ "name": name }));
    }
    row.proof(|pod| {
        let expected = (1..=MANY).map(|number| format!("net{number}"));
        assert_eq!(pod.link_names(), ["eth0".to_owned()].into_iter().chain(expected).collect::<Vec<_>>());
        for number in 0..MANY {
            pod.reaches(&format!("net{}", number + 1), &format!("10.{}.0.1", 100 + number));
            pod.reaches(&format!("net{}", number + 1), &format!("fd00:{}::1", 100 + number));
        }
        assert_eq!(pod.status().len(), usize::from(MANY) + 1, "B21");
    })
}
