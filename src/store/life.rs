//! The daemon's sign of life: `<runDir>/meta-cnid.lock`, which it holds locked for as long as it runs (docs/state.md).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::lock::{is_contended, still_at, try_file};
use super::master::is_removing;

fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("meta-cnid.lock")
}

/// The lock, while this process has it.
#[derive(Debug, Default)]
pub struct Life(Option<File>);

impl Life {
    /// Takes the lock, unless it is had already, another daemon has it, or a cleanup has made or makes an end of `run_dir`.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be made or locked.
    pub fn show(&mut self, run_dir: &Path) -> Result<(), StoreError> {
        let path = path(run_dir);
        if let Some(file) = &self.0
            && still_at(file, &path)?
        {
            return Ok(());
        }
        self.0 = if is_removing(run_dir) { None } else { try_file(&path)? };
        Ok(())
    }
}

/// True if a daemon runs.
///
/// # Errors
/// [`StoreError`] when the file cannot be opened.
pub fn lives(run_dir: &Path) -> Result<bool, StoreError> {
    let path = path(run_dir);
    let file =
        match OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
    // Shared: of two who look at once neither is taken for a daemon.
    let tried = fs2::FileExt::try_lock_shared(&file);
    Ok(tried.is_err_and(|error| is_contended(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_lives_from_its_sign_to_its_end_also_when_the_file_was_removed() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        assert!(!lives(&run).unwrap() && !run.exists(), "who looks makes nothing");
        let (mut one, mut other) = (Life::default(), Life::default());
        one.show(&run).unwrap();
        other.show(&run).unwrap();
        assert!(lives(&run).unwrap() && lives(&run).unwrap());
        std::fs::remove_file(path(&run)).unwrap();
        assert!(!lives(&run).unwrap());
        one.show(&run).unwrap();
        assert!(lives(&run).unwrap());
        // A later one takes over.
        drop(one);
        assert!(!lives(&run).unwrap());
        other.show(&run).unwrap();
        assert!(lives(&run).unwrap());
        drop(other);
        assert!(!lives(&run).unwrap() && path(&run).exists());
        // What a cleanup has removed stays so.
        std::fs::remove_file(path(&run)).unwrap();
        std::fs::write(run.join("removing"), "").unwrap();
        Life::default().show(&run).unwrap();
        assert!(!path(&run).exists());
    }
}
