//! A pod's network namespace seen from the host: which one it is, and what is in it.
//!
//! Owns: the identity of a namespace (device and inode of its file), and reading links, addresses and routes, and changing
//! routes, through a netlink socket opened inside; telling a pod's neighbours of its addresses. Never leaves the calling thread
//! in another namespace, decides nothing about what is changed, never spawns a process. CNI specification: `CNI_NETNS`, and
//! error 8 for a namespace that cannot be used.

mod announce;
mod change;
mod dump;
mod error;
mod parse;

use std::cell::{Cell, RefCell};
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use netlink_packet_core::DecodeError;
use netlink_sys::Socket;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_file};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, fstat, stat};
use nix::sys::statfs::fstatfs;

use crate::kernel::{Address, Entry, Interfaces, Link, NetnsId, Route, Seen};

use dump::{Fault, Request};

pub use error::NetnsError;

/// The calling thread's own network namespace.
const OWN: &str = "/proc/thread-self/ns/net";
/// Magic number of the file system that namespace files live on.
const NSFS: i64 = 0x6e73_6673;
/// A dump that keeps changing under us is asked for this often before we give up.
const ATTEMPTS: u32 = 16;

const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;

/// `struct ifinfomsg`, all zero, then IFLA_EXT_MASK (29) with RTEXT_FILTER_SKIP_STATS (8), eight bytes in the
/// machine's order: the counters are most of a link's message and nobody here reads them.
fn link_request() -> [u8; parse::LINK_HEADER_LEN + 8] {
    let mut body = [0; parse::LINK_HEADER_LEN + 8];
    body[16..18].copy_from_slice(&8_u16.to_ne_bytes());
    body[18..20].copy_from_slice(&29_u16.to_ne_bytes());
    body[20..24].copy_from_slice(&8_u32.to_ne_bytes());
    body
}

/// The identity of the namespace at `path`, without opening it for use.
///
/// # Errors
/// `Missing`, `NotANetns` (a left-over mount point, any other file), `Io`.
pub fn identity(path: &Path) -> Result<NetnsId, NetnsError> {
    examine(path, OFlag::O_PATH).map(|(_, identity)| identity)
}

/// The identity of the calling thread's own network namespace.
///
/// # Errors
/// `Io` when /proc is not there.
pub fn own() -> Result<NetnsId, NetnsError> {
    // One look: every DEL asks.
    let failed = |errno: Errno| NetnsError::Io { path: PathBuf::from(OWN), source: errno.into() };
    stat(OWN).map(|seen| NetnsId { dev: seen.st_dev, ino: seen.st_ino }).map_err(failed)
}

