//! The pod's default routes as data (NPWG 4.1.2.1.9, B16): what must change in the namespace so that exactly one default route
//! of each family asked for is there, by the interface and gateway asked for; and what results say of it afterwards.
//!
//! The primary's own address goes on being answered by the primary's way: a policy rule sends what comes *from* it to a table
//! that is a copy of the primary's routes. `primaryRoutes` keep their way in the main table.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cni::CniResult;
use crate::config::DefaultRoutePolicy;
use crate::kernel::{Address, Change, Entry, Family, Link, Message, Prefix, Route, Scope};

/// The first number that is tried for the table with the primary's own routes. Plugins that make tables count up from 100.
const TABLE: u32 = 28_003;

/// Priority of the rules that lead there: before the main table's 32766, and before those of plugins that let the kernel
/// count down from there.
const PRIORITY: u32 = 1_000;

/// What a default route that stays is put behind the winning one by.
const BEHIND: u32 = 1_000;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The interface that asks.
    pub ifname: &'a str,
    /// The gateways it names, one for each family; none for those of its own result.
    pub gateways: &'a [IpAddr],
    /// Its own result.
    pub result: &'a CniResult,
    /// The primary's interface.
    pub primary: &'a str,
    /// What becomes of others' default routes.
    pub policy: DefaultRoutePolicy,
    /// Networks that stay on the primary.
    pub primary_routes: &'a [Prefix],
}

/// What the kernel says of the namespace.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Its links.
    pub links: Vec<Link>,
    /// Their addresses.
    pub addresses: Vec<Address>,
    /// Its routes.
    pub entries: Vec<Entry>,
    /// `accept_ra_defrtr` of each interface.
    pub heeds_routers: Vec<(String, String)>,
}

/// The default routes that an attachment has been given, as its record keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routed {
    /// One gateway for each family.
    pub gateways: Vec<IpAddr>,
    /// What became of others' default routes.
    pub policy: DefaultRoutePolicy,
    /// What was changed, in order.
    pub changes: Vec<Change>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The default routes, and the changes that make them.
    pub routed: Routed,
    /// Those of `primaryRoutes` that need a route of their own, and their gateway.
    pub kept: Vec<(Prefix, Option<IpAddr>)>,
}

/// The changes that give the pod the default routes that `wish` asks for.
///
/// # Errors
/// Why it cannot be, as a sentence.
pub fn plan(wish: &Wish<'_>, view: &View) -> Result<Moved, String> {
    let gateways = gateways(wish)?;
    let of = |ifname: &str| view.links.iter().find(|link| link.name == ifname).map(|link| link.index);
    let index = of(wish.ifname).ok_or_else(|| format!("interface {} is not in the pod's namespace", wish.ifname))?;
    let primary = of(wish.primary).filter(|primary| *primary != index);
    let mut moved = Moved {
        routed: Routed { gateways: gateways.clone(), policy: wish.policy, changes: Vec::new() },
        kept: Vec::new(),
    };
    if gateways.iter().any(IpAddr::is_ipv6) {
        // First of all, so that no advertisement brings back what is about to go.
        let heeding = view.heeds_routers.iter().filter(|(ifname, before)| ifname != "lo" && before != "0");
        moved.routed.changes.extend(
            heeding.map(|(ifname, before)| Change::IgnoreRouters { ifname: ifname.clone(), before: before.clone() }),
        );
    }
    for gateway in gateways {
        let one = One { wish, view, index, primary, gateway, family: Family::of(&gateway) };
        one.reachable()?;
        one.keep_primary(&mut moved)?;
        one.change_default(&mut moved.routed.changes);
    }
    Ok(moved)
}

/// The gateways asked for, or else those of the attachment's own result.
fn gateways(wish: &Wish<'_>) -> Result<Vec<IpAddr>, String> {
    if !wish.gateways.is_empty() {
        return Ok(wish.gateways.to_vec());
    }
    let result = wish.result;
    let of_routes = result.routes.iter().filter(|route| is_default(&route.dst).is_some() && is_main(route.table));
    let of_routes = of_routes.filter_map(|route| route.gw.as_ref());
    let of_addresses = result.ips.iter().filter_map(|ip| ip.gateway.as_ref());
    let mut found: Vec<IpAddr> = Vec::new();
    for gateway in of_routes.chain(of_addresses).filter_map(|text| text.parse().ok()) {
        if !found.iter().any(|other| Family::of(other) == Family::of(&gateway)) {
            found.push(gateway);
        }
    }
    match found.is_empty() {
        true => Err("\"default-route\" is empty, and the network's result names no gateway; name one".to_owned()),
        false => Ok(found),
    }
}

