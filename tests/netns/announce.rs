//! E6: announcements, and what they leave as it was. What neighbours see of them is proven with whole ADDs.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests do I/O and panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

use meta_cni::kernel::Announcement;
use meta_cni::netns;

use crate::kernel::{self, Node, ip_in};

/// A namespace with a veth `net1` that has two addresses of one subnet, and a neighbour.
fn pod(node: &Node, neighbour: &str) -> PathBuf {
    let pod = node.netns("pod");
    ip_in(&pod, &["link", "add", "net1", "type", "veth", "peer", "name", "far"]);
    for address in ["10.9.0.2/24", "10.9.0.3/24"] {
        ip_in(&pod, &["address", "add", address, "dev", "net1"]);
    }
    for link in ["net1", "far"] {
        ip_in(&pod, &["link", "set", link, "up"]);
    }
    ip_in(&pod, &["neighbour", "add", "10.9.0.9", "lladdr", "02:00:00:00:00:09", "dev", "net1", "nud", neighbour]);
    pod
}

fn announcement(pod: &Path) -> Announcement {
    let links = netns::open(pod).unwrap().links().unwrap();
    let link = links.into_iter().find(|link| link.name == "net1").unwrap();
    let behind = vec!["10.9.0.3".parse().unwrap()];
    Announcement { link, alone: vec!["10.9.0.2".parse().unwrap()], behind, v6: Vec::new(), tentative: false }
}

#[test]
fn e6_permanent_neighbours_stay_and_the_rest_is_announced_all_the_same() {
    kernel::isolated(|node| {
        let pod = pod(node, "permanent");
        let error = netns::open(&pod).unwrap().announce(&announcement(&pod)).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.to_string().contains("further IPv4 addresses of a subnet"), "{error}");
        assert!(source.contains("permanent neighbours"), "{source}");
        let neighbours = ip_in(&pod, &["neighbour", "show"]);
        assert!(neighbours.contains("10.9.0.9 dev net1 lladdr 02:00:00:00:00:09 PERMANENT"), "{neighbours}");
        assert!(neighbours.contains("10.9.0.2 dev net1"), "the first address was looked for: {neighbours}");
    });
}

#[test]
fn e6_an_address_that_is_gone_keeps_none_of_the_others_from_being_announced() {
    kernel::isolated(|node| {
        let pod = pod(node, "stale");
        ip_in(&pod, &["address", "add", "fd09::2/64", "dev", "net1", "nodad"]);
        let sent = || {
            let netns = format!("--net={}", pod.display());
            let counters = Command::new("nsenter").args([&netns, "cat", "/proc/net/snmp6"]).output().unwrap();
            let counters = String::from_utf8(counters.stdout).unwrap();
            counters
                .lines()
                .find(|line| line.starts_with("Icmp6OutType136"))
                .map_or(0, |line| line.split_whitespace().last().unwrap().parse::<u32>().unwrap())
        };
        let before = sent();
        let v6 = ["fd09::7", "fd09::2"].map(|address| address.parse().unwrap()).to_vec();
        let mut both = announcement(&pod);
        both.v6 = v6;
        let error = netns::open(&pod).unwrap().announce(&both).unwrap_err();
        assert!(error.to_string().contains("announce IPv6 addresses"), "{error}");
        assert_eq!(sent(), before + 1);
    });
}

#[test]
fn e6_a_link_keeps_its_hardware_address() {
    kernel::isolated(|node| {
        let pod = pod(node, "stale");
        let before = netns::open(&pod).unwrap().links().unwrap();
        netns::open(&pod).unwrap().announce(&announcement(&pod)).unwrap();
        assert_eq!(netns::open(&pod).unwrap().links().unwrap(), before);
    });
}

#[test]
fn e6_a_link_that_is_gone_is_an_error_and_the_caller_stays_where_it_is() {
    kernel::isolated(|node| {
        let pod = pod(node, "stale");
        let own = netns::own().unwrap();
        let mut gone = announcement(&pod);
        gone.v6 = vec!["fd00::9".parse().unwrap()];
        ip_in(&pod, &["link", "del", "net1"]);
        let namespace = netns::open(&pod).unwrap();
        assert!(namespace.announce(&gone).is_err());
        assert_eq!(netns::own().unwrap(), own);
        assert_eq!(namespace.links().unwrap().len(), 1, "the socket serves on");
    });
}
