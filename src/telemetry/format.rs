//! An event as text: always one line, whatever a delegate printed into it. Pure.
//!
//! `<RFC 3339, UTC, milliseconds> <LEVEL> sandbox=<id> pid=<n> <message> key=value key="quoted value"`

use std::error::Error;
use std::fmt::{Debug, Write};
use std::time::Duration;

use tracing::field::{Field, Visit};

/// A message or a value longer than this many bytes is cut.
const MAX_VALUE: usize = 16 * 1024;
/// A line longer than this many bytes is cut.
const MAX_LINE: usize = 64 * 1024;
/// Stands where something was cut off.
const CUT: &str = "[...]";

/// One event: what happened, and with what.
#[derive(Debug)]
pub(super) struct Entry {
    pub level: tracing::Level,
    pub message: String,
    pub fields: Vec<(&'static str, String)>,
}

impl Entry {
    pub fn new(level: tracing::Level) -> Entry {
        Entry { level, message: String::new(), fields: Vec::new() }
    }

    fn put(&mut self, field: &Field, mut value: String) {
        cut(&mut value, MAX_VALUE);
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Entry {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.put(field, text);
    }
}

/// Shortens `text` to about `max` bytes, between two characters, and marks it.
fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        let end = (0..=max).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push_str(CUT);
    }
}

/// The whole line for a file, with its line feed.
pub(super) fn line(entry: &Entry, correlation: &str, since_1970: Duration) -> String {
    let mut out = timestamp(since_1970);
    let _ = write!(out, " {} sandbox=", entry.level);
    value(&mut out, correlation);
    let _ = write!(out, " pid={} ", std::process::id());
    what(&mut out, entry);
    cut(&mut out, MAX_LINE);
    out.push('\n');
    out
}

/// The line for journald, which knows time, level and process by itself.
pub(super) fn message(entry: &Entry, correlation: &str) -> String {
    let mut out = String::new();
    what(&mut out, entry);
    out.push_str(" sandbox=");
    value(&mut out, correlation);
    cut(&mut out, MAX_LINE);
    out
}

pub(super) fn what(out: &mut String, entry: &Entry) {
    escape(out, &entry.message);
    for (name, text) in &entry.fields {
        let _ = write!(out, " {name}=");
        value(out, text);
    }
}

/// A value, in quotes when it would not read back as one word.
fn value(out: &mut String, text: &str) {
    let bare = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
    if !text.is_empty() && text.chars().all(bare) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for (n, part) in text.split('"').enumerate() {
        if n > 0 {
            out.push_str("\\\"");
        }
        escape(out, part);
    }
    out.push('"');
}

/// Text without anything that ends a line or speaks to a terminal.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn timestamp(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let milliseconds = since_1970.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// The Gregorian date of a day counted from 1970-01-01. Years are taken to begin in March, so that the leap day is
/// the last day of its year and the lengths of the months follow one linear rule.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let from_march_0000 = days + 719_468;
    let (era, day_of_era) = (from_march_0000 / DAYS_IN_400_YEARS, from_march_0000 % DAYS_IN_400_YEARS);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
