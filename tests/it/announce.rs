//! Pain E6: after an ADD the neighbours know who has its addresses, by gratuitous ARP and unsolicited advertisements that a
//! capture sees; but for plugins that see to it themselves, and networks that opt out.

use crate::harness::{Node, Sandbox};
use crate::kernel::{Node as Kernel, ip, ip_in, isolated};
use crate::scene::*;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Runs `act` in the namespace whose file is `netns`.
fn inside<T: Send>(netns: &Path, act: impl FnOnce() -> T + Send) -> T {
    let file = std::fs::File::open(netns).unwrap();
    let run = || {
        setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
        act()
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// Everything that passes the interfaces of one namespace from now on.
struct Capture(OwnedFd);

/// An announcement that was seen: whose hardware address is said to have which address.
type Seen = (IpAddr, String);

impl Capture {
    /// Of the calling thread's namespace.
    fn here() -> Self {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap();
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(0, 20_000)).unwrap();
        Self(socket)
    }

    /// Announcements until `enough` of them are there, or for this long.
    fn announcements(&self, enough: usize, patience: Duration) -> Vec<Seen> {
        let (began, mut seen, mut frame) = (Instant::now(), Vec::new(), [0; 2048]);
        while seen.len() < enough && began.elapsed() < patience {
            let length = recv(self.0.as_raw_fd(), &mut frame, MsgFlags::empty()).unwrap_or(0);
            seen.extend(announcement(&frame[..length]));
        }
        seen
    }
}

/// A broadcast ARP with an address as both sender and target; or an advertisement to all nodes, unsolicited, that overrides,
/// of its own sender, with all its hops.
fn announcement(frame: &[u8]) -> Option<Seen> {
    let mac = |at: usize| frame[at..at + 6].iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":");
    let v4 = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap());
    let v6 = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap());
    if frame.len() >= 42 && frame[12..14] == [8, 6] {
        let gratuitous = frame[..6] == [0xff; 6] && v4(28) == v4(38) && frame[6..12] == frame[22..28];
        return gratuitous.then(|| (v4(28).into(), mac(22)));
    }
    if frame.len() < 86 || frame[12..14] != [0x86, 0xdd] || frame[20] != 58 || frame[54] != 136 {
        return None;
    }
    assert_eq!((frame[21], frame[58] & 0x60), (255, 0x20), "hops, and override without solicited");
    assert_eq!((v6(38), v6(22)), ("ff02::1".parse().unwrap(), v6(62)), "to all nodes, from the address itself");
    assert_eq!(frame[78..80], [2, 1], "with the link-layer address");
    Some((v6(62).into(), mac(80)))
}

/// A node with a ptp as primary, and a veth whose one end is `up0` on the node and the other `peer0` in the namespace `peer`.
fn node_of(kernel: &Kernel) -> (Node, PathBuf) {
    let node = Node::new();
    install_real(&node, &["ptp", "bridge", "macvlan", "host-device", "host-local", "static"]);
    node.write("conf/10-primary.conflist", &ptp("cluster", 1).to_string());
    let peer = kernel.netns("peer");
    ip(&["link", "add", "up0", "type", "veth", "peer", "name", "peer0", "netns", "peer"]);
    ip_in(&peer, &["address", "add", "10.99.0.1/24", "dev", "peer0"]);
    ip_in(&peer, &["address", "add", "fd99::1/64", "dev", "peer0", "nodad"]);
    ip_in(&peer, &["link", "set", "peer0", "up"]);
    ip(&["link", "set", "up0", "up"]);
    (node, peer)
}

fn ptp(name: &str, number: u8) -> Value {
    let ranges = json!([[{ "subnet": format!("10.77.{number}.0/24") }], [{ "subnet": format!("fd77:{number}::/64") }]]);
    json!({ "cniVersion": "1.0.0", "name": name, "plugins": [
        { "type": "ptp", "ipMasq": false, "ipam": { "type": "host-local", "ranges": ranges } },
    ] })
}

/// A network of the host's `up0`, with these addresses.
fn device(addresses: &[&str]) -> Value {
    let addresses: Vec<Value> = addresses.iter().map(|address| json!({ "address": address })).collect();
    json!({ "cniVersion": "1.0.0", "name": "device", "type": "host-device", "device": "up0",
        "ipam": { "type": "static", "addresses": addresses } })
}

/// A pod of these networks; its addresses are usable at once unless duplicates are looked for.
fn added(node: &Node, kernel: &Kernel, networks: &str, dad: bool) -> (Sandbox, PathBuf) {
    let (sandbox, pod) = (Sandbox::new(), kernel.netns("pod"));
    if !dad {
        inside(&pod, || std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap());
    }
    succeeded(&node.call("ADD", &sandbox).env("CNI_NETNS", pod.to_str().unwrap()).networks(networks).run());
    (sandbox, pod)
}

