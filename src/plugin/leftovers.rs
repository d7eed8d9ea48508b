//! What an earlier ADD of the same sandbox left: finished before a new one, unless it is alive and whole (A11).

use std::collections::BTreeSet;

use crate::act::Acting;
use crate::act::foreign::{Lost, of_others, without_record};
use crate::act::undo::finish;
use crate::cni::{AttachmentId, CniError, Code, IfName};
use crate::netns::Netns;
use crate::plan::made::Made;
use crate::plan::outcome::together;
use crate::plan::record::Record;
use crate::store::queue::attempts;

use super::add::links;

/// What is on record of a sandbox when the way for an ADD is clear.
pub(super) struct Cleared {
    /// The interface names of its other ADDs, which are taken whether there are links or not.
    pub taken: BTreeSet<String>,
    /// What an earlier ADD undid. They go when this one begins: until then a DEL is still that one's, and calls nobody (F14).
    pub tombstones: Vec<IfName>,
}

/// Clears the way for an ADD of `id` in `netns`.
///
/// # Errors
/// Code 7 when the sandbox is attached already, and all of it is alive; else what left-overs of it answered to their DEL.
pub(super) fn clear(acting: &Acting<'_>, id: &AttachmentId, netns: &Netns) -> Result<Cleared, CniError> {
    let records = &acting.context.records;
    let found = records.of(&id.container_id)?;
    let others = match found.damaged.is_empty() {
        true => BTreeSet::new(),
        false => of_others(&acting.context.config, &found, id, links(netns)?),
    };
    let damaged = found.damaged.into_iter().filter(|one| !others.contains(&one.ifname)).collect::<Vec<_>>();
    let made = Made::of(found.records, &id.ifname);
    // One whose DEL was asked for, and waits for a plugin, is attached no more.
    let deleted = |record: &Record| attempts(&acting.context.config.state_dir, record) > 0;
    let stands = |record: &Record| record.netns == Some(netns.identity()) && !deleted(record);
    if made.is_complete() && made.records.iter().all(stands) {
        let msg = format!("{} of this sandbox is attached already and is left as it is", id.ifname);
        return Err(CniError::new(Code::INVALID_CONFIG, msg));
    }
    let deadline = acting.context.add_deadline();
    let lost = Lost::of(&made, &id.ifname, &damaged, others);
    let (aside, errors) = records.put_aside(&id.container_id, damaged);
    let mut errors: Vec<CniError> = errors.into_iter().map(CniError::from).collect();
    let mut complete = true;
    if lost.damaged {
        // The DEL that comes one day will not see any more that something is unknown.
        let sought = without_record(acting, id, Some(netns.path()), deadline, &lost);
        complete = sought.complete;
        errors.extend(sought.errors);
    }
    for record in made.records.into_iter().rev() {
        let (ifname, network) = (&record.attachment.ifname, &record.attachment.network);
        tracing::warn!(%ifname, network, "left over from an ADD that did not end; deleted first");
        errors.extend(finish(acting, record, None, deadline).err());
    }
    for one in aside.into_iter().filter(|_| complete) {
        errors.extend(one.forget().err().map(CniError::from));
    }
    let taken = made.others.into_iter().map(|record| record.attachment.ifname.to_string()).collect();
    let cleared = Cleared { taken, tombstones: made.tombstones };
    together(errors).map_or(Ok(cleared), |error| Err(error.in_context("left over from an earlier ADD")))
}
