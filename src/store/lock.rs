//! Locks: the one place that knows fs2, behind values whose drop releases.
//!
//! A sandbox's lock is inherited by everything the plugin starts, so it is held until the last of them died; its content
//! says whom to end (docs/state.md). Its file is unlinked only while held, so whoever gets it looks whether it is still
//! the file at that path.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fs2::FileExt as _;

use crate::cni::{ContainerId, Operation, PluginType};
use crate::plan::record::ProcessMark;

use super::records::Records;
use super::{Owner, StoreError, list, make_dir, read};

/// The held lock of a sandbox.
#[derive(Debug)]
pub struct SandboxLock {
    file: File,
    path: PathBuf,
    written: AtomicU64,
}

/// What the content of a lock says of its holder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockHolder {
    /// The plugin call, and what it does.
    pub call: Option<(ProcessMark, Operation)>,
    /// Plugins it started, leaders of their groups.
    pub runs: Vec<ProcessMark>,
    /// When a plugin was announced whose process is not known: the holder died in between, or is there right now.
    pub starting: Option<u64>,
}

/// Whether the lock was had.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours.
    Held(SandboxLock),
    /// Somebody holds it: device and inode of the file, to find out who.
    Busy(u64, u64),
}

/// Tries to lock the sandbox, without waiting. The content is emptied and the calling process written in.
///
/// # Errors
/// [`StoreError`] when the file cannot be made, locked or written.
pub fn try_sandbox(
    run_dir: &Path,
    id: &ContainerId,
    call: ProcessMark,
    operation: Operation,
) -> Result<Attempt, StoreError> {
    let path = path_of(run_dir, id);
    loop {
        let file = open(&path)?;
        match file.try_lock_exclusive() {
            Ok(()) => {}
            Err(error) if is_contended(&error) => {
                let metadata = file.metadata().map_err(StoreError::io("look at", &path))?;
                return Ok(Attempt::Busy(metadata.dev(), metadata.ino()));
            }
            Err(error) => return Err(StoreError::io("lock", &path)(error)),
        }
        if !still_at(&file, &path)? {
            continue;
        }
        inherit(&file).map_err(StoreError::io("share", &path))?;
        file.set_len(0).map_err(StoreError::io("empty", &path))?;
        let lock = SandboxLock { file, path, written: AtomicU64::new(0) };
        let line = format!("call {} {} {operation}\n", call.pid, call.seen);
        if let Err(error) = lock.append(&line) {
            // A full disk: the file that was made says nothing, and nobody would take it away.
            lock.unlink();
            return Err(StoreError::io("write", &lock.path)(error));
        }
        return Ok(Attempt::Held(lock));
    }
}

/// What the lock's content says now; nothing when there is no such file.
///
/// # Errors
/// [`StoreError`] when it is there and cannot be read.
pub fn holder(run_dir: &Path, id: &ContainerId) -> Result<LockHolder, StoreError> {
    Ok(parse(&read(&path_of(run_dir, id), Owner::Us, 64 << 10)?.unwrap_or_default()))
}

impl SandboxLock {
    /// Notes that `plugin` is about to be started.
    ///
    /// # Errors
    /// The file system's: without the note nobody could end the plugin, so it must not be started.
    pub fn note_start(&self, seen: u64, plugin: &PluginType) -> io::Result<()> {
        self.append(&format!("start {seen} {plugin}\n"))
    }

    /// Notes that `plugin` runs as `process`.
    ///
    /// # Errors
    /// The file system's.
    pub fn note_run(&self, process: ProcessMark, plugin: &PluginType) -> io::Result<()> {
        self.append(&format!("run {} {} {plugin}\n", process.pid, process.seen))
    }

    /// True if the file at the path is still this one: nobody took it away.
    #[must_use]
    pub fn is_current(&self) -> bool {
        still_at(&self.file, &self.path).unwrap_or(true)
    }

