//! Bodies of the kernel's messages about routes and rules: `struct rtmsg` or `struct fib_rule_hdr`, then attributes.
//!
//! A route that is taken away is put back with everything the kernel said of it, known to us or not; so it is kept as the
//! kernel's own bytes and only what must be another is changed in them. rtnetlink(7), `rtnetlink.h`, `fib_rules.h`.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Family, Prefix, Route};

/// Length of `struct rtmsg` and of `struct fib_rule_hdr`.
const HEADER: usize = 12;
/// Length of `struct rtnexthop`; its flags are its third byte.
const NEXT_HOP: usize = 8;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_CACHEINFO: u16 = 12;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_NH_ID: u16 = 30;

const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
/// The one flag of a next hop that is asked for; the others are the kernel's own and refused.
const RTNH_F_ONLINK: u8 = 4;

const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_TABLE: u16 = 15;
const FR_ACT_TO_TBL: u8 = 1;

/// The body of a message. Written as base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// The bytes, to be sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A route that an administrator makes.
    #[must_use]
    pub fn route(route: &Route) -> Self {
        let scope = match (route.family, route.gateway) {
            (Family::V4, None) => RT_SCOPE_LINK,
            _ => RT_SCOPE_UNIVERSE,
        };
        let length = route.destination.map_or(0, |(_, length)| length);
        let mut message = Self(vec![family(route.family), length, 0, 0, 0, RTPROT_STATIC, scope, RTN_UNICAST]);
        message.0.extend([0; 4]);
        if let Some((address, _)) = route.destination {
            message.push(RTA_DST, &octets(address));
        }
        if let Some(gateway) = route.gateway {
            message.push(RTA_GATEWAY, &octets(gateway));
        }
        if let Some(oif) = route.oif {
            message.push(RTA_OIF, &oif.to_ne_bytes());
        }
        message.push(RTA_PRIORITY, &route.metric.to_ne_bytes());
        message.push(RTA_TABLE, &route.table.to_ne_bytes());
        message
    }

    /// The rule that traffic from `from` is routed by `table`.
    #[must_use]
    pub fn rule(from: IpAddr, table: u32, priority: u32) -> Self {
        let length = if from.is_ipv4() { 32 } else { 128 };
        let mut message = Self(vec![family(Family::of(&from)), 0, length, 0, 0, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0]);
        message.push(FRA_SRC, &octets(from));
        message.push(FRA_PRIORITY, &priority.to_ne_bytes());
        message.push(FRA_TABLE, &table.to_ne_bytes());
        message
    }

    /// The route in `body`, a message of the kernel's, as one that it takes again: without its counters and marks.
    #[must_use]
    pub fn of_kernel(body: &[u8]) -> Self {
        let mut message = Self(body.get(..HEADER).unwrap_or(&[0; HEADER]).to_vec());
        let flags = [8, 9, 10, 11].map(|at| message.0[at]);
        let asked_for = u32::from_ne_bytes(flags) & u32::from(RTNH_F_ONLINK);
        message.0[8..HEADER].copy_from_slice(&asked_for.to_ne_bytes());
        let by_id = attributes(body).any(|(kind, _)| kind == RTA_NH_ID);
        for (kind, value) in attributes(body) {
            match kind {
                RTA_CACHEINFO => {}
                // They are those of the next hop object that the route names.
                RTA_OIF | RTA_GATEWAY | RTA_VIA | RTA_MULTIPATH if by_id => {}
                RTA_MULTIPATH => message.push(kind, &next_hops(value)),
                _ => message.push(kind, value),
            }
        }
        message
    }

    /// The same route in another table.
    #[must_use]
    pub fn in_table(&self, table: u32) -> Self {
        let mut other = self.without(RTA_TABLE);
        other.0[4] = 0;
        other.push(RTA_TABLE, &table.to_ne_bytes());
        other
    }

    /// The same route with another metric.
    #[must_use]
    pub fn with_metric(&self, metric: u32) -> Self {
        let mut other = self.without(RTA_PRIORITY);
        other.push(RTA_PRIORITY, &metric.to_ne_bytes());
        other
    }

    /// The same way to another network.
    #[must_use]
    pub fn to(&self, network: &Prefix) -> Self {
        let mut other = self.without(RTA_DST);
        other.0[1] = network.length;
        other.push(RTA_DST, &octets(network.address));
        other
    }

    /// The same route with those of its next hops alone that leave by the interface `oif`. `None` when they are not in the
    /// message, but in a next hop object that it names.
    #[must_use]
    pub fn by(&self, oif: u32) -> Option<Self> {
        let (_, all) = attributes(&self.0).find(|(kind, _)| *kind == RTA_MULTIPATH)?;
        let there = each_hop(all).filter(|hop| hop.get(4..NEXT_HOP) == Some(&oif.to_ne_bytes()));
        let mut other = self.without(RTA_MULTIPATH);
        other.push(RTA_MULTIPATH, &there.flatten().copied().collect::<Vec<u8>>());
        Some(other)
    }

    /// The same route, whoever made it: the next hops of one IPv6 route may have come from several, and one that came from
    /// another than the message says would not be found.
    #[must_use]
    pub fn of_anybody(&self) -> Self {
        let mut other = self.clone();
        other.0[5] = 0;
        other
    }

    fn without(&self, unwanted: u16) -> Self {
        let mut other = Self(self.0.get(..HEADER).unwrap_or(&[0; HEADER]).to_vec());
        for (kind, value) in attributes(&self.0).filter(|(kind, _)| *kind != unwanted) {
            other.push(kind, value);
        }
        other
    }

    fn push(&mut self, kind: u16, value: &[u8]) {
        push(&mut self.0, kind, value);
    }
}