fn mac(pod: &Path, link: &str) -> String {
    let links: Vec<Value> = serde_json::from_str(&ip_in(pod, &["-json", "link", "show", link])).unwrap();
    links[0]["address"].as_str().unwrap().to_owned()
}

/// The addresses among `seen` that are said to be at `mac`, each once, without those that a link makes up for itself.
fn at(seen: &[Seen], mac: &str) -> Vec<String> {
    let mut all: Vec<String> =
        seen.iter().filter(|(_, at)| at == mac).map(|(address, _)| address.to_string()).collect();
    all.retain(|address| !address.starts_with("fe80:"));
    all.sort();
    all.dedup();
    all
}

/// How long announcements are listened for that should not come.
const SOON: Duration = Duration::from_millis(500);

/// How long those are waited for that should.
const LATE: Duration = Duration::from_secs(60);

/// What is heard until all of `expected`, in order, is said to be at `mac`, and a moment longer.
#[track_caller]
fn heard(capture: &Capture, mac: &str, expected: &[&str]) -> Vec<Seen> {
    let (began, mut seen) = (Instant::now(), Vec::new());
    while at(&seen, mac) != expected && began.elapsed() < LATE {
        seen.extend(capture.announcements(1, SOON));
    }
    seen.extend(capture.announcements(usize::MAX, SOON));
    assert_eq!(at(&seen, mac), expected, "{seen:?}");
    seen
}

#[test]
fn e6_addresses_of_a_ptp_are_announced_and_the_primarys_are_not() {
    isolated(|kernel| {
        let (node, _) = node_of(kernel);
        node.nad_text("default", "a", &ptp("a", 2).to_string());
        let capture = Capture::here();
        let (_, pod) = added(&node, kernel, "a", true);
        let mut seen = heard(&capture, &mac(&pod, "net1"), &["10.77.2.2", "fd77:2::2"]);
        assert!(!node.log().contains("neighbours may"), "{}", node.log());
        // The kernel says it three times: a neighbour may have missed the first.
        let began = Instant::now();
        let is_v4 = |one: &&Seen| one.0.to_string() == "10.77.2.2";
        while seen.iter().filter(is_v4).count() < 3 && began.elapsed() < LATE {
            seen.extend(capture.announcements(1, SOON));
        }
        assert_eq!(seen.iter().filter(is_v4).count(), 3, "{seen:?}");
        assert_eq!(at(&seen, &mac(&pod, "eth0")), Vec::<String>::new(), "{seen:?}");
    });
}

#[test]
fn e6_addresses_whose_duplicates_are_still_looked_for_are_announced_when_they_can_be_used() {
    isolated(|kernel| {
        let (node, peer) = node_of(kernel);
        node.nad_text("default", "a", &device(&["10.99.0.7/24", "fd99::7/64"]).to_string());
        let capture = inside(&peer, Capture::here);
        let (_, pod) = added(&node, kernel, "a", true);
        heard(&capture, &mac(&pod, "net1"), &["10.99.0.7", "fd99::7"]);
        assert!(!node.log().contains("neighbours may"), "{}", node.log());
    });
}

#[test]
fn e6_every_address_of_a_subnet_is_announced() {
    isolated(|kernel| {
        let (node, peer) = node_of(kernel);
        let addresses = ["10.99.0.7/24", "10.99.0.8/24", "10.99.0.9/32", "10.98.0.7/24", "fd99::7/64", "fd99::8/64"];
        node.nad_text("default", "a", &device(&addresses).to_string());
        let capture = inside(&peer, Capture::here);
        let (_, pod) = added(&node, kernel, "a", false);
        let expected = ["10.98.0.7", "10.99.0.7", "10.99.0.8", "10.99.0.9", "fd99::7", "fd99::8"];
        heard(&capture, &mac(&pod, "net1"), &expected);
        assert!(!node.log().contains("neighbours may"), "{}", node.log());
    });
}

