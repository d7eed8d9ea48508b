//! The exact environment and stdin of one plugin call, and the order of calls (Section 3, "Lifecycle & Ordering").
//!
//! The one thing a plan cannot hold is `prevResult`; it is put in here, into bytes that are otherwise fixed.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::cni::{CniError, CniResult, CniVersion, Operation, PluginType, SearchPath};

use super::{Attachment, Sandbox};

/// Set in every delegate's environment, so that a meta-cni which is called by one of its own delegates knows (D6).
pub const CALLER_VARIABLE: &str = "META_CNI_CALLER";

/// One call of one plugin, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// `type`, for messages.
    pub plugin: PluginType,
    /// What to run.
    pub binary: PathBuf,
    /// Variables to set over the inherited ones; `None` removes one.
    pub env: Vec<(&'static str, Option<String>)>,
    /// What it reads.
    pub stdin: String,
    /// How long it may run.
    pub deadline: Duration,
}

/// The call of plugin `index` of `attachment`; `None` when there is no such plugin. `prev_result` is the text of a result.
#[must_use]
pub fn process(
    operation: Operation,
    sandbox: &Sandbox,
    attachment: &Attachment,
    index: usize,
    prev_result: Option<&RawValue>,
) -> Option<Process> {
    let call = attachment.calls.get(index)?;
    let mut config = call.config.clone();
    if let Some(result) = prev_result {
        config.set("prevResult", result.to_owned());
    }
    let seconds = if operation == Operation::Del { attachment.deadline.del } else { attachment.deadline.add };
    let container_id = sandbox.container_id.as_str().to_owned();
    Some(Process {
        plugin: call.plugin.clone(),
        binary: call.binary.clone(),
        env: vec![
            ("CNI_COMMAND", Some(operation.as_str().to_owned())),
            ("CNI_CONTAINERID", Some(container_id.clone())),
            ("CNI_NETNS", Some(sandbox.netns.to_string_lossy().into_owned())),
            ("CNI_IFNAME", Some(attachment.ifname.as_str().to_owned())),
            ("CNI_ARGS", Some(attachment.args.as_str().to_owned())),
            ("CNI_PATH", Some(attachment.path.to_text())),
            (CALLER_VARIABLE, Some(container_id)),
        ],
        stdin: config.to_text(),
        deadline: Duration::from_secs(seconds),
    })
}

/// The environment of a call that is about no attachment: GC, STATUS.
#[must_use]
pub fn env_of_node(operation: Operation, path: &SearchPath) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("CNI_COMMAND", Some(operation.as_str().to_owned())),
        ("CNI_PATH", Some(path.to_text())),
        ("CNI_CONTAINERID", None),
        ("CNI_NETNS", None),
        ("CNI_IFNAME", None),
        ("CNI_ARGS", None),
        (CALLER_VARIABLE, Some(operation.as_str().to_lowercase())),
    ]
}

/// What a plugin printed on ADD, as it is handed on and kept: its own bytes when they state the configuration's version,
/// else converted to that. A result that states none is read by libcni as one of 0.1.0, which holds nothing of it.
///
/// # Errors
/// Code 702 when `stdout` is no result.
pub fn result_text(stdout: &[u8], version: CniVersion) -> Result<Box<RawValue>, CniError> {
    let (result, stated) = CniResult::parse_as_stated(stdout, version)?;
    let text = match std::str::from_utf8(stdout) {
        Ok(text) if stated == Some(version) => text.trim().to_owned(),
        _ => result.to_text(version),
    };
    RawValue::from_string(text)
        .map_err(|error| CniError::new(crate::cni::Code::BAD_ANSWER, format!("the answer is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_the_right_version_is_kept_byte_for_byte() {
        for (stdout, version, kept) in [
            (" {\"cniVersion\":\"1.0.0\", \"x\":1.0}\n", CniVersion::V1_0_0, "{\"cniVersion\":\"1.0.0\", \"x\":1.0}"),
            ("{\"x\":1}", CniVersion::V1_0_0, "{\"cniVersion\":\"1.0.0\"}"),
            ("{\"cniVersion\":null,\"x\":1}", CniVersion::V1_0_0, "{\"cniVersion\":\"1.0.0\"}"),
            ("{\"cniVersion\":\"\",\"x\":1}", CniVersion::V1_0_0, "{\"cniVersion\":\"1.0.0\"}"),
            ("{\"x\":{\"cniVersion\":\"1.0.0\"}}", CniVersion::V1_0_0, "{\"cniVersion\":\"1.0.0\"}"),
            ("{\"cniVersion\":\"0.4.0\",\"x\":1}", CniVersion::V1_0_0, "{\"cniVersion\":\"1.0.0\"}"),
        ] {
            assert_eq!(result_text(stdout.as_bytes(), version).unwrap().get(), kept);
        }
        assert!(result_text(b"[]", CniVersion::V1_0_0).is_err());
    }
}
