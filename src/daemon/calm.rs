//! How often a line that comes and goes is said: the first times at once, and once a minute how often when that goes on, as a fight is
//! (D10). A line that was not said of late is always said at once. Pure: time comes in as how long the daemon has run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fights::{Recent, WINDOW};

/// What is said with a line the last time.
const OFTEN: &str = " (it comes and goes: from now on it is counted, and said once a minute)";

/// What is said when nothing is missing any more.
const RIGHT: &str = "the master config is in place and right";

/// Whether a line is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// As ever.
    Now,
    /// The last time for now.
    Last,
    /// It is counted.
    Not,
}

/// A line of which a minute is over.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// The line.
    pub line: String,
    /// How often it came since it was last said.
    pub times: usize,
    /// It did not come any more, and is said at once again.
    pub over: bool,
}

/// The lines of late.
#[derive(Debug, Clone, Default)]
pub struct Calm {
    lines: BTreeMap<String, Kept>,
}

#[derive(Debug, Clone, Default)]
struct Kept {
    /// When it came, but for what is counted.
    recent: Recent,
    /// When it was last told that it is counted, and how often it came since.
    counted: Option<(Duration, usize)>,
}

impl Calm {
    /// `line` came at `now`.
    #[must_use]
    pub fn came(&mut self, line: &str, now: Duration) -> Say {
        self.lines
            .retain(|_, line| line.counted.is_some() || line.recent.last().is_some_and(|last| last + WINDOW >= now));
        let line = self.lines.entry(line.to_owned()).or_default();
        if let Some((_, times)) = &mut line.counted {
            *times += 1;
            return Say::Not;
        }
        if !line.recent.came(now) {
            return Say::Now;
        }
        line.counted = Some((now, 0));
        Say::Last
    }

    /// True while `line` is counted and not said.
    #[must_use]
    pub fn is_counted(&self, line: &str) -> bool {
        self.lines.get(line).is_some_and(|line| line.counted.is_some())
    }

    /// What is to be told at `now` of lines that are counted.
    #[must_use]
    pub fn due(&mut self, now: Duration) -> Vec<Told> {
        let mut told = Vec::new();
        for (name, line) in &mut self.lines {
            if let Some((_, times)) = line.counted.filter(|(since, _)| *since + WINDOW <= now) {
                let over = times == 0;
                line.counted = (!over).then_some((now, 0));
                line.recent.clear();
                told.push(Told { line: name.clone(), times, over });
            }
        }
        told
    }
}

/// What the loop says to the log of how things are.
#[derive(Debug, Clone, Default)]
pub struct Teller {
    calm: Calm,
    /// What happens, which is neither so nor not so.
    events: Calm,
    /// What was so at the last look.
    said: BTreeSet<String>,
}

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Something is missing or wrong.
    Warn(String),
    /// Nothing is any more.
    Info(String),
}

impl Teller {
    /// What of `says` was not so at the last look.
    #[must_use]
    pub fn new_in(&self, says: &BTreeSet<String>) -> Vec<String> {
        says.difference(&self.said).cloned().collect()
    }

    /// The lines for a look that found `says`; `right`: nothing of it is missing.
    #[must_use]
    pub fn lines(&mut self, says: BTreeSet<String>, right: bool, now: Duration) -> Vec<Line> {
        let mut lines = Vec::new();
        // Once for each change: what is as it was is not said again.
        for what in self.new_in(&says) {
            lines.extend(suffix(self.calm.came(&what, now)).map(|often| Line::Warn(format!("{what}{often}"))));
        }
        // The end of what is counted is told with its count.
        let mut ended = self.said.iter().any(|said| !says.contains(said) && !self.calm.is_counted(said));
        for Told { line, times, over } in self.calm.due(now) {
            let is_so = says.contains(&line);
            if times > 0 {
                let how = if is_so { "and it is so now" } else { "and it is not so now" };
                lines.push(Line::Warn(format!("{times} times within a minute, {how}: {line}")));
            }
            ended |= over && !is_so;
        }
        for Told { line, times, .. } in self.events.due(now) {
            lines.extend((times > 0).then(|| Line::Info(format!("{times} times within a minute: {line}"))));
        }
        if right && ended {
            lines.push(Line::Info(RIGHT.to_owned()));
        }
        self.said = says;
        lines
    }

