//! Changes of a namespace's routing, made in order and unmade in reverse.
//!
//! What is changed is decided elsewhere (`plan::routes`); this says it to the kernel. rtnetlink(7); settings are files below
//! /proc/sys/net, which show the namespace of the thread that opens them.
#![expect(clippy::disallowed_methods, reason = "settings of the kernel are files")]

use std::io;
use std::path::{Path, PathBuf};

use nix::libc::{
    EADDRNOTAVAIL, EAFNOSUPPORT, EEXIST, EHOSTUNREACH, EINVAL, ENETDOWN, ENETUNREACH, ENODEV, ENOENT, ESRCH,
};

use crate::kernel::{Change, Message};

use super::dump::{self, Fault, Request};
use super::{Netns, NetnsError, parse};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_GETRULE: u16 = 34;

/// Fail when it is there already; for a route: when any of its destination and metric is.
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
/// Behind others of the same destination and metric, of which IPv4 has as many as somebody makes. Without it: before them.
const NLM_F_APPEND: u16 = 0x800;

/// What the kernel says when there is nothing to unmake, or when what a route led over is gone: its interface, its address.
const GONE: [i32; 10] =
    [ESRCH, ENOENT, EEXIST, ENODEV, ENETDOWN, ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT, EINVAL];

impl Netns {
    /// Makes `changes` in order, up to the first that fails.
    ///
    /// # Errors
    /// `Enter`, `Change`.
    pub fn make(&self, changes: &[Change]) -> Result<(), NetnsError> {
        changes.iter().try_for_each(|change| match change {
            Change::AddRoute(message) => self.change(RTM_NEWROUTE, NLM_F_APPEND, message, "add a route"),
            Change::RemoveRoute(message) => self.remove(message),
            Change::AddRule(message) => self.change(RTM_NEWRULE, NLM_F_EXCL, message, "add a policy rule"),
            Change::IgnoreRouters { ifname, .. } => self.set_routers(ifname, "0"),
        })
    }

    /// Unmakes `changes`, the last first, each whatever becomes of the others. What is not there, and what cannot be put back
    /// because its interface or the way to its gateway is gone, is no error.
    ///
    /// # Errors
    /// The first: `Enter`, `Change`.
    pub fn unmake(&self, changes: &[Change]) -> Result<(), NetnsError> {
        let mut first = Ok(());
        for change in changes.iter().rev() {
            let unmade = match change {
                Change::AddRoute(message) => self.remove(message),
                // The last that was taken away was the last of its metric, so the others come before it again.
                Change::RemoveRoute(message) => self.change(RTM_NEWROUTE, 0, message, "put a route back"),
                Change::AddRule(message) => self.tell(RTM_DELRULE, 0, message.as_bytes(), "remove a policy rule"),
                Change::IgnoreRouters { ifname, before } => self.set_routers(ifname, before),
            };
            let gone = |source: &io::Error| {
                source.raw_os_error().is_some_and(|errno| GONE.contains(&errno))
                    || source.kind() == io::ErrorKind::NotFound
            };
            match unmade {
                Err(NetnsError::Change { source, .. }) if gone(&source) => {}
                other => first = first.and(other),
            }
        }
        first
    }

    /// The first of `changes` that is not there any more: the end of a sentence that begins with "has lost".
    ///
    /// # Errors
    /// As [`Netns::links`].
    pub fn lacks(&self, changes: &[Change]) -> Result<Option<String>, NetnsError> {
        let body = [0; parse::ROUTE_HEADER_LEN];
        let rules = self.list("rules", &Request::dump(RTM_GETRULE, &body), parse::rule)?;
        let routes = self.routes()?;
        for change in changes {
            match change {
                Change::AddRoute(message) => {
                    let mut wanted = Vec::new();
                    // What we made can be read; what cannot is not missed.
                    let _ = parse::route(message.as_bytes(), &mut wanted);
                    if let Some(lost) = wanted.iter().find(|wanted| !routes.iter().any(|route| route.is(wanted))) {
                        return Ok(Some(format!("the route {lost}")));
                    }
                }
                Change::AddRule(message) => {
                    let mut wanted = Vec::new();
                    let _ = parse::rule(message.as_bytes(), &mut wanted);
                    if let Some(lost) = wanted.iter().find(|wanted| !rules.contains(wanted)) {
                        return Ok(Some(format!("the {lost}")));
                    }
                }
                Change::RemoveRoute(_) | Change::IgnoreRouters { .. } => {}
            }
        }
        Ok(None)
    }

    /// What `accept_ra_defrtr` of each interface is; nothing for one that has no IPv6.
    ///
    /// # Errors
    /// `Enter`, `NotANetns`.
    pub fn heeds_routers<'a>(
        &self,
        ifnames: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<(String, String)>, NetnsError> {
        let read = |ifname: &str| {
            let text = std::fs::read_to_string(routers(ifname)?).ok()?;
            Some((ifname.to_owned(), text.trim().to_owned()))
        };
        self.inside(|| ifnames.filter_map(read).collect())
    }

    fn set_routers(&self, ifname: &str, value: &str) -> Result<(), NetnsError> {
        let write = || match routers(ifname) {
            Some(path) => std::fs::write(path, value),
            None => Err(io::ErrorKind::InvalidInput.into()),
        };
        self.inside(write)?.map_err(|source| NetnsError::Change {
            path: self.path.clone(),
            what: format!("set accept_ra_defrtr of {ifname} to {value}"),
            source,
        })
    }

    fn change(&self, kind: u16, how: u16, message: &Message, what: &str) -> Result<(), NetnsError> {
        self.tell(kind, NLM_F_CREATE | how, message.as_bytes(), what)
    }

    fn remove(&self, message: &Message) -> Result<(), NetnsError> {
        self.tell(RTM_DELROUTE, 0, message.of_anybody().as_bytes(), "remove a route")
    }

    /// Says one thing to the kernel and waits for its word that it was done.
    pub(super) fn tell(&self, kind: u16, flags: u16, body: &[u8], what: &str) -> Result<(), NetnsError> {
        let kept = self.socket.borrow_mut().take();
        let socket = kept.map_or_else(|| self.connect(), Ok)?;
        self.sequence.set(self.sequence.get().wrapping_add(1));
        let request = Request::change(kind, flags, body);
        let failed = |source| NetnsError::Change { path: self.path.clone(), what: what.to_owned(), source };
        match dump::run(&socket, &request, self.sequence.get(), |_| Ok(())) {
            Ok(()) => {
                *self.socket.borrow_mut() = Some(socket);
                Ok(())
            }
            Err(Fault::Io(source)) => {
                *self.socket.borrow_mut() = Some(socket);
                Err(failed(source))
            }
            Err(Fault::Timeout | Fault::Interrupted | Fault::Overrun) => Err(failed(io::ErrorKind::TimedOut.into())),
            Err(Fault::Malformed(source)) => {
                Err(NetnsError::Malformed { path: self.path.clone(), what: "answers", source })
            }
        }
    }
}

/// The file of an interface's `accept_ra_defrtr`; nothing when `ifname` can be no interface's name.
fn routers(ifname: &str) -> Option<PathBuf> {
    let plain = !ifname.is_empty() && !ifname.contains('/') && ifname != "." && ifname != "..";
    plain.then(|| Path::new("/proc/sys/net/ipv6/conf").join(ifname).join("accept_ra_defrtr"))
}
