//! One DEL: the records of the sandbox backwards; without a record, what others kept of it (F13). No API, no manifest, no
//! daemon: what was recorded is run, and what is left undone is in the queue before the answer.

use std::path::Path;

use crate::act::del::delete_all;
use crate::act::sandbox::{note, wrest};
use crate::act::{Acting, Context, PATIENCE};
use crate::cni::{AttachmentId, CniError};
use crate::exec::Host;
use crate::gather::after;
use crate::store::lock::forget;

/// Deletes what this sandbox's ADD for `id` made.
pub(super) fn del(context: &Context, id: &AttachmentId, netns: Option<&Path>) -> Result<(), CniError> {
    let deadline = after(context.config.del_budget);
    let lock = wrest(context, &id.container_id, deadline)?;
    let marks = note(lock.as_ref(), false);
    let host = Host { marks: Some(&marks) };
    let acting = Acting { context, host: &host, lock: lock.as_ref(), epoch: epoch(context), patience: PATIENCE };
    let outcome = delete_all(&acting, id, netns, deadline);
    match &lock {
        // All of it is deleted, and whether there is more cannot be seen: nobody would come back for this file.
        Some(lock) if outcome.is_ok() && context.records.of(&id.container_id).is_err() => lock.unlink(),
        Some(lock) => lock.unlink_unless_needed(&context.records, &id.container_id),
        // Who still holds it holds a file without a name then, and is in nobody's way.
        None if outcome.is_ok() => forget(&context.config.run_dir, &id.container_id),
        None => {}
    }
    outcome
}

/// The epoch, for what has to be done again. Without one that is of another epoch, which is looked at the sooner.
fn epoch(context: &Context) -> String {
    context.epoch().unwrap_or_else(|error| {
        tracing::warn!("DEL goes on without an epoch: {}", error.msg);
        String::new()
    })
}
