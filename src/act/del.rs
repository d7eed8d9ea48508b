//! Everything that a call of the runtime made, taken back: its records backwards; without one, what others kept of it (F13) and
//! what it has addresses in (F4).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use crate::cni::{AttachmentId, CniError};
use crate::plan::made::Made;
use crate::plan::outcome::together;
use crate::store::records::Sandboxed;

use super::Acting;
use super::foreign::{Lost, of_others, without_record};
use super::live::{Place, place};
use super::undo::finish;

/// Deletes what the sandbox's ADD for `id` made. Records that cannot be read are put aside then.
///
/// # Errors
/// What could not be deleted; it is in the queue, or its record still stands.
pub fn delete_all(
    acting: &Acting<'_>,
    id: &AttachmentId,
    netns: Option<&Path>,
    deadline: Instant,
) -> Result<(), CniError> {
    let records = &acting.context.records;
    let found = records.of(&id.container_id)?;
    // Where there is no namespace nothing of the sandbox is alive.
    let others = match is_lost(&found, id) && netns.is_some_and(|netns| place(netns) != Place::Gone) {
        true => of_others(&acting.context.config, &found, id, BTreeSet::new()),
        false => BTreeSet::new(),
    };
    let damaged = found.damaged.into_iter().filter(|one| !others.contains(&one.ifname)).collect::<Vec<_>>();
    let made = Made::of(found.records, &id.ifname);
    let lost = Lost::of(&made, &id.ifname, &damaged, others);
    let (aside, errors) = records.put_aside(&id.container_id, damaged);
    let mut errors: Vec<CniError> = errors.into_iter().map(CniError::from).collect();
    let mut complete = true;
    if lost.damaged || (made.records.is_empty() && made.tombstones.is_empty()) {
        let sought = without_record(acting, id, netns, deadline, &lost);
        complete = sought.complete;
        errors.extend(sought.errors);
    }
    let backwards = made.records.into_iter().rev();
    errors.extend(backwards.filter_map(|record| finish(acting, record, netns, deadline).err()));
    for ifname in made.tombstones {
        errors.extend(records.remove(&id.container_id, &ifname).err().map(CniError::from));
    }
    for one in aside.into_iter().filter(|_| complete) {
        errors.extend(one.forget().err().map(CniError::from));
    }
    together(errors).map_or(Ok(()), Err)
}

/// True if something of the runtime's call for `id` may be on record no more.
fn is_lost(found: &Sandboxed, id: &AttachmentId) -> bool {
    !found.damaged.is_empty() || found.records.iter().all(|record| record.request != id.ifname)
}
