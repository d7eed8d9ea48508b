//! Asks the kernel whether an attachment has what its pod asked for (`capabilityCheck: "verify"`, B6).

use crate::cni::{CniError, CniResult, Code};
use crate::netns::Netns;
use crate::plan::record::Record;

use super::routes::of_kernel;

/// Whether the kernel shows what must be verified of an attachment that was just made.
///
/// # Errors
/// Code 706 with what was asked for and what is there, 5 when the kernel cannot be asked.
pub fn verified(netns: &Netns, record: &Record) -> Result<(), CniError> {
    let attachment = &record.attachment;
    let Some(verify) = &attachment.verify else { return Ok(()) };
    let text = record.result.as_ref().map_or("", |text| text.get());
    let result = CniResult::parse(text.as_bytes(), attachment.cni_version).map(|(result, _)| result);
    let interfaces = netns.interfaces().map_err(|error| of_kernel(&error))?;
    verify
        .shown(&interfaces, &result.unwrap_or_default(), attachment.ifname.as_str())
        .map_err(|what| CniError::new(Code::NOT_SHOWN, what).in_context("ADD"))
}
