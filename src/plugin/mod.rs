//! The plugin: gather → plan → act → report for each operation. `add.rs` is the order of an ADD, and so on.
//!
//! It runs on the host, does all the work itself, and never talks to the API server. Whatever happens, stdout carries one
//! JSON document: the result, or the error.

mod act;
mod add;
mod check;
mod context;
mod del;
mod gc;
mod leftovers;
mod sandbox;
mod status;

use crate::cni::{CniError, CniVersion, Code, Invocation, Object, Operation, Request};
use crate::config::MasterConfig;
use crate::plan::chain::CALLER_VARIABLE;
use crate::telemetry::{Level, LogSettings};

use context::Context;

/// What is printed on stdout, and whether the process succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The JSON document; empty for an operation without a result.
    pub stdout: String,
    /// False for an error.
    pub success: bool,
}

/// Bytes of stdin at most: a runtime's configuration is a few thousand.
pub const MOST_STDIN: u64 = 4 << 20;

/// Answers one call: `variable` looks up the environment, `stdin` is what the runtime wrote.
#[must_use]
pub fn run(variable: &dyn Fn(&str) -> Option<String>, stdin: Vec<u8>) -> Answer {
    let version = requested_version(&stdin);
    let answer = Invocation::parse(variable, stdin).and_then(|invocation| {
        let caller = variable(CALLER_VARIABLE);
        match (invocation.request.operation(), caller) {
            (Operation::Version, _) => Ok(version_answer(version)),
            // What a nested call would have made was never made, so there is nothing to undo.
            (Operation::Del | Operation::Gc, Some(_)) => Ok(String::new()),
            (operation, Some(caller)) => Err(nested(operation, &caller)),
            (_, None) => serve(invocation),
        }
    });
    match answer {
        Ok(stdout) => Answer { stdout, success: true },
        Err(error) => Answer { stdout: error.to_text(version), success: false },
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
    init_log(&config, &invocation.request);
    let context = Context::new(config, invocation.args, invocation.path);
    for warning in &context.config.warnings {
        tracing::warn!("{warning}");
    }
    let answer = match &invocation.request {
        Request::Add { attachment, netns } => add::add(&context, attachment, netns),
        Request::Del { attachment, netns } => del::del(&context, attachment, netns.as_deref()).map(|()| String::new()),
        Request::Check { attachment, netns } => check::check(&context, attachment, netns).map(|()| String::new()),
        Request::Gc => gc::gc(&context).map(|()| String::new()),
        Request::Status => status::status(&context).map(|()| String::new()),
        Request::Version => Ok(version_answer(context.config.cni_version)),
    };
    let elapsed_ms = context.started.elapsed().as_millis() as u64;
    match &answer {
        Ok(_) => tracing::info!(%operation, elapsed_ms, "done"),
        Err(error) => {
            tracing::error!(%operation, elapsed_ms, code = error.code.0, details = error.details, "{}", error.msg);
        }
    }
    answer
}

fn init_log(config: &MasterConfig, request: &Request) {
    let correlation = match request {
        Request::Add { attachment, .. } | Request::Del { attachment, .. } | Request::Check { attachment, .. } => {
            attachment.container_id.as_str()
        }
        _ => "-",
    };
    let settings = LogSettings {
        file: config.log.file.clone(),
        level: config.log.level.as_deref().and_then(Level::parse).unwrap_or_default(),
        to_stderr: config.log.to_stderr,
        ..LogSettings::default()
    };
    crate::telemetry::init(&settings, correlation);
}

/// The version in which an error is printed: the one on stdin, if it can be read and we speak it (A9).
fn requested_version(stdin: &[u8]) -> CniVersion {
    let object = Object::parse(stdin).ok();
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