/// Whether a route of a result, with this `table` (1.1.0), is one of the main table: there it is when it names none.
pub(super) fn is_main(table: Option<u32>) -> bool {
    table.is_none_or(|table| matches!(table, 0 | Route::MAIN))
}

/// The family of a destination that is everything.
pub(super) fn is_default(destination: &str) -> Option<Family> {
    Prefix::parse(destination).filter(|prefix| prefix.length == 0).map(|prefix| Family::of(&prefix.address))
}

/// One family of a wish.
struct One<'a> {
    wish: &'a Wish<'a>,
    view: &'a View,
    /// The interface that asks.
    index: u32,
    /// The primary's interface, when that is another one.
    primary: Option<u32>,
    gateway: IpAddr,
    family: Family,
}

impl One<'_> {
    fn of_family(&self) -> impl Iterator<Item = &Entry> {
        self.view.entries.iter().filter(|entry| entry.hops.iter().all(|hop| hop.family == self.family))
    }

    /// The main table's routes that leave by `index`. Of those that the kernel joined with others', what is of that link.
    fn of_link(&self, index: u32) -> impl Iterator<Item = Entry> {
        let main = self.of_family().filter(|entry| entry.hops.iter().all(|hop| hop.table == Route::MAIN));
        main.filter_map(move |entry| entry.by(index))
    }

    fn defaults(&self) -> impl Iterator<Item = &Entry> {
        self.of_family().filter(|entry| is_main_default(entry))
    }

    /// A gateway must be on a network that the interface itself is on, and somebody else there.
    fn reachable(&self) -> Result<(), String> {
        if self.view.addresses.iter().any(|own| own.address == self.gateway) {
            return Err(format!("gateway {} is an address of the pod itself", self.gateway));
        }
        let direct = self.of_link(self.index).flat_map(|entry| entry.hops).filter(|hop| hop.gateway.is_none());
        let networks: Vec<Prefix> = direct.filter_map(|hop| network(&hop)).collect();
        if let Some(everybody) = networks.iter().find(|network| network.is_broadcast(&self.gateway)) {
            return Err(format!("gateway {} is the broadcast address of {everybody}", self.gateway));
        }
        if networks.iter().any(|network| network.contains(&self.gateway)) {
            return Ok(());
        }
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        let on = if networks.is_empty() { format!("no {} network", self.family) } else { networks.join(", ") };
        Err(format!("gateway {} cannot be reached by {}, which is on {on}", self.gateway, self.wish.ifname))
    }

    /// The rule, the table and the routes that keep what the primary had.
    fn keep_primary(&self, moved: &mut Moved) -> Result<(), String> {
        let Some(primary) = self.primary else { return Ok(()) };
        let Some(way) = self.of_link(primary).find(is_main_default) else { return Ok(()) };
        let changes = &mut moved.routed.changes;
        let used: BTreeSet<u32> = self.view.entries.iter().flat_map(|entry| &entry.hops).map(|hop| hop.table).collect();
        let table = (TABLE..).find(|table| !used.contains(table)).unwrap_or(TABLE);
        // What is directly reachable first: gateways are looked for there.
        let (direct, by_gateway): (Vec<Entry>, Vec<Entry>) =
            self.of_link(primary).partition(|entry| entry.hops.iter().all(|hop| hop.gateway.is_none()));
        changes
            .extend(direct.into_iter().chain(by_gateway).map(|entry| Change::AddRoute(entry.message.in_table(table))));
        let addresses = self.view.addresses.iter().filter(|address| {
            address.index == primary
                && Family::of(&address.address) == self.family
                && matches!(address.scope, Scope::Global | Scope::Site)
        });
        changes.extend(addresses.map(|own| Change::AddRule(Message::rule(own.address, table, PRIORITY))));
        let networks = self.wish.primary_routes.iter().filter(|network| Family::of(&network.address) == self.family);
        for network in networks {
            match self.way_to(network) {
                None => {
                    changes.push(Change::AddRoute(way.message.to(network)));
                    moved.kept.push((*network, way.hops.first().and_then(|hop| hop.gateway)));
                }
                Some(hop) if hop.oif == Some(primary) => {}
                Some(_) => return Err(format!("\"primaryRoutes\": {network} is a network of another interface")),
            }
        }
        Ok(())
    }

    /// The main table's own route to exactly `network`.
    fn way_to(&self, wanted: &Prefix) -> Option<&Route> {
        let hops = self.of_family().flat_map(|entry| &entry.hops).filter(|hop| hop.table == Route::MAIN);
        hops.into_iter().find(|hop| network(hop).as_ref() == Some(wanted))
    }

    /// Takes away or puts back the default routes there are, and adds the one asked for unless it is there.
    fn change_default(&self, changes: &mut Vec<Change>) {
        let wanted = |hop: &Route| hop.oif == Some(self.index) && hop.gateway == Some(self.gateway);
        let ours = self.defaults().filter(|entry| matches!(entry.hops.as_slice(), [hop] if wanted(hop)));
        let ours = ours.min_by_key(|entry| metric(entry));
        let winning = ours.map_or(default_metric(self.family), metric);
        let others: Vec<&Entry> = self.defaults().filter(|entry| Some(*entry) != ours).collect();
        let mut used: BTreeSet<u32> = others.iter().map(|entry| metric(entry)).chain([winning]).collect();
        let mut behind = Vec::new();
        for entry in others {
            if self.wish.policy == DefaultRoutePolicy::Metric {
                if metric(entry) > winning {
                    continue;
                }
                let least = metric(entry).saturating_add(BEHIND).max(winning.saturating_add(1));
                let free = (least..=u32::MAX).find(|free| used.insert(*free));
                behind.push(Change::AddRoute(entry.message.with_metric(free.unwrap_or(u32::MAX))));
            }
            changes.push(Change::RemoveRoute(entry.message.clone()));
        }
        if ours.is_none() {
            changes.push(Change::AddRoute(Message::route(&Route {
                family: self.family,
                destination: None,
                gateway: Some(self.gateway),
                oif: Some(self.index),
                metric: winning,
                table: Route::MAIN,
            })));
        }
        changes.append(&mut behind);
    }
}

