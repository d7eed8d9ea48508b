//! What the other reference plugins do, by chain and by argument (B12-B14, B33): ptp, tuning, bandwidth, portmap, sbr.

use crate::combination::{Axes, Parts};
use crate::network::{Network, bridge, host_local, with};
use crate::path::{dial, listen, talk};
use crate::pod::Pod;
use crate::row::{Row, row};
use crate::view::{Routing, nat_rules, qdiscs};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr, UdpSocket};

pub fn rows() -> Vec<Row> {
    let mut rows = vec![ptp(), tuned(), bandwidth(), sbr(), primary_ports()];
    rows.extend(cni_args());
    rows.extend(["iptables", "nftables"].map(port_mappings));
    rows
}

fn ptp() -> Row {
    row("B1_ptp_with_both_families", Axes::All)
        .network(Network::of("net-a", [json!({ "type": "ptp", "ipam": host_local(20) })]))
        .wants(json!({ "name": "net-a" }))
        .shows("net1", &["10.20.0.2/24", "fd00:20::2/64"])
        .reaches("net1", "10.20.0.1")
        .reaches("net1", "fd00:20::1")
        .reaches("eth0", "192.0.2.2")
}

fn tuned() -> Row {
    let tuning = json!({ "type": "tuning", "mtu": 1400, "sysctl": { "net.ipv4.conf.fast0.arp_filter": "1" } });
    row("B1_tuning_of_one_interface", Axes::Chain)
        .network(Network::of("net-a", [bridge(20), tuning]))
        .wants(json!({ "name": "net-a", "interface": "fast0" }))
        .reaches("fast0", "10.20.0.1")
        .proof(|pod| {
            assert_eq!(["eth0", "fast0"].map(|name| pod.link(name).mtu), [1500, 1400]);
            let read = |name: &str| {
                let file = format!("/proc/sys/net/ipv4/conf/{name}/arp_filter");
                pod.netns.run(move || std::fs::read_to_string(file).unwrap())
            };
            assert_eq!(["eth0", "fast0"].map(read), ["0\n", "1\n"]);
        })
}

/// Merged into `args.cni`, which bridge takes a hardware address from and static addresses.
fn cni_args() -> Vec<Row> {
    let of_manifest = json!({ "args": { "cni": { "mac": "02:00:00:00:00:01", "ips": ["10.20.0.8/24"] } } });
    let network = || {
        let plugin = with(bridge(20), &json!({ "ipam": { "type": "static" } }));
        Network::of("net-a", [with(plugin, &of_manifest)])
    };
    let mac = |mac: &'static str| move |pod: &Pod<'_>| assert_eq!(pod.link("net1").mac, mac);
    vec![
        row("B12_cni_args_of_the_pod_win_over_those_of_the_network", Axes::Json)
            .network(network())
            .wants(json!({ "name": "net-a", "cni-args": { "mac": "02:00:00:00:00:02" } }))
            .shows("net1", &["10.20.0.8/24"])
            .reaches("net1", "10.20.0.1")
            .proof(mac("02:00:00:00:00:02")),
        row("B12_cni_args_reach_the_address_plugin", Axes::Json)
            .network(network())
            .wants(json!({ "name": "net-a", "cni-args": { "ips": ["10.20.0.9/24", "fd00:20::9/64"] } }))
            .shows("net1", &["10.20.0.9/24", "fd00:20::9/64"])
            .reaches("net1", "10.20.0.1")
            .proof(mac("02:00:00:00:00:01")),
        row("B12_cni_args_of_the_network_alone_stay", Axes::All)
            .network(network())
            .wants(json!({ "name": "net-a" }))
            .shows("net1", &["10.20.0.8/24"])
            .proof(mac("02:00:00:00:00:01")),
    ]
}

/// A bridge whose answers to the world outside go back the way they came.
fn mapped(number: u8, backend: &str) -> Vec<Value> {
    let mut bridge = bridge(number);
    bridge["ipam"]["routes"] = json!([{ "dst": "192.0.2.0/24" }, { "dst": "2001:db8::/64" }]);
    vec![bridge, json!({ "type": "portmap", "backend": backend, "capabilities": { "portMappings": true } })]
}

/// Debian's bridge looks for the routes without their gateway, and its portmap for IPv6 rules it has not made.
fn mapped_network(backend: &str) -> Network {
    Network::of("net-a", mapped(20, backend)).unchecked_by(&[Parts::Debian])
}

fn port_mappings(backend: &'static str) -> Row {
    let mapping = |host: u16, port: u16, protocol: Value| {
        let mapping = json!({ "hostPort": host, "containerPort": port });
        if protocol.is_null() { mapping } else { with(mapping, &json!({ "protocol": protocol })) }
    };
    row(format!("B13_port_mappings_lead_to_the_pod_by_{backend}"), Axes::ChainJson)
        .network(mapped_network(backend))
        .wants(json!({ "name": "net-a", "portMappings": [
            mapping(18080, 80, Value::Null), mapping(18081, 81, json!("TCP")), mapping(18082, 82, json!("tcp")),
            mapping(18083, 83, json!("Udp")),
        ] }))
        .proof(|pod| {
            for (host, port) in [(18080, 80), (18081, 81), (18082, 82)] {
                for to in ["192.0.2.1", "2001:db8::1"] {
                    from_outside(pod, SocketAddr::new(to.parse().unwrap(), host), "net1", port);
                }
            }
            datagram(pod, "192.0.2.1:18083".parse().unwrap(), 83);
            assert!(!nat_rules(&pod.host, &pod.sandbox).is_empty());
        })
}

