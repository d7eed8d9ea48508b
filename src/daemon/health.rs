//! What the daemon tells of itself: ready or what is missing, and its counters in Prometheus' text format. Pure values; `serve`
//! hands them out.

use std::fmt::Write as _;
use std::time::Duration;

/// The loop that keeps the file is stuck when it was not seen for this long: its longest call has a deadline of a few seconds.
const STUCK: Duration = Duration::from_secs(60);

/// What is known now.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// When the loop last came by, since the start.
    pub beat: Duration,
    /// What is missing, one sentence each; empty when ready.
    pub missing: Vec<String>,
    /// The primary in force: its place and network name.
    pub primary: Option<(String, String)>,
    /// Why files are polled, if they are.
    pub polling: Option<String>,
    /// Somebody keeps taking the file away: who, as far as that is known.
    pub fight: Option<String>,
    /// Counters.
    pub counters: Counters,
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// The question was asked.
    pub looks: u64,
    /// The file was written.
    pub writes: u64,
    /// Of those, because somebody else had changed or taken it.
    pub restorations: u64,
    /// It could not be written.
    pub write_errors: u64,
    /// A write waited for ADDs to end.
    pub deferred: u64,
    /// A primary was there that could not be used.
    pub invalid_primaries: u64,
}

/// `/healthz` at `now`: nothing when the loop runs.
///
/// # Errors
/// What to say when it does not.
pub fn healthy(state: &State, now: Duration) -> Result<(), String> {
    let age = now.saturating_sub(state.beat);
    if age > STUCK { Err(format!("the loop has not come by for {} s\n", age.as_secs())) } else { Ok(()) }
}

/// `/readyz`.
///
/// # Errors
/// What is missing, one line each, and who takes the file away.
pub fn ready(state: &State) -> Result<(), String> {
    let lines: Vec<&str> = state.missing.iter().chain(&state.fight).map(String::as_str).collect();
    if state.missing.is_empty() { Ok(()) } else { Err(lines.join("\n") + "\n") }
}

/// `/metrics`.
#[must_use]
pub fn metrics(state: &State) -> String {
    let mut text = String::new();
    let mut put = |name: &str, kind: &str, help: &str, labels: &str, value: u64| {
        let _ = writeln!(
            text,
            "# HELP meta_cni_{name} {help}\n# TYPE meta_cni_{name} {kind}\nmeta_cni_{name}{labels} {value}"
        );
    };
    let Counters { looks, writes, restorations, write_errors, deferred, invalid_primaries } = state.counters;
    let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    put("build_info", "gauge", "The daemon's version.", &version, 1);
    put("ready", "gauge", "1 when the master config is in place and right.", "", u64::from(state.missing.is_empty()));
    put("looks_total", "counter", "How often it was asked what should be on disk.", "", looks);
    put("master_config_writes_total", "counter", "Writes of the master config.", "", writes);
    put("master_config_restorations_total", "counter", "Writes because somebody else changed it.", "", restorations);
    put("master_config_write_errors_total", "counter", "Writes that failed.", "", write_errors);
    put("master_config_deferred_total", "counter", "Writes that waited for ADDs to end.", "", deferred);
    put("master_config_fight", "gauge", "1 while somebody keeps changing it.", "", u64::from(state.fight.is_some()));
    put("primary_invalid_total", "counter", "Times that the primary became unusable.", "", invalid_primaries);
    put(
        "watch_polling",
        "gauge",
        "1 while files are polled for want of inotify.",
        "",
        u64::from(state.polling.is_some()),
    );
    if let Some((file, network)) = &state.primary {
        let labels = format!("{{file=\"{}\",network=\"{}\"}}", label(file), label(network));
        put("primary_info", "gauge", "The primary that the master config names.", &labels, 1);
    }
    text
}

/// A label's value as the format wants it.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_names_what_is_missing_and_a_loop_that_hangs_is_not_healthy() {
        let mut state = State::default();
        assert!(ready(&state).is_ok() && healthy(&state, Duration::from_secs(60)).is_ok());
        assert!(healthy(&state, Duration::from_secs(61)).is_err());
        state.missing = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(ready(&state).unwrap_err(), "a\nb\n");
        state.fight = Some("Cilium does it".to_owned());
        assert_eq!(ready(&state).unwrap_err(), "a\nb\nCilium does it\n");
    }

    #[test]
    fn metrics_are_prometheus_text() {
        let state = State { primary: Some(("/a\"b".to_owned(), "n".to_owned())), ..State::default() };
        let text = metrics(&state);
        assert!(text.contains("\nmeta_cni_ready 1\n"), "{text}");
        assert!(text.contains("meta_cni_primary_info{file=\"/a\\\"b\",network=\"n\"} 1\n"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("meta_cni_") && line.rsplit_once(' ').unwrap().1.parse::<u64>().is_ok(), "{line}");
        }
    }
}
