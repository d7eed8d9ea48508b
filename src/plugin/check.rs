//! One CHECK: every attachment of the sandbox with the configuration of its ADD (A22-A24). Records only.

use std::path::Path;

use crate::act::Context;
use crate::act::routes::routed;
use crate::act::sandbox::{lock_for_check, note};
use crate::cni::{AttachmentId, CniError, Code, Operation};
use crate::exec::{Host, chain};
use crate::netns;
use crate::plan::made::Made;

use super::add::no_namespace;

/// Checks what this sandbox's ADD for `id` made.
pub(super) fn check(context: &Context, id: &AttachmentId, netns: &Path) -> Result<(), CniError> {
    let netns = netns::open(netns).map_err(no_namespace)?;
    let lock = lock_for_check(context, &id.container_id, context.add_deadline())?;
    let found = context.records.of(&id.container_id)?;
    if let Some(lock) = &lock {
        lock.unlink_unless_needed(&context.records, &id.container_id);
    }
    let made = Made::of(found.records, &id.ifname);
    if !made.is_complete() {
        let damaged = found.damaged.first().map(|one| format!(": {} {}", one.path.display(), one.why));
        let what = if made.records.is_empty() && made.tombstones.is_empty() {
            "is not attached"
        } else {
            "is not wholly attached"
        };
        let msg = format!("{} of this sandbox {what}{}", id.ifname, damaged.unwrap_or_default());
        return Err(CniError::new(Code::UNKNOWN_CONTAINER, msg));
    }
    if made.records.iter().any(|record| record.netns.is_some_and(|then| then != netns.identity())) {
        let msg = format!("CNI_NETNS: {} is another namespace than at ADD", netns.path().display());
        return Err(CniError::new(Code::NETNS, msg));
    }
    let marks = note(lock.as_ref(), true);
    let host = Host { marks: Some(&marks) };
    let routed = made.records.iter().try_for_each(|record| routed(&netns, record));
    for record in made.checkable() {
        chain::check(&host, &record.sandbox, &record.attachment, record.standing())
            .map_err(|failure| failure.error(&record.attachment, Operation::Check))?;
    }
    routed
}
