//! The network status annotation: what a pod's attachments came to (section 5).
//!
//! A pure function of results and of what the kernel says. One entry for each attachment, in the order attached, whatever its
//! plugins answered; the interface is the first one that the result has in a sandbox, and only what belongs to it is told.
//! Where the kernel has that interface, its name, addresses, MAC, MTU and default routes are the kernel's: a result may be
//! silent, of a version without a word for it, or misleading (AWS VPC CNI writes a route table's number as `mac`).

use std::net::IpAddr;

use serde::Serialize;

use super::values::IpRequest;
use crate::cni::result::{Dns, Interface};
use crate::cni::{CniResult, Object};
use crate::kernel::{Address, Interfaces, Link, Seen};

/// One attachment.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// `namespace/name` of a network that is a NetworkAttachmentDefinition, else the name in its configuration (B23).
    pub network: &'a str,
    /// The interface name that its plugins were given.
    pub ifname: &'a str,
    /// The result as it stands now; `None` when the plugins answered nothing.
    pub result: Option<&'a CniResult>,
    /// The pod's namespace as it is now; `None` when it is gone or cannot be read, and the result is all there is.
    pub seen: Option<&'a Seen>,
    /// What is known about its device.
    pub device_info: Option<&'a Object>,
}

/// An entry of the annotation. Keys are in the order in which Multus writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkStatus {
    /// Name of the network.
    pub name: String,
    /// Name of the interface in the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its addresses, without the lengths of their prefixes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// Its hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its MTU in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// True on exactly one entry, that of the cluster-wide default network (B22). It does not move with the default route.
    pub default: bool,
    /// Resolver settings of the network.
    pub dns: Dns,
    /// What is known about its device (B26).
    #[serde(rename = "device-info", skip_serializing_if = "Option::is_none")]
    pub device_info: Option<Object>,
    /// Gateways of the default routes in the result. Multus' own, not of the standard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateway: Vec<String>,
    /// Gateways of the pod's default routes, where they are this attachment's (B25).
    #[serde(rename = "default-route", skip_serializing_if = "Vec::is_empty")]
    pub default_route: Vec<String>,
}

/// The status of attachments, given in the order attached: the first is the cluster-wide default network.
#[must_use]
pub fn status(entries: &[Entry<'_>]) -> Vec<NetworkStatus> {
    entries.iter().enumerate().map(|(at, entry)| of_entry(entry, at == 0)).collect()
}

/// The link of an attachment: the first interface that its result has in a sandbox, else the one that its plugins were told
/// to make; `None` when the namespace has neither.
#[must_use]
pub fn link<'a>(interfaces: &'a Interfaces, result: &CniResult, ifname: &str) -> Option<&'a Link> {
    let named = result.interfaces.iter().find(|interface| interface.in_sandbox());
    named.and_then(|interface| interfaces.link(&interface.name)).or_else(|| interfaces.link(ifname))
}

/// The text of the annotation: as Multus writes it, four spaces to a level, so that people and tools find what they know.
#[must_use]
pub fn annotation(statuses: &[NetworkStatus]) -> String {
    let indented = |status: &NetworkStatus| {
        let text = serde_json::to_string_pretty(status).ok()?;
        // A text holds no line feeds of its own, so what a line begins with is its level.
        let lines = text.lines().map(|line| format!("{}{line}", " ".repeat(line.len() - line.trim_start().len())));
        Some(lines.collect::<Vec<_>>().join("\n"))
    };
    let entries: Vec<String> = statuses.iter().filter_map(indented).collect();
    format!("[{}]", entries.join(","))
}

fn of_entry(entry: &Entry<'_>, default: bool) -> NetworkStatus {
    let nothing = CniResult::default();
    let result = entry.result.unwrap_or(&nothing);
    let told = of_result(entry, result, default);
    let Some(seen) = entry.seen else { return told };
    let Some(link) = link(&seen.interfaces, result, entry.ifname) else { return told };
    NetworkStatus {
        interface: Some(link.name.clone()),
        ips: addresses(seen.interfaces.of(link.index), result),
        mac: link.mac.clone(),
        mtu: Some(link.mtu).filter(|mtu| *mtu > 0),
        default_route: seen.default_gateways(link.index).iter().map(IpAddr::to_string).collect(),
        ..told
    }
}

