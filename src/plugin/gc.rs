//! One GC: our own records whose sandbox is neither listed by the runtime nor alive are finished (A30, A31); then the plugins of
//! every network are told what is valid (A28, A29, A32).

use std::time::{Duration, Instant};

use crate::act::live::is_live;
use crate::act::sandbox::{adding, note};
use crate::act::undo::finish;
use crate::act::{Acting, Context, PATIENCE};
use crate::cni::{CniError, Code, ContainerId, Operation};
use crate::config::Span;
use crate::config::master::ValidAttachment;
use crate::exec::{Host, Runner as _};
use crate::gather::{Resolver, after, binaries};
use crate::plan::chain::Process;
use crate::plan::gc::{Forward, Stock, Told, Valid, expanded, forward, recorded, sort};
use crate::plan::outcome::{Cause, Failure, together};
use crate::store::StoreError;
use crate::store::lock::{Adding, Attempt, SandboxLock, try_sandbox};

/// How long ADDs that are under way are waited for: the specification has none then.
const ADDS_END: Span = Span::seconds(2);

/// Finishes what is left of sandboxes that are gone, and has the networks' plugins do the same.
pub(super) fn gc(context: &Context) -> Result<(), CniError> {
    let deadline = after(context.config.del_budget);
    let Some(list) = &context.config.valid_attachments else {
        tracing::info!("the runtime does not say what is valid, so nothing is known to be gone");
        return Ok(());
    };
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
    errors.extend(tell_networks(context, list, deadline));
    together(errors).map_or(Ok(()), Err)
}

/// Tells the plugins of every network which attachments are valid, unless that is not known for sure; gives what they refused.
fn tell_networks(context: &Context, list: &[ValidAttachment], deadline: Instant) -> Vec<CniError> {
    // An ADD that began now would have made what no list names.
    let none_adding = match adding(context, Adding::None, deadline.min(after(ADDS_END))) {
        Ok(Some(held)) => held,
        Ok(None) => {
            tracing::warn!("ADDs are under way, or another GC: the networks' plugins are not told of this one");
            return Vec::new();
        }
        Err(error) => return vec![error],
    };
    let stock = match stock(context) {
        Ok(stock) => stock,
        Err(error) => return vec![error.into()],
    };
    let errors = match expanded(&stock, list, &is_live) {
        Ok(valid) => tell_all(gathered(context, &stock, &valid), deadline),
        Err(unknown) => {
            let names: Vec<String> =
                unknown.iter().take(3).map(|one| format!("{} {}", one.container_id, one.ifname)).collect();
            tracing::warn!(
                count = unknown.len(),
                "the runtime lists attachments that are not, or not wholly, on record ({}): the networks' plugins are not told \
                 of this GC, because they might take what such a pod has",
                names.join(", ")
            );
            Vec::new()
        }
    };
    drop(none_adding);
    errors
}

/// Everything on record.
fn stock(context: &Context) -> Result<Stock, StoreError> {
    let mut stock = Stock::default();
    for id in context.records.sandboxes()? {
        let found = context.records.of(&id)?;
        stock.records.extend(found.records);
        stock.damaged.extend(found.damaged.into_iter().map(|one| (id.clone(), one.ifname)));
    }
    Ok(stock)
}

/// The calls for every network that the configuration or a record knows.
fn gathered(context: &Context, stock: &Stock, valid: &Valid) -> Forward {
    let mut networks = Resolver::new(&context.config).known();
    networks.extend(stock.records.iter().map(recorded));
    let searched = stock.records.iter().flat_map(|record| record.attachment.path.dirs());
    let path = searched.fold(context.path.clone(), |path, dir| path.and(dir));
    let spoken = networks.iter().map(|network| &network.list).filter(|list| list.cni_version.has_gc_and_status());
    let binaries = binaries(spoken, &path);
    forward(&networks, valid, &binaries, &path)
}

/// Tells one plugin after the other; gives what they refused.
fn tell_all(forward: Forward, deadline: Instant) -> Vec<CniError> {
    for (network, plugin, why) in forward.missing {
        tracing::warn!("network {network:?} ({plugin}): GC: {}", why.error(&plugin).msg);
    }
    let mut errors = Vec::new();
    let count = forward.calls.len();
    for (at, told) in forward.calls.into_iter().enumerate() {
        let left = Context::remaining(deadline);
        if left.is_zero() {
            let msg = format!("GC: \"delBudget\" is spent, {} of {count} plugins were not told", count - at);
            errors.push(CniError::new(Code::DEADLINE, msg));
            break;
        }
        errors.extend(tell(told, left).err());
    }
    tracing::info!(plugins = count, failed = errors.len(), "GC forwarded");
    errors
}

fn tell(told: Told, left: Duration) -> Result<(), CniError> {
    let Told { network, process } = told;
    let process = Process { deadline: process.deadline.min(left), ..process };
    match Host::default().run(&process) {
        Ok(_) => Ok(()),
        // One that does not know GC has nothing to clear up by it.
        Err(Failure { cause: Cause::Refused(error), plugin, .. })
            if matches!(error.code, Code::ENVIRONMENT | Code::INCOMPATIBLE_VERSION) =>
        {
            tracing::debug!(%plugin, "does not know GC: {}", error.msg);
            Ok(())
        }
        Err(failure) => {
            let context = format!("network {network:?} ({}): GC", failure.plugin);
            Err(failure.cause(Operation::Gc).in_context(&context))
        }
    }
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
    let acting = Acting { context, host: &host, lock: Some(lock), epoch: epoch.to_owned(), patience: PATIENCE };
    let mut errors = Vec::new();
    for record in sorted.orphans {
        // A DEL without time would be ended half-way: the sweep does the rest.
        if Context::remaining(deadline).is_zero() {
            break;
        }
        tracing::info!(sandbox = %id, ifname = %record.attachment.ifname, "its sandbox is gone; its DEL is run");
        errors.extend(finish(&acting, record, None, deadline).err());
    }
    lock.unlink_unless_needed(&context.records, id);
    errors
}
