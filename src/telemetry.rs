//! How every program of this project logs: one line for each event, found again by the sandbox it belongs to (G9).
//!
//! Owns the process's `tracing` subscriber and its outputs: journald when it listens, else a size-capped file shared
//! by all processes of the node; a file the administrator named replaces both. Never fails an operation, never blocks
//! one for long, never writes to stdout, never reads configuration: the settings are plain values.

#![expect(clippy::disallowed_methods, reason = "the log is an edge: it owns its files, its socket and its clock")]

mod file;
mod format;
mod journal;
#[cfg(feature = "daemon")]
mod stderr;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use file::LogFile;
use format::Entry;
use journal::Journal;
#[cfg(feature = "daemon")]
pub use stderr::{Style, to_stderr};

/// How much is logged; each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// What went wrong.
    Error,
    /// What may go wrong, and what was repaired.
    Warn,
    /// One line or a few for each operation.
    #[default]
    Info,
    /// Every step.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// The level a configuration's word means: `error`, `warn`, `info`, `debug`, `trace`, and Multus' `panic` (errors)
    /// and `verbose` (info), in any case. `None` for any other word.
    pub fn parse(word: &str) -> Option<Level> {
        let words = [
            ("panic", Level::Error),
            ("error", Level::Error),
            ("warn", Level::Warn),
            ("warning", Level::Warn),
            ("info", Level::Info),
            ("verbose", Level::Info),
            ("debug", Level::Debug),
            ("trace", Level::Trace),
        ];
        words.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, level)| *level)
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }
}

/// Where the log goes and how much of it.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// A file that replaces journald and `default_file`.
    pub file: Option<PathBuf>,
    /// What is left out.
    pub level: Level,
    /// Every line goes to stderr as well.
    pub to_stderr: bool,
    /// journald's socket.
    pub journal: PathBuf,
    /// The file that is written while journald does not listen.
    pub default_file: PathBuf,
    /// A file that would grow beyond this many bytes becomes `<file>.1` first; so at most twice this is kept.
    pub max_size: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings {
            file: None,
            level: Level::default(),
            to_stderr: false,
            journal: PathBuf::from("/run/systemd/journal/socket"),
            default_file: PathBuf::from("/var/log/meta-cni.log"),
            max_size: 10_000_000,
        }
    }
}

/// Makes `settings` the log of this process, for good; a second call changes nothing. `correlation` stands in every
/// line: the container ID of the sandbox that this process works for, or `-`. Opens nothing until something is logged.
pub fn init(settings: &LogSettings, correlation: &str) {
    // The only error is that a log was set before, which stays.
    let _ = tracing::subscriber::set_global_default(subscriber(settings, correlation));
}

/// What [`init`] installs, for a caller that wants it for one thread only.
pub fn subscriber(settings: &LogSettings, correlation: &str) -> impl Subscriber + Send + Sync + use<> {
    let (journal, path) = match &settings.file {
        Some(file) => (None, file),
        None => (Some(Journal::new(settings.journal.clone())), &settings.default_file),
    };
    let outputs = Mutex::new(Outputs { journal, file: LogFile::new(path.clone(), settings.max_size) });
    let sink = Shared { to_stderr: settings.to_stderr, correlation: correlation.to_owned(), outputs };
    Log { level: settings.level.into(), sink }
}

/// The log that all plugin calls of a node share.
struct Shared {
    to_stderr: bool,
    correlation: String,
    outputs: Mutex<Outputs>,
}

struct Outputs {
    journal: Option<Journal>,
    file: LogFile,
}

impl Outputs {
    fn write(&mut self, entry: &Entry, correlation: &str, line: &str) {
        if let Some(journal) = &mut self.journal {
            if journal.send(entry, correlation).is_ok() {
                return;
            }
            // What does not listen or does not keep up is not waited for again in this process.
            self.journal = None;
        }
        // There is nowhere left to report that the log cannot be written, and the operation goes on without it.
        let _ = self.file.append(line.as_bytes());
    }
}

impl Sink for Shared {
    fn write(&self, entry: &Entry, now: Duration) {
        let line = format::line(entry, &self.correlation, now);
        if self.to_stderr {
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).write(entry, &self.correlation, &line);
    }
}

/// A clock before 1970 is shown as 1970.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The time, for people: RFC 3339 in UTC.
#[must_use]
pub fn now() -> String {
    format::timestamp(since_1970())
}

/// Where events go.
trait Sink: Send + Sync + 'static {
    /// `now`: since 1970.
    fn write(&self, entry: &Entry, now: Duration);
}

struct Log<S> {
    level: LevelFilter,
    sink: S,
}

/// Events only: the correlation id does what spans would do, at no cost.
impl<S: Sink> Subscriber for Log<S> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What libraries say of themselves is for those who look closely.
        let ours = metadata.target().starts_with("meta_cni");
        metadata.is_event() && *metadata.level() <= self.level && (ours || self.level == LevelFilter::TRACE)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut entry = Entry::new(*event.metadata().level());
        event.record(&mut entry);
        self.sink.write(&entry, since_1970());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests;
