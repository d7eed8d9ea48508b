//! Files: the only place that opens, writes, renames, locks or removes one (P9; docs/state.md has every path and schema).
//!
//! What meta-cni wrote itself is refused when it is a symlink, not root's or writable by others. In the admin's
//! directories symlinks are followed, and what they lead to must be the admin's alone. Every file is read as hostile:
//! bounded, typed, total. Nothing here starts a process.
#![expect(clippy::disallowed_methods, reason = "the edge that owns files")]

pub mod aside;
pub mod atomic;
pub mod confdir;
pub mod devinfo;
pub mod epoch;
pub mod foreign;
pub mod leases;
pub mod life;
pub mod lock;
pub mod master;
pub mod networks;
pub mod primary;
pub mod private;
pub mod profiles;
pub mod program;
pub mod queue;
pub mod records;
pub mod removal;
pub mod runtime;
pub mod sweep;
pub mod verdicts;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::cni::{CniError, Code};

/// Bytes of a file in the admin's directories at most: a configuration is a few thousand.
pub const MOST_CONFIG: u64 = 1 << 20;

/// Bytes of a file of our own at most.
pub const MOST_STATE: u64 = 4 << 20;

/// What could not be done with which file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An operation failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// The operation, in the infinitive.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not used.
    #[error("{} {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why, as the end of a sentence.
        why: String,
    },
}

impl StoreError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    fn refused(path: &Path, why: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), why: why.into() }
    }

    /// True if it says nothing about the file: this process or the kernel has run out of something for now.
    #[must_use]
    pub fn passes(&self) -> bool {
        use nix::libc::{EAGAIN, EINTR, EMFILE, ENFILE, ENOMEM};
        let Self::Io { source, .. } = self else { return false };
        source.raw_os_error().is_some_and(|errno| [EAGAIN, EINTR, EMFILE, ENFILE, ENOMEM].contains(&errno))
    }

    /// What is wrong with the file, as the end of a sentence that began with its path.
    fn why(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("cannot be read: {source}"),
            Self::Refused { why, .. } => why.clone(),
        }
    }

    /// The error and its cause on one line.
    #[must_use]
    pub fn story(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("{self}: {source}"),
            Self::Refused { .. } => self.to_string(),
        }
    }
}

impl From<StoreError> for CniError {
    fn from(error: StoreError) -> Self {
        Self::new(Code::IO, error.story())
    }
}

/// Whose file it is, and so what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Ours: no symlink, root's, writable by root alone.
    Us,
    /// The admin's: symlinks are followed; what they lead to is root's and not writable by others.
    Admin,
    /// Anybody's, for what lies in a directory that a person names: a regular file is all that is asked.
    File,
    /// Anybody's, for what a person gives the command line.
    Anybody,
}

/// The bytes of the file at `path`, at most `most` of them; `None` when there is no such file.
///
/// # Errors
/// [`StoreError`] when it cannot be read, is larger, is no regular file or is not `owner`'s alone.
pub fn read(path: &Path, owner: Owner, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let flags = match owner {
        Owner::Us => nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK,
        Owner::Admin | Owner::File => nix::libc::O_NONBLOCK,
        Owner::Anybody => 0,
    };
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) && owner == Owner::Us => {
            return Err(StoreError::refused(path, "is a symlink, and meta-cni wrote none"));
        }
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    let length = trusted(&file, path, owner)?;
    let too_large = || StoreError::refused(path, format!("is larger than {}", size(most)));
    if length > most {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    file.take(most + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(Some(bytes)) }
}

fn size(bytes: u64) -> String {
    if bytes < 1 << 10 { format!("{bytes} bytes") } else { format!("{} KiB", bytes >> 10) }
}

/// The size of `file`, if it is a regular file of `owner` alone.
fn trusted(file: &File, path: &Path, owner: Owner) -> Result<u64, StoreError> {
    let metadata = file.metadata().map_err(StoreError::io("look at", path))?;
    if owner == Owner::Anybody {
        return Ok(metadata.len());
    }
    if !metadata.is_file() {
        return Err(StoreError::refused(path, "is no regular file"));
    }
    if owner == Owner::File {
        return Ok(metadata.len());
    }
    let own = nix::unistd::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != own {
        return Err(StoreError::refused(path, format!("belongs to user {} instead of root", metadata.uid())));
    }
    let group_may_write = metadata.mode() & 0o020 != 0 && (owner == Owner::Us || metadata.gid() != 0);
    if metadata.mode() & 0o002 != 0 || group_may_write {
        return Err(StoreError::refused(path, format!("is writable by others (mode {:o})", metadata.mode() & 0o777)));
    }
    Ok(metadata.len())
}

/// Makes `dir` and what is above it, 0700, if it is not there.
///
/// # Errors
/// [`StoreError`] when that fails.
pub fn make_dir(dir: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).map_err(StoreError::io("make directory", dir))
}

/// The names of what is in `dir`, sorted; empty when there is no such directory.
///
/// # Errors
/// [`StoreError`] when it cannot be listed.
pub fn list(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", dir))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// Removes the file at `path`, if it is there.
///
/// # Errors
/// [`StoreError`] when it is there and cannot be removed.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        // Nothing is in what is no directory.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        removed => removed.map_err(StoreError::io("remove", path)),
    }
}

/// Removes the directory at `path` if it is there and empty.
pub fn remove_if_empty(path: &Path) {
    let _ = std::fs::remove_dir(path);
}

/// Removes temporary files of writers that died from the directory `dir`, and the directory when that was all.
fn tidy(dir: &Path) -> Result<(), StoreError> {
    for name in list(dir)?.into_iter().filter(|name| name.ends_with(".tmp")) {
        remove(&dir.join(name))?;
    }
    remove_if_empty(dir);
    Ok(())
}

/// True if the directory at `path` is there with nothing in it but temporary files, or with one of those.
#[must_use]
pub fn is_untidy(path: &Path) -> bool {
    let names = list(path).unwrap_or_default();
    names.iter().any(|name| name.ends_with(".tmp")) || (names.is_empty() && is_dir(path))
}

/// Device and inode of the file at `path` itself, for finding out who has it open.
#[must_use]
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// True if something is at `path`.
#[must_use]
pub fn exists(path: &Path) -> bool {
    path.try_exists().unwrap_or(false)
}

/// `path` with its symlinks resolved, if it is there.
#[must_use]
pub fn resolved(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

/// True if `path` is a directory.
#[must_use]
pub fn is_dir(path: &Path) -> bool {
    path.is_dir()
}
