//! What host-local has on disk: the leases of a directory, each with the time it was written; and since when the kernel runs, to
//! tell those of an earlier one. All of it is only read, but for leases that are nobody's.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statfs, statx};

use crate::plan::leases::Lease;

use super::lock::try_file;
use super::{Owner, StoreError, exists, list, read, remove};

/// Bytes of a lease at most: a container ID and an interface name.
const MOST: u64 = 4 << 10;

/// Leases of one network that are looked at at most: as many as a /16 has.
const MOST_LEASES: usize = 1 << 16;

/// What `statfs` says of a file system that does not outlive the kernel (`TMPFS_MAGIC`).
const TMPFS: u64 = 0x0102_1994;

/// A lease and its file.
#[derive(Debug)]
pub struct Leased {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub lease: Lease,
    /// When it was written, in seconds since 1970.
    pub written: i64,
}

impl Leased {
    /// True while the address is reserved.
    #[must_use]
    pub fn stands(&self) -> bool {
        exists(&self.path)
    }
}

/// The leases in `dir`, in order of their files' names; a file that cannot be read for good says nothing of its owner and is left
/// out.
///
/// # Errors
/// [`StoreError`] when the directory cannot be listed, or a file not be read for now.
pub fn leases(dir: &Path) -> Result<Vec<Leased>, StoreError> {
    let names = list(dir)?;
    // Its name first: the other files are many times as large as they are of use.
    let addresses = names.into_iter().filter(|name| name.parse::<std::net::IpAddr>().is_ok());
    addresses.take(MOST_LEASES).filter_map(|name| leased(dir, &name).transpose()).collect()
}

fn leased(dir: &Path, name: &str) -> Result<Option<Leased>, StoreError> {
    let path = dir.join(name);
    let bytes = match read(&path, Owner::Admin, MOST) {
        Err(error) if error.passes() => return Err(error),
        bytes => bytes.ok().flatten().unwrap_or_default(),
    };
    let written = std::fs::metadata(&path).map(|metadata| metadata.mtime());
    Ok(Lease::read(name, &bytes).zip(written.ok()).map(|(lease, written)| Leased { path, lease, written }))
}

/// Removes the leases in `dir` that say nothing of their owner, and gives how many; `None` while host-local is at work there.
///
/// host-local leaves one when it is killed between making the file and writing to it, and no DEL can ever release it. It does both
/// while it holds `<dir>/lock`: who holds that lock sees only those whose writer is dead.
///
/// # Errors
/// [`StoreError`] when the directory cannot be read, the lock not be used or a file not be removed.
pub fn release_unwritten(dir: &Path) -> Result<Option<usize>, StoreError> {
    if unwritten(dir)?.is_empty() {
        return Ok(Some(0));
    }
    let Some(_lock) = try_file(&dir.join("lock"))? else { return Ok(None) };
    let dead = unwritten(dir)?;
    dead.iter().try_for_each(|path| remove(path))?;
    Ok(Some(dead.len()))
}

fn unwritten(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let is_address = |name: &String| name.parse::<std::net::IpAddr>().is_ok();
    let paths = list(dir)?.into_iter().filter(is_address).map(|name| dir.join(name));
    // Zeros: the power failed before the kernel had written what was in it.
    let is_empty = |path: &PathBuf| {
        let seen = std::fs::symlink_metadata(path).is_ok_and(|seen| seen.is_file() && seen.len() <= MOST);
        seen && read(path, Owner::Admin, MOST)
            .is_ok_and(|bytes| bytes.is_some_and(|all| all.is_empty() || all.contains(&0)))
    };
    Ok(paths.filter(is_empty).collect())
}

/// The earliest time that the clock can have shown since the kernel started, in seconds since 1970.
///
/// What the kernel gives as its start is reckoned back from what the clock shows now: when the clock was set forward since, a
/// lease of this very kernel would look like an earlier one's. What lies in a file system that is younger than the kernel bears
/// the time that the clock showed then. `None` when there is no such file system at `/run` or `run_dir`.
#[must_use]
pub fn booted(run_dir: &Path) -> Option<i64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let reckoned: i64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let volatile = [Path::new("/run"), run_dir].into_iter().filter(|dir| is_volatile(dir));
    let shown = volatile.flat_map(earliest_in).min()?;
    Some(reckoned.min(shown))
}

