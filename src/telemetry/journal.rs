//! journald's native protocol: one datagram for each event, `KEY=value` lines. The message carries everything a
//! reader of `journalctl -t meta-cni` wants to see; the fields are there once more by name, so that
//! `journalctl SANDBOX=<container ID>` finds one sandbox's lines.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use tracing::Level;

use super::format::{self, Entry};

/// journald's queue is full and it does not read: no plugin call waits longer than this for its log.
const PATIENCE: Duration = Duration::from_millis(20);
/// Fields that would make the datagram larger than this are left out; the message is always in.
const MAX_DATAGRAM: usize = 128 * 1024;
/// journald takes field names up to this length.
const MAX_NAME: usize = 64;

pub(super) struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Journal {
    /// Opens nothing yet.
    pub fn new(path: PathBuf) -> Journal {
        Journal { path, socket: None }
    }

    /// Hands one event over. An error means that journald does not listen or does not keep up.
    pub fn send(&mut self, entry: &Entry, correlation: &str) -> io::Result<()> {
        let datagram = datagram(entry, correlation);
        if let Some(socket) = &self.socket {
            match socket.send(&datagram) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                // journald was started anew: its old socket is dead.
                Err(_) => {}
            }
        }
        let socket = self.socket.insert(connect(&self.path)?);
        socket.send(&datagram).map(drop)
    }
}

fn connect(path: &std::path::Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn datagram(entry: &Entry, correlation: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, "MESSAGE", &format::message(entry, correlation));
    put(&mut out, "PRIORITY", priority(entry.level));
    put(&mut out, "SYSLOG_IDENTIFIER", "meta-cni");
    put(&mut out, "SANDBOX", correlation);
    for (name, value) in &entry.fields {
        let name = field_name(name);
        if !name.is_empty() && out.len() + name.len() + value.len() < MAX_DATAGRAM {
            put(&mut out, &name, value);
        }
    }
    out
}

/// One field. A value with line feeds goes with its length before it (64 bits, little endian) instead of `=`.
fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// Capital letters, digits and underscores, a letter first. A leading underscore would claim to be journald's own.
fn field_name(name: &str) -> String {
    let letters = name.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).chars();
    let allowed = letters.map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    allowed.take(MAX_NAME).collect()
}

/// syslog's numbers.
pub(super) fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(entry: &Entry, datagram_text: &[&[u8]]) {
        let got = datagram(entry, "c1");
        assert_eq!(got.escape_ascii().to_string(), datagram_text.concat().escape_ascii().to_string());
    }

    #[test]
    fn datagrams() {
        let mut entry = Entry::new(Level::WARN);
        entry.message = "plain".to_owned();
        check(&entry, &[b"MESSAGE=plain sandbox=c1\nPRIORITY=4\nSYSLOG_IDENTIFIER=meta-cni\nSANDBOX=c1\n"]);
        entry.fields = vec![("ifname", "net1".to_owned()), ("stderr", "a\nb".to_owned()), ("_1", String::new())];
        check(
            &entry,
            &[
                b"MESSAGE=plain ifname=net1 stderr=\"a\\nb\" _1=\"\" sandbox=c1\nPRIORITY=4\n",
                b"SYSLOG_IDENTIFIER=meta-cni\nSANDBOX=c1\nIFNAME=net1\nSTDERR\n\x03\0\0\0\0\0\0\0a\nb\n",
            ],
        );
        entry.fields = (0..40).map(|_| ("big", "x".repeat(16 * 1024))).collect();
        assert!(datagram(&entry, "c1").len() < MAX_DATAGRAM);
    }

    #[test]
    fn field_names() {
        for (name, expected) in [
            ("container_id", "CONTAINER_ID"),
            ("_PID", "PID"),
            ("9lives", "LIVES"),
            ("otel.name", "OTEL_NAME"),
            ("__", ""),
            ("\u{e9}t\u{e9}", "T_"),
        ] {
            assert_eq!(field_name(name), expected);
        }
        assert_eq!(field_name(&"x".repeat(100)).len(), MAX_NAME);
    }
}