/// The entry by the result alone.
fn of_result(entry: &Entry<'_>, result: &CniResult, default: bool) -> NetworkStatus {
    let at = result.interfaces.iter().position(Interface::in_sandbox);
    let interface = at.and_then(|at| result.interfaces.get(at));
    let belongs = |index: Option<usize>| index.is_none() || index == at;
    let ips: Vec<String> = result
        .ips
        .iter()
        .filter(|ip| belongs(ip.interface))
        .filter_map(|ip| ip.ip().map(|address| address.to_string()))
        .collect();
    // Results of 0.2.0 have addresses and no interfaces: they are on the one that was asked for.
    let unnamed = (result.interfaces.is_empty() && !ips.is_empty()).then(|| entry.ifname.to_owned());
    let gateway = gateways(result);
    NetworkStatus {
        name: entry.network.to_owned(),
        interface: interface.map(|interface| interface.name.clone()).filter(|name| !name.is_empty()).or(unnamed),
        ips,
        mac: interface.and_then(|interface| interface.mac.clone()).filter(|mac| !mac.is_empty()),
        mtu: interface.and_then(|interface| interface.mtu).filter(|mtu| *mtu > 0),
        default,
        dns: result.dns.clone(),
        device_info: entry.device_info.cloned(),
        default_route: if default { gateway.clone() } else { Vec::new() },
        gateway,
    }
}

/// The addresses of a link that a client can use, in the order in which the result names them, then the others. One that
/// reaches no further than the link is told only when the result names it; one that is another's (DAD failed), never.
fn addresses<'a>(has: impl Iterator<Item = &'a Address>, result: &CniResult) -> Vec<String> {
    let place = |address: &Address| result.ips.iter().position(|ip| ip.ip() == Some(address.address));
    let mut usable: Vec<(usize, IpAddr)> = has
        .filter(|address| !address.dad_failed)
        .map(|address| (address, place(address)))
        .filter(|(address, place)| place.is_some() || !address.is_local())
        .map(|(address, place)| (place.unwrap_or(usize::MAX), address.address))
        .collect();
    usable.sort_by_key(|(place, _)| *place);
    usable.dedup();
    usable.into_iter().map(|(_, address)| address.to_string()).collect()
}

