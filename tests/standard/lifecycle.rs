//! What becomes of the other attachments when one fails (B29, B30).

use crate::combination::Axes;
use crate::network::{Network, bridge_network, scripted};
use crate::pod::Pod;
use crate::row::{Row, row};
use crate::view::{Traces, files_of, leases};
use serde_json::json;

pub fn rows() -> Vec<Row> {
    vec![
        around(Axes::All, "B29_a_failure_ends_the_setup_and_takes_all_of_it_back")
            .undone(117, &["net-b", "fast0", "no port is free"])
            .prepare(|pod| {
                let error = json!({ "code": 117, "msg": "no port is free" });
                pod.node.script("fragile", &json!({ "ADD": { "error": error } }));
            })
            .proof(|pod| {
                let traces = Traces::of(&pod.node, &pod.sandbox, &pod.host, &pod.netns);
                assert!(traces.bridges.contains(&"br20".to_owned()), "the network before was attached: {traces:#?}");
                assert!(
                    !traces.bridges.contains(&"br22".to_owned()),
                    "the network after was not attempted: {traces:#?}"
                );
                assert_eq!(pod.link_names(), Vec::<String>::new());
                assert_eq!(leases(), Vec::<String>::new());
            }),
        around(Axes::All, "B30_a_failure_does_not_end_the_teardown")
            .shows("net1", &["10.20.0.2/24", "fd00:20::2/64"])
            .shows("net3", &["10.22.0.2/24", "fd00:22::2/64"])
            .reaches("net1", "10.20.0.1")
            .reaches("net3", "10.22.0.1")
            .ending(teardown),
        around(Axes::Diagonal, "B30_the_teardown_works_when_the_namespace_is_gone")
            .reaches("net3", "10.22.0.1")
            .ending(|pod| {
                let call = pod.call("DEL").env("CNI_NETNS", "/run/netns/gone");
                assert_eq!(call.run().exit, Some(0));
                assert_eq!(leases(), Vec::<String>::new());
                // The links go with the namespace, which the test still holds.
                for name in pod.link_names() {
                    pod.netns.said("ip", &["link", "delete", &name]);
                }
            }),
    ]
}

/// A network that may fail between two real ones.
fn around(axes: Axes, name: &str) -> Row {
    row(name, axes)
        .scripted("fragile")
        .network(bridge_network("net-a", 20))
        .network(Network::of("net-b", [scripted("fragile", &json!({}))]))
        .network(bridge_network("net-c", 22))
        .wants(json!({ "name": "net-a" }))
        .wants(json!({ "name": "net-b", "interface": "fast0" }))
        .wants(json!({ "name": "net-c" }))
}

fn teardown(pod: &Pod<'_>) {
    pod.node.script("fragile", &json!({ "DEL": { "error": { "code": 11, "msg": "later" } } }));
    let failed = pod.call("DEL").run();
    assert_ne!(failed.exit, Some(0), "the failure is reported: {failed:?}");
    let said = failed.json()["msg"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("net-b") && said.contains("later"), "{said}");
    assert_eq!(pod.link_names(), Vec::<String>::new(), "the others are gone");
    assert_eq!(leases(), Vec::<String>::new());
    assert_ne!(files_of(&pod.node, &pod.sandbox), Vec::<std::path::PathBuf>::new(), "what is left to do is on disk");
    pod.node.script("fragile", &json!({}));
    pod.must("DEL");
}
