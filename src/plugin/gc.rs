//! One GC: our own records whose sandbox is neither listed by the runtime nor alive are finished (A30, A31).

use std::time::Instant;

use crate::act::sandbox::note;
use crate::act::undo::finish;
use crate::act::{Acting, Context};
use crate::cni::{CniError, ContainerId, Operation};
use crate::exec::Host;
use crate::gather::after;
use crate::netns::identity;
use crate::plan::gc::sort;
use crate::plan::outcome::together;
use crate::plan::record::Record;
use crate::store::lock::{Attempt, SandboxLock, try_sandbox};

/// Finishes what is left of sandboxes that are gone.
pub(super) fn gc(context: &Context) -> Result<(), CniError> {
    let deadline = after(context.config.del_budget);
    let epoch = context.epoch()?;
    let mut errors = Vec::new();
    for id in context.records.sandboxes()? {
        match try_sandbox(&context.config.run_dir, &id, context.call, Operation::Gc) {
            Ok(Attempt::Held(lock)) => errors.extend(of_sandbox(context, &id, &lock, &epoch, deadline)),
            // A sandbox that is being worked on is not gone.
            Ok(Attempt::Busy(..)) => {}
            Err(error) => errors.push(error.into()),
        }
    }
    together(errors).map_or(Ok(()), Err)
}

/// Finishes what is left of one sandbox; gives what could not be.
fn of_sandbox(
    context: &Context,
    id: &ContainerId,
    lock: &SandboxLock,
    epoch: &str,
    deadline: Instant,
) -> Vec<CniError> {
    let found = match context.records.of(id) {
        Ok(found) => found,
        Err(error) => return vec![error.into()],
    };
    let sorted = sort(found.records, context.config.valid_attachments.as_deref(), &is_live);
    for record in &sorted.unlisted {
        let (sandbox, ifname) = (&record.sandbox.container_id, &record.attachment.ifname);
        tracing::info!(%sandbox, %ifname, "the runtime does not list it, but it is alive; left as it is");
    }
    let marks = note(Some(lock), false);
    let host = Host { marks: Some(&marks) };
    let acting = Acting { context, host: &host, lock: Some(lock), epoch: epoch.to_owned() };
    let mut errors = Vec::new();
    for record in sorted.orphans {
        tracing::info!(sandbox = %id, ifname = %record.attachment.ifname, "its sandbox is gone; deleted");
        errors.extend(finish(&acting, record, None, deadline).err());
    }
    lock.unlink_unless_needed(&context.records, id);
    errors
}

/// True if the recorded namespace is still that namespace.
fn is_live(record: &Record) -> bool {
    let now = identity(&record.sandbox.netns).ok();
    now.is_some() && now == record.netns
}
