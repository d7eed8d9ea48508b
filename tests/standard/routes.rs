//! The pod's default routes, where it asks for them (B16, B25): the kernel has exactly one for each family asked.

use crate::combination::Axes;
use crate::network::{Network, bridge, bridge_network, macvlan, with};
use crate::path::{dial, listen, talk};
use crate::pod::Pod;
use crate::row::{Row, row};
use crate::view::Routing;
use serde_json::{Value, json};
use std::net::SocketAddr;

const PRIMARY: [&str; 2] = ["via 10.1.0.1 dev eth0", "via fd00:1::1 dev eth0"];

pub fn rows() -> Vec<Row> {
    let mut rows = replaced();
    rows.push(metric());
    rows.push(no_gateway());
    rows
}

/// The status says of the attachment that has the default route that it has, and of no other.
pub fn status_rows() -> Vec<Row> {
    let gateways = json!(["10.20.0.1", "fd00:20::1"]);
    let both = with_the_world(asking("B22_B25_status_tells_who_has_the_default_route", &gateways));
    vec![both.proof(move |pod| {
        let status = pod.status();
        // `default` is the cluster's default network (5.3.5), wherever the default route is.
        assert_eq!([0, 1, 2].map(|at| status[at]["default"].clone()), [json!(true), json!(false), json!(false)], "B22");
        assert_eq!(status[2]["default-route"], gateways, "B25");
        assert!(status[0]["default-route"].is_null() && status[1]["default-route"].is_null(), "B25: {status:#?}");
    })]
}

/// A pod whose second interface, of a network that has a default route of its own, keeps none, and whose third has it.
fn asking(name: &str, gateways: &Value) -> Row {
    let mut other = bridge(21);
    other["ipam"]["routes"] = json!([{ "dst": "0.0.0.0/0" }]);
    row(name, Axes::Json)
        .network(Network::of("net-b", [other]))
        .network(bridge_network("net-a", 20))
        .wants(json!({ "name": "net-b" }))
        .wants(json!({ "name": "net-a", "default-route": gateways }))
}

fn replaced() -> Vec<Row> {
    [
        ("ipv4", json!(["10.20.0.1"]), vec!["via 10.20.0.1 dev net2", PRIMARY[1]]),
        // The other family is left as its networks have made it.
        ("ipv6", json!(["fd00:20::1"]), vec!["via 10.21.0.1 dev net1", PRIMARY[0], "via fd00:20::1 dev net2"]),
        ("both", json!(["10.20.0.1", "fd00:20::1"]), vec!["via 10.20.0.1 dev net2", "via fd00:20::1 dev net2"]),
        ("those_of_its_result", json!([]), vec!["via 10.20.0.1 dev net2", "via fd00:20::1 dev net2"]),
    ]
    .into_iter()
    .map(|(name, gateways, expected)| {
        let moved: Vec<&str> = expected.iter().filter(|route| route.ends_with("net2")).copied().collect();
        asking(&format!("B16_the_default_route_is_replaced::{name}"), &gateways)
            .master(json!({ "primaryRoutes": ["10.96.0.0/12", "fd00:96::/112"] }))
            .proof(move |pod| {
                let routing = Routing::of(&pod.netns);
                assert_eq!(routing.defaults(), expected, "{routing:#?}");
                for route in &moved {
                    let ipv4 = !route.contains("::");
                    pod.reaches("net2", if ipv4 { "192.0.2.2" } else { "2001:db8::2" });
                    services_stay(&routing, ipv4);
                    replies_leave_by_the_primary(pod, ipv4);
                    if !ipv4 {
                        routers_are_not_heard(pod);
                    }
                }
            })
            .reaches("eth0", "10.1.0.1")
    })
    .map(with_the_world)
    .collect()
}

/// The row's paths end there.
fn with_the_world(row: Row) -> Row {
    row.reaches("net2", "10.20.0.1").needs_outside()
}

/// What is in the cluster is still reached by the primary's gateway.
fn services_stay(routing: &Routing, ipv4: bool) {
    let route =
        if ipv4 { "main 10.96.0.0/12 via 10.1.0.1 dev eth0" } else { "main fd00:96::/112 via fd00:1::1 dev eth0" };
    assert!(routing.routes.contains(&route.to_owned()), "no {route}: {routing:#?}");
}

/// Who reaches the pod by its primary address has the answer from there.
#[track_caller]
fn replies_leave_by_the_primary(pod: &Pod<'_>, ipv4: bool) {
    let address = pod.address("eth0", ipv4);
    let world = if ipv4 { "192.0.2.2" } else { "2001:db8::2" };
    let family = if ipv4 { "-4" } else { "-6" };
    let got = pod.netns.ip(Some(family), &[&format!("route get {world} from {address}")]);
    assert_eq!(got[0][0]["dev"], "eth0", "{got:?}");
    let listener = listen(&pod.netns, SocketAddr::new(address, 0));
    let dialled = dial(pod.outside(), None, listener.local_addr().unwrap());
    let dialled = dialled.unwrap_or_else(|errno| panic!("{world} to {address}: {errno}"));
    assert_eq!(talk(&listener, dialled).to_string(), world);
}

/// A router on another interface cannot take the route back.
fn routers_are_not_heard(pod: &Pod<'_>) {
    for ifname in ["eth0", "net1"] {
        let file = format!("/proc/sys/net/ipv6/conf/{ifname}/accept_ra_defrtr");
        let value = pod.netns.run(move || std::fs::read_to_string(file).unwrap());
        assert_eq!(value, "0\n", "accept_ra_defrtr of {ifname}");
    }
}

/// The others' default routes stay, behind the one that was asked for.
fn metric() -> Row {
    let row = asking("B16_the_others_default_routes_are_kept_at_a_higher_metric", &json!(["10.20.0.1", "fd00:20::1"]));
    with_the_world(row.master(json!({ "defaultRoutePolicy": "metric" }))).proof(|pod| {
        for (family, chosen, kept) in [("-4", "10.20.0.1", "10.1.0.1"), ("-6", "fd00:20::1", "fd00:1::1")] {
            let routes = pod.netns.ip(Some(family), &["route show default"]).remove(0);
            let metric = |gateway: &str| {
                let route = routes.iter().find(|route| route["gateway"] == gateway);
                route.unwrap_or_else(|| panic!("none via {gateway}: {routes:#?}"))["metric"].as_u64().unwrap_or(0)
            };
            let others = routes.iter().filter(|route| route["gateway"] != chosen);
            assert!(others.clone().all(|route| route["metric"].as_u64().unwrap_or(0) > metric(chosen)), "{routes:#?}");
            assert!(metric(kept) > metric(chosen));
        }
        pod.reaches("net2", "192.0.2.2");
        pod.reaches("net2", "2001:db8::2");
    })
}

/// Its own result has no gateway, so there is none to take.
fn no_gateway() -> Row {
    let fixed = json!({ "type": "static", "addresses": [{ "address": "10.99.0.7/24" }] });
    row("B16_without_a_gateway_in_its_result_is_refused", Axes::Json)
        .network(Network::of("net-a", [with(macvlan(), &json!({ "ipam": fixed }))]))
        .wants(json!({ "name": "net-a", "default-route": [] }))
        .undone(7, &["default-route", "net-a"])
}
