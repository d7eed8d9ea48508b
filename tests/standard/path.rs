//! Connections between namespaces: the proof that an address, a route or a port mapping works.

use crate::place::Place;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io::ErrorKind::AddrNotAvailable;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// A socket that listens on this address in `place`; port 0 is any.
#[track_caller]
pub fn listen(place: &Place, address: SocketAddr) -> TcpListener {
    let began = Instant::now();
    loop {
        match place.run(move || TcpListener::bind(address)) {
            Ok(listener) => return listener,
            // The kernel lets an IPv6 address be used a moment after the link of a fresh pair has its carrier.
            Err(error) if error.kind() == AddrNotAvailable && began.elapsed() < Duration::from_secs(60) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("listening on {address}: {error}"),
        }
    }
}

/// A connection from `place` to `to`, from the address `from` and through the interface `ifname` when they are given.
pub fn dial(place: &Place, from: Option<(&str, IpAddr)>, to: SocketAddr) -> Result<TcpStream, nix::Error> {
    let from = from.map(|(ifname, address)| (ifname.to_owned(), address));
    place.run(move || {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let descriptor: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&descriptor, sockopt::SendTimeout, &TimeVal::seconds(60))?;
        setsockopt(&descriptor, sockopt::ReceiveTimeout, &TimeVal::seconds(60))?;
        if let Some((ifname, address)) = from {
            setsockopt(&descriptor, sockopt::BindToDevice, &ifname.into())?;
            bind(descriptor.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, 0)))?;
        }
        connect(descriptor.as_raw_fd(), &SockaddrStorage::from(to))?;
        Ok(TcpStream::from(descriptor))
    })
}

/// Takes the connection that `dialled` has made to `listener`, and sends a word both ways. Gives the address it came from.
#[track_caller]
pub fn talk(listener: &TcpListener, mut dialled: TcpStream) -> IpAddr {
    let (mut taken, from) = listener.accept().expect("taking a connection that is there");
    let mut word = [0; 4];
    dialled.write_all(b"ping").and_then(|()| taken.read_exact(&mut word)).expect("a word one way");
    assert_eq!(&word, b"ping");
    taken.write_all(b"pong").and_then(|()| dialled.read_exact(&mut word)).expect("a word the other way");
    assert_eq!(&word, b"pong");
    from.ip()
}
