//! The plugin: gather → plan → act → report for each operation. `add.rs` is the order of an ADD, and so on.
//!
//! It runs on the host, does all the work itself, and never talks to the API server. Whatever happens, stdout carries one
//! JSON document: the result, or the error.

mod add;
mod check;
mod del;
mod due;
mod gc;
mod leftovers;

use crate::act::Context;
use crate::cni::{CniError, CniVersion, Code, Invocation, Object, Operation, Request};
use crate::config::MasterConfig;
use crate::gather::status::Judge;
use crate::plan::chain::CALLER_VARIABLE;
use crate::telemetry::{Level, LogSettings};

/// What is printed on stdout, and whether the process succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The JSON document; empty for an operation without a result.
    pub stdout: String,
    /// False for an error.
    pub success: bool,
}

/// The variables of the environment that are looked at.
pub const VARIABLES: [&str; 7] =
    ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", CALLER_VARIABLE];

/// Bytes of stdin at most: a runtime's configuration is a few thousand.
pub const MOST_STDIN: u64 = 4 << 20;

/// Answers one call: `variable` looks up the environment, `stdin` is what the runtime wrote, at most a byte more than
/// [`MOST_STDIN`].
#[must_use]
pub fn run(variable: &dyn Fn(&str) -> Option<String>, stdin: std::io::Result<Vec<u8>>) -> Answer {
    let stdin = stdin.map_err(|error| CniError::new(Code::IO, format!("stdin cannot be read: {error}")));
    let stdin = stdin.and_then(|stdin| match u64::try_from(stdin.len()) {
        Ok(length) if length <= MOST_STDIN => Ok(stdin),
        _ => Err(CniError::new(Code::NOT_JSON, format!("stdin is larger than {} KiB", MOST_STDIN >> 10))),
    });
    let object = stdin.as_ref().ok().and_then(|stdin| Object::parse(stdin).ok());
    let version = requested_version(object.as_ref());
    let operation = variable("CNI_COMMAND").unwrap_or_default();
    if operation == Operation::Version.as_str() {
        return Answer { stdout: version_answer(version), success: true };
    }
    if let Some(object) = &object {
        init_log(object, &variable("CNI_CONTAINERID").unwrap_or_default());
    }
    #[expect(clippy::disallowed_methods, reason = "for the log: how long the call took")]
    let started = std::time::Instant::now();
    let answer = stdin
        .and_then(|stdin| Invocation::parse(variable, stdin))
        .and_then(|invocation| guarded(invocation, variable(CALLER_VARIABLE).filter(|caller| !caller.is_empty())));
    report(&operation, started.elapsed(), &answer);
    match answer {
        Ok(stdout) => Answer { stdout, success: true },
        Err(error) => Answer { stdout: error.to_text(version), success: false },
    }
}

/// Serves the call unless it comes from one of our own delegates (D6).
fn guarded(invocation: Invocation, caller: Option<String>) -> Result<String, CniError> {
    match (invocation.request.operation(), caller) {
        (_, None) => serve(invocation),
        // What a nested call would have made was never made, so there is nothing to undo.
        (Operation::Del | Operation::Gc, Some(caller)) => {
            tracing::warn!(caller, "run by a plugin that meta-cni itself runs; nothing is done");
            Ok(String::new())
        }
        (operation, Some(caller)) => Err(nested(operation, &caller)),
    }
}

fn serve(invocation: Invocation) -> Result<String, CniError> {
    let operation = invocation.request.operation();
    let mut config = MasterConfig::from_stdin(&invocation.stdin)?;
    if matches!(operation, Operation::Add | Operation::Status) {
        config = config.with_primary()?;
    }
    let spoken = match operation {
        Operation::Check => config.cni_version.has_check(),
        Operation::Gc | Operation::Status => config.cni_version.has_gc_and_status(),
        _ => true,
    };
    if !spoken {
        let msg =
            format!("{operation} is not an operation of CNI {}, the version of the configuration", config.cni_version);
        return Err(CniError::new(Code::INCOMPATIBLE_VERSION, msg));
    }
    let context = Context::new(config, invocation.args, invocation.path);
    let answer = match &invocation.request {
        Request::Add { attachment, netns } => {
            // Once for each pod is enough: STATUS comes every few seconds.
            context.config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            add::add(&context, attachment, netns)
        }
        Request::Del { attachment, netns } => del::del(&context, attachment, netns.as_deref()).map(|()| String::new()),
        Request::Check { attachment, netns } => check::check(&context, attachment, netns).map(|()| String::new()),
        Request::Gc => gc::gc(&context).map(|()| String::new()),
        Request::Status => {
            let Context { config, path, started, .. } = &context;
            let judge = Judge { config: config.clone(), path: path.clone(), keeps: true, started: *started };
            judge.judge().map(|()| String::new())
        }
        Request::Version => Ok(version_answer(context.config.cni_version)),
    };
    due::start_if_due(&context.config, &invocation.stdin);
    answer
}

/// The one line in the log that says how a call ended. That of a STATUS that found nothing is for those who look closely.
fn report(operation: &str, elapsed: std::time::Duration, answer: &Result<String, CniError>) {
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    match answer {
        Ok(_) if operation == Operation::Status.as_str() => tracing::debug!(operation, elapsed_ms, "done"),
        Ok(_) => tracing::info!(operation, elapsed_ms, "done"),
        Err(error) => {
            tracing::error!(operation, elapsed_ms, code = error.code.0, details = error.details, "{}", error.msg);
        }
    }
}

/// The log, before anything can go wrong: its keys are looked for in `object`, whatever else that is.
fn init_log(object: &Object, container_id: &str) {
    let text = |key: &str| object.get::<String>(key, "a string").ok().flatten().filter(|text| !text.is_empty());
    let correlation: String = container_id.chars().take(200).collect();
    let settings = LogSettings {
        file: text("logFile").map(std::path::PathBuf::from).filter(|path| path.is_absolute()),
        level: text("logLevel").and_then(|level| Level::parse(&level)).unwrap_or_default(),
        to_stderr: object.get("logToStderr", "true or false").ok().flatten().unwrap_or(false),
        ..LogSettings::default()
    };
    crate::telemetry::init(&settings, if correlation.is_empty() { "-" } else { &correlation });
}

/// The version in which an error is printed: the one on stdin, if it can be read and we speak it (A9).
fn requested_version(object: Option<&Object>) -> CniVersion {
    let text = object.and_then(|object| object.get::<String>("cniVersion", "a string").ok().flatten());
    text.and_then(|text| CniVersion::parse(&text).ok()).unwrap_or(CniVersion::NEWEST)
}

/// The answer to VERSION: every version we speak, with the one that was asked with (A1, A2).
fn version_answer(version: CniVersion) -> String {
    let all: Vec<String> = CniVersion::ALL.iter().map(|version| format!("\"{version}\"")).collect();
    format!("{{\"cniVersion\":\"{version}\",\"supportedVersions\":[{}]}}", all.join(","))
}

fn nested(operation: Operation, caller: &str) -> CniError {
    let caller: String = caller.chars().take(64).collect();
    let msg = format!(
        "{operation}: meta-cni was run by a plugin that meta-cni itself runs (for {caller}); \
         the primary or a network leads back to meta-cni, name the real network instead"
    );
    CniError::new(Code::INVALID_CONFIG, msg)
}

/// The answer when the program itself has a defect: an error of the specification, never a bare panic.
#[must_use]
pub fn defect(what: &str) -> String {
    let error = CniError::new(Code::INTERNAL, format!("meta-cni has a defect: {what}; please report it"));
    error.to_text(CniVersion::V1_0_0)
}
