//! One CHECK as data: every attachment of the runtime's call that can be checked, in the order of ADD (A22-A24).

use crate::cni::IfName;

use super::record::{Record, State};

/// The records to run CHECK of, first attached first: those with `disableCheck` and those whose configuration is older
/// than CHECK are left out.
#[must_use]
pub fn order(records: Vec<Record>, request: &IfName) -> Vec<Record> {
    let mut mine: Vec<Record> = records
        .into_iter()
        .filter(|record| record.request == *request && record.state == State::Attached)
        .filter(|record| !record.attachment.disable_check && record.attachment.cni_version.has_check())
        .collect();
    mine.sort_by_key(|record| record.attachment.ordinal);
    mine
}
