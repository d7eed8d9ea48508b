//! Whether a sandbox is alive: its namespace is still that namespace, by path, device and inode. That wins over any list.

use std::path::Path;

use crate::kernel::NetnsId;
use crate::netns::{NetnsError, identity};
use crate::plan::record::Record;

/// What is at the path of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// This namespace.
    Is(NetnsId),
    /// None.
    Gone,
    /// That cannot be told now: out of descriptors, say.
    Unknown,
}

/// What is at `path`.
#[must_use]
pub fn place(path: &Path) -> Place {
    match identity(path) {
        Ok(identity) => Place::Is(identity),
        Err(NetnsError::Missing { .. }) => Place::Gone,
        // A file that is no namespace is what one looks like from another mount namespace.
        Err(_) => Place::Unknown,
    }
}

/// True unless the namespace of the record's ADD is gone for certain.
#[must_use]
pub fn is_live(record: &Record) -> bool {
    match place(&record.sandbox.netns) {
        Place::Is(now) => record.netns == Some(now),
        Place::Gone => false,
        Place::Unknown => true,
    }
}