/// Opens the namespace at `path` for reading what is in it.
///
/// A namespace file of another type (mount, pid) is told from a network namespace only when it is entered: then the
/// listing methods say `NotANetns`.
///
/// # Errors
/// `Missing`, `NotANetns`, `Own`, `Io`.
pub fn open(path: &Path) -> Result<Netns, NetnsError> {
    // O_NONBLOCK: a named pipe at this path must not hold us up.
    let (file, identity) = examine(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
    let (home, own) = examine(Path::new(OWN), OFlag::O_RDONLY)?;
    if identity == own {
        return Err(NetnsError::Own { path: path.to_owned() });
    }
    Ok(Netns {
        path: path.to_owned(),
        file,
        home,
        here: PhantomData,
        identity,
        socket: RefCell::new(None),
        sequence: Cell::new(0),
    })
}

fn examine(path: &Path, how: OFlag) -> Result<(OwnedFd, NetnsId), NetnsError> {
    let failed = |errno: Errno| match errno {
        Errno::ENOENT | Errno::ENOTDIR => NetnsError::Missing { path: path.to_owned() },
        // A socket or a device without a driver cannot be opened at all.
        Errno::ENXIO | Errno::ENODEV => NetnsError::NotANetns { path: path.to_owned() },
        other => NetnsError::Io { path: path.to_owned(), source: other.into() },
    };
    let file = open_file(path, how | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
    #[allow(clippy::unnecessary_cast, reason = "the type's width differs between C libraries")]
    let magic = fstatfs(&file).map_err(failed)?.filesystem_type().0 as i64;
    if magic != NSFS {
        return Err(NetnsError::NotANetns { path: path.to_owned() });
    }
    let stat = fstat(&file).map_err(failed)?;
    Ok((file, NetnsId { dev: stat.st_dev, ino: stat.st_ino }))
}

/// An open network namespace. While it is held the namespace lives on, even when its file is gone.
#[derive(Debug)]
pub struct Netns {
    path: PathBuf,
    file: OwnedFd,
    /// The namespace of the thread that opened this one, which is the one to go back to.
    home: OwnedFd,
    /// So it stays with that thread.
    here: PhantomData<*const ()>,
    identity: NetnsId,
    /// A socket inside, kept from one list to the next; taken out while in use and dropped when it failed.
    socket: RefCell<Option<Socket>>,
    sequence: Cell<u32>,
}

impl Netns {
    /// The namespace's identity at the time it was opened (and so for as long as it is held).
    pub fn identity(&self) -> NetnsId {
        self.identity
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every link, in the kernel's order.
    ///
    /// # Errors
    /// `Enter`, `NotANetns`, `List`, `Malformed`, `Unsettled`.
    pub fn links(&self) -> Result<Vec<Link>, NetnsError> {
        self.list("links", &Request::dump(RTM_GETLINK, &link_request()), parse::link)
    }

    /// Every IPv4 and IPv6 address of every link.
    ///
    /// # Errors
    /// As [`Netns::links`].
    pub fn addresses(&self) -> Result<Vec<Address>, NetnsError> {
        let body = [0; parse::ADDRESS_HEADER_LEN];
        self.list("addresses", &Request::dump(RTM_GETADDR, &body), parse::address)
    }

    /// Every unicast route of every table, IPv4 and IPv6.
    ///
    /// # Errors
    /// As [`Netns::links`].
    pub fn routes(&self) -> Result<Vec<Route>, NetnsError> {
        let body = [0; parse::ROUTE_HEADER_LEN];
        self.list("routes", &Request::dump(RTM_GETROUTE, &body), parse::route)
    }

    /// As [`Netns::routes`], each route once, with the kernel's message of it.
    ///
    /// # Errors
    /// As [`Netns::links`].
    pub fn entries(&self) -> Result<Vec<Entry>, NetnsError> {
        let body = [0; parse::ROUTE_HEADER_LEN];
        self.list("routes", &Request::dump(RTM_GETROUTE, &body), parse::entry)
    }

    /// The default routes of the main table.
    ///
    /// # Errors
    /// As [`Netns::links`].
    pub fn default_routes(&self) -> Result<Vec<Route>, NetnsError> {
        let mut routes = self.routes()?;
        routes.retain(|route| route.destination.is_none() && route.table == Route::MAIN);
        Ok(routes)
    }

    /// Every link and every address, looked at once.
    ///
    /// # Errors
    /// As [`Netns::links`].
    pub fn interfaces(&self) -> Result<Interfaces, NetnsError> {
        Ok(Interfaces { links: self.links()?, addresses: self.addresses()? })
    }

    /// Interfaces and routes, looked at once.
    ///
    /// # Errors
    /// As [`Netns::links`].
    pub fn seen(&self) -> Result<Seen, NetnsError> {
        Ok(Seen { interfaces: self.interfaces()?, routes: self.routes()? })
    }

    fn list<T>(
        &self,
        what: &'static str,
        request: &Request<'_>,
        parse: fn(&[u8], &mut Vec<T>) -> Result<(), DecodeError>,
    ) -> Result<Vec<T>, NetnsError> {
        let list_error = |source| NetnsError::List { path: self.path.clone(), what, source };
        for _ in 0..ATTEMPTS {
            let kept = self.socket.borrow_mut().take();
            let socket = kept.map_or_else(|| self.connect(), Ok)?;
            self.sequence.set(self.sequence.get().wrapping_add(1));
            let mut items = Vec::new();
            match dump::run(&socket, request, self.sequence.get(), |body| parse(body, &mut items)) {
                Ok(()) => {
                    *self.socket.borrow_mut() = Some(socket);
                    return Ok(items);
                }
                Err(Fault::Interrupted) => *self.socket.borrow_mut() = Some(socket),
                Err(Fault::Overrun) => {}
                Err(Fault::Timeout) => return Err(list_error(io::ErrorKind::TimedOut.into())),
                Err(Fault::Io(source)) => return Err(list_error(source)),
                Err(Fault::Malformed(source)) => {
                    return Err(NetnsError::Malformed { path: self.path.clone(), what, source });
                }
            }
        }
        Err(NetnsError::Unsettled { path: self.path.clone(), what })
    }

    /// A netlink socket inside the namespace.
    fn connect(&self) -> Result<Socket, NetnsError> {
        self.inside(dump::connect)?.map_err(|source| NetnsError::Enter { path: self.path.clone(), source })
    }

    /// What `job` gives inside the namespace: the calling thread enters it and goes back.
    ///
    /// A thread of its own would need no way back, but starting one costs more than all the rest of a list.
    ///
    /// # Panics
    /// When the kernel does not let the thread back into its own namespace: nothing may run on in the pod's.
    fn inside<T>(&self, job: impl FnOnce() -> T) -> Result<T, NetnsError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
            Errno::EINVAL => NetnsError::NotANetns { path: self.path.clone() },
            other => NetnsError::Enter { path: self.path.clone(), source: other.into() },
        })?;
        let done = job();
        if let Err(errno) = setns(&self.home, CloneFlags::CLONE_NEWNET) {
            panic!("cannot leave network namespace {}: {errno}", self.path.display());
        }
        Ok(done)
    }
}
