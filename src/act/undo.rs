//! Takes attachments back: plugins' DEL backwards, what the kernel was changed in put back, and what is left undone queued.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::boot_seconds;
use crate::cni::{CniError, Operation, SearchPath};
use crate::exec::{chain, find};
use crate::kernel::NetnsId;
use crate::netns::{identity, own};
use crate::plan::chain::Process;
use crate::plan::del::again_without_namespace;
use crate::plan::gc::recorded;
use crate::plan::leases::places;
use crate::plan::outcome::{Failure, together};
use crate::plan::record::{Record, State};
use crate::store::sweep::bring_forward;
use crate::store::{queue, remove};

use super::live::{Place, place};
use super::routes::restore;
use super::{Acting, Context, unwritten};

/// What an undo may take beyond the ADD's own time.
const UNDO: Duration = Duration::from_secs(30);

/// How a DEL ended that is no failure for who asked for it.
#[derive(Debug)]
pub enum Finished {
    /// Nothing of the attachment is left to do.
    Wholly,
    /// A plugin of it is nowhere, perhaps for a moment: record and entry in the queue stay for the sweep.
    Waits(CniError),
}

/// Takes everything in `records` back, the last first, and gives `cause` with what could not be. What was undone becomes a
/// tombstone.
pub fn undone(acting: &Acting<'_>, records: Vec<Record>, cause: CniError) -> CniError {
    let left = undo_all(acting, records);
    if left.is_empty() {
        return cause;
    }
    let left: Vec<String> = left.into_iter().map(|error| error.msg).collect();
    let details = format!("{}; not undone, so queued: {}", cause.details, left.join("; "));
    cause.with_details(details.trim_start_matches("; "))
}

fn undo_all(acting: &Acting<'_>, records: Vec<Record>) -> Vec<CniError> {
    #[expect(clippy::disallowed_methods, reason = "the budget of the undo starts here")]
    let deadline = Instant::now() + UNDO;
    let mut left = Vec::new();
    for mut record in records.into_iter().rev() {
        let failures = delete(acting, &record, deadline);
        match judge(acting, &record, failures) {
            Err(error) | Ok(Finished::Waits(error)) => left.push(error),
            Ok(Finished::Wholly) => {
                record.state = State::Undone;
                (record.result, record.left, record.routed) = (None, None, None);
                if let Err(error) = acting.context.records.end(&record) {
                    // The record stays as begun: its DEL is run once more, which harms nothing.
                    tracing::warn!(error = error.story(), "the tombstone could not be written");
                }
            }
        }
    }
    left
}

/// Takes back what the record's attachment had changed of the pod's routes, then runs DEL of every plugin, in reverse. Of an ADD
/// that did not end well what its plugins reserved for nobody goes too.
pub fn delete(acting: &Acting<'_>, record: &Record, deadline: Instant) -> Vec<Failure> {
    let bound = |process: Process| {
        let deadline = process.deadline.min(Context::left(deadline));
        Process { deadline, ..process }
    };
    restore(record);
    let failures = chain::del(acting.host, &record.sandbox, &record.attachment, record.result.as_deref(), &bound);
    if record.state == State::Begun {
        unwritten::release(&places(&[recorded(record)]));
    }
    failures
}

/// What the failures of a DEL mean: nothing when none of them can ever heal (F6), and then nothing is left to tell of the
/// attachment's device; else the DEL is queued, and an error. A plugin that refuses the version of the configuration has
/// done so at an ADD that did not succeed too: it made nothing, and would keep the pod for ever. A plugin that is nowhere keeps no
/// pod either, but may be about to be installed again: within `patience` its DEL waits in the queue.
pub fn judge(acting: &Acting<'_>, record: &Record, failures: Vec<Failure>) -> Result<Finished, CniError> {
    let (id, ifname) = (&record.sandbox.container_id, &record.attachment.ifname);
    let config = &acting.context.config;
    // Of a record without a namespace others made the attachment, and nobody knows how far they came.
    let failed = record.state == State::Begun && record.netns.is_some();
    let patient = || acting.patience > 0 && queue::attempts(&config.state_dir, record) < acting.patience;
    let never =
        |failure: &Failure| (failure.can_never_heal() && !patient()) || (failed && failure.refuses_the_version());
    let (lost, healing): (Vec<_>, Vec<_>) = failures.into_iter().partition(never);
    for failure in lost {
        let error = failure.error(&record.attachment, Operation::Del);
        tracing::warn!("given up, because it can never heal: {}", error.msg);
    }
    let waits = healing.iter().all(Failure::can_never_heal);
    let errors = healing.iter().map(|failure| failure.error(&record.attachment, Operation::Del)).collect();
    match together(errors) {
        None => {
            // A file that stays stands for nothing, and no ADD goes on beside one: that is no reason to keep a pod.
            if let Err(error) = record.attachment.device_info.as_deref().map_or(Ok(()), remove) {
                tracing::warn!(error = error.story(), "what plugins told of the device stays behind");
            }
            queue::done(&config.state_dir, id, ifname).map(|()| Finished::Wholly).map_err(CniError::from)
        }
        Some(error) => {
            let queued = queue::push(&config.state_dir, record, &error.msg, &acting.epoch, boot_seconds());
            let is_queued = queued.is_ok();
            if let Err(full) = queued.and_then(|due| bring_forward(&config.run_dir, due)) {
                tracing::error!(error = full.story(), "the DEL could not be queued; its record stays");
            }
            if waits && is_queued { Ok(Finished::Waits(error)) } else { Err(error) }
        }
    }
}

