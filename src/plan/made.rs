//! What is on record of a sandbox, seen from one call of the runtime: what its ADD made, in order, and what is not its own.
//!
//! CHECK runs it forwards, DEL backwards; neither decides anything about networks (A19-A24).

use crate::cni::IfName;

use super::record::{Record, State};

/// The records of a sandbox, as the runtime's call for one interface name sees them.
#[derive(Debug, Default)]
pub struct Made {
    /// Begun or attached by that call, first attached first.
    pub records: Vec<Record>,
    /// Tombstones of that call: they stand for nothing.
    pub tombstones: Vec<IfName>,
    /// Of calls for other interface names.
    pub others: Vec<Record>,
}

impl Made {
    /// Sorts the records of a sandbox by the runtime's call for `request`.
    #[must_use]
    pub fn of(records: Vec<Record>, request: &IfName) -> Self {
        let (mine, others): (Vec<Record>, Vec<Record>) =
            records.into_iter().partition(|record| record.request == *request);
        let (tombstones, mut records): (Vec<Record>, Vec<Record>) =
            mine.into_iter().partition(|record| record.state == State::Undone);
        records.sort_by_key(|record| record.attachment.ordinal);
        let tombstones = tombstones.into_iter().map(|record| record.attachment.ifname).collect();
        Self { records, tombstones, others }
    }

    /// True if that call attached everything it was to attach.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let wanted = self.records.first().map_or(0, |record| record.of);
        let attached = self.records.iter().filter(|record| record.state == State::Attached).count();
        wanted > 0 && attached == wanted && self.tombstones.is_empty()
    }

    /// Those to run CHECK of: neither with `disableCheck` nor of a version older than CHECK.
    pub fn checkable(&self) -> impl Iterator<Item = &Record> {
        let can = |record: &&Record| !record.attachment.disable_check && record.attachment.cni_version.has_check();
        self.records.iter().filter(can)
    }
}
