//! One DEL: the records of the sandbox backwards; without a record, what others kept of it (F13). No API, no manifest, no
//! daemon: what was recorded is run, and what is left undone is in the queue before the answer.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cni::{AttachmentId, CniError, SearchPath};
use crate::exec::{Host, find};
use crate::gather::{Resolver, after, binaries};
use crate::netns::{identity, own};
use crate::plan::del::Foreign;
use crate::plan::made::Made;
use crate::plan::outcome::together;
use crate::plan::record::{Record, State};
use crate::plan::{Pod, Sandbox};
use crate::store::foreign::{Kept, libcni, multus};
use crate::store::lock::forget;

use super::act::{Acting, delete, judge};
use super::context::Context;
use super::sandbox::{note, wrest};

/// Where libcni keeps its cache, for every runtime.
const LIBCNI_CACHE: &str = "/var/lib/cni";

/// Deletes what this sandbox's ADD for `id` made.
pub(super) fn del(context: &Context, id: &AttachmentId, netns: Option<&Path>) -> Result<(), CniError> {
    let deadline = after(context.config.del_budget);
    let lock = wrest(context, &id.container_id, deadline)?;
    let marks = note(lock.as_ref(), false);
    let host = Host { marks: Some(&marks) };
    let acting = Acting { context, host: &host, lock: lock.as_ref(), epoch: epoch(context) };
    let outcome = delete_all(&acting, id, netns, deadline);
    match &lock {
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

fn delete_all(acting: &Acting<'_>, id: &AttachmentId, netns: Option<&Path>, deadline: Instant) -> Result<(), CniError> {
    let records = &acting.context.records;
    let found = records.of(&id.container_id)?;
    let damaged = !found.damaged.is_empty();
    let mut errors: Vec<CniError> = Vec::new();
    for (path, why) in found.damaged {
        errors.extend(records.quarantine(&id.container_id, &path, &why).err().map(CniError::from));
    }
    let made = Made::of(found.records, &id.ifname);
    if damaged || (made.records.is_empty() && made.tombstones.is_empty()) {
        errors.extend(without_record(acting, id, netns, deadline, damaged).err());
    }
    let backwards = made.records.into_iter().rev();
    errors.extend(backwards.filter_map(|record| finish(acting, record, netns, deadline).err()));
    for ifname in made.tombstones {
        errors.extend(records.remove(&id.container_id, &ifname).err().map(CniError::from));
    }
    together(errors).map_or(Ok(()), Err)
}

/// Runs DEL of one record and removes it when that succeeded, or can never.
pub(super) fn finish(
    acting: &Acting<'_>,
    mut record: Record,
    given: Option<&Path>,
    deadline: Instant,
) -> Result<(), CniError> {
    record.sandbox.netns = namespace(&record, given);
    find_again(&mut record, &acting.context.path);
    let failures = delete(acting, &record, deadline);
    judge(acting, &record, failures)?;
    acting.context.records.remove(&record.sandbox.container_id, &record.attachment.ifname)?;
    Ok(())
}

/// Plugins that moved since the ADD are looked for again, first where they were, then where this call says. What they are
/// given stays as it was, but that the search path has both.
fn find_again(record: &mut Record, now: &SearchPath) {
    let path = std::mem::take(&mut record.attachment.path);
    record.attachment.path = now.dirs().iter().fold(path, |path, dir| path.and(dir));
    for call in &mut record.attachment.calls {
        let before: Vec<PathBuf> = call.binary.parent().map(Path::to_owned).into_iter().collect();
        let found = find(&call.plugin, &before).or_else(|_| find(&call.plugin, record.attachment.path.dirs()));
        if let Ok(binary) = found {
            call.binary = binary;
        }
    }
}

/// The path that plugins are given. A path that is now another namespace's is not touched: then it is empty, which
/// plugins take as "gone". One at which there is nothing is given as it was, because some plugins know their own by it.
fn namespace(record: &Record, given: Option<&Path>) -> PathBuf {
    let recorded = (!record.sandbox.netns.as_os_str().is_empty()).then_some(record.sandbox.netns.as_path());
    let mut gone = None;
    for path in recorded.into_iter().chain(given) {
        match (identity(path), record.netns) {
            (Ok(now), Some(then)) if now == then => return path.to_owned(),
            (Ok(now), None) if own().is_ok_and(|own| own != now) => return path.to_owned(),
            (Ok(_), _) => {}
            (Err(_), _) => gone = gone.or(Some(path)),
        }
    }
    gone.map(Path::to_owned).unwrap_or_default()
}

/// DEL of a sandbox that we have no record of: added before meta-cni, under Multus, or its record was lost.
fn without_record(
    acting: &Acting<'_>,
    id: &AttachmentId,
    netns: Option<&Path>,
    deadline: Instant,
    damaged: bool,
) -> Result<(), CniError> {
    let config = &acting.context.config;
    let kept = [
        multus(&config.cni_dir, &id.container_id, &id.ifname),
        libcni(LIBCNI_CACHE.as_ref(), &id.container_id, &id.ifname),
    ];
    let Some(kept) = kept.into_iter().find(|kept| !kept.attachments.is_empty()) else {
        // Without a trace of an attachment, links of that name in the namespace may be anybody's: they are not touched.
        return guess(acting, id, netns.filter(|_| damaged), deadline);
    };
    let names: Vec<&str> = kept.attachments.iter().map(|foreign| foreign.network.as_str()).collect();
    tracing::info!(networks = names.join(", "), "no record; deleted by what the runtime or Multus kept");
    let errors = delete_foreign(acting, id, netns, deadline, &kept);
    match together(errors) {
        None => {
            kept.forget();
            Ok(())
        }
        Some(error) => Err(error),
    }
}

fn delete_foreign(
    acting: &Acting<'_>,
    id: &AttachmentId,
    netns: Option<&Path>,
    deadline: Instant,
    kept: &Kept,
) -> Vec<CniError> {
    let mut errors = Vec::new();
    for (ordinal, foreign) in kept.attachments.iter().enumerate().rev() {
        let record = foreign_record(acting, id, netns, foreign, (ordinal, kept.attachments.len()));
        // From here on it is one of acting: if its DEL fails, it can be tried again.
        if let Err(error) = acting.context.records.put(&record) {
            tracing::warn!(error = error.story(), "not recorded");
        }
        errors.extend(finish(acting, record, netns, deadline).err());
    }
    errors
}

/// An attachment that others made, as a record.
fn foreign_record(
    acting: &Acting<'_>,
    id: &AttachmentId,
    netns: Option<&Path>,
    foreign: &Foreign,
    (ordinal, of): (usize, usize),
) -> Record {
    let context = acting.context;
    let binaries = binaries(std::iter::once(&foreign.list), &context.path);
    let (attachment, missing) = foreign.attachment(ordinal, &context.args, &context.path, &binaries);
    for (plugin, why) in missing {
        tracing::warn!("given up, because it can never heal: {}", why.error(&plugin).msg);
    }
    Record {
        sandbox: Sandbox {
            container_id: id.container_id.clone(),
            netns: netns.map(Path::to_owned).unwrap_or_default(),
            pod: Pod::of(&context.args),
        },
        netns: None,
        epoch: acting.epoch.clone(),
        request: id.ifname.clone(),
        of,
        attachment,
        call: context.call,
        state: State::Begun,
        result: foreign.result.clone(),
        left: None,
        routed: None,
    }
}

/// DEL of the current primary, because nothing is known. Best effort: there may never have been anything.
fn guess(acting: &Acting<'_>, id: &AttachmentId, netns: Option<&Path>, deadline: Instant) -> Result<(), CniError> {
    let network = match Resolver::new(&acting.context.config).primary_now() {
        Ok(network) => network,
        Err(error) => {
            tracing::info!("no record and no primary, so there is nothing to delete: {}", error.msg);
            return Ok(());
        }
    };
    let foreign = Foreign {
        network: network.display,
        list: network.list,
        ifname: id.ifname.clone(),
        arguments: acting.context.config.runtime_config.clone(),
        args: None,
        result: None,
    };
    let mut record = foreign_record(acting, id, netns, &foreign, (0, 1));
    record.sandbox.netns = namespace(&record, netns);
    for failure in delete(acting, &record, deadline) {
        let error = failure.error(&record.attachment, crate::cni::Operation::Del);
        tracing::warn!("no record, so the current primary was asked, in vain: {}", error.msg);
    }
    Ok(())
}