    /// What is said with a line of the loop that is said each time; `None`: it is counted.
    #[must_use]
    pub fn often(&mut self, line: &str, now: Duration) -> Option<&'static str> {
        suffix(self.events.came(line, now))
    }
}

const fn suffix(say: Say) -> Option<&'static str> {
    match say {
        Say::Now => Some(""),
        Say::Last => Some(OFTEN),
        Say::Not => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn d10_a_line_that_comes_and_goes_is_said_three_times_and_then_once_a_minute() {
        let mut calm = Calm::default();
        let (mut said, mut told) = (Vec::new(), Vec::new());
        // Every two seconds of an hour.
        for second in (0..3600).step_by(2) {
            match calm.came("it is gone", at(second)) {
                Say::Not => assert!(calm.is_counted("it is gone")),
                say => said.push((second, say)),
            }
            told.extend(calm.due(at(second)));
        }
        assert_eq!(said, [(0, Say::Now), (2, Say::Now), (4, Say::Last)]);
        assert_eq!(told.len(), 59);
        assert!(told.iter().all(|told| told.times == 30 && !told.over && told.line == "it is gone"), "{told:?}");
        // Another one is said at once.
        assert_eq!(calm.came("the disk is full", at(3600)), Say::Now);
        assert!(!calm.is_counted("the disk is full"));
        // Peace: what came since is told, and then that it is over.
        let rest = calm.due(at(3700));
        assert!(rest.len() == 1 && rest[0].times > 0 && !rest[0].over, "{rest:?}");
        assert_eq!(calm.due(at(3759)), []);
        assert_eq!(calm.due(at(3760)), [Told { line: "it is gone".to_owned(), times: 0, over: true }]);
        assert_eq!(calm.came("it is gone", at(3761)), Say::Now);
    }

    #[test]
    fn d10_what_comes_now_and_then_is_always_said_and_nothing_is_kept_of_it() {
        let mut calm = Calm::default();
        for time in 0..100 {
            assert_eq!(calm.came("it is gone", at(31 * time)), Say::Now);
            assert_eq!(calm.came(&format!("another {time}"), at(31 * time)), Say::Now);
            assert_eq!(calm.due(at(31 * time)), []);
        }
        assert!(calm.lines.len() < 5);
    }

    #[test]
    fn d10_a_primary_that_flaps_all_night_makes_two_lines_a_minute_at_most() {
        let gone = || BTreeSet::from(["waiting for the primary".to_owned()]);
        let mut teller = Teller::default();
        let mut lines = Vec::new();
        for second in 0..3600 {
            let is_there = second % 2 == 1;
            let says = if is_there { BTreeSet::new() } else { gone() };
            lines.extend(teller.lines(says, is_there, at(second)));
        }
        assert_eq!(lines.len(), 5 + 59, "{lines:#?}");
        let (waits, right) = (|| Line::Warn("waiting for the primary".to_owned()), || Line::Info(RIGHT.to_owned()));
        let last = Line::Warn(format!("waiting for the primary{OFTEN}"));
        assert_eq!(lines[..5], [waits(), right(), waits(), right(), last]);
        let how = "30 times within a minute, and it is so now: waiting for the primary";
        assert!(lines[6..].iter().all(|line| *line == Line::Warn(how.to_owned())), "{lines:#?}");
        // The last that is said is how it is.
        let none = BTreeSet::new;
        let after: Vec<Line> = (3600..3800).flat_map(|second| teller.lines(none(), true, at(second))).collect();
        assert!(
            matches!(&after[..], [Line::Warn(told), end] if told.contains("not so now") && *end == right()),
            "{after:?}"
        );
        assert_eq!(teller.lines(gone(), false, at(3800)), [waits()]);
    }

    #[test]
    fn what_happens_often_is_counted_and_is_neither_so_nor_right() {
        let mut teller = Teller::default();
        for second in 0..5 {
            assert_eq!(teller.often("written", at(second)).is_some(), second < 3);
        }
        let mut none = |second| teller.lines(BTreeSet::new(), true, at(second));
        assert_eq!(none(61), []);
        assert_eq!(none(63), [Line::Info("2 times within a minute: written".to_owned())]);
        assert_eq!(none(200), []);
    }
}
