//! How often a file that somebody keeps taking away is put back: at once, and once a minute when that does not help (D10).
//! Pure: time comes in as how long the daemon has run.

use std::collections::VecDeque;
use std::time::Duration;

/// This many times within [`WINDOW`] are many.
const AT_ONCE: usize = 3;

/// How long a time counts, and how far apart things are done or said when there are many.
pub const WINDOW: Duration = Duration::from_secs(60);

/// A fight is over when nothing was to be restored for this long.
const PEACE: Duration = Duration::from_secs(150);

/// When something happened of late: within [`WINDOW`] of the last time.
#[derive(Debug, Clone, Default)]
pub struct Recent(VecDeque<Duration>);

impl Recent {
    /// It happened at `now`; true if that is many times.
    pub fn came(&mut self, now: Duration) -> bool {
        self.0.push_back(now);
        while self.0.front().is_some_and(|first| *first + WINDOW < now) {
            self.0.pop_front();
        }
        self.0.len() >= AT_ONCE
    }

    /// When it last happened.
    #[must_use]
    pub fn last(&self) -> Option<Duration> {
        self.0.back().copied()
    }

    /// It is as if it had never happened.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The restorations of late.
#[derive(Debug, Clone, Default)]
pub struct Fights {
    recent: Recent,
    /// Since when it is a fight.
    fighting: Option<Duration>,
}

impl Fights {
    /// How long to wait from `now` before the file is restored; zero: now.
    #[must_use]
    pub fn pause(&mut self, now: Duration) -> Duration {
        self.settle(now);
        match (self.fighting, self.recent.last()) {
            (Some(_), Some(last)) => (last + WINDOW).saturating_sub(now),
            _ => Duration::ZERO,
        }
    }

    /// The file was restored at `now`; true if that made it a fight.
    pub fn restored(&mut self, now: Duration) -> bool {
        self.settle(now);
        let begins = self.recent.came(now) && self.fighting.is_none();
        if begins {
            self.fighting = Some(now);
        }
        begins
    }

    /// True while it is a fight.
    #[must_use]
    pub fn is_on(&mut self, now: Duration) -> bool {
        self.settle(now);
        self.fighting.is_some()
    }

    fn settle(&mut self, now: Duration) {
        if self.recent.last().is_none_or(|last| last + PEACE < now) {
            self.recent.clear();
            self.fighting = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn d10_three_at_once_then_one_a_minute_then_peace() {
        let mut fights = Fights::default();
        for second in 0..3 {
            assert_eq!(fights.pause(at(second)), Duration::ZERO);
            assert_eq!(fights.restored(at(second)), second == 2);
        }
        assert_eq!(fights.pause(at(3)), at(59));
        // Once a minute for as long as it goes on, not three at once again.
        for minute in 1..10 {
            let now = at(2 + 60 * minute);
            assert_eq!(fights.pause(now), Duration::ZERO, "minute {minute}");
            assert!(!fights.restored(now) && fights.is_on(now));
            assert_eq!(fights.pause(now + at(1)), at(59));
        }
        let last = at(2 + 60 * 9);
        assert!(fights.is_on(last + at(150)));
        assert!(!fights.is_on(last + at(151)));
        assert_eq!(fights.pause(last + at(151)), Duration::ZERO);
    }

    #[test]
    fn d10_what_happens_now_and_then_is_no_fight() {
        let mut fights = Fights::default();
        for restoration in 0..20 {
            let now = at(restoration * 31);
            assert_eq!(fights.pause(now), Duration::ZERO);
            assert!(!fights.restored(now));
        }
    }
}
