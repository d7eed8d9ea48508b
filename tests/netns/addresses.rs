//! Addresses, compared with what `ip address` says of the same namespace.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests do I/O and panic")]

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use meta_cni::kernel::{Address, Scope};
use meta_cni::netns;

use crate::kernel::{self, ip_in, ip_json, number};

fn expected_addresses(pod: &Path) -> Vec<Address> {
    let mut addresses = Vec::new();
    for link in ip_json(pod, &["address", "show"]) {
        let index = number(&link["ifindex"]);
        let list = link["addr_info"].as_array().unwrap();
        addresses.extend(list.iter().filter(|info| info["local"].is_string()).map(|info| Address {
            index,
            address: info["local"].as_str().unwrap().parse().unwrap(),
            prefix: u8::try_from(number(&info["prefixlen"])).unwrap(),
            scope: match info["scope"].as_str().unwrap() {
                "global" => Scope::Global,
                "link" => Scope::Link,
                "host" => Scope::Host,
                "site" => Scope::Site,
                other => Scope::Other(other.parse().unwrap()),
            },
            tentative: info["tentative"] == true,
            dad_failed: info["dadfailed"] == true,
        }));
    }
    addresses
}

fn addresses(pod: &Path) -> Vec<Address> {
    netns::open(pod).unwrap().addresses().unwrap()
}

fn sorted(mut addresses: Vec<Address>) -> Vec<Address> {
    addresses.sort_by_key(|address| (address.index, address.address));
    addresses
}

/// Waits until what we see has `property`, comparing with iproute2 at the end.
#[track_caller]
fn wait_for(pod: &Path, property: impl Fn(&Address) -> bool) {
    let start = Instant::now();
    while !addresses(pod).iter().any(&property) {
        assert!(start.elapsed() < Duration::from_secs(60), "not seen: {:?}", addresses(pod));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn addresses_of_both_families() {
    kernel::isolated(|node| {
        let pod = node.netns("pod");
        assert_eq!(addresses(&pod), []);
        ip_in(&pod, &["link", "set", "lo", "up"]);
        ip_in(&pod, &["link", "add", "near", "type", "veth", "peer", "name", "far"]);
        ip_in(&pod, &["address", "add", "10.1.2.3/24", "dev", "near"]);
        ip_in(&pod, &["address", "add", "10.1.2.4/24", "dev", "near"]);
        ip_in(&pod, &["address", "add", "10.9.0.1", "peer", "10.9.0.2/32", "dev", "far"]);
        ip_in(&pod, &["address", "add", "10.7.0.1/16", "dev", "far", "scope", "42"]);
        ip_in(&pod, &["-6", "address", "add", "2001:db8::1/64", "dev", "near", "nodad"]);
        ip_in(&pod, &["-6", "address", "add", "2001:db8::5", "peer", "2001:db8::6/128", "dev", "far", "nodad"]);
        let got = addresses(&pod);
        assert_eq!(sorted(got.clone()), sorted(expected_addresses(&pod)));
        let near: Vec<IpAddr> = got.iter().map(|address| address.address).collect();
        assert!(near.contains(&"10.9.0.1".parse().unwrap()) && near.contains(&"2001:db8::5".parse().unwrap()));
    });
}

/// Duplicate address detection as the kernel does it: running, passed, failed.
#[test]
fn duplicate_address_detection() {
    kernel::isolated(|node| {
        let (one, two) = (node.netns("one"), node.netns("two"));
        ip_in(&one, &["link", "add", "near", "type", "veth", "peer", "name", "near", "netns", "two"]);
        ip_in(&two, &["address", "add", "2001:db8::1/64", "dev", "near", "nodad"]);
        ip_in(&two, &["link", "set", "near", "up"]);
        ip_in(&one, &["address", "add", "2001:db8::1/64", "dev", "near"]);
        ip_in(&one, &["address", "add", "2001:db8::2/64", "dev", "near"]);
        ip_in(&one, &["link", "set", "near", "up"]);
        let (taken, free) = ("2001:db8::1".parse::<IpAddr>().unwrap(), "2001:db8::2".parse::<IpAddr>().unwrap());
        assert!(addresses(&one).iter().any(|address| address.address == free && address.tentative));
        wait_for(&one, |address| address.address == free && !address.tentative && !address.dad_failed);
        wait_for(&one, |address| address.address == taken && address.dad_failed);
    });
}
