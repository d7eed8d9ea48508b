//! Tells the neighbours of a link which addresses are now behind it: gratuitous ARP for IPv4, unsolicited neighbour
//! advertisements for IPv6 (RFC 5227 section 3, RFC 4861 section 7.2.6).
//!
//! Closing a packet socket waits for every processor to forget it, 16 ms and more, so there is none: the kernel sends the
//! ARP itself. A raw ICMPv6 socket costs nothing of the kind.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, bind, sendto, setsockopt, socket,
    sockopt::Ipv6MulticastHops,
};
use nix::sys::stat::Mode;
use nix::unistd::write;

use crate::kernel::{Announcement, Link, push};

use super::dump::Request;
use super::{Netns, NetnsError};

const RTM_SETLINK: u16 = 19;
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
const NLM_F_CREATE: u16 = 0x400;

/// `struct ndmsg`: family, padding, interface index, state, flags, type.
const NEIGHBOUR_HEADER_LEN: usize = 12;
const NTF_USE: u8 = 0x01;
const NUD_PERMANENT: u16 = 0x80;
const NDA_DST: u16 = 1;

/// `struct ifinfomsg`: family, padding, type, interface index, flags, change.
const LINK_HEADER_LEN: usize = 16;
const IFLA_ADDRESS: u16 = 1;

const AF_INET: u8 = 2;
/// Nobody forwards what is to be believed: neighbours check that it came with all its hops (RFC 4861, section 7.1.2).
const HOPS: i32 = 255;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const OVERRIDE: u8 = 0x20;
const TARGET_LINK_ADDRESS: u8 = 2;

impl Netns {
    /// Announces. Every part is tried, also when an earlier one failed.
    ///
    /// # Errors
    /// `Change` with the first failure, `Enter`, and what listing neighbours may fail with.
    pub fn announce(&self, what: &Announcement) -> Result<(), NetnsError> {
        // First, because it empties the link's neighbour table, in which the kernel remembers what it is asked for below.
        let behind = if what.behind.is_empty() { Ok(()) } else { self.notify_peers(&what.link) };
        let alone: Vec<_> = what.alone.iter().map(|address| self.look_for(&what.link, *address)).collect();
        let v6 = if what.v6.is_empty() { Ok(()) } else { self.inside(|| advertise(what))? };
        let v6 = v6.map_err(|source| self.not_announced("announce IPv6 addresses", source));
        std::iter::once(behind).chain(alone).chain(std::iter::once(v6)).collect()
    }

    /// Has the kernel look for the owner of an address of ours. Nobody answers, and the question, from this address for this
    /// address, is a gratuitous ARP; the kernel repeats it a second and two seconds later.
    fn look_for(&self, link: &Link, address: Ipv4Addr) -> Result<(), NetnsError> {
        let mut body = [0; NEIGHBOUR_HEADER_LEN].to_vec();
        body[0] = AF_INET;
        body[4..8].copy_from_slice(&link.index.to_ne_bytes());
        body[10] = NTF_USE;
        push(&mut body, NDA_DST, &address.octets());
        self.tell(RTM_NEWNEIGH, NLM_F_CREATE, &body, "announce IPv4 addresses")
    }

    /// Has the kernel announce every IPv4 address of the link, as it does when the link's hardware address changes: to what it
    /// is. That empties the link's neighbour table, so it is not done where somebody put permanent entries in.
    fn notify_peers(&self, link: &Link) -> Result<(), NetnsError> {
        const WHAT: &str = "announce further IPv4 addresses of a subnet";
        let index = link.index;
        let request = Request::dump(RTM_GETNEIGH, &[0; NEIGHBOUR_HEADER_LEN]);
        let neighbours: Vec<(u32, u16)> = self.list("neighbours", &request, |body, neighbours| {
            neighbours.extend(neighbour(body));
            Ok(())
        })?;
        if neighbours.iter().any(|(link, state)| *link == index && state & NUD_PERMANENT != 0) {
            let why = io::Error::other("the link has permanent neighbours, which the kernel would forget");
            return Err(self.not_announced(WHAT, why));
        }
        let mac = octets(link).ok_or_else(|| self.not_announced(WHAT, io::ErrorKind::Unsupported.into()))?;
        let set = self.inside(|| setting("ipv4", &link.name, "arp_notify"))?;
        set.map_err(|source| self.not_announced(WHAT, source))?;
        let mut body = [0; LINK_HEADER_LEN].to_vec();
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        push(&mut body, IFLA_ADDRESS, &mac);
        self.tell(RTM_SETLINK, 0, &body, WHAT)
    }

    fn not_announced(&self, what: &str, source: io::Error) -> NetnsError {
        NetnsError::Change { path: self.path.clone(), what: what.to_owned(), source }
    }
}

/// Sends an advertisement for each IPv6 address. What cannot be used yet is left to the kernel, which sends one when it can.
/// To be called inside the namespace.
fn advertise(what: &Announcement) -> io::Result<()> {
    let mac = octets(&what.link).ok_or(io::ErrorKind::Unsupported)?;
    if what.tentative {
        setting("ipv6", &what.link.name, "ndisc_notify")?;
    }
    let raw = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6)?;
    setsockopt(&raw, Ipv6MulticastHops, &HOPS)?;
    let everybody = SockaddrIn6::from(SocketAddrV6::new(ALL_NODES, 0, 0, what.link.index));
    let mut first = Ok(());
    for address in &what.v6 {
        let sender = SockaddrIn6::from(SocketAddrV6::new(*address, 0, 0, what.link.index));
        let send = || sendto(raw.as_raw_fd(), &advertisement(*address, mac), &everybody, MsgFlags::empty());
        let sent = match bind(raw.as_raw_fd(), &sender) {
            Err(Errno::EADDRNOTAVAIL) if what.tentative => Ok(()),
            bound => bound.and_then(|()| send().map(drop)),
        };
        first = first.and(sent);
    }
    Ok(first?)
}

/// A neighbour advertisement that nobody asked for, with the flag that makes it override. The kernel fills the checksum in.
fn advertisement(address: Ipv6Addr, mac: [u8; 6]) -> [u8; 32] {
    let mut message = [0; 32];
    (message[0], message[4]) = (NEIGHBOUR_ADVERTISEMENT, OVERRIDE);
    message[8..24].copy_from_slice(&address.octets());
    (message[24], message[25]) = (TARGET_LINK_ADDRESS, 1);
    message[26..].copy_from_slice(&mac);
    message
}

/// Sets a switch of a link to 1. The kernel shows those of the calling thread's own namespace.
fn setting(family: &str, link: &str, name: &str) -> io::Result<()> {
    let path = Path::new("/proc/sys/net").join(family).join("conf").join(link).join(name);
    let file = open(&path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    write(&file, b"1")?;
    Ok(())
}

/// Link and state of a neighbour.
fn neighbour(body: &[u8]) -> Option<(u32, u16)> {
    let index = body.get(4..8)?.try_into().ok()?;
    let state = body.get(8..10)?.try_into().ok()?;
    Some((u32::from_ne_bytes(index), u16::from_ne_bytes(state)))
}

/// The hardware address of an Ethernet link.
fn octets(link: &Link) -> Option<[u8; 6]> {
    let octets: Option<Vec<u8>> =
        link.mac.as_ref()?.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    octets?.try_into().ok()
}
