//! Asks the kernel whether an attachment has what its pod asked for (`capabilityCheck: "verify"`, B6).

use crate::cni::{CniError, Code};
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
    let interfaces = netns.interfaces().map_err(|error| of_kernel(&error))?;
    verify
        .shown(&interfaces, &record.view().unwrap_or_default(), attachment.ifname.as_str())
        .map_err(|what| CniError::new(Code::NOT_SHOWN, what).in_context("ADD"))
}
