//! A finding, and where it is.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is refused, or cannot do what it is for.
    Error,
    /// It works, and surely not as it was meant.
    Warning,
    /// Good to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One thing that can be wrong: docs/config.md has them all.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its code, for ever: `MC-` and three digits.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// What follows from it, one or two sentences.
    pub explanation: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The code of its rule.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The file, as the caller named it.
    pub file: String,
    /// Its line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// Its column, in characters from 1; 0 when it is about the file as a whole.
    pub column: usize,
    /// The bytes that it is about; empty where something is missing.
    #[serde(serialize_with = "pair")]
    pub span: Range<usize>,
    /// What it is about as a JSON pointer; empty for the document.
    pub pointer: String,
    /// What is wrong: one sentence of at most 512 characters.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// The run time refuses the document for it.
    pub refused: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, severity, file, line, column, message, .. } = self;
        match line {
            0 => write!(f, "{file}: {severity}[{code}]: {message}"),
            _ => write!(f, "{file}:{line}:{column}: {severity}[{code}]: {message}"),
        }
    }
}

fn pair<S: serde::Serializer>(span: &Range<usize>, serializer: S) -> Result<S::Ok, S::Error> {
    (span.start, span.end).serialize(serializer)
}

/// Line and column of the byte `at`, both from 1; columns are characters, and each byte that is part of none is one.
#[must_use]
pub fn place(text: &[u8], at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
}

/// The byte at a line and column as serde_json counts them: bytes, both from 1.
#[must_use]
pub fn offset(text: &[u8], line: usize, column: usize) -> usize {
    let mut starts = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let start = if line < 2 { 0 } else { starts.nth(line - 2).unwrap_or(text.len()) };
    (start + column.saturating_sub(1)).min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g1_places_are_lines_and_characters() {
        let text = "a\nbä\u{4e16}c\n".as_bytes();
        for (at, expected) in
            [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (5, (2, 3)), (8, (2, 4)), (10, (3, 1)), (99, (3, 1))]
        {
            assert_eq!(place(text, at), expected, "{at}");
        }
        for (line, column, at) in [(1, 1, 0), (1, 0, 0), (2, 1, 2), (2, 2, 3), (3, 1, 10), (9, 9, 10)] {
            assert_eq!(offset(text, line, column), at, "{line}:{column}");
        }
        assert_eq!(place(b"\xff\xfe{", 2), (1, 3));
    }
}
