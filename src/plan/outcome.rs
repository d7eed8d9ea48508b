//! From answers of plugins to the answer for the runtime: the one map from causes to codes (A7, A8), and the result.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::cni::{CniError, CniResult, CniVersion, Code, Operation, PluginType};

use super::Attachment;

/// Why a plugin call is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Its executable is not there, or is none.
    Missing(MissingBinary),
    /// It could not be started for another reason.
    NotStarted(String),
    /// It ran and could not be watched, so it was ended.
    Lost(String),
    /// It said why.
    Refused(CniError),
    /// Its answer cannot be used, as the end of a sentence ("the answer is empty").
    BadAnswer(String),
    /// It ran past its deadline and was ended with its process group.
    Deadline(Duration),
    /// A signal ended it.
    Signal(i32),
    /// It failed without an error.
    Silent(i32),
}

/// A plugin's executable that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingBinary {
    /// The file that is not executable; `None` when there is none at all.
    pub not_executable: Option<PathBuf>,
    /// The directories searched.
    pub searched: Vec<PathBuf>,
}

/// A plugin call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which plugin.
    pub plugin: PluginType,
    /// Why.
    pub cause: Cause,
    /// The last line that it wrote to stderr.
    pub stderr: Option<String>,
}

impl Failure {
    /// A failure before there was a process.
    #[must_use]
    pub const fn early(plugin: PluginType, cause: Cause) -> Self {
        Self { plugin, cause, stderr: None }
    }

    /// True when no further attempt can succeed: what DEL needs is gone for good (F6).
    #[must_use]
    pub const fn can_never_heal(&self) -> bool {
        matches!(&self.cause, Cause::Missing(MissingBinary { not_executable: None, .. }))
    }

    /// True when something ended the plugin, or kept it from starting, and it said nothing itself: another attempt may well
    /// succeed.
    #[must_use]
    pub const fn was_cut_short(&self) -> bool {
        matches!(&self.cause, Cause::Signal(_) | Cause::Deadline(_) | Cause::Lost(_) | Cause::NotStarted(_))
    }

    /// True when the plugin did nothing, because it does not know the version of its configuration.
    #[must_use]
    pub fn refuses_the_version(&self) -> bool {
        matches!(&self.cause, Cause::Refused(error) if error.code == Code::INCOMPATIBLE_VERSION)
    }

    /// The failure as the runtime is told, with network, plugin, interface and phase in front.
    #[must_use]
    pub fn error(&self, attachment: &Attachment, operation: Operation) -> CniError {
        self.cause(operation).in_context(&format!("{}: {operation}", attachment.context(&self.plugin)))
    }

    /// The failure without its context: the one map from causes to codes.
    #[must_use]
    pub fn cause(&self, operation: Operation) -> CniError {
        let error = match &self.cause {
            Cause::Missing(missing) => missing.error(&self.plugin),
            Cause::NotStarted(why) => CniError::new(Code::IO, format!("cannot be started: {why}")),
            Cause::Lost(why) => {
                CniError::new(Code::IO, format!("ran and could not be watched, so it was ended: {why}"))
            }
            // Code 3 tells a runtime that there is nothing to clean up, which is never so after an ADD (A7).
            Cause::Refused(error) if operation == Operation::Add && error.code == Code::UNKNOWN_CONTAINER => {
                CniError { code: Code::BAD_ANSWER, ..error.clone() }
            }
            Cause::Refused(error) => error.clone(),
            Cause::BadAnswer(what) => CniError::new(Code::BAD_ANSWER, what),
            Cause::Deadline(after) => CniError::new(
                Code::DEADLINE,
                format!("still running after {:.1} s, so it was ended; the log has what it wrote", after.as_secs_f64()),
            ),
            Cause::Signal(signal) => CniError::new(Code::SIGNAL, format!("ended by signal {signal}")),
            Cause::Silent(exit) => {
                CniError::new(Code::NO_ERROR, format!("failed with exit code {exit} and without an error on stdout"))
            }
        };
        let error = match error.msg.is_empty() {
            true => CniError { msg: "it failed and gave no reason".to_owned(), ..error },
            false => error,
        };
        let details = match (&self.stderr, error.details.is_empty()) {
            (None, _) => error.details.clone(),
            (Some(line), true) => format!("stderr: {line}"),
            (Some(line), false) => format!("{}; stderr: {line}", error.details),
        };
        error.with_details(details)
    }
}

impl MissingBinary {
    /// The error, without context.
    #[must_use]
    pub fn error(&self, plugin: &PluginType) -> CniError {
        let searched: Vec<_> = self.searched.iter().map(|dir| dir.to_string_lossy()).collect();
        let msg = match &self.not_executable {
            Some(path) => format!("{} is not an executable file; correct its mode or install it again", path.display()),
            None if searched.is_empty() => {
                format!("plugin {plugin} is nowhere: no directory is searched; set CNI_PATH or \"binDir\"")
            }
            None => format!("plugin {plugin} is not in {}; install it there", searched.join(":")),
        };
        CniError::new(Code::PLUGIN_MISSING, msg)
    }
}

/// The answer to an ADD: the primary's result, after what plugins before us made, in the version asked for (A13, A14).
///
/// # Errors
/// Code 702 when the primary's result is none; code 7 when `prevResult` is none.
pub fn answer(primary: &RawValue, prev_result: Option<&str>, version: CniVersion) -> Result<String, CniError> {
    let (mut result, _) = CniResult::parse(primary.get().as_bytes(), version)?;
    if let Some(text) = prev_result {
        let (earlier, _) = CniResult::parse(text.as_bytes(), version)
            .map_err(|error| CniError::new(Code::INVALID_CONFIG, format!("prevResult: {}", error.msg)))?;
        result = result.after(earlier);
    }
    Ok(result.to_text(version))
}

/// Several errors as one: the first, with the others in its details (B30).
#[must_use]
pub fn together(errors: Vec<CniError>) -> Option<CniError> {
    let mut errors = errors.into_iter();
    let first = errors.next()?;
    let mut details = first.details.clone();
    for other in errors {
        let separator = if details.is_empty() { "" } else { "; " };
        let _ = write!(details, "{separator}also: {}", other.msg);
    }
    Some(first.with_details(details))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b30_several_errors_are_one_with_details() {
        let error = |text: &str| CniError::new(Code(999), text);
        assert_eq!(together(Vec::new()), None);
        let one = together(vec![error("a").with_details("x"), error("b"), error("c")]).unwrap();
        assert_eq!((one.msg.as_str(), one.details.as_str()), ("a", "x; also: b; also: c"));
    }

    #[test]
    fn a_missing_plugin_names_where_it_was_looked_for() {
        let plugin = PluginType::new("frob").unwrap();
        for (dirs, msg) in [
            (vec![], "plugin frob is nowhere: no directory is searched; set CNI_PATH or \"binDir\""),
            (vec!["/a".into(), "/b".into()], "plugin frob is not in /a:/b; install it there"),
        ] {
            let error = MissingBinary { not_executable: None, searched: dirs }.error(&plugin);
            assert_eq!((error.code, error.msg.as_str()), (Code::PLUGIN_MISSING, msg));
        }
    }
}
