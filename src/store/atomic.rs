//! Writing a file: the old content or the new one, never between (P9).
//!
//! The content goes into a file without a name, which a process that dies takes with it; then the file gets its name. Only
//! where there is a file already, a temporary name that no reader loads and a rename come between the two.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;

use super::{StoreError, list, make_dir, remove};

/// How much a write must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// The death of any process.
    Process,
    /// A power cut too: file and directory are synced.
    Power,
}

/// Puts `bytes` at `path`, mode 0600. The directory is made if it is not there.
///
/// # Errors
/// [`StoreError`] naming the step; the old content is still there then, and no temporary file.
pub fn write(path: &Path, bytes: &[u8], survives: Survives) -> Result<(), StoreError> {
    let dir = dir_of(path)?;
    match whole(dir, path, bytes, survives)? {
        Whole::Unnamed(file) => name(&file, dir, path)?,
        Whole::Temporary(file) => rename(file, path)?,
    }
    if survives == Survives::Power { sync_names(dir) } else { Ok(()) }
}

/// The same, surviving a power cut, and always by a rename, also where there is nothing yet: containerd looks at its conf dir again
/// when something is renamed in it, and not when a name comes.
///
/// # Errors
/// As [`write()`].
pub fn write_by_rename(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let dir = dir_of(path)?;
    match whole(dir, path, bytes, Survives::Power)? {
        Whole::Unnamed(file) => rename(temporary(dir, path, |at| link(&file, at))?, path)?,
        Whole::Temporary(file) => rename(file, path)?,
    }
    sync_names(dir)
}

fn rename<T>(file: tempfile::NamedTempFile<T>, path: &Path) -> Result<(), StoreError> {
    file.persist(path).map(drop).map_err(|error| StoreError::io("rename", path)(error.error))
}

/// Makes the names in `dir`, as they are now, survive a power cut.
///
/// # Errors
/// [`StoreError`] when the directory cannot be synced.
pub fn sync_names(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(StoreError::io("sync the directory", dir))
}

/// Removes temporary files of those that died while they replaced `path`. Only for who knows that no other one is at work.
///
/// # Errors
/// [`StoreError`] when the directory cannot be listed, or one cannot be removed.
pub fn tidy(path: &Path) -> Result<(), StoreError> {
    let (dir, prefix) = (dir_of(path)?, prefix(path));
    let names = list(dir)?;
    let mut stale = names.iter().filter(|name| name.starts_with(&prefix) && name.ends_with(SUFFIX));
    stale.try_for_each(|name| remove(&dir.join(name)))
}

/// How the names of temporary files begin that are to become `path`.
pub(super) fn prefix(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

/// How they end.
pub(super) const SUFFIX: &str = ".tmp";

/// Puts `bytes` at `path`, mode 0600, if there is nothing. The directory is made if it is not there.
///
/// # Errors
/// [`StoreError`] naming the step.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let named = match whole(dir_of(path)?, path, bytes, Survives::Process)? {
        Whole::Unnamed(file) => link(&file, path),
        Whole::Temporary(file) => file.persist_noclobber(path).map(drop).map_err(|error| error.error),
    };
    match named {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        named => named.map_err(StoreError::io("name", path)),
    }
}

fn dir_of(path: &Path) -> Result<&Path, StoreError> {
    path.parent().ok_or_else(|| StoreError::refused(path, "has no directory"))
}

/// A file with all its content, and not yet with its name.
enum Whole {
    /// It has none.
    Unnamed(File),
    /// It has one that no reader loads, because the file system knows no files without a name.
    Temporary(tempfile::NamedTempFile<File>),
}

/// `bytes` in a file that is to be named `path`, in `dir`, which is made if it is not there.
fn whole(dir: &Path, path: &Path, bytes: &[u8], survives: Survives) -> Result<Whole, StoreError> {
    match unnamed_in(dir)? {
        Ok(file) => fill(&file, path, bytes, survives).map(|()| Whole::Unnamed(file)),
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {
            let file = temporary(dir, path, create)?;
            fill(file.as_file(), path, bytes, survives)?;
            Ok(Whole::Temporary(file))
        }
        Err(error) => Err(StoreError::io("make a file for", path)(error)),
    }
}

