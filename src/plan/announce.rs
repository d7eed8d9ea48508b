//! Which addresses of a pod its neighbours must be told of (pain E6): an address that another pod had until now is in their
//! tables with that pod's hardware address, and would be out of reach for as long as they believe it.

use std::net::IpAddr;

use crate::cni::{CniResult, PluginType};
use crate::kernel::{Address, Announcement, Interfaces};
use crate::npwg::status::link;

use super::Role;

/// Plugins that announce the addresses of the interface that they make, in every version that is in use.
const ANNOUNCE_THEMSELVES: [&str; 2] = ["bridge", "macvlan"];

/// True when the addresses of an attachment are ours to announce: those of an additional network whose manifest does not opt
/// out, unless the plugin that makes the interface (the first of the chain) does it.
#[must_use]
pub fn ours(role: Role, manifest_agrees: bool, maker: Option<&PluginType>) -> bool {
    let by_itself = maker.is_some_and(|maker| ANNOUNCE_THEMSELVES.contains(&maker.as_str()));
    role == Role::Additional && manifest_agrees && !by_itself
}

/// What there is to announce of one attachment: the addresses in its result that the kernel has on its link. `None` when
/// there is nothing, or nobody to tell: a link that is down, has no hardware address or resolves none.
#[must_use]
pub fn announcement(interfaces: &Interfaces, result: &CniResult, ifname: &str) -> Option<Announcement> {
    let link = link(interfaces, result, ifname).filter(|link| link.up && link.resolves && link.mac.is_some())?;
    let named = |address: &&Address| result.ips.iter().any(|ip| ip.ip() == Some(address.address));
    let usable = || interfaces.of(link.index).filter(|address| !address.dad_failed);
    let mut announcement =
        Announcement { link: link.clone(), alone: Vec::new(), behind: Vec::new(), v6: Vec::new(), tentative: false };
    for address in usable().filter(named) {
        match address.address {
            IpAddr::V4(v4) => {
                let sender = usable().find(|candidate| candidate.network().contains(&address.address));
                let alone = sender.is_some_and(|sender| sender.address == address.address);
                if alone { announcement.alone.push(v4) } else { announcement.behind.push(v4) }
            }
            IpAddr::V6(v6) => {
                announcement.tentative |= address.tentative;
                announcement.v6.push(v6);
            }
        }
    }
    let nothing = announcement.alone.is_empty() && announcement.behind.is_empty() && announcement.v6.is_empty();
    (!nothing).then_some(announcement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::CniVersion;
    use crate::kernel::{Link, Scope};

    #[test]
    fn e6_only_what_nobody_else_announces_is_ours() {
        for (role, agrees, maker, expected) in [
            (Role::Additional, true, "ptp", true),
            (Role::Additional, true, "host-device", true),
            (Role::Additional, false, "ptp", false),
            (Role::Additional, true, "bridge", false),
            (Role::Additional, true, "macvlan", false),
            (Role::Primary, true, "ptp", false),
        ] {
            assert_eq!(ours(role, agrees, PluginType::new(maker).ok().as_ref()), expected, "{maker}");
        }
        assert!(ours(Role::Additional, true, None));
    }

    fn link() -> Link {
        let mac = Some("02:00:00:00:00:01".to_owned());
        Link { index: 7, name: "net1".to_owned(), mac, mtu: 1500, up: true, resolves: true, kind: None }
    }

    fn address(text: &str) -> Address {
        let (address, prefix) = text.split_once('/').unwrap();
        let prefix = prefix.parse().unwrap();
        let address = address.parse().unwrap();
        Address { index: 7, address, prefix, scope: Scope::Global, tentative: false, dad_failed: false }
    }

    fn result(ips: &[&str]) -> CniResult {
        let ips: Vec<String> = ips.iter().map(|ip| format!(r#"{{"address":"{ip}"}}"#)).collect();
        CniResult::parse(format!(r#"{{"ips":[{}]}}"#, ips.join(",")).as_bytes(), CniVersion::NEWEST).unwrap().0
    }

    #[test]
    fn e6_addresses_are_those_of_the_result_that_the_kernel_has() {
        let has =
            ["10.0.0.2/24", "10.1.0.2/16", "10.0.0.3/24", "10.1.0.3/32", "10.9.0.9/24", "fd00::2/64", "fe80::1/64"];
        let interfaces = Interfaces { links: vec![link()], addresses: has.map(address).to_vec() };
        let told = result(&["10.0.0.3/24", "10.0.0.2/24", "10.1.0.3/32", "10.7.0.7/24", "fd00::2/64", "fd00::7/64"]);
        let found = announcement(&interfaces, &told, "net1").unwrap();
        let text = |all: &[std::net::Ipv4Addr]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(&found.alone), ["10.0.0.2"]);
        // The kernel would look for 10.1.0.3 as 10.1.0.2, whose subnet holds both.
        assert_eq!(text(&found.behind), ["10.0.0.3", "10.1.0.3"]);
        assert_eq!((found.v6.len(), found.tentative), (1, false));
        assert_eq!(announcement(&interfaces, &result(&["10.7.0.7/24"]), "net1"), None);
        assert_eq!(announcement(&interfaces, &told, "net2"), None);
    }

    #[test]
    fn e6_addresses_in_doubt_wait_and_those_of_another_are_left() {
        let (tentative, failed) = (
            Address { tentative: true, ..address("fd00::2/64") },
            Address { tentative: true, dad_failed: true, ..address("fd00::3/64") },
        );
        let interfaces = Interfaces { links: vec![link()], addresses: vec![tentative, failed] };
        let found = announcement(&interfaces, &result(&["fd00::2/64", "fd00::3/64"]), "net1").unwrap();
        assert_eq!((found.v6.len(), found.tentative), (1, true));
    }

    #[test]
    fn e6_links_without_neighbours_are_left_alone() {
        let told = result(&["10.0.0.2/24"]);
        for link in [
            Link { up: false, ..link() },
            Link { resolves: false, ..link() },
            Link { mac: None, ..link() },
            Link { index: 8, ..link() },
        ] {
            let interfaces = Interfaces { links: vec![link.clone()], addresses: vec![address("10.0.0.2/24")] };
            assert_eq!(announcement(&interfaces, &told, "net1"), None, "{link:?}");
        }
    }
}
