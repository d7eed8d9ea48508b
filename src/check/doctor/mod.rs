//! What is wrong with a node: facts in, one line for each thing out, each wrong one with its remedy (G3).
//!
//! Facts are what was read, whatever it was; all that is judged is judged here. A fact that could not be had is a line too.

pub mod config;
pub mod networks;
pub mod state;
#[cfg(test)]
mod tests;

use serde::Serialize;

/// Characters of a line at most.
const LONGEST: usize = 600;

/// Lines of one kind at most; how many more there are is said.
const MOST: usize = 16;

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// Nobody says, and nobody has to.
    Unknown,
    /// It could not be looked at.
    Unseen,
    /// Wrong.
    Wrong,
}

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it is about, in a word or two.
    pub about: &'static str,
    /// How it is.
    pub state: State,
    /// One sentence.
    pub says: String,
    /// What to do about it; of what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What the lines come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// Nothing is wrong.
    Well,
    /// Something is.
    Wrong,
    /// Nothing that was seen is, and something could not be looked at.
    Unseen,
}

/// The lines in the order in which they are to be read.
#[derive(Debug, Default)]
pub struct Lines(Vec<Line>);

impl Lines {
    /// What they are.
    #[must_use]
    pub fn done(self) -> Vec<Line> {
        self.0
    }

    /// Something that is as it should be.
    pub fn ok(&mut self, about: &'static str, says: impl Into<String>) {
        self.add(about, State::Ok, says.into(), None);
    }

    /// Something that is good to know.
    pub fn note(&mut self, about: &'static str, says: impl Into<String>) {
        self.add(about, State::Note, says.into(), None);
    }

    /// Something that nobody says.
    pub fn unknown(&mut self, about: &'static str, says: impl Into<String>) {
        self.add(about, State::Unknown, says.into(), None);
    }

    /// Something that could not be looked at.
    pub fn unseen(&mut self, about: &'static str, why: impl Into<String>) {
        self.add(about, State::Unseen, why.into(), Some("run it as root, where the runtime runs"));
    }

    /// Something that is wrong, and what to do about it.
    pub fn wrong(&mut self, about: &'static str, says: impl Into<String>, remedy: &str) {
        self.add(about, State::Wrong, says.into(), Some(remedy));
    }

    /// A line for each of `all`, not too many.
    pub fn each<T>(&mut self, about: &'static str, all: &[T], line: impl Fn(&mut Self, &T)) {
        all.iter().take(MOST).for_each(|one| line(self, one));
        if let Some(more) = all.len().checked_sub(MOST).filter(|more| *more > 0) {
            self.note(about, format!("{more} more"));
        }
    }

    fn add(&mut self, about: &'static str, state: State, says: String, remedy: Option<&str>) {
        let says =
            if says.chars().count() > LONGEST { says.chars().take(LONGEST).chain(['…']).collect() } else { says };
        self.0.push(Line { about, state, says, remedy: remedy.filter(|text| !text.is_empty()).map(str::to_owned) });
    }
}

/// What `lines` come to: what is surely wrong counts more than what could not be seen.
#[must_use]
pub fn sum(lines: &[Line]) -> Sum {
    match lines.iter().map(|line| line.state).max() {
        Some(State::Wrong) => Sum::Wrong,
        Some(State::Unseen) => Sum::Unseen,
        _ => Sum::Well,
    }
}
