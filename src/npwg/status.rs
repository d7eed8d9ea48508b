//! The network status annotation: what a pod's attachments came to (section 5).
//!
//! A pure function of results. One entry for each attachment, in the order attached, whatever its plugins answered; the
//! interface is the first one that the result has in a sandbox, and only what belongs to it is told.

use serde::Serialize;

use super::values::IpRequest;
use crate::cni::result::{Dns, Interface};
use crate::cni::{CniResult, Object};

/// One attachment.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// `namespace/name` of a network that is a NetworkAttachmentDefinition, else the name in its configuration (B23).
    pub network: &'a str,
    /// The interface name that its plugins were given.
    pub ifname: &'a str,
    /// The result as it stands now; `None` when the plugins answered nothing.
    pub result: Option<&'a CniResult>,
    /// True for the attachment that has the pod's default route.
    pub is_default: bool,
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
    /// True on exactly one entry (B22).
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

/// The status of attachments, given in the order attached. The first that is marked as default is the default; without a
/// mark it is the first of all, the primary.
#[must_use]
pub fn status(entries: &[Entry<'_>]) -> Vec<NetworkStatus> {
    let default = entries.iter().position(|entry| entry.is_default).unwrap_or(0);
    entries.iter().enumerate().map(|(at, entry)| of_entry(entry, at == default)).collect()
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

    fn result(text: &str) -> CniResult {
        CniResult::parse(text.as_bytes(), CniVersion::NEWEST).unwrap().0
    }

    fn entry<'a>(network: &'a str, ifname: &'a str, result: Option<&'a CniResult>) -> Entry<'a> {
        Entry { network, ifname, result, is_default: false, device_info: None }
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
        let check = |marks: &[bool], expected: &[bool]| {
            let entries: Vec<_> =
                marks.iter().map(|&is_default| Entry { is_default, ..entry("n", "i", None) }).collect();
            let defaults: Vec<bool> = status(&entries).iter().map(|status| status.default).collect();
            assert_eq!(defaults, expected, "{marks:?}");
        };
        check(&[], &[]);
        check(&[false], &[true]);
        check(&[true, false], &[true, false]);
        check(&[false, true, false], &[false, true, false]);
        check(&[false, false], &[true, false]);
        check(&[false, true, true], &[false, true, false]);
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

    #[test]
    fn b25_the_default_route_is_told_where_it_is() {
        let eth0 = result(ETH0);
        let other = entry("ns/a", "net1", Some(&eth0));
        let statuses = status(&[entry("k8s-net", "eth0", Some(&eth0)), Entry { is_default: true, ..other }]);
        assert_eq!(statuses[0].default_route, Vec::<String>::new());
        assert_eq!(statuses[1].default_route, ["10.0.0.1", "fd00::1"]);
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
