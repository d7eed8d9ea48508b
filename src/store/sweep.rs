//! When a sweep is due, and that there is one at a time: `<runDir>/sweep`, `<runDir>/sweeping` (docs/state.md).

use std::fs::{File, FileTimes, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::plan::leases::Looked;

use super::lock::{open, try_file};
use super::{Owner, StoreError, identity, list, read, remove};

/// Nobody sets a time further away: one that is was set by the calendar, as that of a file which was just made.
const FURTHEST: u64 = 2 * 3600;

/// Bytes of its content at most: eleven for each network.
const MOST: u64 = 256 << 10;

/// How old a temporary file is that nobody is about to rename any more.
const STALE: Duration = Duration::from_secs(600);

/// True if a sweep is due at `now`, in seconds of `CLOCK_BOOTTIME`. One look at one file: every plugin call asks.
#[must_use]
pub fn is_due(run_dir: &Path, now: u64) -> bool {
    match std::fs::symlink_metadata(path_of(run_dir)) {
        Ok(metadata) => due(&metadata, now),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Of all that find a sweep due at `now`, the one that starts it gets true: for the others it is due at `until` then.
///
/// # Errors
/// [`StoreError`] when that cannot be told to the others.
pub fn claim(run_dir: &Path, now: u64, until: u64) -> Result<bool, StoreError> {
    let path = path_of(run_dir);
    let Some(file) = try_file(&path)? else { return Ok(false) };
    let metadata = file.metadata().map_err(StoreError::io("look at", &path))?;
    if !due(&metadata, now) {
        return Ok(false);
    }
    set_time(&file, &path, until).map(|()| true)
}

/// A sweep is due at `at`, unless one is due earlier.
///
/// # Errors
/// [`StoreError`] when the time is there and cannot be set.
pub fn bring_forward(run_dir: &Path, at: u64) -> Result<(), StoreError> {
    let path = path_of(run_dir);
    // A named pipe at this path must not hold us up.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        // Missing means now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io("open", &path)(error)),
    };
    let metadata = file.metadata().map_err(StoreError::io("look at", &path))?;
    if due(&metadata, at) { Ok(()) } else { set_time(&file, &path, at) }
}

/// A sweep has ended: the next is due at `at`, and `looked` is what has been looked through by now.
///
/// # Errors
/// [`StoreError`] when that cannot be written; a sweep is due soon then.
pub fn ended(run_dir: &Path, at: u64, looked: &Looked) -> Result<(), StoreError> {
    let path = path_of(run_dir);
    let mut file = open(&path)?;
    let text = serde_json::to_vec(looked).map_err(|error| StoreError::refused(&path, error.to_string()))?;
    // What cannot be read says nothing, and is written anew.
    let known = read(&path, Owner::Us, MOST).ok().flatten().unwrap_or_default();
    if known != text {
        let written = file.set_len(0).and_then(|()| file.write_all(&text));
        // On a full disk too the next is due at its time, and not at once.
        set_time(&file, &path, at)?;
        return written.map_err(StoreError::io("write", &path));
    }
    set_time(&file, &path, at)
}

/// What has been looked through in `epoch`.
#[must_use]
pub fn looked(run_dir: &Path, epoch: &str) -> Looked {
    Looked::read(&read(&path_of(run_dir), Owner::Us, MOST).ok().flatten().unwrap_or_default(), epoch)
}

/// Holds the lock of a sweep under way; `None` when somebody else has it.
///
/// # Errors
/// [`StoreError`] when the file cannot be made or locked.
pub fn sweeping(run_dir: &Path) -> Result<Option<File>, StoreError> {
    try_file(&run_dir.join("sweeping"))
}

/// Device and inode of the file that [`sweeping`] locks.
#[must_use]
pub fn sweeping_file(run_dir: &Path) -> Option<(u64, u64)> {
    identity(&run_dir.join("sweeping"))
}

/// When the next sweep is due, in seconds of `CLOCK_BOOTTIME`, and how long ago that was said; `None` when nobody has said it at
/// `now`.
#[must_use]
pub fn said(run_dir: &Path, now: u64) -> Option<(u64, Option<Duration>)> {
    let metadata = std::fs::symlink_metadata(path_of(run_dir)).ok()?;
    let at = u64::try_from(metadata.mtime()).ok().filter(|at| *at <= now.saturating_add(FURTHEST))?;
    let when = u64::try_from(metadata.ctime()).ok().map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    Some((at, when.and_then(ago)))
}

/// Temporary files in `dir` whose writers died long ago.
#[must_use]
pub fn stale_temporaries(dir: &Path) -> Vec<PathBuf> {
    let names = list(dir).unwrap_or_default().into_iter();
    let temporary =
        names.filter(|name| name.starts_with('.') && (name.ends_with(".tmp") || name.starts_with(".epoch.")));
    temporary.map(|name| dir.join(name)).filter(|path| age(path).is_some_and(|age| age > STALE)).collect()
}

/// Removes temporary files; gives what could not be.
#[must_use]
pub fn remove_all(paths: &[PathBuf]) -> Vec<StoreError> {
    paths.iter().filter_map(|path| remove(path).err()).collect()
}

/// For how long the file has been as it is, by the calendar.
fn age(path: &Path) -> Option<Duration> {
    ago(std::fs::symlink_metadata(path).ok()?.modified().ok()?)
}

fn ago(time: SystemTime) -> Option<Duration> {
    SystemTime::now().duration_since(time).ok()
}

/// When the file was last written, in seconds since 1970 by the clock of then.
#[must_use]
pub fn written(path: &Path) -> Option<i64> {
    std::fs::symlink_metadata(path).ok().map(|metadata| metadata.mtime())
}

fn due(metadata: &Metadata, now: u64) -> bool {
    let at = u64::try_from(metadata.mtime()).unwrap_or_default();
    at <= now || at > now.saturating_add(FURTHEST)
}

fn set_time(file: &File, path: &Path, at: u64) -> Result<(), StoreError> {
    let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(at));
    file.set_times(times).map_err(StoreError::io("set the time of", path))
}

fn path_of(run_dir: &Path) -> PathBuf {
    run_dir.join("sweep")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f5_a_sweep_is_due_when_nobody_said_otherwise_and_at_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        assert!(is_due(&run, 100), "a new epoch");
        bring_forward(&run, 50).unwrap();
        assert!(!run.exists(), "now is early enough");
        ended(&run, 700, &Looked::default()).unwrap();
        assert!(!is_due(&run, 699) && is_due(&run, 700));
        bring_forward(&run, 800).unwrap();
        assert!(!is_due(&run, 699), "later than that it does not become");
        bring_forward(&run, 300).unwrap();
        assert!(!is_due(&run, 299) && is_due(&run, 300));
    }

    #[test]
    fn of_all_that_find_a_sweep_due_one_starts_it() {
        let dir = tempfile::tempdir().unwrap();
        let claims = || (0..50).filter(|_| claim(dir.path(), 100, 110).unwrap()).count();
        assert_eq!((claims(), is_due(dir.path(), 109), is_due(dir.path(), 110)), (1, false, true));
        ended(dir.path(), 90, &Looked::default()).unwrap();
        let started: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(claims)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(started, 1);
    }

    #[test]
    fn a_time_of_the_calendar_is_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("sweep"), "").unwrap();
        assert!(is_due(dir.path(), 100), "made by a call that died before it could say when");
    }

    #[test]
    fn f5_what_was_looked_through_is_kept_with_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let places = [PathBuf::from("/a")];
        let done = looked(dir.path(), "e").after(&places, true, 1);
        for at in [1, 2] {
            ended(dir.path(), at, &done).unwrap();
            assert_eq!(looked(dir.path(), "e"), done);
            assert!(is_due(dir.path(), at) && !is_due(dir.path(), at - 1));
        }
        assert_ne!(looked(dir.path(), "f"), done);
        // What nobody wrote is written over.
        std::fs::write(dir.path().join("sweep"), vec![b'x'; 300 << 10]).unwrap();
        ended(dir.path(), 3, &done).unwrap();
        assert_eq!(looked(dir.path(), "e"), done);
        assert!(!is_due(dir.path(), 2));
    }

    #[test]
    fn temporary_files_go_when_they_are_old() {
        let dir = tempfile::tempdir().unwrap();
        for (name, age) in [(".a.json.x.tmp", 700), (".epoch.y", 700), (".b.json.x.tmp", 0), ("c.tmp", 700)] {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        let stale = stale_temporaries(dir.path());
        let names: Vec<_> = stale.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, [".a.json.x.tmp", ".epoch.y"]);
    }
}
