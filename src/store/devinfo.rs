//! The files in which plugins tell of an attachment's device (docs/state.md): their place made ready, read, removed.
//!
//! The plugins write them and others read them, so the directories are open to all.

use std::fs::{DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use crate::cni::Object;

use super::{Owner, StoreError, read, remove};

/// Bytes of such a file at most: it has a handful of short keys.
const MOST: u64 = 64 << 10;

/// The mode of directories that programs of others look into.
const OPEN: u32 = 0o755;

/// Makes ready for the plugins of an ADD: the directory of `file` is there, and no file of an earlier attachment.
///
/// # Errors
/// [`StoreError`] when that cannot be had.
pub fn prepare(file: &Path) -> Result<(), StoreError> {
    let dir = file.parent().ok_or_else(|| StoreError::refused(file, "has no directory"))?;
    open_dir(dir).map_err(StoreError::io("make directory", dir))?;
    remove(file)
}

/// Makes `dir` and what is above it.
fn open_dir(dir: &Path) -> io::Result<()> {
    let open = || std::fs::set_permissions(dir, Permissions::from_mode(OPEN));
    match DirBuilder::new().mode(OPEN).create(dir) {
        // The caller's umask may have taken from it.
        Ok(()) => open(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            open_dir(dir.parent().ok_or(error)?)?;
            // Where no directory can be made (/proc) that is said in the same way.
            DirBuilder::new().mode(OPEN).create(dir).and_then(|()| open())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let there = std::fs::metadata(dir)?;
            // Multus makes these directories without any permission.
            if there.is_dir() && there.permissions().mode() & 0o777 == 0 { open() } else { Ok(()) }
        }
        Err(error) => Err(error),
    }
}

/// What `file` says; `None` when it is not there. What is no object, too large or not root's alone says nothing.
#[must_use]
pub fn told(file: &Path) -> Option<Object> {
    let bytes = read(file, Owner::Us, MOST).ok().flatten()?;
    Object::parse(&bytes).ok()
}