/// Runs DEL of one record and removes it when that succeeded, or can never.
///
/// # Errors
/// What failed and can heal; it is in the queue.
pub fn finish(
    acting: &Acting<'_>,
    mut record: Record,
    given: Option<&Path>,
    deadline: Instant,
) -> Result<Finished, CniError> {
    record.sandbox.netns = namespace(&record, given);
    find_again(&mut record, &acting.context.path);
    let mut failures = delete(acting, &record, deadline);
    if !failures.is_empty() && is_for_want_of_namespace(acting, &record) {
        tracing::info!(ifname = %record.attachment.ifname, "its namespace is gone, and DEL failed again; tried without");
        record.sandbox.netns = PathBuf::new();
        failures = delete(acting, &record, deadline);
    }
    let finished = judge(acting, &record, failures)?;
    if let Finished::Waits(error) = &finished {
        tracing::warn!("to be tried again by the sweep: {}", error.msg);
    } else {
        acting.context.records.remove(&record.sandbox.container_id, &record.attachment.ifname)?;
    }
    Ok(finished)
}

/// True if the DEL on `record`, which has just failed, may succeed without the namespace that is no more.
fn is_for_want_of_namespace(acting: &Acting<'_>, record: &Record) -> bool {
    let netns = &record.sandbox.netns;
    let attempts = queue::attempts(&acting.context.config.state_dir, record);
    again_without_namespace(netns, place(netns) == Place::Gone, attempts)
}

/// Plugins that moved since the ADD are looked for again, first where they were, then where this call says. What they are
/// given stays as it was, but that the search path has both.
fn find_again(record: &mut Record, now: &SearchPath) {
    let path = std::mem::take(&mut record.attachment.path);
    record.attachment.path = path.and_all(now.dirs());
    for call in &mut record.attachment.calls {
        let before: Vec<PathBuf> = call.binary.parent().map(Path::to_owned).into_iter().collect();
        let found = find(&call.plugin, &before).or_else(|_| find(&call.plugin, record.attachment.path.dirs()));
        if let Ok(binary) = found {
            call.binary = binary;
        }
    }
}

/// True unless it is our own, the host's, where a plugin would delete the host's own interfaces.
fn is_a_pods(namespace: NetnsId) -> bool {
    own().is_ok_and(|own| own != namespace)
}

/// The path that plugins are given. A path that is now another namespace's is not touched: then it is empty, which
/// plugins take as "gone". One at which there is nothing is given as it was, because some plugins know their own by it.
pub(super) fn namespace(record: &Record, given: Option<&Path>) -> PathBuf {
    let recorded = (!record.sandbox.netns.as_os_str().is_empty()).then_some(record.sandbox.netns.as_path());
    let mut gone = None;
    for path in recorded.into_iter().chain(given) {
        match (identity(path), record.netns) {
            (Ok(now), Some(then)) if now == then && is_a_pods(now) => return path.to_owned(),
            // What others made is in the namespace that this call names: a recorded path may be another pod's by now.
            (Ok(now), None) if Some(path) == given && is_a_pods(now) => return path.to_owned(),
            (Ok(_), _) => {}
            (Err(_), _) => gone = gone.or(Some(path)),
        }
    }
    gone.map(Path::to_owned).unwrap_or_default()
}
