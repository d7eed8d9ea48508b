//! Waits until a question has an answer (P10): a change event says nothing but "look again".
//!
//! The watch is set on directories first, then the question is asked; on any event, or after a while, it is asked again
//! until there is an answer or the time is up. Lost, merged or false events cannot matter. No meaning of what is watched.
#![expect(clippy::disallowed_methods, reason = "the edge that owns waiting: the clock")]

pub mod lookout;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use notify::event::AccessKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// How often the question is asked where events cannot be had: no inotify instance is left, or a directory is missing.
const POLL: Duration = Duration::from_millis(250);

/// How often it is asked without an event while everything is watched, in case one is lost.
const TICK: Duration = Duration::from_secs(1);

/// Asks `question` until it answers, at the latest at `deadline`, whenever something in the directories of `paths` changes.
pub fn until<T>(paths: &[PathBuf], deadline: Instant, mut question: impl FnMut() -> Option<T>) -> Option<T> {
    let (sender, events) = channel();
    let watcher = notify::recommended_watcher(move |event| {
        if !is_a_look(&event) {
            // The other end is gone only when the wait is over.
            let _ = sender.send(());
        }
    });
    let mut watcher = watcher.inspect_err(|error| tracing::warn!(%error, "no inotify, so files are polled")).ok();
    let mut watched = BTreeSet::new();
    loop {
        // Each time: a directory may have come since.
        let interval = watcher.as_mut().map_or(POLL, |watcher| watch_all(watcher, paths, &mut watched));
        if let Some(answer) = question() {
            return Some(answer);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        match events.recv_timeout(left.min(interval)) {
            // A burst of events is one question.
            Ok(()) => while events.try_recv().is_ok() {},
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(left.min(interval)),
        }
    }
}

/// True if somebody opened something: the question itself does, and would be asked again without end.
fn is_a_look(event: &notify::Result<Event>) -> bool {
    matches!(event, Ok(Event { kind: EventKind::Access(AccessKind::Open(_)), .. }))
}

/// Puts every path's directory under watch that is not in `watched` yet; gives how often to ask without an event.
fn watch_all(watcher: &mut RecommendedWatcher, paths: &[PathBuf], watched: &mut BTreeSet<PathBuf>) -> Duration {
    let mut interval = TICK;
    for path in paths {
        let dir = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(Path::new("/")) };
        if watched.contains(dir) {
            continue;
        }
        match watcher.watch(dir, RecursiveMode::NonRecursive) {
            Ok(()) => drop(watched.insert(dir.to_owned())),
            Err(error) => {
                tracing::debug!(%error, dir = %dir.display(), "cannot be watched, so it is polled");
                interval = POLL;
            }
        }
    }
    interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_appears_is_seen_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let writer = std::thread::spawn({
            let path = path.clone();
            move || {
                std::thread::sleep(Duration::from_millis(100));
                std::fs::write(path, "").unwrap();
            }
        });
        let start = Instant::now();
        let seen = until(std::slice::from_ref(&path), start + Duration::from_secs(10), || path.exists().then_some(()));
        assert!(seen.is_some());
        assert!(start.elapsed() < Duration::from_millis(900), "by event, not by tick: {:?}", start.elapsed());
        writer.join().unwrap();
    }

    #[test]
    fn a_file_in_a_directory_that_came_later_is_seen_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("later");
        let writer = std::thread::spawn({
            let place = place.clone();
            move || {
                std::thread::sleep(Duration::from_millis(100));
                std::fs::create_dir(&place).unwrap();
                std::thread::sleep(Duration::from_millis(100));
                std::fs::write(place.join("x"), "").unwrap();
            }
        });
        let start = Instant::now();
        let question = || place.join("x").exists().then_some(());
        assert!(until(std::slice::from_ref(&place), start + Duration::from_secs(10), question).is_some());
        assert!(start.elapsed() < Duration::from_millis(900), "by event, not by tick: {:?}", start.elapsed());
        writer.join().unwrap();
    }

    #[test]
    fn a_question_that_reads_what_is_watched_is_no_event() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "").unwrap();
        let mut asked = 0;
        let deadline = Instant::now() + Duration::from_millis(500);
        let answer = until(std::slice::from_ref(&path), deadline, || {
            asked += 1;
            let _ = (std::fs::read(&path), std::fs::read_dir(dir.path()).unwrap().count());
            None::<()>
        });
        assert!(answer.is_none());
        // At the start and at the end.
        assert!(asked <= 3, "asked {asked} times");
    }

    #[test]
    fn the_wait_ends_at_the_deadline_also_where_nothing_can_be_watched() {
        let start = Instant::now();
        assert!(until(&["/nowhere/at/all".into()], start + Duration::from_millis(50), || None::<()>).is_none());
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
