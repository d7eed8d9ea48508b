//! Which addresses of a pod its neighbours must be told of (pain E6): an address that another pod had until now is in their
//! tables with that pod's hardware address, and would be out of reach for as long as they believe it.

use std::net::IpAddr;

use crate::cni::result::IpConfig;
use crate::cni::{CniResult, PluginType};
use crate::kernel::{Address, Announcement, Family, Interfaces};
use crate::npwg::status::link;

use super::Role;

/// Plugins that announce the addresses of the interface that they make, and of which family, in every version that is in
/// use: of IPv6 only macvlan does, in late ones.
const ANNOUNCE_THEMSELVES: [(&str, Family); 2] = [("bridge", Family::V4), ("macvlan", Family::V4)];

/// The families whose addresses are ours to announce: both for an additional network whose manifest does not opt out, but for
/// what the plugin that makes the interface (the first of the chain) announces itself.
#[must_use]
pub fn ours(role: Role, manifest_agrees: bool, maker: Option<&PluginType>) -> Vec<Family> {
    if role == Role::Primary || !manifest_agrees {
        return Vec::new();
    }
    let by_itself = |family: Family| maker.is_some_and(|maker| ANNOUNCE_THEMSELVES.contains(&(maker.as_str(), family)));
    [Family::V4, Family::V6].into_iter().filter(|family| !by_itself(*family)).collect()
}

/// True when `result` has addresses of these families.
#[must_use]
pub fn any(families: &[Family], result: &CniResult) -> bool {
    result.ips.iter().filter_map(IpConfig::ip).any(|ip| families.contains(&Family::of(&ip)))
}

/// What there is to announce of one attachment: the addresses of these families in its result that the kernel has on its link.
/// `None` when there is nothing, or nobody to tell: a link that is down, has no hardware address or resolves none.
#[must_use]
pub fn announcement(
    interfaces: &Interfaces,
    result: &CniResult,
    ifname: &str,
    families: &[Family],
) -> Option<Announcement> {
    let link = link(interfaces, result, ifname).filter(|link| link.up && link.resolves && link.mac.is_some())?;
    let named = |address: &&Address| result.ips.iter().any(|ip| ip.ip() == Some(address.address));
    let usable = || interfaces.of(link.index).filter(|address| !address.dad_failed);
    let mut announcement =
        Announcement { link: link.clone(), alone: Vec::new(), behind: Vec::new(), v6: Vec::new(), tentative: false };
    for address in usable().filter(named).filter(|address| families.contains(&Family::of(&address.address))) {
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

    const BOTH: [Family; 2] = [Family::V4, Family::V6];

    #[test]
    fn e6_only_what_nobody_else_announces_is_ours() {
        for (role, agrees, maker, expected) in [
            (Role::Additional, true, "ptp", &BOTH[..]),
            (Role::Additional, true, "host-device", &BOTH),
            (Role::Additional, false, "ptp", &[]),
            (Role::Additional, false, "bridge", &[]),
            (Role::Additional, true, "bridge", &BOTH[1..]),
            (Role::Additional, true, "macvlan", &BOTH[1..]),
            (Role::Primary, true, "ptp", &[]),
        ] {
            assert_eq!(ours(role, agrees, PluginType::new(maker).ok().as_ref()), expected, "{maker}");
        }
        assert_eq!(ours(Role::Additional, true, None), BOTH);
        let told = result(&["10.0.0.2/24"]);
        assert!(any(&BOTH, &told) && any(&BOTH[..1], &told) && !any(&BOTH[1..], &told) && !any(&[], &told));
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
        let found = announcement(&interfaces, &told, "net1", &BOTH).unwrap();
        let text = |all: &[std::net::Ipv4Addr]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(&found.alone), ["10.0.0.2"]);
        // The kernel would look for 10.1.0.3 as 10.1.0.2, whose subnet holds both.
        assert_eq!(text(&found.behind), ["10.0.0.3", "10.1.0.3"]);
        assert_eq!((found.v6.len(), found.tentative), (1, false));
        let v6 = announcement(&interfaces, &told, "net1", &BOTH[1..]).unwrap();
        assert_eq!((v6.alone.len(), v6.behind.len(), v6.v6.len()), (0, 0, 1));
        assert_eq!(announcement(&interfaces, &result(&["10.7.0.7/24"]), "net1", &BOTH), None);
        assert_eq!(announcement(&interfaces, &told, "net2", &BOTH), None);
    }

    #[test]
    fn e6_addresses_in_doubt_wait_and_those_of_another_are_left() {
        let (tentative, failed) = (
            Address { tentative: true, ..address("fd00::2/64") },
            Address { tentative: true, dad_failed: true, ..address("fd00::3/64") },
        );
        let interfaces = Interfaces { links: vec![link()], addresses: vec![tentative, failed] };
        let found = announcement(&interfaces, &result(&["fd00::2/64", "fd00::3/64"]), "net1", &BOTH).unwrap();
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
            assert_eq!(announcement(&interfaces, &told, "net1", &BOTH), None, "{link:?}");
        }
    }
}
