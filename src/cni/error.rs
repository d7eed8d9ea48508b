//! The error a plugin prints on stdout: code, message, details (Section 5, "Error").
//!
//! Codes are a closed list: those of the specification, and ours from 700 up. A delegate's own code passes through as
//! the number it is. Messages are one line of at most [`LONGEST_MSG`] characters.

use serde::{Deserialize, Serialize};

use super::version::CniVersion;

/// Characters in a message at most (statement G4).
pub const LONGEST_MSG: usize = 512;

/// Characters of `details` at most: the log has the rest.
pub const LONGEST_DETAILS: usize = 4096;

/// An error code: 1 to 99 of the specification, 100 and up of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(pub u32);

impl Code {
    /// The configuration's CNI version is not spoken.
    pub const INCOMPATIBLE_VERSION: Self = Self(1);
    /// The container is unknown, and the runtime need not clean up. Never on ADD.
    pub const UNKNOWN_CONTAINER: Self = Self(3);
    /// A `CNI_*` variable is missing or malformed.
    pub const ENVIRONMENT: Self = Self(4);
    /// Our own files cannot be read or written.
    pub const IO: Self = Self(5);
    /// Something that should be JSON is not.
    pub const NOT_JSON: Self = Self(6);
    /// Configuration, annotation or manifest is refused.
    pub const INVALID_CONFIG: Self = Self(7);
    /// There is no network namespace at that path, or it is our own.
    pub const NETNS: Self = Self(8);
    /// It should be tried again later.
    pub const TRY_AGAIN: Self = Self(11);
    /// STATUS: an ADD could not be served.
    pub const NOT_AVAILABLE: Self = Self(50);
    /// STATUS: existing containers may have limited connectivity, and an ADD could not be served.
    pub const LIMITED: Self = Self(51);
    /// A plugin's executable is missing or not executable.
    pub const PLUGIN_MISSING: Self = Self(701);
    /// A plugin's answer is missing, too large, not JSON or of an unknown version.
    pub const BAD_ANSWER: Self = Self(702);
    /// A plugin ran past its deadline.
    pub const DEADLINE: Self = Self(703);
    /// A plugin was ended by a signal.
    pub const SIGNAL: Self = Self(704);
    /// A plugin failed without saying why.
    pub const NO_ERROR: Self = Self(705);
    /// The kernel does not show what was asked for.
    pub const NOT_SHOWN: Self = Self(706);
    /// A defect of ours.
    pub const INTERNAL: Self = Self(999);
}

/// What went wrong, as the runtime is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{msg}")]
pub struct CniError {
    /// The code.
    pub code: Code,
    /// One line: network, plugin, interface, phase, cause, hint.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub msg: String,
    /// What a person may want to know beyond that.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl CniError {
    /// An error without details. `msg` is made one line and cut to size.
    pub fn new(code: Code, msg: impl AsRef<str>) -> Self {
        Self { code, msg: one_line(msg.as_ref(), LONGEST_MSG), details: String::new() }
    }

    /// The same error with `details`.
    #[must_use]
    pub fn with_details(mut self, details: impl AsRef<str>) -> Self {
        self.details = cut(details.as_ref(), LONGEST_DETAILS);
        self
    }

    /// The same error with `context` in front of its message (`network "x" (macvlan) net1: ADD`).
    #[must_use]
    pub fn in_context(self, context: &str) -> Self {
        Self { msg: one_line(&format!("{context}: {}", self.msg), LONGEST_MSG), ..self }
    }

    /// The JSON object that is printed on stdout, with the version of the request (A9).
    #[must_use]
    pub fn to_text(&self, version: CniVersion) -> String {
        #[derive(Serialize)]
        struct Printed<'a> {
            #[serde(rename = "cniVersion")]
            cni_version: CniVersion,
            #[serde(flatten)]
            error: &'a CniError,
        }
        serde_json::to_string(&Printed { cni_version: version, error: self })
            .unwrap_or_else(|_| format!(r#"{{"cniVersion":"{version}","code":999,"msg":"an error that is no JSON"}}"#))
    }

    /// The error that a plugin printed, if `stdout` is one: an object with a `code` other than 0.
    #[must_use]
    pub fn from_stdout(stdout: &[u8]) -> Option<Self> {
        let error: Self = serde_json::from_slice(stdout).ok()?;
        (error.code.0 != 0).then(|| Self::new(error.code, &error.msg).with_details(&error.details))
    }
}

/// `null` stands for nothing, as Go takes it.
pub(super) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// `text` on one line: control characters become spaces, runs of white space one space, at most `longest` characters.
#[must_use]
pub fn one_line(text: &str, longest: usize) -> String {
    let mut line = String::with_capacity(text.len().min(longest * 4));
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    cut(&line, longest)
}

/// `text`, or its first characters and an ellipsis when it is longer than `longest` characters.
#[must_use]
pub fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(longest.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g4_a_message_is_one_line_of_at_most_512_characters() {
        let error = CniError::new(Code(7), format!("a\n b\t\u{0}c {}", "ü".repeat(600)));
        assert_eq!(error.msg.chars().count(), 512);
        assert!(error.msg.starts_with("a b c üü"));
        assert!(error.msg.ends_with('…'));
    }

    #[test]
    fn a9_the_printed_error_carries_the_version_of_the_request() {
        let text = CniError::new(Code::TRY_AGAIN, "wait").with_details("long").to_text(CniVersion::V0_4_0);
        assert_eq!(text, r#"{"cniVersion":"0.4.0","code":11,"msg":"wait","details":"long"}"#);
    }

    #[test]
    fn a8_an_error_of_a_delegate_is_read_as_it_is() {
        let read =
            CniError::from_stdout(br#" {"cniVersion":"1.0.0","code":102,"msg":"no","details":"really"} "#).unwrap();
        assert_eq!((read.code, read.msg.as_str(), read.details.as_str()), (Code(102), "no", "really"));
        let read = CniError::from_stdout(br#"{"code":11,"msg":"empty","details":null}"#).unwrap();
        assert_eq!((read.code, read.msg.as_str(), read.details.as_str()), (Code::TRY_AGAIN, "empty", ""));
        for no_error in
            [&b"{}"[..], b"", b"null", b"{\"code\":0}", b"{\"code\":\"1\"}", b"{\"ips\":[]}", b"{\"code\":1}x"]
        {
            assert_eq!(CniError::from_stdout(no_error), None);
        }
    }
}
