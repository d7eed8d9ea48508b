//! Writing a file: the old content or the new one, never between (P9).
//!
//! A temporary name in the same directory that no reader loads, then one rename. A reader that looks at any time, and a
//! process that dies at any time, leave a whole file.

use std::io::Write as _;
use std::path::Path;

use super::{StoreError, make_dir};

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
    let dir = path.parent().ok_or_else(|| StoreError::refused(path, "has no directory"))?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let prefix = format!(".{name}.");
    let create = || tempfile::Builder::new().prefix(&prefix).suffix(".tmp").tempfile_in(dir);
    let mut file = match create() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            make_dir(dir)?;
            create()
        }
        created => created,
    }
    .map_err(StoreError::io("make a temporary file for", path))?;
    file.write_all(bytes).map_err(StoreError::io("write", path))?;
    if survives == Survives::Power {
        file.as_file().sync_all().map_err(StoreError::io("sync", path))?;
    }
    file.persist(path).map_err(|error| StoreError::io("rename", path)(error.error))?;
    if survives == Survives::Power {
        std::fs::File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(StoreError::io("sync the directory of", path))?;
    }
    Ok(())
}

/// Appends `bytes` to the file at `path`, which must be there, in one write. Readers pass over a last text that is not whole.
///
/// # Errors
/// [`StoreError`] when not all of it could be written.
pub fn append(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.append(true).custom_flags(nix::libc::O_NOFOLLOW).open(path).map_err(StoreError::io("open", path))?;
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
        assert_eq!(super::super::list(path.parent().unwrap()).unwrap(), ["b.json"]);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_content_and_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::create_dir_all(path.join("not-empty")).unwrap();
        assert!(write(&path, b"two", Survives::Process).is_err());
        assert_eq!(super::super::list(dir.path()).unwrap(), ["x"]);
    }
}
