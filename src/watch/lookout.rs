//! A watch that stays: for who asks one question for as long as it lives (P10).
//!
//! Directories are watched by what they are, not by their names alone: one that is replaced is watched anew. Where events
//! cannot be had (no instance, no watch left) the question is asked every 250 ms.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::{POLL, is_a_look};

/// Device, inode and, where the file system knows it, when it was made: ext4 gives the inode of a directory that went to the one that
/// is made in its place.
type Identity = (u64, u64, Option<SystemTime>);

/// Watches directories and tells when to look again.
#[derive(Default)]
pub struct Lookout {
    bell: Arc<Bell>,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, Identity>,
    /// Why events cannot be had for everything, if they cannot.
    polling: Option<String>,
}

/// What has happened since the last look. No event is worth more than one that something happened.
#[derive(Default)]
struct Bell {
    rung: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy)]
struct Rung {
    /// Something changed in a directory.
    event: bool,
    /// Somebody wants an answer at once.
    now: bool,
}

/// Ends a wait from another thread.
#[derive(Clone)]
pub struct Waker(Arc<Bell>);

impl Waker {
    /// The question is asked again at once.
    pub fn wake(&self) {
        self.0.ring(|rung| rung.now = true);
    }
}

impl Bell {
    fn ring(&self, what: impl FnOnce(&mut Rung)) {
        what(&mut self.rung.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until `is_enough` of what has rung, at the latest for `most`.
    fn wait(&self, most: Duration, is_enough: impl Fn(&Rung) -> bool) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(rung, most, |rung| !is_enough(rung)));
    }
}

impl Lookout {
    /// What ends a wait.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.bell))
    }

    /// Why it has to ask without events, if it has to.
    #[must_use]
    pub fn polling(&self) -> Option<&str> {
        self.polling.as_deref()
    }

    /// Watches these directories, and no others: for one that is not there, the next above it that is. To be called before each
    /// question; what changes from then on is an event.
    pub fn over(&mut self, dirs: &BTreeSet<PathBuf>) {
        self.polling = None;
        if self.watcher.is_none() {
            let bell = Arc::clone(&self.bell);
            let made = notify::recommended_watcher(move |event| {
                if !is_a_look(&event) {
                    bell.ring(|rung| rung.event = true);
                }
            });
            match made {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => {
                    self.polling = Some(format!("no inotify instance: {error}"));
                    return;
                }
            }
        }
        // A directory may come while those above it are looked at; then they are looked at again.
        for _ in 0..4 {
            let wanted: BTreeMap<PathBuf, Identity> = dirs.iter().filter_map(|dir| there(dir)).collect();
            if wanted == self.watched {
                return;
            }
            self.watch(&wanted);
        }
    }

    fn watch(&mut self, wanted: &BTreeMap<PathBuf, Identity>) {
        let Some(watcher) = &mut self.watcher else { return };
        self.watched.retain(|dir, identity| {
            let stays = wanted.get(dir) == Some(identity);
            if !stays {
                // The kernel may have ended the watch with the directory.
                let _ = watcher.unwatch(dir);
            }
            stays
        });
        self.polling = None;
        for (dir, identity) in wanted {
            if self.watched.contains_key(dir) {
                continue;
            }
            match watcher.watch(dir, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(dir.clone(), *identity)),
                Err(error) => self.polling = Some(format!("{} cannot be watched: {error}", dir.display())),
            }
        }
    }

    /// Waits for an event, at least `least` and at most `most` (250 ms where there may be none); true if it is time to look again,
    /// false if nothing happened for `most`. A waker is not held up.
    pub fn wait(&self, least: Duration, most: Duration) -> bool {
        let polls = self.polling.is_some();
        let most = if polls { most.min(POLL) } else { most };
        let start = Instant::now();
        self.bell.wait(least, |rung| rung.now);
        self.bell.wait(most.saturating_sub(start.elapsed()), |rung| rung.now || rung.event);
        let mut was = Rung::default();
        self.bell.ring(|rung| was = std::mem::take(rung));
        polls || was.now || was.event
    }
}

/// `dir`, or the next directory above it that is there, and which one that is.
fn there(dir: &Path) -> Option<(PathBuf, Identity)> {
    dir.ancestors().find_map(|dir| {
        let metadata = std::fs::metadata(dir).ok().filter(std::fs::Metadata::is_dir)?;
        Some((dir.to_owned(), (metadata.dev(), metadata.ino(), metadata.created().ok())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d15_a_directory_made_in_the_place_of_one_that_went_is_watched_also_when_it_has_its_inode() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("net.d");
        let dirs = BTreeSet::from([dir.clone(), root.path().to_owned()]);
        std::fs::create_dir(&dir).unwrap();
        let mut lookout = Lookout::default();
        lookout.over(&dirs);
        for round in 0..10 {
            std::fs::remove_dir_all(&dir).unwrap();
            std::fs::create_dir(&dir).unwrap();
            assert!(lookout.wait(Duration::ZERO, Duration::from_secs(30)), "seen from above");
            lookout.over(&dirs);
            // What is left to be told of the replacement is told by now: nothing else happens.
            while lookout.wait(Duration::ZERO, Duration::from_millis(200)) {}
            std::fs::write(dir.join("10-a.conf"), "{}").unwrap();
            assert!(lookout.wait(Duration::ZERO, Duration::from_secs(30)), "round {round}: not watched");
            assert_eq!(lookout.polling(), None);
        }
    }
}