/// A file in `dir`, which is made if it is not there, that has no name yet.
fn unnamed_in(dir: &Path) -> Result<io::Result<File>, StoreError> {
    match unnamed(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_dir(dir)?;
            Ok(unnamed(dir))
        }
        made => Ok(made),
    }
}

fn create(at: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(at)
}

fn unnamed(dir: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).mode(0o600).custom_flags(nix::libc::O_TMPFILE).open(dir)
}

fn fill(mut file: &File, path: &Path, bytes: &[u8], survives: Survives) -> Result<(), StoreError> {
    file.write_all(bytes).map_err(StoreError::io("write", path))?;
    if survives == Survives::Power {
        file.sync_all().map_err(StoreError::io("sync", path))?;
    }
    Ok(())
}

/// Names a file that has no name: at once when `path` is free, else by way of a temporary name.
fn name(file: &File, dir: &Path, path: &Path) -> Result<(), StoreError> {
    match link(file, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            rename(temporary(dir, path, |at| link(file, at))?, path)
        }
        linked => linked.map_err(StoreError::io("name", path)),
    }
}

/// By the descriptor itself, which is half the price of the way through /proc. Kernels before 6.10 want a capability for it
/// (CAP_DAC_READ_SEARCH) and say that there is no such file.
fn link(file: &File, at: &Path) -> io::Result<()> {
    match linkat(file, "", AT_FDCWD, at, AtFlags::AT_EMPTY_PATH) {
        Err(Errno::ENOENT) => {
            let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
            Ok(linkat(AT_FDCWD, descriptor.as_str(), AT_FDCWD, at, AtFlags::AT_SYMLINK_FOLLOW)?)
        }
        linked => Ok(linked?),
    }
}

/// Makes something at a temporary name beside `path`; it goes again when it is dropped and was not persisted.
fn temporary<T>(
    dir: &Path,
    path: &Path,
    make: impl FnMut(&Path) -> io::Result<T>,
) -> Result<tempfile::NamedTempFile<T>, StoreError> {
    tempfile::Builder::new()
        .prefix(&prefix(path))
        .suffix(SUFFIX)
        .make_in(dir, make)
        .map_err(StoreError::io("make a temporary file for", path))
}

/// Appends `bytes` to the file at `path`, which must be there, in one write. Readers pass over a last text that is not whole,
/// and would refuse a file larger than `most`.
///
/// # Errors
/// [`StoreError`] when not all of it could be written, and, with nothing written, when it would be too large.
pub fn append(path: &Path, bytes: &[u8], most: u64) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    let mut file =
        options.append(true).custom_flags(nix::libc::O_NOFOLLOW).open(path).map_err(StoreError::io("open", path))?;
    let length = file.metadata().map_err(StoreError::io("examine", path))?.len();
    if length + bytes.len() as u64 > most {
        return Err(StoreError::refused(path, format!("would be larger than {} KiB", most >> 10)));
    }
    file.write_all(bytes).map_err(StoreError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_write_replaces_the_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.json");
        for text in ["one", "two"] {
            write(&path, text.as_bytes(), Survives::Power).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(list(path.parent().unwrap()).unwrap(), ["b.json"]);
    }

    #[test]
    fn what_could_not_be_read_again_is_not_appended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        assert!(append(&path, b"one", 8).is_err());
        std::fs::write(&path, "zero").unwrap();
        append(&path, b"four", 8).unwrap();
        let error = append(&path, b"!", 8).unwrap_err();
        assert!(error.to_string().contains("would be larger than"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "zerofour");
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_content_and_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::create_dir_all(path.join("not-empty")).unwrap();
        assert!(write(&path, b"two", Survives::Process).is_err());
        assert_eq!(list(dir.path()).unwrap(), ["x"]);
    }

    #[test]
    fn what_a_writer_that_was_killed_left_goes() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("meta-cni");
        for name in [".meta-cni.abc.tmp", ".meta-cni.abc", "meta-cni.tmp", ".bridge.abc.tmp"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        tidy(&target).unwrap();
        assert_eq!(list(dir.path()).unwrap(), [".bridge.abc.tmp", ".meta-cni.abc", "meta-cni.tmp"]);
    }
}
