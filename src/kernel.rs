//! What the kernel says of a network namespace, as values: which one it is, its links, addresses and routes.
//!
//! No I/O and no messages of the kernel's: `netns` makes and takes these. Words and numbers are rtnetlink(7)'s.
#![deny(missing_docs)]

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

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

/// Address family of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
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
}
