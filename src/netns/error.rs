//! Why a network namespace cannot be used or read. A sandbox's namespace that is missing, of another kind or our own
//! is error 8 of the CNI specification's table as this project uses it; this module only says what happened.

use std::io;
use std::path::PathBuf;

use netlink_packet_core::DecodeError;

/// Why a namespace cannot be used or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetnsError {
    /// Nothing at that path, or what was there is gone.
    #[error("no network namespace at {}", path.display())]
    Missing {
        /// The path that was looked at.
        path: PathBuf,
    },
    /// A file, but of no network namespace.
    #[error("{} is not a network namespace", path.display())]
    NotANetns {
        /// The path that was looked at.
        path: PathBuf,
    },
    /// The namespace this process itself is in.
    #[error("{} is the network namespace of the caller itself, not of a sandbox", path.display())]
    Own {
        /// The path that was looked at.
        path: PathBuf,
    },
    /// Opening or examining the file failed.
    #[error("cannot open network namespace {}", path.display())]
    Io {
        /// The path that was looked at.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The namespace could not be entered, or no socket opened in it.
    #[error("cannot enter network namespace {}", path.display())]
    Enter {
        /// The namespace's path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused to list, or the socket failed.
    #[error("cannot list the {what} of network namespace {}", path.display())]
    List {
        /// The namespace's path.
        path: PathBuf,
        /// `links`, `addresses`, `routes` or `neighbours`.
        what: &'static str,
        /// What the kernel said; `TimedOut` when it said nothing.
        source: io::Error,
    },
    /// The kernel's answer could not be read.
    #[error("the kernel's list of the {what} of network namespace {} is malformed", path.display())]
    Malformed {
        /// The namespace's path.
        path: PathBuf,
        /// `links`, `addresses`, `routes` or `neighbours`.
        what: &'static str,
        /// Where the bytes made no sense.
        source: DecodeError,
    },
    /// The kernel refused a change.
    #[error("cannot {what} in network namespace {}", path.display())]
    Change {
        /// The namespace's path.
        path: PathBuf,
        /// What was to be changed, as the end of a sentence.
        what: String,
        /// What the kernel said; `TimedOut` when it said nothing.
        source: io::Error,
    },
    /// The list changed each time it was read.
    #[error("the {what} of network namespace {} did not hold still while they were listed", path.display())]
    Unsettled {
        /// The namespace's path.
        path: PathBuf,
        /// `links`, `addresses`, `routes` or `neighbours`.
        what: &'static str,
    },
}

impl NetnsError {
    /// What happened and why, on one line.
    #[must_use]
    pub fn story(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}
