//! The master config on disk: written by one at a time, whole or not at all (D1-D3; docs/state.md has the order of steps).
//!
//! Who wants to write holds the lock first; its file outlives every rename, because it is another file and never goes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::check::{Document, Kind, errors};
use crate::plan::master::{FILE_NAME, lint};
use crate::plan::record::{seal, unseal};
use crate::profile::Profiles;
use crate::watch;

use super::atomic::{self, Survives};
use super::lock::{still_at, try_file};
use super::{MOST_CONFIG, MOST_STATE, Owner, StoreError, read, remove, remove_if_empty};

/// The held lock of who writes.
#[derive(Debug)]
pub struct MasterLock {
    file: File,
}

/// Whether the lock was had.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours.
    Held(MasterLock),
    /// Who holds it, as it says itself.
    Busy(String),
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The file was replaced, or made.
    Changed,
    /// It was like that.
    Unchanged,
    /// `removing` is there: nothing was written.
    Removing,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    text: String,
}

/// The lock's file.
#[must_use]
pub fn lock_path(run_dir: &Path) -> PathBuf {
    run_dir.join("master.lock")
}

/// Tries to lock the master config, without waiting. `who` is the calling program, for others to read.
///
/// # Errors
/// [`StoreError`] when the file cannot be made or locked.
pub fn try_lock(run_dir: &Path, who: &str) -> Result<Attempt, StoreError> {
    let path = lock_path(run_dir);
    loop {
        let Some(file) = try_file(&path)? else {
            let holder = read(&path, Owner::Us, 256).ok().flatten().unwrap_or_default();
            return Ok(Attempt::Busy(String::from_utf8_lossy(&holder).trim().to_owned()));
        };
        if still_at(&file, &path)? {
            // For people only: a full disk must not stop the write that may be what mends the node.
            let line = format!("{} {who}\n", std::process::id());
            let _ = file.set_len(0).and_then(|()| file.write_all_at(line.as_bytes(), 0));
            return Ok(Attempt::Held(MasterLock { file }));
        }
    }
}

/// The lock of the master config, waited for as long as `patience`.
///
/// # Errors
/// The reason as one sentence, with who holds it.
#[expect(clippy::disallowed_methods, reason = "the wait for a lock has a deadline")]
pub fn lock(run_dir: &Path, who: &str, patience: Duration) -> Result<MasterLock, String> {
    let mut holder = String::new();
    let mut attempt = || match try_lock(run_dir, who) {
        Ok(Attempt::Held(lock)) => Some(Ok(lock)),
        Ok(Attempt::Busy(by)) => {
            holder = by;
            None
        }
        Err(error) => Some(Err(error.story())),
    };
    let path = lock_path(run_dir);
    let held = attempt().or_else(|| watch::until(std::slice::from_ref(&path), Instant::now() + patience, &mut attempt));
    held.unwrap_or_else(|| {
        Err(format!("{} is held by {holder:?} for more than {} s", path.display(), patience.as_secs()))
    })
}

/// What forbids to write `text`: what the run time would refuse, as `meta-cni validate` says it; and what only we never write.
fn refused(text: &[u8]) -> Result<(), String> {
    let findings = errors(Kind::Master, &Document::of(FILE_NAME, text), &Profiles::with_overrides(Vec::new()));
    if let Some(finding) = findings.into_iter().find(|finding| finding.refused) {
        return Err(finding.message);
    }
    lint(text).map(drop)
}

/// True while a cleanup is under way: nobody writes the master config then.
#[must_use]
pub fn is_removing(run_dir: &Path) -> bool {
    std::fs::symlink_metadata(run_dir.join("removing")).is_ok()
}

/// Ends what [`is_removing`] tells of; false when there was none.
///
/// # Errors
/// [`StoreError`] when its file cannot be removed.
pub fn end_removing(run_dir: &Path) -> Result<bool, StoreError> {
    let was = is_removing(run_dir);
    remove(&run_dir.join("removing")).map(|()| was)
}

/// The master config in `dir`; `None` when there is none.
///
/// # Errors
/// [`StoreError`] when it is there and cannot be read.
pub fn current(dir: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    read(&dir.join(FILE_NAME), Owner::Admin, MOST_CONFIG)
}

impl MasterLock {
    /// Puts `text` into `dir` as master config, unless that is what is there, and remembers it.
    ///
    /// # Errors
    /// [`StoreError`] naming the step; the file is as it was then. Also when `text` must not be written (D6).
    pub fn write(&self, dir: &Path, text: &str, places: Places<'_>) -> Result<Written, StoreError> {
        let path = dir.join(FILE_NAME);
        refused(text.as_bytes()).map_err(|why| StoreError::refused(&path, format!("is not written: {why}")))?;
        // Looked at under the lock: `cleanup` takes it too.
        if is_removing(places.run_dir) {
            return Ok(Written::Removing);
        }
        self.tidy(dir)?;
        let same = is_plain(&path) && current(dir).ok().flatten().is_some_and(|bytes| bytes == text.as_bytes());
        if !same {
            // Whoever made a directory of it: nothing else takes an empty one away.
            remove_if_empty(&path);
            atomic::write_by_rename(&path, text.as_bytes())?;
        }
        self.remember(places.state_dir, text);
        Ok(if same { Written::Unchanged } else { Written::Changed })
    }

