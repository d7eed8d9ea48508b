//! Bytes of routing netlink messages as values. Pure: one message body in, at most a few values out.
//!
//! Attributes that nobody asks for are stepped over, not decoded, so that a newer kernel's attributes can never make a
//! dump unreadable. Layouts: rtnetlink(7) and the kernel's `if_link.h`, `if_addr.h`, `rtnetlink.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DecodeError, NLA_HEADER_SIZE, NlasIterator, parse_ip, parse_u16, parse_u32};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressHeader;
use netlink_packet_route::link::{LinkFlags, LinkHeader};
use netlink_packet_route::route::{RouteFlags, RouteHeader, RouteType};

use crate::kernel::{Address, Entry, Family, Link, Message, Prefix, Route, Rule, Scope};

pub(super) const LINK_HEADER_LEN: usize = 16;
pub(super) const ADDRESS_HEADER_LEN: usize = 8;
pub(super) const ROUTE_HEADER_LEN: usize = 12;
/// `struct rtnexthop`: length, flags, hops, interface index.
const NEXT_HOP_LEN: usize = 8;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_TABLE: u16 = 15;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;

/// The attributes of a message body, as (type, value).
fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), DecodeError>> {
    NlasIterator::new(bytes).map(|attribute| {
        let attribute = attribute?;
        let (kind, end) = (attribute.kind(), usize::from(attribute.length()));
        let whole = attribute.into_inner();
        let value = whole.get(NLA_HEADER_SIZE..end);
        value.map(|value| (kind, value)).ok_or_else(|| DecodeError::nla_length_mismatch(whole.len(), end))
    })
}

/// What follows the fixed header of a message.
fn after(body: &[u8], header: usize) -> Result<&[u8], DecodeError> {
    body.get(header..).ok_or_else(|| DecodeError::buffer_too_small(body.len(), header))
}

/// A kernel string: up to the first NUL. Link names may hold any byte; what is not UTF-8 becomes U+FFFD.
fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// A hardware address of any length, lower case with colons. A link without one (tun) has none.
fn hardware_address(value: &[u8]) -> Option<String> {
    let octets: Vec<String> = value.iter().map(|octet| format!("{octet:02x}")).collect();
    (!octets.is_empty()).then(|| octets.join(":"))
}

/// One RTM_NEWLINK body.
pub(super) fn link(body: &[u8], links: &mut Vec<Link>) -> Result<(), DecodeError> {
    let header = LinkHeader::parse(body)?;
    let up = header.flags.contains(LinkFlags::Up);
    let resolves = !header.flags.intersects(LinkFlags::Noarp | LinkFlags::Loopback | LinkFlags::Pointopoint);
    let mut link = Link { index: header.index, name: String::new(), mac: None, mtu: 0, up, resolves, kind: None };
    for attribute in attributes(after(body, LINK_HEADER_LEN)?) {
        match attribute? {
            (IFLA_IFNAME, value) => link.name = text(value),
            (IFLA_ADDRESS, value) => link.mac = hardware_address(value),
            (IFLA_MTU, value) => link.mtu = parse_u32(value)?,
            (IFLA_LINKINFO, value) => link.kind = link_kind(value)?,
            _ => {}
        }
    }
    links.push(link);
    Ok(())
}

fn link_kind(info: &[u8]) -> Result<Option<String>, DecodeError> {
    for attribute in attributes(info) {
        if let (IFLA_INFO_KIND, value) = attribute? {
            return Ok(Some(text(value)));
        }
    }
    Ok(None)
}

