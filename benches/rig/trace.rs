//! What one call asked of the kernel, read from strace's log: the plugin's own system calls, and what it wrote where.
//!
//! A child counts as the plugin until it has become another program: starting a delegate is the plugin's work, what
//! the delegate then does is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Counts of one call.
#[derive(Default, Debug)]
pub struct Trace {
    pub calls: BTreeMap<String, u64>,
    /// Bytes written to files below the directory given.
    pub bytes_written: u64,
    pub files_written: BTreeSet<String>,
}

impl Trace {
    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    /// How many of the calls in `names`.
    pub fn of(&self, names: &[&str]) -> u64 {
        names.iter().filter_map(|name| self.calls.get(*name)).sum()
    }

    /// `name count`, the most frequent first.
    pub fn most_frequent(&self, limit: usize) -> String {
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort_by_key(|(name, count)| (u64::MAX - **count, (*name).clone()));
        let shown: Vec<String> = calls.iter().take(limit).map(|(name, count)| format!("{name} {count}")).collect();
        shown.join(", ")
    }

    /// From the log of `strace -f -y -o`, whose every line begins with a process id.
    pub fn parse(log: &str, below: &Path) -> Self {
        let below = below.display().to_string();
        let mut trace = Self::default();
        let mut reader = Reader::default();
        for line in log.lines() {
            let Some((pid, call)) = reader.finished(line) else {
                continue;
            };
            let name = call.split('(').next().unwrap_or_default();
            let first = *reader.plugin.get_or_insert(pid);
            if reader.delegates.contains(&pid) {
                continue;
            }
            let succeeded = result(&call).is_some_and(|value| value >= 0);
            if name.starts_with("execve") && succeeded {
                // The first one made the plugin itself.
                if pid != first {
                    reader.delegates.insert(pid);
                    *trace.calls.entry(name.to_owned()).or_default() += 1;
                }
                continue;
            }
            *trace.calls.entry(name.to_owned()).or_default() += 1;
            trace.note_write(name, &call, &below);
        }
        trace
    }

    fn note_write(&mut self, name: &str, call: &str, below: &str) {
        const WRITES: [&str; 4] = ["write", "writev", "pwrite64", "pwritev"];
        if !WRITES.contains(&name) {
            return;
        }
        let Some(path) = call.split_once('<').and_then(|(_, rest)| rest.split_once('>')) else {
            return;
        };
        if let (true, Some(bytes)) = (path.0.starts_with(below), result(call)) {
            self.bytes_written += u64::try_from(bytes).unwrap_or_default();
            self.files_written.insert(path.0.to_owned());
        }
    }
}

#[derive(Default)]
struct Reader {
    plugin: Option<u32>,
    delegates: BTreeSet<u32>,
    unfinished: BTreeMap<u32, String>,
}

impl Reader {
    /// One whole call; strace cuts a call in two when another process comes between.
    fn finished(&mut self, line: &str) -> Option<(u32, String)> {
        let (pid, text) = line.split_once(char::is_whitespace)?;
        let (pid, text) = (pid.parse().ok()?, text.trim_start());
        if let Some(begin) = text.strip_suffix("<unfinished ...>") {
            self.unfinished.insert(pid, begin.to_owned());
            return None;
        }
        if text.starts_with("<...") {
            let rest = text.split_once("resumed>").map_or("", |(_, rest)| rest);
            let begin = self.unfinished.remove(&pid)?;
            return Some((pid, begin + rest));
        }
        let is_call = text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
        is_call.then(|| (pid, text.to_owned()))
    }
}

fn result(call: &str) -> Option<i64> {
    let (_, value) = call.rsplit_once(" = ")?;
    value.split([' ', '<']).next()?.parse().ok()
}
