//! Everything that a call of the runtime made, taken back: its records backwards; without one, what others kept of it (F13) and
//! what it has addresses in (F4).

use std::path::Path;
use std::time::Instant;

use crate::cni::{AttachmentId, CniError};
use crate::plan::made::Made;
use crate::plan::outcome::together;

use super::Acting;
use super::foreign::{Lost, without_record};
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
    let damaged = !found.damaged.is_empty();
    let (aside, errors) = records.put_aside(&id.container_id, found.damaged);
    let mut errors: Vec<CniError> = errors.into_iter().map(CniError::from).collect();
    let made = Made::of(found.records, &id.ifname);
    if damaged || (made.records.is_empty() && made.tombstones.is_empty()) {
        let lost = Lost::of(&made, &id.ifname, damaged);
        errors.extend(without_record(acting, id, netns, deadline, lost));
    }
    let backwards = made.records.into_iter().rev();
    errors.extend(backwards.filter_map(|record| finish(acting, record, netns, deadline).err()));
    for ifname in made.tombstones {
        errors.extend(records.remove(&id.container_id, &ifname).err().map(CniError::from));
    }
    for one in aside {
        errors.extend(one.forget().err().map(CniError::from));
    }
    together(errors).map_or(Ok(()), Err)
}