/// Adds an attribute to the body of a message: length, type, value, and padding to four bytes.
pub fn push(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The attributes after the header, as (type, value); ends where they make no sense.
fn attributes(body: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = body.get(HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        let number = |at: usize| Some(u16::from_ne_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
        let (length, kind) = (usize::from(number(0)?), number(2)?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The upper bits say how the value is built, not what it is.
        Some((kind & 0x3fff, value))
    })
}

/// The next hops in an RTA_MULTIPATH, each with its attributes and what it is padded with.
fn each_hop(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        rest.get(..NEXT_HOP)?;
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let (hop, others) = rest.split_at(length.max(NEXT_HOP).next_multiple_of(4).min(rest.len()));
        rest = others;
        Some(hop)
    })
}

/// Next hops without the kernel's own flags.
fn next_hops(value: &[u8]) -> Vec<u8> {
    let clean = |hop: &[u8]| {
        let mut hop = hop.to_vec();
        hop[2] &= RTNH_F_ONLINK;
        hop
    };
    each_hop(value).flat_map(clean).collect()
}

const fn family(family: Family) -> u8 {
    match family {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(&text).map_err(serde::de::Error::custom)?;
        match bytes.len() {
            HEADER.. => Ok(Self(bytes)),
            _ => Err(serde::de::Error::custom("shorter than a message of the kernel's")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        Route {
            family: Family::V4,
            destination: None,
            gateway: Some("10.1.0.1".parse().unwrap()),
            oif: Some(7),
            metric: 5,
            table: Route::MAIN,
        }
    }

    fn values(message: &Message) -> Vec<(u16, Vec<u8>)> {
        attributes(&message.0).map(|(kind, value)| (kind, value.to_vec())).collect()
    }

    #[test]
    fn what_is_changed_in_a_message_is_that_and_no_more() {
        let message = Message::route(&route());
        let moved = message.in_table(1000).with_metric(9).to(&Prefix::parse("10.96.0.0/12").unwrap());
        let number = |number: u32| number.to_ne_bytes().to_vec();
        assert_eq!(moved.0[..HEADER], [2, 12, 0, 0, 0, 4, 0, 1, 0, 0, 0, 0]);
        assert_eq!(
            values(&moved),
            [
                (RTA_GATEWAY, vec![10, 1, 0, 1]),
                (RTA_OIF, number(7)),
                (RTA_TABLE, number(1000)),
                (RTA_PRIORITY, number(9)),
                (RTA_DST, vec![10, 96, 0, 0]),
            ]
        );
    }

    #[test]
    fn the_kernels_marks_are_not_sent_back() {
        let mut message = Message::route(&route());
        message.0[8..12].copy_from_slice(&0x0114_u32.to_ne_bytes());
        message.push(RTA_CACHEINFO, &[0; 32]);
        message.push(RTA_MULTIPATH, &[8, 0, 0x15, 0, 3, 0, 0, 0]);
        let again = Message::of_kernel(&message.0);
        assert_eq!(again.0[8..12], 4_u32.to_ne_bytes());
        assert!(!values(&again).iter().any(|(kind, _)| *kind == RTA_CACHEINFO));
        assert!(values(&again).contains(&(RTA_MULTIPATH, vec![8, 0, 4, 0, 3, 0, 0, 0])));
    }

    #[test]
    fn a_route_by_one_of_its_interfaces_has_that_ones_next_hops() {
        let hop = |oif: u32| [&[12, 0, 0, 0][..], &oif.to_ne_bytes(), &[4, 0, 5, 0]].concat();
        let mut message = Message::route(&Route { oif: None, gateway: None, ..route() });
        message.push(RTA_MULTIPATH, &[hop(3), hop(4), hop(3)].concat());
        let by = |oif| values(&message.by(oif).unwrap()).pop();
        assert_eq!(by(3), Some((RTA_MULTIPATH, [hop(3), hop(3)].concat())));
        assert_eq!(by(4), Some((RTA_MULTIPATH, hop(4))));
        let single = Message::route(&route());
        assert_eq!(single.by(7), None);
        for end in 0..message.0.len() {
            let _ = Message::of_kernel(&message.0[..end]).by(3);
        }
    }

    #[test]
    fn a_message_reads_back_and_anything_else_does_not_panic() {
        let message = Message::route(&route());
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), message);
        for text in ["\"\"", "\"AAAA\"", "\"!\"", "7"] {
            assert!(serde_json::from_str::<Message>(text).is_err(), "{text}");
        }
        for end in 0..message.0.len() {
            let cut = Message::of_kernel(&message.0[..end]);
            let _ = cut.in_table(1).with_metric(1).to(&Prefix::parse("::/0").unwrap());
        }
    }
}
