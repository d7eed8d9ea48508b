//! Carries a plan out, attachment by attachment, each recorded before its delegates run.

use crate::cni::{CniError, Code, Operation};
use crate::exec::chain;
use crate::netns::Netns;
use crate::plan::Plan;
use crate::plan::outcome::Cause;
use crate::plan::record::{Record, State};
use crate::store::devinfo;

use super::Acting;
use super::undo::undone;
use super::verify::verified;

/// Attaches every attachment of `plan` in order; gives their records.
///
/// # Errors
/// The first failure. Everything begun has been taken back then, or is in the queue.
pub fn attach_all(acting: &Acting<'_>, plan: Plan, netns: &Netns) -> Result<Vec<Record>, CniError> {
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