/// One RTM_NEWADDR body. Address families other than IPv4 and IPv6 are left out.
pub(super) fn address(body: &[u8], addresses: &mut Vec<Address>) -> Result<(), DecodeError> {
    let header = AddressHeader::parse(body)?;
    if family(header.family).is_none() {
        return Ok(());
    }
    let (mut local, mut peer) = (None, None);
    let mut flags = u32::from(header.flags.bits());
    for attribute in attributes(after(body, ADDRESS_HEADER_LEN)?) {
        match attribute? {
            (IFA_LOCAL, value) => local = Some(parse_ip(value)?),
            (IFA_ADDRESS, value) => peer = Some(parse_ip(value)?),
            (IFA_FLAGS, value) => flags = parse_u32(value)?,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end and IFA_LOCAL is ours; IPv6 gives IFA_LOCAL only then.
    let Some(address) = local.or(peer) else {
        return Ok(());
    };
    addresses.push(Address {
        index: header.index,
        address,
        prefix: header.prefix_len,
        scope: Scope::from(u8::from(header.scope)),
        tentative: flags & IFA_F_TENTATIVE != 0,
        dad_failed: flags & IFA_F_DADFAILED != 0,
    });
    Ok(())
}

/// One RTM_NEWROUTE body: as many routes as it has next hops. Only unicast routes that somebody or the kernel
/// configured count; local, broadcast and multicast entries and IPv6's cached clones are left out.
pub(super) fn route(body: &[u8], routes: &mut Vec<Route>) -> Result<(), DecodeError> {
    let header = RouteHeader::parse(body)?;
    let Some(family) = family(header.address_family) else {
        return Ok(());
    };
    if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return Ok(());
    }
    let table = u32::from(header.table);
    let mut route = Route { family, destination: None, gateway: None, oif: None, metric: 0, table };
    let mut destination = None;
    let mut hops = Vec::new();
    for attribute in attributes(after(body, ROUTE_HEADER_LEN)?) {
        match attribute? {
            (RTA_DST, value) => destination = Some(parse_ip(value)?),
            (RTA_OIF, value) => route.oif = Some(parse_u32(value)?),
            (RTA_PRIORITY, value) => route.metric = parse_u32(value)?,
            (RTA_TABLE, value) => route.table = parse_u32(value)?,
            (RTA_MULTIPATH, value) => hops = next_hops(value)?,
            (kind, value) => route.gateway = gateway(kind, value)?.or(route.gateway),
        }
    }
    route.destination = match (destination, header.destination_prefix_length) {
        (None, 0) => None,
        // 0.0.0.0/1 and ::/1 carry no RTA_DST in some kernels: the address is the family's zero.
        (address, prefix) => Some((address.unwrap_or(family.unspecified()), prefix)).filter(|(_, prefix)| *prefix > 0),
    };
    if hops.is_empty() {
        routes.push(route);
        return Ok(());
    }
    routes.extend(hops.into_iter().map(|(oif, gateway)| Route { oif: Some(oif), gateway, ..route.clone() }));
    Ok(())
}

/// One RTM_NEWROUTE body as [`route`] reads it, with its message.
pub(super) fn entry(body: &[u8], entries: &mut Vec<Entry>) -> Result<(), DecodeError> {
    let mut hops = Vec::new();
    route(body, &mut hops)?;
    if !hops.is_empty() {
        entries.push(Entry { hops, message: Message::of_kernel(body) });
    }
    Ok(())
}

/// One RTM_NEWRULE body: `struct fib_rule_hdr` begins as `struct rtmsg` does, with the source's prefix as its third byte.
pub(super) fn rule(body: &[u8], rules: &mut Vec<Rule>) -> Result<(), DecodeError> {
    let (mut from, mut table, mut priority) = (None, 0, 0);
    for attribute in attributes(after(body, ROUTE_HEADER_LEN)?) {
        match attribute? {
            (FRA_SRC, value) => from = Some(Prefix { address: parse_ip(value)?, length: body[2] }),
            (FRA_TABLE, value) => table = parse_u32(value)?,
            (FRA_PRIORITY, value) => priority = parse_u32(value)?,
            _ => {}
        }
    }
    rules.push(Rule { from, table, priority });
    Ok(())
}

/// RTA_GATEWAY, or RTA_VIA (a gateway of another family: two bytes of family, then the address).
fn gateway(kind: u16, value: &[u8]) -> Result<Option<IpAddr>, DecodeError> {
    match kind {
        RTA_GATEWAY => parse_ip(value).map(Some),
        RTA_VIA => parse_ip(after(value, 2)?).map(Some),
        _ => Ok(None),
    }
}

/// RTA_MULTIPATH: `struct rtnexthop` and its attributes, repeated.
fn next_hops(mut bytes: &[u8]) -> Result<Vec<(u32, Option<IpAddr>)>, DecodeError> {
    let mut hops = Vec::new();
    while bytes.len() >= NEXT_HOP_LEN {
        let length = usize::from(parse_u16(&bytes[0..2])?);
        let hop = bytes.get(NEXT_HOP_LEN..length).ok_or_else(|| DecodeError::buffer_too_small(bytes.len(), length))?;
        let mut via = None;
        for attribute in attributes(hop) {
            let (kind, value) = attribute?;
            via = gateway(kind, value)?.or(via);
        }
        hops.push((parse_u32(&bytes[4..8])?, via));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(hops)
}

fn family(family: AddressFamily) -> Option<Family> {
    match family {
        AddressFamily::Inet => Some(Family::V4),
        AddressFamily::Inet6 => Some(Family::V6),
        _ => None,
    }
}

impl Family {
    fn unspecified(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

impl From<u8> for Scope {
    fn from(value: u8) -> Self {
        match value {
            0 => Scope::Global,
            200 => Scope::Site,
            253 => Scope::Link,
            254 => Scope::Host,
            other => Scope::Other(other),
        }
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
