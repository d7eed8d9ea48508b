//! The daemon's log: to stderr, one line for each event, for whoever collects it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use super::format::{self, Entry};
use super::{Level, Log, Sink, journal};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Time, level, what happened, with what.
    Text,
    /// journald's level prefix instead of time and level.
    Journal,
    /// One JSON object.
    Json,
}

/// Makes stderr the log of this process, for good; a second call changes nothing.
pub fn to_stderr(level: Level, style: Style) {
    // The only error is that a log was set before, which stays.
    let _ = tracing::subscriber::set_global_default(Log { level: level.into(), sink: Stderr(style) });
}

struct Stderr(Style);

impl Sink for Stderr {
    fn write(&self, entry: &Entry, now: Duration) {
        let line = line(entry, self.0, &format::timestamp(now));
        // There is nowhere left to report that nobody listens.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

fn line(entry: &Entry, style: Style, time: &str) -> String {
    let mut line = String::new();
    match style {
        Style::Text => {
            // Writing to a String cannot fail.
            let _ = write!(line, "{time} {:<5} ", entry.level);
            format::what(&mut line, entry);
        }
        Style::Journal => {
            let _ = write!(line, "<{}>", journal::priority(entry.level));
            format::what(&mut line, entry);
        }
        Style::Json => {
            let mut object = serde_json::Map::new();
            let mut put = |key: &str, value: &str| object.insert(key.to_owned(), value.into());
            for (key, value) in &entry.fields {
                put(key, value);
            }
            put("time", time);
            put("level", &entry.level.to_string().to_lowercase());
            put("message", &entry.message);
            line = serde_json::Value::Object(object).to_string();
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_each_style() {
        let mut entry = Entry::new(tracing::Level::WARN);
        entry.message = "two\nlines".to_owned();
        entry.fields.push(("path", "/a b".to_owned()));
        for (style, expected) in [
            (Style::Text, "T WARN  two\\nlines path=\"/a b\"\n"),
            (Style::Journal, "<4>two\\nlines path=\"/a b\"\n"),
            (Style::Json, "{\"level\":\"warn\",\"message\":\"two\\nlines\",\"path\":\"/a b\",\"time\":\"T\"}\n"),
        ] {
            assert_eq!(line(&entry, style, "T"), expected);
        }
    }
}
