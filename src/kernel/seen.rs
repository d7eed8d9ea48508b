//! One look at a namespace: what its links, addresses and routes were at that time, and what a client would make of them.

use std::net::IpAddr;

use super::{Address, Family, Link, Prefix, Route, Scope, masked};

/// The links of a namespace and what addresses they have, in the kernel's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Every link.
    pub links: Vec<Link>,
    /// Every address of every link.
    pub addresses: Vec<Address>,
}

/// Interfaces and routes of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Links and addresses.
    pub interfaces: Interfaces,
    /// Every unicast route of every table.
    pub routes: Vec<Route>,
}

impl Interfaces {
    /// The link with this name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The addresses of the link with this index, in the kernel's order.
    pub fn of(&self, index: u32) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |address| address.index == index)
    }
}

impl Address {
    /// True when the address reaches no further than its link, by its scope or by what it is (169.254.0.0/16, fe80::/10).
    #[must_use]
    pub fn is_local(&self) -> bool {
        let by_range = match self.address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_loopback(),
            IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback(),
        };
        by_range || matches!(self.scope, Scope::Link | Scope::Host)
    }

    /// The subnet of the address.
    #[must_use]
    pub fn network(&self) -> Prefix {
        Prefix { address: masked(self.address, self.prefix), length: self.prefix }
    }
}

impl Seen {
    /// The gateways of the default routes that a packet without any other route would take, as far as they leave by the link
    /// with this index: those of the main table with the lowest metric of their family. IPv4 first.
    #[must_use]
    pub fn default_gateways(&self, index: u32) -> Vec<IpAddr> {
        let mut gateways = Vec::new();
        for family in [Family::V4, Family::V6] {
            let is_default =
                |route: &&Route| route.family == family && route.destination.is_none() && route.table == Route::MAIN;
            let defaults = || self.routes.iter().filter(is_default);
            let Some(lowest) = defaults().map(|route| route.metric).min() else { continue };
            let winning = defaults().filter(|route| route.metric == lowest && route.oif == Some(index));
            for gateway in winning.filter_map(|route| route.gateway) {
                if !gateways.contains(&gateway) {
                    gateways.push(gateway);
                }
            }
        }
        gateways
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default(family: Family, gateway: &str, oif: u32, metric: u32) -> Route {
        let gateway = gateway.parse().ok();
        Route { family, destination: None, gateway, oif: Some(oif), metric, table: Route::MAIN }
    }

    #[test]
    fn b25_the_lowest_metric_of_the_main_table_wins_in_each_family() {
        let mut elsewhere = default(Family::V4, "10.9.0.1", 2, 0);
        elsewhere.table = 100;
        let mut narrow = default(Family::V4, "10.8.0.1", 2, 0);
        narrow.destination = Some(("10.0.0.0".parse().unwrap(), 8));
        let routes = vec![
            elsewhere,
            narrow,
            default(Family::V4, "10.0.0.1", 2, 100),
            default(Family::V4, "10.0.1.1", 3, 50),
            default(Family::V6, "fd00::1", 2, 1024),
            default(Family::V6, "fd00::2", 2, 1024),
            default(Family::V6, "fd01::1", 3, 2048),
            default(Family::V6, "none", 2, 1024),
        ];
        let seen = Seen { interfaces: Interfaces::default(), routes };
        let of = |index| seen.default_gateways(index).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of(2), ["fd00::1", "fd00::2"]);
        assert_eq!(of(3), ["10.0.1.1"]);
        assert_eq!(of(4), Vec::<String>::new());
    }
}
