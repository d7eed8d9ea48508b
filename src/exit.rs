//! How a program ends: the same numbers for every command of this project, the daemon included.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Clean, or done.
    Clean = 0,
    /// There is something to see to.
    Findings = 1,
    /// The command line, or the config that it names, was wrong.
    Usage = 2,
    /// What was to be looked at could not be.
    CouldNotLook = 3,
    /// Refused, or not wholly done.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
