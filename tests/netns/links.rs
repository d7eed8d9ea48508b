//! Links, compared with what `ip link` says of the same namespace; and how they are read.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout, reason = "tests do I/O and panic")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use meta_cni::kernel::Link;
use meta_cni::netns;
use serde_json::Value;

use crate::kernel::{self, ip_in, ip_json, number, text};

/// `ip link` in our words.
fn expected_links(pod: &Path) -> Vec<Link> {
    let link = |link: &Value| Link {
        index: number(&link["ifindex"]),
        name: text(&link["ifname"]).unwrap(),
        mac: text(&link["address"]),
        mtu: number(&link["mtu"]),
        up: link["flags"].as_array().unwrap().contains(&"UP".into()),
        resolves: !["NOARP", "LOOPBACK", "POINTOPOINT"]
            .iter()
            .any(|flag| link["flags"].as_array().unwrap().contains(&(*flag).into())),
        kind: text(&link["linkinfo"]["info_kind"]),
    };
    ip_json(pod, &["link", "show"]).iter().map(link).collect()
}

#[track_caller]
fn check_links(pod: &Path) -> Vec<Link> {
    let links = netns::open(pod).unwrap().links().unwrap();
    assert_eq!(links, expected_links(pod));
    links
}

#[test]
fn links_of_every_kind() {
    kernel::isolated(|node| {
        let pod = node.netns("pod");
        let links = check_links(&pod);
        assert_eq!(links.len(), 1);
        assert_eq!((links[0].name.as_str(), links[0].up, links[0].mtu), ("lo", false, 65536));
        ip_in(&pod, &["link", "set", "lo", "up"]);
        ip_in(&pod, &["link", "add", "br0", "type", "bridge"]);
        ip_in(&pod, &["link", "add", "eth0", "mtu", "1400", "type", "veth", "peer", "name", "peer0"]);
        ip_in(&pod, &["link", "set", "peer0", "master", "br0"]);
        ip_in(&pod, &["link", "set", "eth0", "address", "0A:58:C0:A8:00:FF", "up"]);
        ip_in(&pod, &["link", "add", "net1", "link", "eth0", "type", "macvlan", "mode", "bridge"]);
        ip_in(&pod, &["tuntap", "add", "dev", "tun-15-bytes-xx", "mode", "tun"]);
        ip_in(&pod, &["tuntap", "add", "dev", "tap0", "mode", "tap"]);
        let links = check_links(&pod);
        let kinds = |name: &str| links.iter().find(|link| link.name == name).unwrap().kind.clone();
        assert_eq!(kinds("net1").as_deref(), Some("macvlan"));
        let eth0 = links.iter().find(|link| link.name == "eth0").unwrap();
        assert_eq!((eth0.mac.as_deref(), eth0.mtu, eth0.up), (Some("0a:58:c0:a8:00:ff"), 1400, true));
        assert_eq!(links.iter().find(|link| link.name == "tun-15-bytes-xx").unwrap().mac, None);
    });
}

/// A dump of many parts.
#[test]
fn three_hundred_pairs() {
    kernel::isolated(|node| {
        let pod = node.netns("pod");
        let lines: Vec<String> = (0..300).map(|n| format!("link add a{n} type veth peer name b{n}\n")).collect();
        std::fs::write("/run/batch", lines.concat()).unwrap();
        ip_in(&pod, &["-batch", "/run/batch"]);
        assert_eq!(check_links(&pod).len(), 601);
        let namespace = netns::open(&pod).unwrap();
        // One socket serves list after list.
        for _ in 0..3 {
            assert_eq!(namespace.links().unwrap().len(), 601);
        }
    });
}

/// Links come and go while we look: what stays is seen exactly once each time.
#[test]
fn a_list_is_consistent_while_links_come_and_go() {
    kernel::isolated(|node| {
        let pod = node.netns("pod");
        let lines: Vec<String> = (0..100).map(|n| format!("link add s{n} type veth peer name t{n}\n")).collect();
        std::fs::write("/run/batch", lines.concat()).unwrap();
        ip_in(&pod, &["-batch", "/run/batch"]);
        let churn: Vec<String> = (0..50).map(|n| format!("link add c{n} type bridge\nlink del c{n}\n")).collect();
        std::fs::write("/run/churn", churn.concat()).unwrap();
        let (stop, namespace) = (AtomicBool::new(false), netns::open(&pod).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    ip_in(&pod, &["-batch", "/run/churn"]);
                }
            });
            let lists: Vec<_> = (0..100).map(|_| namespace.links()).collect();
            stop.store(true, Ordering::Relaxed);
            for list in lists {
                let links = list.unwrap();
                let names: BTreeSet<&str> = links.iter().map(|link| link.name.as_str()).collect();
                assert_eq!(names.len(), links.len(), "a link was listed twice");
                assert_eq!(names.iter().filter(|name| !name.starts_with('c')).count(), 201);
            }
        });
    });
}

/// Looking into a pod leaves the looker where it is, from many threads at once.
#[test]
fn the_caller_stays_where_it_is() {
    kernel::isolated(|node| {
        let pods: Vec<_> = (0..8).map(|n| node.netns(&format!("pod{n}"))).collect();
        let before = netns::own().unwrap();
        std::thread::scope(|scope| {
            for (n, pod) in pods.iter().enumerate() {
                scope.spawn(move || {
                    let name = format!("br{n}");
                    ip_in(pod, &["link", "add", &name, "type", "bridge"]);
                    for _ in 0..50 {
                        let links = netns::open(pod).unwrap().links().unwrap();
                        assert_eq!(links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>(), ["lo", &name]);
                        assert_eq!(netns::own().unwrap(), before);
                    }
                });
            }
        });
        assert_eq!(netns::own().unwrap(), before);
    });
}

/// A plugin call reads the links once: that must not be felt beside the start of one of the programs it runs, on the same machine.
#[test]
fn reading_links_is_quick() {
    kernel::isolated(|node| {
        let pod = node.netns("pod");
        ip_in(&pod, &["link", "add", "eth0", "type", "veth", "peer", "name", "peer0"]);
        let time = || {
            let start = Instant::now();
            assert_eq!(netns::open(&pod).unwrap().links().unwrap().len(), 3);
            let links = start.elapsed();
            let start = Instant::now();
            assert!(Command::new("ip").arg("-V").stdout(Stdio::null()).status().unwrap().success());
            (links, start.elapsed())
        };
        let (mut links, mut starts): (Vec<_>, Vec<_>) = (0..200).map(|_| time()).unzip();
        links.sort();
        starts.sort();
        println!("open and links: median {:?}, 99 % {:?}; a program: median {:?}", links[100], links[198], starts[100]);
        assert!(links[20] < starts[20], "{:?}, and a program {:?}", links[20], starts[20]);
    });
}