/// What the kernel gives a route without a metric.
const fn default_metric(family: Family) -> u32 {
    match family {
        Family::V4 => 0,
        Family::V6 => 1024,
    }
}

fn is_main_default(entry: &Entry) -> bool {
    entry.hops.iter().all(|hop| hop.destination.is_none() && hop.table == Route::MAIN)
}

fn metric(entry: &Entry) -> u32 {
    entry.hops.first().map_or(0, |hop| hop.metric)
}

fn network(hop: &Route) -> Option<Prefix> {
    hop.destination.map(|(address, length)| Prefix { address, length })
}

/// Whether the namespace's default routes are those of `routed` on `ifname`.
///
/// # Errors
/// What is otherwise, as a sentence.
pub fn holds(routed: &Routed, ifname: &str, links: &[Link], entries: &[Entry]) -> Result<(), String> {
    let index = links.iter().find(|link| link.name == ifname).map(|link| link.index);
    let name = |index: Option<u32>| {
        let link = links.iter().find(|link| Some(link.index) == index);
        link.map_or("no interface", |link| link.name.as_str())
    };
    for gateway in &routed.gateways {
        let family = Family::of(gateway);
        let mut defaults: Vec<&Route> = entries
            .iter()
            .filter(|entry| is_main_default(entry))
            .flat_map(|entry| &entry.hops)
            .filter(|hop| hop.family == family)
            .collect();
        defaults.sort_by_key(|hop| hop.metric);
        let wrong = match defaults.as_slice() {
            [] => "is gone".to_owned(),
            [first, ..] if first.oif != index || first.gateway != Some(*gateway) => {
                let via = first.gateway.map_or_else(String::new, |gateway| format!(" via {gateway}"));
                format!("is{via} by {}", name(first.oif))
            }
            [first, second, ..] if routed.policy == DefaultRoutePolicy::Replace || second.metric <= first.metric => {
                format!("is there a second time, by {}", name(second.oif))
            }
            _ => continue,
        };
        return Err(format!("the {family} default route should be via {gateway} by {ifname}, and {wrong}"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
