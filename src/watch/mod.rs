//! Waits until a question has an answer (P10): a change event says nothing but "look again".
//!
//! The watch is set on directories first, then the question is asked; on any event, or after a while, it is asked again
//! until there is an answer or the time is up. Lost, merged or false events cannot matter. No meaning of what is watched.
#![expect(clippy::disallowed_methods, reason = "the edge that owns waiting: the clock")]

pub mod lookout;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::event::AccessKind;
use notify::{Event, EventKind};

use lookout::Lookout;

/// How often the question is asked where events cannot be had: no inotify instance or watch is left.
const POLL: Duration = Duration::from_millis(250);

/// How often it is asked without an event while everything is watched, in case one is lost.
const TICK: Duration = Duration::from_secs(1);

/// Asks `question` until it answers, at the latest at `deadline`, whenever something in the directories of `paths` changes; for a
/// directory that is not there, in the next above it that is.
pub fn until<T>(paths: &[PathBuf], deadline: Instant, question: impl FnMut() -> Option<T>) -> Option<T> {
    until_by(TICK, paths, deadline, question)
}

/// The same, asked at least once each `tick`.
fn until_by<T>(
    tick: Duration,
    paths: &[PathBuf],
    deadline: Instant,
    mut question: impl FnMut() -> Option<T>,
) -> Option<T> {
    let mut lookout = Lookout::default();
    let mut said = false;
    loop {
        // Each time: a directory may have come, or gone, since.
        let dir = |path: &PathBuf| {
            if path.is_dir() { path.clone() } else { path.parent().unwrap_or(Path::new("/")).to_owned() }
        };
        lookout.over(&paths.iter().map(dir).collect::<BTreeSet<_>>());
        if let Some(why) = lookout.polling().filter(|_| !std::mem::replace(&mut said, true)) {
            tracing::warn!("{why}, so files are polled");
        }
        if let Some(answer) = question() {
            return Some(answer);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        lookout.wait(Duration::ZERO, left.min(tick));
    }
}

/// True if somebody opened something: the question itself does, and would be asked again without end.
fn is_a_look(event: &notify::Result<Event>) -> bool {
    matches!(event, Ok(Event { kind: EventKind::Access(AccessKind::Open(_)), .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When it is asked for the last time, and the first time without an event.
    const LAST: Duration = Duration::from_secs(120);

    /// Before that, however busy the machine is.
    const BY_EVENT: Duration = Duration::from_secs(60);

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
        let question = || path.exists().then_some(());
        assert!(until_by(LAST, std::slice::from_ref(&path), start + LAST, question).is_some());
        assert!(start.elapsed() < BY_EVENT, "by event, not by tick: {:?}", start.elapsed());
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
        assert!(until_by(LAST, std::slice::from_ref(&place), start + LAST, question).is_some());
        assert!(start.elapsed() < BY_EVENT, "by event, not by tick: {:?}", start.elapsed());
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
        assert!(start.elapsed() < BY_EVENT);
    }
}