/// Gateways of the default routes in `result`; a route without one uses the one of the addresses of its family.
fn gateways(result: &CniResult) -> Vec<String> {
    let mut gateways = Vec::new();
    for route in &result.routes {
        let Ok(IpRequest { address, prefix: Some(0) }) = IpRequest::parse(&route.dst) else { continue };
        let of_family = result.ips.iter().filter(|ip| ip.ip().is_some_and(|ip| ip.is_ipv4() == address.is_ipv4()));
        let gateway = route.gw.clone().or_else(|| of_family.filter_map(|ip| ip.gateway.clone()).next());
        gateways.extend(gateway.filter(|gateway| !gateway.is_empty() && !gateways.contains(gateway)));
    }
    gateways
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::CniVersion;
    use crate::kernel::{Family, Route, Scope};

    fn result(text: &str) -> CniResult {
        CniResult::parse(text.as_bytes(), CniVersion::NEWEST).unwrap().0
    }

    fn entry<'a>(network: &'a str, ifname: &'a str, result: Option<&'a CniResult>) -> Entry<'a> {
        Entry { network, ifname, result, seen: None, device_info: None }
    }

    /// The entry for one attachment with the result `text`, which is the default, as compact JSON.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let result = result(text);
        let statuses = status(&[entry("ns/a", "net1", Some(&result))]);
        assert_eq!(serde_json::to_string(&statuses[0]).unwrap(), expected);
    }

    const ETH0: &str = r#"{"interfaces":[{"name":"veth1","mac":"0a:00:00:00:00:01"},
        {"name":"eth0","mac":"02:00:00:00:00:01","mtu":1450,"sandbox":"/run/netns/x"}],
        "ips":[{"interface":1,"address":"10.0.0.2/24","gateway":"10.0.0.1"},{"interface":1,"address":"fd00::2/64"}],
        "routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"fd00::1"},{"dst":"10.1.0.0/16","gw":"10.0.0.9"}],
        "dns":{"nameservers":["10.0.0.10"],"search":["a.example"]}}"#;

    #[test]
    fn b20_the_text_is_a_list_indented_as_multus_does() {
        let eth0 = result(ETH0);
        let text = annotation(&status(&[entry("k8s-net", "eth0", Some(&eth0)), entry("ns/a", "net1", None)]));
        let expected = r#"[{
    "name": "k8s-net",
    "interface": "eth0",
    "ips": [
        "10.0.0.2",
        "fd00::2"
    ],
    "mac": "02:00:00:00:00:01",
    "mtu": 1450,
    "default": true,
    "dns": {
        "nameservers": [
            "10.0.0.10"
        ],
        "search": [
            "a.example"
        ]
    },
    "gateway": [
        "10.0.0.1",
        "fd00::1"
    ],
    "default-route": [
        "10.0.0.1",
        "fd00::1"
    ]
},{
    "name": "ns/a",
    "default": false,
    "dns": {}
}]"#;
        assert_eq!(text, expected);
        assert_eq!(annotation(&[]), "[]");
    }

    #[test]
    fn b18_b21_one_entry_for_each_attachment_in_order() {
        let (eth0, empty) = (result(ETH0), result("{}"));
        let statuses = status(&[
            entry("k8s-net", "eth0", Some(&eth0)),
            entry("ns/a", "net1", Some(&empty)),
            entry("ns/a", "net2", None),
            entry("ns/a", "net3", Some(&eth0)),
        ]);
        let names: Vec<&str> = statuses.iter().map(|status| status.name.as_str()).collect();
        assert_eq!(names, ["k8s-net", "ns/a", "ns/a", "ns/a"]);
    }

    #[test]
    fn b21_an_attachment_without_interface_is_still_told() {
        check("{}", r#"{"name":"ns/a","default":true,"dns":{}}"#);
        check(r#"{"interfaces":[{"name":"veth1"}]}"#, r#"{"name":"ns/a","default":true,"dns":{}}"#);
        check(r#"{"interfaces":[{"name":"veth1","sandbox":""}]}"#, r#"{"name":"ns/a","default":true,"dns":{}}"#);
    }

    #[test]
    fn b22_exactly_one_entry_is_the_default() {
        for count in 0..4 {
            let entries: Vec<_> = (0..count).map(|_| entry("n", "i", None)).collect();
            let defaults: Vec<bool> = status(&entries).iter().map(|status| status.default).collect();
            assert_eq!(defaults, (0..count).map(|at| at == 0).collect::<Vec<_>>());
        }
    }

    #[test]
    fn b24_only_the_first_interface_in_a_sandbox() {
        check(
            r#"{"interfaces":[{"name":"host0"},{"name":"net1","mac":"02:00:00:00:00:01","sandbox":"/x"},
                {"name":"net2","mac":"02:00:00:00:00:02","sandbox":"/x"}],
                "ips":[{"interface":2,"address":"10.2.0.1/24"},{"interface":1,"address":"10.1.0.1/24"},
                {"interface":0,"address":"10.0.0.1/24"},{"address":"10.3.0.1/24"}]}"#,
            r#"{"name":"ns/a","interface":"net1","ips":["10.1.0.1","10.3.0.1"],"mac":"02:00:00:00:00:01","default":true,"dns":{}}"#,
        );
    }

    #[test]
    fn b24_results_of_versions_without_interfaces() {
        check(
            r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"}}"#,
            r#"{"name":"ns/a","interface":"net1","ips":["10.0.0.2"],"default":true,"dns":{}}"#,
        );
    }

    /// A namespace with these links (name, MAC, MTU), addresses (index of the link, `!` before one that failed DAD) and
    /// default routes (index, gateway, metric).
    fn seen(links: &[(&str, &str, u32)], addresses: &[(u32, &str)], routes: &[(u32, &str, u32)]) -> Seen {
        let family = |ip: IpAddr| if ip.is_ipv4() { Family::V4 } else { Family::V6 };
        let link = |(index, (name, mac, mtu)): (u32, &(&str, &str, u32))| Link {
            index,
            name: (*name).to_owned(),
            mac: (!mac.is_empty()).then(|| (*mac).to_owned()),
            mtu: *mtu,
            up: true,
            resolves: true,
            kind: None,
        };
        let address = |(index, text): &(u32, &str)| Address {
            index: *index,
            address: text.trim_start_matches('!').parse().unwrap(),
            prefix: 24,
            scope: Scope::Global,
            tentative: text.contains(':'),
            dad_failed: text.starts_with('!'),
        };
        let route = |(index, gateway, metric): &(u32, &str, u32)| {
            let gateway: IpAddr = gateway.parse().unwrap();
            let (family, oif, metric) = (family(gateway), Some(*index), *metric);
            Route { family, destination: None, gateway: Some(gateway), oif, metric, table: Route::MAIN }
        };
        Seen {
            interfaces: Interfaces {
                links: (1..).zip(links).map(link).collect(),
                addresses: addresses.iter().map(address).collect(),
            },
            routes: routes.iter().map(route).collect(),
        }
    }

    /// The entry of an attachment that was told to make net1, in this namespace, as compact JSON.
    #[track_caller]
    fn check_seen(text: &str, seen: &Seen, expected: &str) {
        let result = result(text);
        let statuses = status(&[Entry { seen: Some(seen), ..entry("ns/a", "net1", Some(&result)) }]);
        assert_eq!(serde_json::to_string(&statuses[0]).unwrap(), expected);
    }

    #[test]
    fn b24_the_kernels_word_stands_where_a_result_is_silent_or_misleading() {
        let seen = seen(
            &[("lo", "00:00:00:00:00:00", 65536), ("net1", "02:00:00:00:00:01", 9001), ("other", "", 1280)],
            &[(1, "127.0.0.1"), (2, "10.1.0.1"), (3, "10.9.0.1")],
            &[],
        );
        let told = |name: &str| {
            format!(
                r#"{{"name":"ns/a","interface":"{name}","ips":["10.1.0.1"],"mac":"02:00:00:00:00:01","mtu":9001,"default":true,"dns":{{}}}}"#
            )
        };
        for text in [
            // AWS VPC CNI: a route table's number as MAC, a device's number as sandbox.
            r#"{"interfaces":[{"name":"eni1"},{"name":"net1","mac":"0","sandbox":"/x"},{"name":"dummy1","mac":"0","sandbox":"0"}],
                "ips":[{"interface":1,"address":"10.1.0.1/32"}]}"#,
            r#"{"interfaces":[{"name":"eni1"}],"ips":[{"interface":0,"address":"10.1.0.1/32"}]}"#,
            r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.1/24"}}"#,
            // An address and an MTU that the interface does not have.
            r#"{"interfaces":[{"name":"net1","mac":"02:00:00:00:00:09","mtu":1500,"sandbox":"/x"}],
                "ips":[{"interface":0,"address":"10.1.0.9/24"}]}"#,
            r#"{"interfaces":[{"name":"gone","mac":"02:00:00:00:00:09","sandbox":"/x"}]}"#,
            "{}",
        ] {
            check_seen(text, &seen, &told("net1"));
        }
        // What the result has in the sandbox comes before what was asked for; a link without MAC has none.
        check_seen(
            r#"{"interfaces":[{"name":"other","mac":"02:00:00:00:00:09","sandbox":"/x"}]}"#,
            &seen,
            r#"{"name":"ns/a","interface":"other","ips":["10.9.0.1"],"mtu":1280,"default":true,"dns":{}}"#,
        );
    }

    #[test]
    fn b21_an_interface_that_the_kernel_does_not_have_is_as_the_result_says() {
        let seen = seen(&[("lo", "", 65536)], &[], &[(1, "10.0.0.1", 0)]);
        check_seen("{}", &seen, r#"{"name":"ns/a","default":true,"dns":{}}"#);
        check_seen(
            r#"{"interfaces":[{"name":"vhost0","mac":"02:00:00:00:00:09","sandbox":"/x"}],"ips":[{"interface":0,"address":"10.1.0.9/24"}]}"#,
            &seen,
            r#"{"name":"ns/a","interface":"vhost0","ips":["10.1.0.9"],"mac":"02:00:00:00:00:09","default":true,"dns":{}}"#,
        );
    }

    #[test]
    fn b24_addresses_are_those_that_a_client_can_use_in_the_order_of_the_result() {
        let addresses = [(1, "10.1.0.1"), (1, "fe80::1"), (1, "fd00::1"), (1, "!fd00::2"), (1, "10.1.0.2")];
        let seen = seen(&[("net1", "", 1500)], &addresses, &[]);
        let check = |ips: &str, expected: &str| {
            let text = format!(r#"{{"ips":[{ips}]}}"#);
            let expected = format!(
                r#"{{"name":"ns/a","interface":"net1","ips":[{expected}],"mtu":1500,"default":true,"dns":{{}}}}"#
            );
            check_seen(&text, &seen, &expected);
        };
        check("", r#""10.1.0.1","fd00::1","10.1.0.2""#);
        check(
            r#"{"address":"10.1.0.2/24"},{"address":"fd00::2/64"},{"address":"fd00::1/64"}"#,
            r#""10.1.0.2","fd00::1","10.1.0.1""#,
        );
        check(r#"{"address":"fe80::1/64"}"#, r#""fe80::1","10.1.0.1","fd00::1","10.1.0.2""#);
    }

    #[test]
    fn b22_b25_the_default_route_is_told_where_it_is_and_default_stays() {
        let eth0 = result(ETH0);
        let statuses = |seen: Option<&Seen>| {
            let entry = |name, ifname| Entry { seen, ..entry(name, ifname, Some(&eth0)) };
            let none = result("{}");
            let statuses = status(&[entry("k8s-net", "eth0"), Entry { result: Some(&none), ..entry("ns/a", "net1") }]);
            statuses
                .into_iter()
                .map(|one| (one.default, one.default_route.join(" "), one.gateway.join(" ")))
                .collect::<Vec<_>>()
        };
        let row = |default: bool, route: &str, gateway: &str| (default, route.to_owned(), gateway.to_owned());
        let told = "10.0.0.1 fd00::1";
        assert_eq!(statuses(None), [row(true, told, told), row(false, "", "")]);
        let links = [("eth0", "", 1500), ("net1", "", 1500)];
        let moved = seen(&links, &[], &[(2, "10.9.0.1", 0), (1, "10.0.0.1", 100), (1, "fd00::5", 1024)]);
        assert_eq!(statuses(Some(&moved)), [row(true, "fd00::5", told), row(false, "10.9.0.1", "")]);
    }

    #[test]
    fn b26_device_info_is_passed_on() {
        let device = Object::parse(br#"{"type":"pci","version":"1.1.0"}"#).unwrap();
        let statuses = status(&[Entry { device_info: Some(&device), ..entry("ns/a", "net1", None) }]);
        let text = annotation(&statuses);
        assert!(text.contains(r#""device-info": {"#), "{text}");
        assert!(Object::parse(text.trim_matches(['[', ']']).as_bytes()).is_ok());
    }
}
