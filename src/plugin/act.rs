//! Carries a plan out, attachment by attachment, each recorded before its delegates run; takes all of it back on a failure.

use std::time::{Duration, Instant};

use crate::cni::{CniError, Code, Operation};
use crate::exec::{Host, chain};
use crate::netns::Netns;
use crate::plan::Plan;
use crate::plan::chain::Process;
use crate::plan::outcome::{Cause, Failure, together};
use crate::plan::record::{Record, State};
use crate::store::lock::SandboxLock;
use crate::store::{devinfo, queue, remove};

use super::context::Context;
use super::routes::restore;
use super::verify::verified;

/// What an undo may take beyond the ADD's own time.
const UNDO: Duration = Duration::from_secs(30);

/// What this call acts with.
pub(super) struct Acting<'a> {
    pub context: &'a Context,
    pub host: &'a Host<'a>,
    pub lock: Option<&'a SandboxLock>,
    pub epoch: String,
}

/// Attaches every attachment of `plan` in order; gives their records.
///
/// # Errors
/// The first failure. Everything begun has been taken back then, or is in the queue.
pub(super) fn attach_all(acting: &Acting<'_>, plan: Plan, netns: &Netns) -> Result<Vec<Record>, CniError> {
    let of = plan.attachments.len();
    let mut records: Vec<Record> = Vec::with_capacity(of);
    for attachment in plan.attachments {
        let record = Record {
            sandbox: plan.sandbox.clone(),
            netns: Some(netns.identity()),
            epoch: acting.epoch.clone(),
            request: plan.request.clone(),
            of,
            attachment,
            call: acting.context.call,
            state: State::Begun,
            result: None,
            left: None,
            routed: None,
        };
        match attach(acting, netns, record) {
            Ok(record) => records.push(record),
            Err((begun, error)) => {
                records.extend(begun.map(|record| *record));
                return Err(undone(acting, records, error));
            }
        }
    }
    Ok(records)
}

/// One attachment. On a failure its record comes back if it was begun, so that it is undone with the others.
fn attach(acting: &Acting<'_>, netns: &Netns, mut record: Record) -> Result<Record, (Option<Box<Record>>, CniError)> {
    let records = &acting.context.records;
    let context = format!("network {:?} {}", record.attachment.network, record.attachment.ifname);
    let ready = record.attachment.device_info.as_deref().map_or(Ok(()), devinfo::prepare);
    if let Err(error) = ready.and_then(|()| records.put(&record)) {
        return Err((None, CniError::from(error).in_context(&context)));
    }
    match chain::add(acting.host, &record.sandbox, &record.attachment) {
        Ok(result) => {
            record.result = Some(result);
            record.state = State::Attached;
        }
        Err(failure) => {
            let error = failure.error(&record.attachment, Operation::Add);
            // What was never started made nothing, and cannot be started to take it back either.
            if matches!(failure.cause, Cause::Missing(_)) {
                record.attachment.calls.retain(|call| call.plugin != failure.plugin);
            }
            return Err((Some(Box::new(record)), error));
        }
    }
    // A DEL that could not end us took the lock's file away: what we made must go, and nobody waits for our answer.
    if acting.lock.is_some_and(|lock| !lock.is_current()) {
        let error = CniError::new(Code::TRY_AGAIN, "a DEL of this sandbox came in between; all is taken back");
        return Err((Some(Box::new(record)), error.in_context(&context)));
    }
    match verified(netns, &record).and_then(|()| records.end(&record).map_err(CniError::from)) {
        Ok(()) => Ok(record),
        Err(error) => Err((Some(Box::new(record)), error.in_context(&context))),
    }
}

/// Takes everything in `records` back, the last first, and gives `cause` with what could not be. What was undone becomes a
/// tombstone.
pub(super) fn undone(acting: &Acting<'_>, records: Vec<Record>, cause: CniError) -> CniError {
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
            Err(error) => left.push(error),
            Ok(()) => {
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

/// Takes back what the record's attachment had changed of the pod's routes, then runs DEL of every plugin, in reverse.
pub(super) fn delete(acting: &Acting<'_>, record: &Record, deadline: Instant) -> Vec<Failure> {
    let bound = |process: Process| {
        let deadline = process.deadline.min(Context::left(deadline));
        Process { deadline, ..process }
    };
    restore(record);
    chain::del(acting.host, &record.sandbox, &record.attachment, record.result.as_deref(), &bound)
}

/// What the failures of a DEL mean: nothing when none of them can ever heal (F6), and then nothing is left to tell of the
/// attachment's device; else the DEL is queued, and an error. A plugin that refuses the version of the configuration has
/// done so at an ADD that did not succeed too: it made nothing, and would keep the pod for ever.
pub(super) fn judge(acting: &Acting<'_>, record: &Record, failures: Vec<Failure>) -> Result<(), CniError> {
    let (id, ifname) = (&record.sandbox.container_id, &record.attachment.ifname);
    let state_dir = &acting.context.config.state_dir;
    // Of a record without a namespace others made the attachment, and nobody knows how far they came.
    let failed = record.state == State::Begun && record.netns.is_some();
    let never = |failure: &Failure| failure.can_never_heal() || (failed && failure.refuses_the_version());
    let (lost, healing): (Vec<_>, Vec<_>) = failures.into_iter().partition(never);
    for failure in lost {
        let error = failure.error(&record.attachment, Operation::Del);
        tracing::warn!("given up, because it can never heal: {}", error.msg);
    }
    let errors = healing.iter().map(|failure| failure.error(&record.attachment, Operation::Del)).collect();
    match together(errors) {
        None => {
            // A file that stays stands for nothing, and no ADD goes on beside one: that is no reason to keep a pod.
            if let Err(error) = record.attachment.device_info.as_deref().map_or(Ok(()), remove) {
                tracing::warn!(error = error.story(), "what plugins told of the device stays behind");
            }
            queue::done(state_dir, id, ifname).map_err(CniError::from)
        }
        Some(error) => {
            if let Err(full) = queue::push(state_dir, id, ifname, &error.msg, &acting.epoch) {
                tracing::error!(error = full.story(), "the DEL could not be queued; its record stays");
            }
            Err(error)
        }
    }
}