    /// Removes temporary files of writers that died: who holds the lock is the only one alive.
    ///
    /// # Errors
    /// [`StoreError`] when the directory cannot be listed, or one cannot be removed.
    pub fn tidy(&self, dir: &Path) -> Result<(), StoreError> {
        debug_assert!(self.file.metadata().is_ok());
        atomic::tidy(&dir.join(FILE_NAME))
    }

    /// Without it plugins that others appended are lost with the file itself, and no more.
    fn remember(&self, state_dir: &Path, text: &str) {
        let path = state_dir.join("master.json");
        let sealed = seal(&Remembered { text: text.to_owned() }).map_err(io::Error::other);
        let written = sealed.map_err(StoreError::io("seal", &path)).and_then(|sealed| {
            let known = read(&path, Owner::Us, MOST_STATE).ok().flatten();
            if known.is_some_and(|known| known == sealed.as_bytes()) {
                return Ok(());
            }
            atomic::write(&path, sealed.as_bytes(), Survives::Power)
        });
        if let Err(error) = written {
            tracing::warn!(error = error.story(), "the master config is not remembered");
        }
    }
}

/// Where else a write looks.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// `runDir`.
    pub run_dir: &'a Path,
    /// `stateDir`.
    pub state_dir: &'a Path,
}

/// The master config that was last written, if it is known.
#[must_use]
pub fn remembered(state_dir: &Path) -> Option<String> {
    let bytes = read(&state_dir.join("master.json"), Owner::Us, MOST_STATE).ok().flatten()?;
    unseal::<Remembered>(&bytes).ok().map(|remembered| remembered.text)
}

/// A link is replaced by the file itself, so that what it leads to cannot change it.
fn is_plain(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::super::list;
    use super::*;

    const TEXT: &str =
        r#"{"cniVersion":"1.0.0","name":"meta-cni","plugins":[{"type":"meta-cni","clusterNetwork":"/x/10-a.conf"}]}"#;

    fn held(run: &Path) -> MasterLock {
        // A process that another test starts has the lock's descriptor until it is another program.
        for _ in 0..1_000_000 {
            if let Attempt::Held(lock) = try_lock(run, "test").unwrap() {
                return lock;
            }
        }
        panic!("the lock is held")
    }

    #[test]
    fn d3_who_waits_is_told_who_holds_the_lock_and_a_lock_file_that_was_replaced_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let first = held(dir.path());
        match try_lock(dir.path(), "other").unwrap() {
            Attempt::Busy(holder) => assert_eq!(holder, format!("{} test", std::process::id())),
            Attempt::Held(_) => panic!("two at once"),
        }
        drop(first);
        let old = held(dir.path());
        std::fs::remove_file(lock_path(dir.path())).unwrap();
        let _new = held(dir.path());
        drop(old);
        assert!(matches!(try_lock(dir.path(), "third").unwrap(), Attempt::Busy(_)));
    }

    #[test]
    fn d1_unchanged_content_is_not_rewritten_and_leftovers_of_dead_writers_go() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (run, state, conf) = (dir.path().join("run"), dir.path().join("state"), dir.path().join("conf"));
        let places = Places { run_dir: &run, state_dir: &state };
        let lock = held(&run);
        std::fs::create_dir(&conf).unwrap();
        std::fs::write(conf.join(".00-meta-cni.conflist.abc.tmp"), "{").unwrap();
        std::fs::write(conf.join(".other.tmp"), "{").unwrap();
        assert_eq!(lock.write(&conf, TEXT, places).unwrap(), Written::Changed);
        let inode = || std::fs::metadata(conf.join(FILE_NAME)).unwrap().ino();
        let first = inode();
        assert_eq!(lock.write(&conf, TEXT, places).unwrap(), Written::Unchanged);
        assert_eq!(inode(), first);
        assert_eq!(list(&conf).unwrap(), [".other.tmp", FILE_NAME]);
        assert_eq!(remembered(&state).as_deref(), Some(TEXT));
        std::fs::write(run.join("removing"), "").unwrap();
        assert_eq!(lock.write(&conf, &TEXT.replace("10-a", "10-b"), places).unwrap(), Written::Removing);
        assert_eq!(current(&conf).unwrap().unwrap(), TEXT.as_bytes());
    }

    #[test]
    fn d6_a_nested_master_config_is_never_written() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places { run_dir: dir.path(), state_dir: dir.path() };
        let nested = TEXT.replace("}]}", r#"},{"type":"x","delegates":[{"type":"meta-cni"}]}]}"#);
        let error = held(dir.path()).write(dir.path(), &nested, places).unwrap_err().story();
        assert!(error.contains("/plugins/1/delegates/0/type"), "{error}");
        assert!(current(dir.path()).unwrap().is_none());
    }
}