fn is_volatile(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|system| u64::try_from(system.f_type).is_ok_and(|kind| kind == TMPFS))
}

/// When the oldest thing in `dir`, or `dir` itself, was made or last changed, by the clock of then. What is mounted there is
/// older than the file system may be, and left out.
fn earliest_in(dir: &Path) -> Option<i64> {
    let look = |path: &Path| {
        let wanted = StatxFlags::CTIME | StatxFlags::BTIME;
        let seen = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted).ok()?;
        let tells = StatxFlags::from_bits_retain(seen.stx_mask).contains(StatxFlags::BTIME);
        // Some file systems tell of none by a zero.
        let made = tells && seen.stx_btime.tv_sec > 0;
        let time = if made { seen.stx_btime.tv_sec.min(seen.stx_ctime.tv_sec) } else { seen.stx_ctime.tv_sec };
        Some(((seen.stx_dev_major, seen.stx_dev_minor), time))
    };
    let (device, own) = look(dir)?;
    let within = list(dir).unwrap_or_default().into_iter().filter_map(|name| look(&dir.join(name)));
    within.filter(|(other, _)| *other == device).map(|(_, time)| time).chain([own]).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f4_leases_are_read_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("10.0.0.3", "c2\r\nnet1"),
            ("10.0.0.2", "c1\r\neth0"),
            ("10.0.0.4", ""),
            ("lock", ""),
            ("last_reserved_ip.0", "10.0.0.3"),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::fs::create_dir(dir.path().join("10.0.0.5")).unwrap();
        std::fs::write(dir.path().join("10.0.0.6"), "c3\r\neth0 ".repeat(4096)).unwrap();
        let found = leases(dir.path()).unwrap();
        let seen: Vec<_> =
            found.iter().map(|one| (one.lease.address.to_string(), one.lease.container.as_str())).collect();
        assert_eq!(seen, [("10.0.0.2".to_owned(), "c1"), ("10.0.0.3".to_owned(), "c2")]);
        std::fs::remove_file(dir.path().join("10.0.0.2")).unwrap();
        assert_eq!(found.iter().map(Leased::stands).collect::<Vec<_>>(), [false, true]);
        assert!(leases(&dir.path().join("none")).unwrap().is_empty());
        assert!(leases(&dir.path().join("10.0.0.3")).is_err());
    }

    #[test]
    fn f2_a_lease_without_a_word_goes_only_when_nobody_writes_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, text) in
            [("10.0.0.2", "c1\r\neth0"), ("10.0.0.3", ""), ("fd00::3", "c\0\0"), ("last_reserved_ip.0", "")]
        {
            std::fs::write(at(name), text).unwrap();
        }
        std::fs::create_dir(at("10.0.0.4")).unwrap();
        std::os::unix::fs::symlink(at("last_reserved_ip.0"), at("10.0.0.5")).unwrap();
        let at_work = try_file(&at("lock")).unwrap();
        assert!(at_work.is_some());
        assert_eq!(release_unwritten(dir.path()).unwrap(), None);
        assert!(at("10.0.0.3").exists());
        drop(at_work);
        assert_eq!(release_unwritten(dir.path()).unwrap(), Some(2));
        let mut left = list(dir.path()).unwrap();
        left.sort();
        assert_eq!(left, ["10.0.0.2", "10.0.0.4", "10.0.0.5", "last_reserved_ip.0", "lock"]);
        // Where there is nothing of the kind, no lock is made.
        let clean = tempfile::tempdir().unwrap();
        assert_eq!(release_unwritten(clean.path()).unwrap(), Some(0));
        assert!(list(clean.path()).unwrap().is_empty());
        assert_eq!(release_unwritten(&at("none")).unwrap(), Some(0));
    }

    #[test]
    fn f5_the_kernel_started_before_anything_in_a_file_system_of_its_own() {
        // Where there is none, nothing is known.
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        std::fs::write(dir.path().join("epoch"), "").unwrap();
        let now = std::fs::metadata(dir.path().join("epoch")).unwrap().ctime();
        let booted = booted(dir.path()).unwrap();
        assert!(0 < booted && booted <= now, "{booted} {now}");
        assert!(is_volatile(dir.path()) && !is_volatile(Path::new("/proc")));
        assert!(earliest_in(dir.path()).is_some_and(|earliest| earliest <= now && earliest > now - 60));
    }
}