    /// Removes the file, held as it is: the next call makes a new one. One that another call has made by now is not ours.
    pub fn unlink(&self) {
        if self.is_current() {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Removes the file unless the sandbox has records, so that a call which leaves nothing leaves no lock file either.
    pub fn unlink_unless_needed(&self, records: &Records, id: &ContainerId) {
        // Whoever died before us may have left a half-written file; under the lock nobody writes but us.
        if let Err(error) = records.tidy(id) {
            tracing::warn!(error = error.story(), "left behind");
        }
        if records.of(id).is_ok_and(|left| left.records.is_empty() && left.damaged.is_empty()) {
            self.unlink();
        }
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let at = self.written.fetch_add(line.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(line.as_bytes(), at)
    }
}

/// The sandboxes that have a lock file.
///
/// # Errors
/// [`StoreError`] when the directory cannot be listed.
pub fn sandboxes(run_dir: &Path) -> Result<Vec<ContainerId>, StoreError> {
    let names = list(&run_dir.join("sandboxes"))?.into_iter();
    Ok(names.filter_map(|name| ContainerId::new(name.strip_suffix(".lock")?).ok()).collect())
}

/// Removes the lock file of a sandbox that is deleted, whoever still holds it.
pub fn forget(run_dir: &Path, id: &ContainerId) {
    let _ = std::fs::remove_file(path_of(run_dir, id));
}

/// Who holds the lock on ADDs under way (docs/state.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adding {
    /// One of them, beside others.
    One,
    /// Who needs that there are none.
    None,
}

/// Tries to hold the lock on ADDs under way, without waiting; `None` when it cannot be had now.
///
/// # Errors
/// [`StoreError`] when the file cannot be made or locked.
pub fn adding(run_dir: &Path, who: Adding) -> Result<Option<File>, StoreError> {
    let path = run_dir.join("adding");
    match who {
        Adding::One => try_by(&path, fs2::FileExt::try_lock_shared),
        Adding::None => try_file(&path),
    }
}

/// Tries to lock the file at `path`, which is made if it is missing, without waiting; `None` when somebody else holds it.
///
/// # Errors
/// [`StoreError`] when the file cannot be made or locked.
pub fn try_file(path: &Path) -> Result<Option<File>, StoreError> {
    try_by(path, fs2::FileExt::try_lock_exclusive)
}

fn try_by(path: &Path, lock: fn(&File) -> io::Result<()>) -> Result<Option<File>, StoreError> {
    let file = open(path)?;
    match lock(&file) {
        Ok(()) => Ok(Some(file)),
        Err(error) if is_contended(&error) => Ok(None),
        Err(error) => Err(StoreError::io("lock", path)(error)),
    }
}

fn path_of(run_dir: &Path, id: &ContainerId) -> PathBuf {
    run_dir.join("sandboxes").join(format!("{id}.lock"))
}

pub(super) fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_dir(path.parent().unwrap_or(path))?;
            options.open(path)
        }
        opened => opened,
    }
    .map_err(StoreError::io("open", path))
}

/// True if `file` is still what `path` names.
pub(super) fn still_at(file: &File, path: &Path) -> Result<bool, StoreError> {
    let ours = file.metadata().map_err(StoreError::io("look at", path))?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("look at", path)(error)),
    }
}

/// Lets what we start inherit the descriptor.
fn inherit(file: &File) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    fcntl(file, FcntlArg::F_SETFD(FdFlag::empty())).map(drop).map_err(io::Error::from)
}

/// Total: a line that is not one is left out, and so is the last one without its line feed.
fn parse(bytes: &[u8]) -> LockHolder {
    let mut holder = LockHolder::default();
    let text = String::from_utf8_lossy(bytes);
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
        let mark = || {
            let pid = number(1).and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1)?;
            Some(ProcessMark { pid, seen: number(2)? })
        };
        match words.first() {
            Some(&"call") => {
                let named = |operation: &Operation| words.get(3) == Some(&operation.as_str());
                holder.call = mark().zip(Operation::ALL.into_iter().find(named));
            }
            Some(&"start") => holder.starting = number(1),
            Some(&"run") => {
                holder.starting = None;
                holder.runs.extend(mark());
            }
            _ => {}
        }
    }
    holder
}

/// True if somebody else has the lock.
pub(super) fn is_contended(error: &io::Error) -> bool {
    error.raw_os_error() == fs2::lock_contended_error().raw_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ContainerId {
        ContainerId::new("c1").unwrap()
    }

    const OURS: ProcessMark = ProcessMark { pid: 42, seen: 7 };

    fn take(run: &Path) -> Attempt {
        try_sandbox(run, &id(), OURS, Operation::Add).unwrap()
    }

    #[test]
    fn f9_a_held_lock_is_busy_and_says_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let Attempt::Held(lock) = take(dir.path()) else { panic!("free") };
        let plugin = PluginType::new("bridge").unwrap();
        lock.note_start(8, &plugin).unwrap();
        let starting = LockHolder { call: Some((OURS, Operation::Add)), runs: vec![], starting: Some(8) };
        assert_eq!(holder(dir.path(), &id()).unwrap(), starting);
        let run = ProcessMark { pid: 43, seen: 9 };
        lock.note_run(run, &plugin).unwrap();
        assert_eq!(holder(dir.path(), &id()).unwrap(), LockHolder { runs: vec![run], starting: None, ..starting });
        assert!(matches!(take(dir.path()), Attempt::Busy(..)));
        lock.unlink();
        drop(lock);
        assert!(matches!(take(dir.path()), Attempt::Held(_)));
    }

    #[test]
    fn f9_a_lock_that_was_unlinked_meanwhile_is_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let Attempt::Held(first) = take(dir.path()) else { panic!("free") };
        first.unlink();
        assert!(matches!(take(dir.path()), Attempt::Held(_)), "the file at the path is free");
    }

    #[test]
    fn f9_damaged_content_tells_what_it_can() {
        for (text, calls, runs) in [
            ("", 0, 0),
            ("call 1 2 ADD\n", 0, 0),
            ("call 42 7 ADD", 0, 0),
            ("call 42 7 ADD\nrun 43 x\nrun 43 9 b\nrun 4", 1, 1),
            ("run -1 3 b\nrun 99999999999 3 b\n\u{0}\n", 0, 0),
        ] {
            let holder = parse(text.as_bytes());
            assert_eq!((usize::from(holder.call.is_some()), holder.runs.len()), (calls, runs), "{text:?}");
        }
    }
}
