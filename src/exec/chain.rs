//! The chain of one attachment: ADD forwards, DEL backwards, CHECK forwards (Section 3, "Lifecycle & Ordering").

use serde_json::value::RawValue;

use crate::cni::{CniError, CniVersion, Object, Operation};
use crate::plan::chain::{Process, process, result_text};
use crate::plan::outcome::{Cause, Failure};
use crate::plan::{Attachment, Sandbox};

use super::Runner;

/// Runs ADD of every plugin in order; gives what the last one printed, in the configuration's version.
///
/// # Errors
/// The first failure. What ran before it stands: the caller undoes the whole attachment with [`del`].
pub fn add(runner: &dyn Runner, sandbox: &Sandbox, attachment: &Attachment) -> Result<Box<RawValue>, Failure> {
    let mut result: Option<Box<RawValue>> = attachment.prev_result.as_ref().map(Object::to_raw);
    for (index, call) in attachment.calls.iter().enumerate() {
        // Whatever the version: that is how libcni hands it on, and plugins that follow another one ask for it.
        let Some(process) = process(Operation::Add, sandbox, attachment, index, result.as_deref()) else { continue };
        let stdout = runner.run(&process)?;
        let refused = |error: CniError| Failure::early(call.plugin.clone(), Cause::BadAnswer(error.msg));
        if stdout.iter().all(u8::is_ascii_whitespace) {
            return Err(refused(CniError::new(crate::cni::Code::BAD_ANSWER, "the answer is empty")));
        }
        result = Some(result_text(&stdout, attachment.cni_version).map_err(refused)?);
    }
    Ok(result.unwrap_or_else(|| RawValue::NULL.to_owned()))
}

/// Runs DEL of every plugin in reverse, every one whatever the others say; gives the failures.
pub fn del(
    runner: &dyn Runner,
    sandbox: &Sandbox,
    attachment: &Attachment,
    result: Option<&RawValue>,
    bound: &dyn Fn(Process) -> Process,
) -> Vec<Failure> {
    let prev = result.filter(|_| attachment.cni_version >= CniVersion::V0_4_0);
    let calls = (0..attachment.calls.len()).rev();
    calls
        .filter_map(|index| process(Operation::Del, sandbox, attachment, index, prev))
        .filter_map(|process| runner.run(&bound(process)).err())
        .collect()
}

/// Runs CHECK of every plugin in order.
///
/// # Errors
/// The first failure.
pub fn check(
    runner: &dyn Runner,
    sandbox: &Sandbox,
    attachment: &Attachment,
    result: Option<&RawValue>,
) -> Result<(), Failure> {
    for index in 0..attachment.calls.len() {
        if let Some(process) = process(Operation::Check, sandbox, attachment, index, result) {
            runner.run(&process)?;
        }
    }
    Ok(())
}
