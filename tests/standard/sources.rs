//! Which networks a pod gets: the annotation's two forms, names, and where configurations are (B1-B4, B27, B34).

use crate::combination::{Axes, Form};
use crate::network::{Network, bridge, bridge_network};
use crate::row::{Row, row};
use crate::view::leases;
use serde_json::json;

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("B1_B27_the_networks_come_after_the_primary", Axes::All)
            .network(bridge_network("net-a", 20))
            .network(bridge_network("net-b", 21))
            .wants(json!({ "name": "net-b" }))
            .wants(json!({ "name": "net-a" }))
            .shows("eth0", &["10.1.0.2/24", "fd00:1::2/64"])
            .shows("net1", &["10.21.0.2/24", "fd00:21::2/64"])
            .shows("net2", &["10.20.0.2/24", "fd00:20::2/64"])
            .reaches("eth0", "192.0.2.2")
            .reaches("eth0", "2001:db8::2")
            .reaches("net1", "10.21.0.1")
            .reaches("net2", "fd00:20::1")
            // The kernel numbers links in the order in which they are made.
            .proof(|pod| assert_eq!(pod.link_names(), ["eth0", "net1", "net2"], "B27")),
        row("B1_a_network_of_another_namespace", Axes::All)
            .network(bridge_network("net-a", 20).namespace("other"))
            .network(bridge_network("net-a", 21))
            .wants(json!({ "name": "net-a", "namespace": "other" }))
            .wants(json!({ "name": "net-a", "interface": "own0" }))
            .shows("net1", &["10.20.0.2/24", "fd00:20::2/64"])
            .shows("own0", &["10.21.0.2/24", "fd00:21::2/64"])
            .reaches("net1", "10.20.0.1"),
        row("B1_a_pod_that_asks_for_nothing_has_the_primary", Axes::Diagonal)
            .network(bridge_network("net-a", 20))
            .shows("eth0", &["10.1.0.2/24", "fd00:1::2/64"])
            .reaches("eth0", "192.0.2.2")
            .proof(|pod| assert_eq!(pod.link_names(), ["eth0"])),
    ];
    let malformed = [
        json!({ "name": "Net-A" }),
        json!({ "name": "-net-a" }),
        json!({ "name": "net_a" }),
        json!({ "name": "net-a", "namespace": "oth_er" }),
        json!({ "name": "net-a", "namespace": "other.ns" }),
        json!({ "name": "net-a", "namespace": "Other" }),
    ];
    let of_names = row("B2_names_that_kubernetes_refuses_are_refused", Axes::All);
    rows.extend(places());
    rows.push(of_names.network(bridge_network("net-a", 20)).attempts(malformed).refused(7, &["networks"]));
    rows
}

fn places() -> Vec<Row> {
    vec![
        row("B3_inline_before_disk", Axes::All)
            .network(bridge_network("net-a", 20))
            .wants(json!({ "name": "net-a" }))
            .prepare(|pod| on_disk(pod, "conflist", 21))
            .shows("net1", &["10.20.0.2/24", "fd00:20::2/64"]),
        row("B3_B34_on_disk_by_its_name_lists_first", Axes::All)
            .network(bridge_network("net-a", 20).on_disk())
            .wants(json!({ "name": "net-a" }))
            .prepare(|pod| {
                // A list goes before what is none, whatever the files are called.
                if pod.combination.form == Form::Conflist {
                    on_disk(pod, "conf", 21);
                }
            })
            .shows("net1", &["10.20.0.2/24", "fd00:20::2/64"])
            .reaches("net1", "10.20.0.1"),
        row("B3_B34_found_nowhere_is_refused", Axes::All)
            .network(Network::of("net-b", [bridge(20)]).on_disk())
            .network(Network::of("net-a", [bridge(20)]).on_disk())
            .prepare(|pod| {
                std::fs::write(only_file(pod), r#"{"cniVersion":"1.0.0","name":"x","type":"bridge"}"#).unwrap()
            })
            .wants(json!({ "name": "net-a" }))
            .refused(7, &["net-a"]),
        row("B4_a_configuration_without_name_has_the_networks", Axes::All)
            .network(bridge_network("net-a", 20).nameless())
            .wants(json!({ "name": "net-a" }))
            .shows("net1", &["10.20.0.2/24", "fd00:20::2/64"])
            // host-local keeps leases by network name.
            .proof(|_| assert!(leases().contains(&"net-a/10.20.0.2".to_owned()), "{:?}", leases())),
    ]
}

/// A file of `confDir` with another network of the name `net-a`.
fn on_disk(pod: &crate::pod::Pod<'_>, suffix: &str, number: u8) {
    let form = if suffix == "conf" { Form::Conf } else { Form::Conflist };
    let config = bridge_network("net-a", number).config(crate::combination::Combination { form, ..pod.combination });
    pod.node.write(&format!("confs/00-first.{suffix}"), &config.to_string());
}

fn only_file(pod: &crate::pod::Pod<'_>) -> std::path::PathBuf {
    crate::harness::files_below(&pod.node.conf_dir()).pop().unwrap()
}