/// A connection from the world outside to a port of the node arrives at a port of the interface.
#[track_caller]
fn from_outside(pod: &Pod<'_>, to: SocketAddr, ifname: &str, port: u16) {
    let listener = listen(&pod.netns, SocketAddr::new(pod.address(ifname, to.is_ipv4()), port));
    let dialled = dial(pod.outside(), None, to).unwrap_or_else(|errno| panic!("{to}: {errno}"));
    let world: IpAddr = if to.is_ipv4() { "192.0.2.2" } else { "2001:db8::2" }.parse().unwrap();
    assert_eq!(talk(&listener, dialled), world);
}

#[track_caller]
fn datagram(pod: &Pod<'_>, to: SocketAddr, port: u16) {
    let at = SocketAddr::new(pod.address("net1", true), port);
    let inside = pod.netns.run(move || UdpSocket::bind(at)).unwrap();
    let outside = pod.outside().run(|| UdpSocket::bind("192.0.2.2:0")).unwrap();
    inside.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    outside.send_to(b"ping", to).unwrap();
    let mut word = [0; 4];
    let (_, from) = inside.recv_from(&mut word).unwrap_or_else(|error| panic!("nothing came to {at}: {error}"));
    assert_eq!((&word, from.ip()), (b"ping", "192.0.2.2".parse().unwrap()));
}

/// What the runtime hands over is for the primary: its port leads to `eth0`, though `net1` could do it too.
fn primary_ports() -> Row {
    let mut primary = row("", Axes::Chain).primary;
    primary.plugins.push(mapped(0, "iptables").remove(1));
    row("B33_the_runtimes_port_mappings_are_the_primarys", Axes::Chain)
        .primary(primary.unchecked_by(&[Parts::Debian]))
        .network(mapped_network("iptables"))
        .wants(json!({ "name": "net-a" }))
        .runtime_config(json!({ "portMappings": [{ "hostPort": 18080, "containerPort": 80, "protocol": "tcp" }] }))
        .proof(|pod| {
            from_outside(pod, "192.0.2.1:18080".parse().unwrap(), "eth0", 80);
            let rules = nat_rules(&pod.host, &pod.sandbox);
            assert!(!rules.is_empty() && rules.iter().all(|rule| !rule.contains("10.20.0.2")), "{rules:#?}");
        })
}

fn bandwidth() -> Row {
    row("B14_bandwidth_of_one_interface", Axes::ChainJson)
        .network(Network::of(
            "net-a",
            [bridge(20), json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } })],
        ))
        .wants(json!({ "name": "net-a", "bandwidth": {
            "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 1_600_000 } }))
        .reaches("net1", "10.20.0.1")
        .proof(|pod| {
            let links = &pod.host.ip(None, &["link show"])[0];
            let link = |name: &Value| links.iter().find(|link| link["ifname"] == *name).unwrap();
            let shapers = qdiscs(&pod.host).into_iter().filter(|qdisc| qdisc["kind"] == "tbf");
            let mut shown: Vec<Value> = shapers
                .map(|shaper| {
                    let link = link(&shaper["dev"]);
                    let on = link["master"].as_str().or(link["linkinfo"]["info_kind"].as_str());
                    json!([on, shaper["options"]["rate"], shaper["options"]["burst"]])
                })
                .collect();
            shown.sort_by_key(Value::to_string);
            // Bytes: into the pod on the node's end of its link, out of it on a device that its packets are sent to.
            assert_eq!(shown, [json!(["br20", 1_000_000, 100_000]), json!(["ifb", 2_000_000, 200_000])]);
        })
}

/// Two interfaces, each with a table of its own, so that each answers through itself.
fn sbr() -> Row {
    // bridge's CHECK misses the routes that sbr has moved.
    let network = |name: &str, number: u8| {
        Network::of(name, [bridge(number), json!({ "type": "sbr" })]).unchecked_by(&[Parts::Reference, Parts::Debian])
    };
    row("B1_sbr_routes_each_interface_by_its_source", Axes::Chain)
        .network(network("net-a", 20))
        .network(network("net-b", 21))
        .wants(json!({ "name": "net-a" }))
        .wants(json!({ "name": "net-b" }))
        .reaches("net1", "192.0.2.2")
        .reaches("net2", "2001:db8::2")
        .proof(|pod| {
            let routing = Routing::of(&pod.netns);
            for (ifname, number) in [("net1", 20), ("net2", 21)] {
                for (source, gateway) in [
                    (format!("10.{number}.0.2"), format!("10.{number}.0.1")),
                    (format!("fd00:{number}::2"), format!("fd00:{number}::1")),
                ] {
                    let rule = routing.rules.iter().find_map(|rule| rule.strip_prefix(&format!("from {source} ")));
                    let table = rule.unwrap_or_else(|| panic!("no rule for {source}: {routing:#?}"));
                    let route = format!("{table} default via {gateway} dev {ifname}");
                    assert!(routing.routes.contains(&route), "no {route}: {routing:#?}");
                }
            }
            assert!(routing.defaults().iter().all(|route| route.ends_with("dev eth0")), "{routing:#?}");
        })
}
