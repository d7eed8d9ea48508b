//! What the daemon says of itself: one short question over plain HTTP, at the address that it left in `runDir`.
#![expect(
    clippy::disallowed_methods,
    reason = "the one place of the command line that speaks over the network, on a deadline"
)]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::check::doctor::config::Daemon;
use crate::store::{Owner, StoreError, read};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of an answer at most.
const MOST: usize = 256 << 10;

/// Asks the daemon whose address is in the file `told_in`.
pub(super) fn ask(told_in: &Path) -> Daemon {
    let bytes = match read(told_in, Owner::Us, 256) {
        Ok(None) => return Daemon::Untold,
        Ok(Some(bytes)) => bytes,
        Err(error @ StoreError::Io { .. }) => return Daemon::Unread(error.story()),
        Err(error) => return Daemon::Damaged(error.story()),
    };
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Daemon::Damaged(format!("{} holds no address", told_in.display()));
    };
    let reached = reachable(address);
    let (status, body) = match get(reached, "/readyz") {
        Ok(answer) => answer,
        Err(error) => return Daemon::Silent { address: text, why: error.to_string() },
    };
    let fights = get(reached, "/metrics")
        .is_ok_and(|(_, metrics)| metrics.lines().any(|line| line == "meta_cni_master_config_fight 1"));
    Daemon::Answered { address: text, ready: status == 200, lines: body.lines().map(str::to_owned).collect(), fights }
}

/// Who listens on every address is reached on the loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Status and body of a GET.
fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let question = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        // However slowly it comes.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || answer.len() > MOST {
            return Err(std::io::Error::other("its answer does not end"));
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    match (status, text.split_once("\r\n\r\n")) {
        (Some(status), Some((_, body))) => Ok((status, body.to_owned())),
        _ => Err(std::io::Error::other("its answer is not HTTP")),
    }
}
