//! One question over a routing netlink socket: ask, read until the kernel says that it was all, notice when a dump was not
//! consistent. Knows nothing of what the messages mean and nothing of namespaces.
//! netlink(7), "Dump" in the kernel's netlink introduction.

use std::io;
use std::ops::ControlFlow;

use netlink_packet_core::{
    DecodeError, Emitable, ErrorBuffer, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN,
    NetlinkBuffer, NetlinkHeader, parse_i32,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::TimeVal;

/// `struct nlmsghdr`.
const NETLINK_HEADER_LEN: usize = 16;
/// Set on every message of a dump during which the dumped table changed.
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The kernel fills at most this much per datagram, unless a single message is larger.
const BUFFER: usize = 32 * 1024;
/// The kernel answers within its own system call; only a lost answer makes us wait.
const ANSWER_SECONDS: i64 = 5;

/// What is asked: the request's type and flags, the type of its answers, and the request's body.
pub(super) struct Request<'a> {
    pub kind: u16,
    pub flags: u16,
    pub answer: u16,
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// All of a kind, answered by messages of the type before it.
    pub(super) const fn dump(kind: u16, body: &'a [u8]) -> Self {
        Self { kind, flags: NLM_F_DUMP, answer: kind - 2, body }
    }

    /// A change, answered by its success or failure alone.
    pub(super) const fn change(kind: u16, flags: u16, body: &'a [u8]) -> Self {
        Self { kind, flags: flags | NLM_F_ACK, answer: NLMSG_ERROR, body }
    }
}

/// Why a dump has no result.
#[derive(Debug)]
pub(super) enum Fault {
    /// What was dumped changed meanwhile: ask again on the same socket.
    Interrupted,
    /// The socket lost messages, or one did not fit: ask again on a new socket.
    Overrun,
    /// No answer came in time.
    Timeout,
    /// The kernel refused, or the socket failed.
    Io(io::Error),
    /// An answer that is no netlink message.
    Malformed(DecodeError),
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Fault::Malformed(error)
    }
}

/// A socket to the routing part of the kernel in the calling thread's network namespace. It stays in that namespace
/// whoever uses it, speaks with the kernel only, and is not inherited by programs that are started.
pub(super) fn connect() -> io::Result<Socket> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::new(ANSWER_SECONDS, 0))?;
    Ok(socket)
}

/// Sends `request` and gives every answer's body to `take`, in order.
pub(super) fn run(
    socket: &Socket,
    request: &Request<'_>,
    sequence: u32,
    mut take: impl FnMut(&[u8]) -> Result<(), DecodeError>,
) -> Result<(), Fault> {
    socket.send(&encode(request, sequence), 0).map_err(fault)?;
    let mut buffer = vec![0; BUFFER];
    let mut interrupted = false;
    loop {
        let datagram = receive(socket, &mut buffer)?;
        let part = part(datagram, request.answer, sequence, &mut take)?;
        interrupted |= part.interrupted;
        if part.last {
            return if interrupted { Err(Fault::Interrupted) } else { Ok(()) };
        }
    }
}

fn encode(request: &Request<'_>, sequence: u32) -> Vec<u8> {
    let mut message = vec![0; NETLINK_HEADER_LEN];
    let mut header = NetlinkHeader::default();
    header.length = u32::try_from(NETLINK_HEADER_LEN + request.body.len()).unwrap_or(u32::MAX);
    header.message_type = request.kind;
    header.flags = NLM_F_REQUEST | request.flags;
    header.sequence_number = sequence;
    header.emit(&mut message);
    message.extend_from_slice(request.body);
    message
}

fn receive<'a>(socket: &Socket, buffer: &'a mut [u8]) -> Result<&'a [u8], Fault> {
    // With MSG_TRUNC the real length comes back even when the datagram was cut.
    let length = loop {
        match socket.recv(&mut &mut *buffer, nix::libc::MSG_TRUNC) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other.map_err(fault)?,
        }
    };
    buffer.get(..length).ok_or(Fault::Overrun)
}

fn fault(error: io::Error) -> Fault {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::WouldBlock, _) => Fault::Timeout,
        (_, Some(nix::libc::ENOBUFS)) => Fault::Overrun,
        _ => Fault::Io(error),
    }
}

/// What one datagram said about the dump as a whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub last: bool,
    pub interrupted: bool,
}

/// Walks the messages of one datagram. Pure but for what `take` does.
pub(super) fn part(
    mut bytes: &[u8],
    answer: u16,
    sequence: u32,
    take: &mut impl FnMut(&[u8]) -> Result<(), DecodeError>,
) -> Result<Part, Fault> {
    let mut part = Part::default();
    while !bytes.is_empty() {
        let message = NetlinkBuffer::new_checked(bytes)?;
        let length = message.length() as usize;
        // Answers to an earlier question of this socket are not ours.
        if message.sequence_number() == sequence {
            part.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
            let body = bytes.get(NETLINK_HEADER_LEN..length).unwrap_or_default();
            match judge(message.message_type(), body)? {
                ControlFlow::Break(()) => return Ok(Part { last: true, ..part }),
                ControlFlow::Continue(()) if message.message_type() == answer => take(body)?,
                ControlFlow::Continue(()) => {}
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(part)
}

/// The control messages: does the dump end here, or has it failed?
fn judge(kind: u16, body: &[u8]) -> Result<ControlFlow<()>, Fault> {
    let failed = |code: i32| fault(io::Error::from_raw_os_error(code.saturating_neg()));
    match kind {
        NLMSG_ERROR => match ErrorBuffer::new_checked(body)?.code() {
            Some(code) => Err(failed(code.get())),
            None => Ok(ControlFlow::Break(())),
        },
        // The status of the dump; kernels may leave it out when all was well.
        NLMSG_DONE if body.len() >= 4 => match parse_i32(&body[..4])? {
            code if code < 0 => Err(failed(code)),
            _ => Ok(ControlFlow::Break(())),
        },
        NLMSG_DONE => Ok(ControlFlow::Break(())),
        NLMSG_OVERRUN => Err(Fault::Overrun),
        _ => Ok(ControlFlow::Continue(())),
    }
}

#[cfg(test)]
#[path = "dump_tests.rs"]
mod tests;
