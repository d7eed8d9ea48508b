//! New addresses of a link, sorted by how its neighbours can be told of them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Link;

/// Addresses of one link that its neighbours shall learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The link.
    pub link: Link,
    /// IPv4 addresses that the kernel itself takes as sender when it looks for them: the first of their subnet.
    pub alone: Vec<Ipv4Addr>,
    /// IPv4 addresses that it does not: another address of the same subnet came before.
    pub behind: Vec<Ipv4Addr>,
    /// IPv6 addresses.
    pub v6: Vec<Ipv6Addr>,
    /// Some of `v6` cannot be used yet: duplicate address detection still runs.
    pub tentative: bool,
}