#[test]
fn e6_what_a_plugin_announces_itself_is_left_to_it() {
    isolated(|kernel| {
        let (node, _) = node_of(kernel);
        node.master(&json!({ "logLevel": "debug" }));
        node.nad_text("default", "a", &bridge("a", 2).to_string());
        let ipam = json!({ "type": "host-local", "subnet": "10.77.3.0/24" });
        let macvlan = json!({ "cniVersion": "1.0.0", "name": "b", "type": "macvlan", "master": "up0", "ipam": ipam });
        node.nad_text("default", "b", &macvlan.to_string());
        node.nad_text("default", "c", &ptp("c", 4).to_string());
        let mut dual = bridge("d", 5);
        dual["plugins"][0]["ipam"]["ranges"].as_array_mut().unwrap().push(json!([{ "subnet": "fd77:5::/64" }]));
        node.nad_text("default", "d", &dual.to_string());
        let own_entries = |pod: &Path| {
            let neighbours = ip_in(pod, &["neighbour", "show"]);
            ["10.77.2.2", "10.77.3.2", "10.77.4.2", "10.77.5.2"].map(|own| neighbours.contains(&format!("{own} ")))
        };
        let capture = Capture::here();
        let (_, pod) = added(&node, kernel, "a,b,c,d", true);
        // The kernel remembers what it was asked for.
        assert_eq!(own_entries(&pod), [false, false, true, false]);
        assert_eq!(node.log().matches("addresses announced").count(), 2, "{}", node.log());
        // No version of bridge announces IPv6.
        let seen = heard(&capture, &mac(&pod, "net4"), &["10.77.5.2", "fd77:5::2"]);
        assert_eq!(
            seen.iter().filter(|(address, _)| address.to_string() == "10.77.2.2").count(),
            1,
            "its own: {seen:?}"
        );
    });
}

/// True if a TCP connection from `peer` to port 80 of the pod's address is there within `patience`.
fn reaches(peer: &Path, pod: &Path, address: &str, patience: Duration) -> bool {
    let to = SocketAddr::new(address.parse().unwrap(), 80);
    // The kernel takes an address for usable in its own time, also where it looks for no duplicates.
    let _listener = eventually("a listener", || inside(pod, || TcpListener::bind(to).ok()));
    inside(peer, || TcpStream::connect_timeout(&to, patience).is_ok())
}

#[test]
fn e6_a_peer_that_knows_an_earlier_owner_reaches_the_pod_at_once_unless_the_network_opts_out() {
    for (annotation, reached) in [(None, true), (Some("true"), true), (Some("false"), false)] {
        isolated(|kernel| {
            let (node, peer) = node_of(kernel);
            // The other end of its link is away for a moment: what the peer knows stays, however long that takes.
            for key in ["ipv4/conf/peer0/arp_evict_nocarrier", "ipv6/conf/peer0/ndisc_evict_nocarrier"] {
                inside(&peer, || std::fs::write(format!("/proc/sys/net/{key}"), "0").unwrap());
            }
            // Nor does it come to doubt the earlier owner, which it does after five seconds else.
            for family in ["ipv4", "ipv6"] {
                let path = format!("/proc/sys/net/{family}/neigh/peer0/delay_first_probe_time");
                inside(&peer, || std::fs::write(path, "3600").unwrap());
            }
            let annotations = annotation.map(|value| json!({ "meta-cni.io/announce": value }));
            let manifest = json!({ "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": { "namespace": "default", "name": "a", "annotations": annotations },
                "spec": { "config": device(&["10.99.0.7/24", "10.99.0.8/24", "fd99::7/64"]).to_string() } });
            node.manifest("default", "a.json", &manifest.to_string());
            let addresses = ["10.99.0.7", "10.99.0.8", "fd99::7"];
            for address in addresses {
                let earlier = ["lladdr", "02:00:00:00:00:99", "dev", "peer0", "nud", "reachable"];
                ip_in(&peer, &[&["neighbour", "replace", address][..], &earlier].concat());
            }
            let (_, pod) = added(&node, kernel, "a", false);
            // Nothing but an announcement changes what the peer knows: it sends nothing itself until then.
            let knows = |address| ip_in(&peer, &["neighbour", "show", "to", address]).contains(&mac(&pod, "net1"));
            if reached {
                eventually("the peer knows", || addresses.iter().all(|address| knows(address)).then_some(()));
            }
            let patience = if reached { LATE } else { Duration::from_secs(1) };
            let reaches = addresses.map(|address| reaches(&peer, &pod, address, patience));
            assert_eq!(reaches, [reached; 3], "{annotation:?}");
        });
    }
}

#[test]
fn e6_an_annotation_that_is_neither_true_nor_false_is_refused() {
    isolated(|kernel| {
        let (node, _) = node_of(kernel);
        let manifest = json!({ "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": { "name": "a", "annotations": { "meta-cni.io/announce": "never" } },
            "spec": { "config": device(&["10.99.0.7/24"]).to_string() } });
        node.manifest("default", "a.json", &manifest.to_string());
        let (sandbox, pod) = (Sandbox::new(), kernel.netns("pod"));
        let output = node.call("ADD", &sandbox).env("CNI_NETNS", pod.to_str().unwrap()).networks("a").run();
        let error = refused(&output, 7);
        assert!(error["msg"].as_str().unwrap().contains("meta-cni.io/announce"), "{error}");
        nothing_left(&node, &sandbox);
    });
}
