//! Routes, compared with what `ip route` says of the same namespace.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::path::Path;

use meta_cni::kernel::{Family, Route};
use meta_cni::netns;
use serde_json::Value;

use crate::kernel::{self, ip_in, ip_json, number};

const ROUTES: [&str; 11] = [
    "default via 10.1.0.1 dev near",
    "default via 10.1.0.3 dev near metric 77",
    "default dev far scope link table 1000",
    "0.0.0.0/1 via 10.1.0.1",
    "10.5.0.0/16 nexthop via 10.1.0.5 dev near nexthop via 10.1.0.6 dev near",
    "10.6.0.0/16 via inet6 fe80::9 dev near",
    "10.7.0.1/32 dev far",
    "default via 2001:db8::1 dev near",
    "::/1 via 2001:db8::1 dev near",
    "2001:db8:5::/48 nexthop via 2001:db8::5 dev near nexthop via 2001:db8::6 dev near",
    "::/0 dev far metric 5 table 99",
];

/// `ip route` in our words: every unicast route of every table, a route of several hops once for each.
fn expected_routes(pod: &Path) -> Vec<Route> {
    let index = |name: &Value| {
        let links = netns::open(pod).unwrap().links().unwrap();
        links.iter().find(|link| Some(link.name.as_str()) == name.as_str()).map(|link| link.index)
    };
    let mut routes = Vec::new();
    for (family, option, bits) in [(Family::V4, "-4", 32), (Family::V6, "-6", 128)] {
        for route in ip_json(pod, &[option, "route", "show", "table", "all", "type", "unicast"]) {
            let destination = (route["dst"] != "default").then(|| {
                let (address, prefix) = route["dst"]
                    .as_str()
                    .and_then(|dst| dst.split_once('/'))
                    .map_or((route["dst"].as_str().unwrap(), bits), |(a, p)| (a, p.parse().unwrap()));
                (address.parse().unwrap(), prefix)
            });
            let gateway = |hop: &Value| {
                hop["gateway"].as_str().or(hop["via"]["host"].as_str()).map(|address| address.parse().unwrap())
            };
            let table = match route["table"].as_str() {
                None | Some("main") => Route::MAIN,
                Some(table) => table.parse().unwrap(),
            };
            let one = |hop: &Value| Route {
                family,
                destination,
                gateway: gateway(hop),
                oif: index(&hop["dev"]),
                metric: number(&route["metric"]),
                table,
            };
            match route["nexthops"].as_array() {
                Some(hops) => routes.extend(hops.iter().map(one)),
                None => routes.push(one(&route)),
            }
        }
    }
    routes
}

#[test]
fn routes_of_both_families() {
    kernel::isolated(|node| {
        let pod = node.netns("pod");
        assert_eq!(netns::open(&pod).unwrap().routes().unwrap(), []);
        ip_in(&pod, &["link", "add", "near", "type", "veth", "peer", "name", "far"]);
        ip_in(&pod, &["address", "add", "10.1.0.2/24", "dev", "near"]);
        ip_in(&pod, &["address", "add", "2001:db8::2/64", "dev", "near", "nodad"]);
        for link in ["near", "far", "lo"] {
            ip_in(&pod, &["link", "set", link, "up"]);
        }
        for route in ROUTES {
            let family = if route.starts_with("10.6.") || !route.contains("::") { "-4" } else { "-6" };
            ip_in(&pod, &[&[family, "route", "add"][..], &route.split(' ').collect::<Vec<_>>()].concat());
        }
        let namespace = netns::open(&pod).unwrap();
        let order = |route: &Route| format!("{route:?}");
        let (mut got, mut expected) = (namespace.routes().unwrap(), expected_routes(&pod));
        got.sort_by_key(order);
        expected.sort_by_key(order);
        assert_eq!(got, expected);
        let defaults = namespace.default_routes().unwrap();
        let hops: Vec<_> = defaults.iter().map(|route| (route.gateway.unwrap().to_string(), route.metric)).collect();
        let expected = [("10.1.0.1", 0), ("10.1.0.3", 77), ("2001:db8::1", 1024)];
        assert_eq!(hops, expected.map(|(gateway, metric)| (gateway.to_owned(), metric)));
    });
}
