//! What the kernel says of a network namespace, as values: which one it is, its links, addresses and routes.
//!
//! No I/O: `netns` reads and writes these. Words and numbers are rtnetlink(7)'s.
#![deny(missing_docs)]

mod announcement;
mod message;
mod seen;

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use announcement::Announcement;
pub use message::{Message, push};
pub use seen::{Interfaces, Seen};

/// What tells one namespace from all others that exist at the same time: device and inode number of its file. The
/// kernel gives an inode number again once its namespace is gone, so an identity means "still that one" only together
/// with the path it was read from and within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NetnsId {
    /// Device number of the namespace file system, as `stat` gives it.
    pub dev: u64,
    /// Inode number of the namespace.
    pub ino: u64,
}

/// One network interface of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Interface index, unique inside its namespace.
    pub index: u32,
    /// Interface name. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub name: String,
    /// Hardware address, lower case with colons; `None` for links without one (tun).
    pub mac: Option<String>,
    /// Largest payload in bytes.
    pub mtu: u32,
    /// Set up by an administrator (IFF_UP); says nothing about a carrier.
    pub up: bool,
    /// Neighbours on it are looked for, by ARP and neighbour discovery: not so on loopback, point-to-point and NOARP links.
    pub resolves: bool,
    /// What made it: `veth`, `bridge`, `macvlan`, `tun`; `None` for loopback and hardware.
    pub kind: Option<String>,
}

/// One IPv4 or IPv6 address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Address {
    /// Index of the interface that has it.
    pub index: u32,
    /// The address itself (on point-to-point links the near end).
    pub address: IpAddr,
    /// Length of its prefix in bits.
    pub prefix: u8,
    /// How far it reaches.
    pub scope: Scope,
    /// Duplicate address detection still runs: the address cannot be used yet.
    pub tentative: bool,
    /// Duplicate address detection found another owner: the address will never be used.
    pub dad_failed: bool,
}

/// How far an address reaches, rtnetlink's `rt_scope_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// Inside a site (deprecated IPv6 range).
    Site,
    /// On the attached link.
    Link,
    /// Inside this namespace.
    Host,
    /// A number that an administrator made up.
    Other(u8),
}

/// Address family of a route or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One unicast route; a route with several next hops is several of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Family of the destination.
    pub family: Family,
    /// Destination and prefix length in bits; `None` is the default route.
    pub destination: Option<(IpAddr, u8)>,
    /// Next hop; of the other family for IPv4 routes via an IPv6 neighbour.
    pub gateway: Option<IpAddr>,
    /// Index of the interface it leaves by.
    pub oif: Option<u32>,
    /// Priority, the lower wins. IPv4's default is 0, IPv6's 1024.
    pub metric: u32,
    /// Routing table; 254 is main.
    pub table: u32,
}

impl Route {
    /// The routing table that is used without any policy rule.
    pub const MAIN: u32 = 254;

    /// Whether it is the route that `wanted` describes. One that names a next hop object says no interface and gateway.
    #[must_use]
    pub fn is(&self, wanted: &Self) -> bool {
        let way = wanted.oif.is_none() || (self.oif, self.gateway) == (wanted.oif, wanted.gateway);
        let place = |route: &Self| (route.family, route.destination, route.table, route.metric);
        way && place(self) == place(wanted)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.destination {
            Some((address, length)) => write!(f, "to {address}/{length}")?,
            None => write!(f, "to everywhere ({})", self.family)?,
        }
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " of table {}", self.table)
    }
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A network: an address and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The network's first address.
    pub address: IpAddr,
    /// Length of the prefix in bits.
    pub length: u8,
}

impl Prefix {
    /// The network in `text`, `10.96.0.0/12`. Bits of the address behind the prefix are cleared.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let digits = length.len() <= 3 && length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u8 = length.parse().ok().filter(|_| digits)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (length <= longest).then(|| Self { address: masked(address, length), length })
    }

    /// True if `address` is in the network.
    #[must_use]
    pub fn contains(&self, address: &IpAddr) -> bool {
        Family::of(address) == Family::of(&self.address) && masked(*address, self.length) == self.address
    }

    /// True if `address` is the one by which IPv4 reaches everybody on the network.
    #[must_use]
    pub fn is_broadcast(&self, address: &IpAddr) -> bool {
        let IpAddr::V4(last) = address else { return false };
        let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
        self.length < 31 && self.contains(address) && last.to_bits() | mask == u32::MAX
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - length).unwrap_or(0)).into()),
    }
}

/// A route as the kernel lists it, and the message by which it is taken away, copied and put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The route, once for each of its next hops.
    pub hops: Vec<Route>,
    /// All that the kernel knows of it.
    pub message: Message,
}

impl Entry {
    /// The part of it that leaves by the interface `oif`: the kernel makes one route of several with the same destination.
    /// `None` when nothing does, or when that cannot be said without the rest.
    #[must_use]
    pub fn by(&self, oif: u32) -> Option<Self> {
        let hops: Vec<Route> = self.hops.iter().filter(|hop| hop.oif == Some(oif)).cloned().collect();
        match hops.len() {
            0 => None,
            all if all == self.hops.len() => Some(self.clone()),
            _ => Some(Self { hops, message: self.message.by(oif)? }),
        }
    }
}

/// A policy rule that leads to a table by a packet's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Where packets come from; all of its family when it is missing.
    pub from: Option<Prefix>,
    /// The table.
    pub table: u32,
    /// Its place; the lowest is asked first.
    pub priority: u32,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} to table {}", self.priority, self.table)?;
        self.from.map_or(Ok(()), |from| write!(f, " for what comes from {}", from.address))
    }
}

/// A change to a namespace's routing that can be unmade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// A route that is added.
    AddRoute(Message),
    /// A route that is taken away.
    RemoveRoute(Message),
    /// A policy rule that is added.
    AddRule(Message),
    /// An interface takes no default route from routers' advertisements any more: its `accept_ra_defrtr` is 0.
    IgnoreRouters {
        /// The interface.
        ifname: String,
        /// What the setting was.
        before: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (text, network) in [
            ("10.96.3.4/12", Some("10.96.0.0/12")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("10.0.0.1/32", Some("10.0.0.1/32")),
            ("fd00:1:2::9/48", Some("fd00:1:2::/48")),
            ("::1/0", Some("::/0")),
            ("10.0.0.1", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/+8", None),
            ("::/129", None),
            ("a/8", None),
        ] {
            assert_eq!(Prefix::parse(text).map(|prefix| prefix.to_string()).as_deref(), network, "{text}");
        }
        let network = Prefix::parse("10.96.0.0/12").unwrap();
        assert!(network.contains(&"10.111.255.255".parse().unwrap()));
        assert!(!network.contains(&"10.112.0.0".parse().unwrap()));
        assert!(!network.contains(&"::1".parse().unwrap()));
        for (network, address, is) in [
            ("10.1.0.0/24", "10.1.0.255", true),
            ("10.1.0.0/24", "10.1.0.254", false),
            ("10.1.0.0/24", "10.2.0.255", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("10.1.0.2/31", "10.1.0.3", false),
            ("10.1.0.3/32", "10.1.0.3", false),
            ("fd00::/64", "fd00::ffff:ffff:ffff:ffff", false),
        ] {
            assert_eq!(Prefix::parse(network).unwrap().is_broadcast(&address.parse().unwrap()), is, "{address}");
        }
    }
}
