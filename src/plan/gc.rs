//! One GC as data: which of our records stand for sandboxes that are gone (A30, A31).
//!
//! A record is an orphan when the runtime does not list it *and* its namespace is gone. What is unlisted but alive stays.

use std::collections::BTreeSet;

use crate::config::master::ValidAttachment;

use super::record::{Record, State};

/// What becomes of the records of a node.
#[derive(Debug, Default)]
pub struct Sorted {
    /// To be finished by DEL: unlisted, and their namespace is gone.
    pub orphans: Vec<Record>,
    /// Unlisted but alive: left alone, and logged.
    pub unlisted: Vec<Record>,
}

/// Sorts `records` by the runtime's list (`None`: the runtime gave none, so that nothing is known to be gone) and by `live`.
#[must_use]
pub fn sort(records: Vec<Record>, valid: Option<&[ValidAttachment]>, live: &dyn Fn(&Record) -> bool) -> Sorted {
    let mut sorted = Sorted::default();
    let Some(valid) = valid else { return sorted };
    let listed: BTreeSet<(&str, &str)> =
        valid.iter().map(|one| (one.container_id.as_str(), one.ifname.as_str())).collect();
    for record in records {
        let key = (record.sandbox.container_id.as_str(), record.request.as_str());
        if listed.contains(&key) || record.state == State::Undone {
            continue;
        }
        if live(&record) { sorted.unlisted.push(record) } else { sorted.orphans.push(record) }
    }
    sorted.orphans.sort_by_key(|record| std::cmp::Reverse(record.attachment.ordinal));
    sorted
}
