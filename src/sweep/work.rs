//! The third step, for one sandbox: under its lock, which is tried and never waited for, and with what is on disk then.

use std::time::Duration;

use crate::act::del::delete_all;
use crate::act::sandbox::{Reclaimed, note, reclaim};
use crate::act::undo::{Finished, finish};
use crate::act::{Acting, Context, PATIENCE};
use crate::cni::{AttachmentId, CniError, ContainerId, IfName, Operation};
use crate::exec::Host;
use crate::gather::after;
use crate::plan::sweep::{Now, Work, judge};
use crate::profile::Deadlines;
use crate::store::lock::{Attempt, SandboxLock, forget, try_sandbox};
use crate::store::queue;

use super::{Action, What, gather};

/// Does what is to be done to the sandbox now, which was `planned`; `None` when it is busy.
pub(super) fn work(context: &Context, planned: &Work, now: Now<'_>) -> Option<Vec<Action>> {
    let id = &planned.id;
    let lock = match held(context, planned, now) {
        Ok(Reclaimed::Yes(lock)) => lock,
        Ok(Reclaimed::Busy) => return None,
        Err(error) => return Some(vec![Action::failed(id, &error)]),
    };
    let actions = locked(context, id, lock.as_ref(), now);
    match &lock {
        Some(lock) => lock.unlink_unless_needed(&context.records, id),
        None if actions.iter().all(|action| action.error.is_none()) => forget(&context.config.run_dir, id),
        None => {}
    }
    Some(actions)
}

/// The sandbox's lock. Of a sandbox that is gone, what keeps it busy and will never end by itself is ended.
fn held(context: &Context, planned: &Work, now: Now<'_>) -> Result<Reclaimed, CniError> {
    let id = &planned.id;
    if let Attempt::Held(lock) = try_sandbox(&context.config.run_dir, id, context.call, Operation::Gc)? {
        return Ok(Reclaimed::Yes(Some(lock)));
    }
    // It was planned a while ago: an ADD may have come since.
    let facts = gather::of(context, id.clone())?;
    let lives = facts.records.iter().any(|(_, live)| *live);
    let Some(work) = judge(facts, now).work.filter(|work| !lives && !work.is_tidying()) else {
        return Ok(Reclaimed::Busy);
    };
    let patience = work.finish.iter().map(|record| record.attachment.deadline.add.max(record.attachment.deadline.del));
    let patience = patience.max().unwrap_or(Deadlines::default().add_attempt_s);
    reclaim(context, id, Duration::from_secs(patience))
}

fn locked(context: &Context, id: &ContainerId, lock: Option<&SandboxLock>, now: Now<'_>) -> Vec<Action> {
    let marks = note(lock, false);
    let host = Host { marks: Some(&marks) };
    let acting = Acting {
        context,
        host: &host,
        lock,
        epoch: now.epoch.to_owned(),
        patience: if now.last { 0 } else { PATIENCE },
    };
    let mut done = Vec::new();
    // Once for what is damaged, once for the rest: what of it failed just now is in the queue and waits.
    let mut now = now;
    for _ in 0..2 {
        let judged = gather::of(context, id.clone()).map(|facts| judge(facts, now));
        let work = match judged {
            Ok(judged) => judged.work,
            Err(error) => {
                done.push(Action::failed(id, &error));
                break;
            }
        };
        let Some(work) = work else { break };
        let again = work.damaged.is_some();
        done.extend(carried_out(&acting, &work));
        if !again {
            break;
        }
        now.everything = false;
    }
    if let Err(error) = queue::tidy(&context.config.state_dir, id) {
        tracing::warn!(error = error.story(), "left behind");
    }
    done
}

fn carried_out(acting: &Acting<'_>, work: &Work) -> Vec<Action> {
    let context = acting.context;
    let (records, state_dir) = (&context.records, &context.config.state_dir);
    let deadline = after(context.config.del_budget);
    if let Some(ifname) = &work.damaged {
        tracing::warn!(sandbox = %work.id, "its sandbox is gone and its records are damaged; deleted by what else is known");
        let id = AttachmentId { container_id: work.id.clone(), ifname: ifname.clone() };
        let error = delete_all(acting, &id, None, deadline).err();
        return vec![Action::of(&work.id, Some(ifname), What::Quarantine, error.as_ref())];
    }
    let outcome = |subject: Subject<'_>| match subject {
        Subject::Record(at) => {
            let record = &work.finish[at];
            tracing::info!(sandbox = %work.id, ifname = %record.attachment.ifname, "no runtime asks for it any more; its DEL is run");
            match finish(acting, record.clone(), None, deadline) {
                Ok(Finished::Wholly) => None,
                // The log has it.
                Ok(Finished::Waits(error)) => Some(error),
                Err(error) => {
                    tracing::warn!(sandbox = %work.id, "to be tried again: {}", error.msg);
                    Some(error)
                }
            }
        }
        Subject::Tombstone(ifname) => records.remove(&work.id, ifname).err().map(CniError::from),
        Subject::Entry(ifname) => queue::done(state_dir, &work.id, ifname).err().map(CniError::from),
    };
    actions(work, &outcome)
}

/// What an action is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    /// The record to finish at this place.
    Record(usize),
    /// A tombstone.
    Tombstone(&'a IfName),
    /// An entry of the queue.
    Entry(&'a IfName),
}

/// The actions of `work` in their order, each done by `act`, which says what went wrong.
pub(super) fn actions(work: &Work, act: &dyn Fn(Subject<'_>) -> Option<CniError>) -> Vec<Action> {
    let mut actions = Vec::new();
    if let Some(ifname) = &work.damaged {
        actions.push(Action::of(&work.id, Some(ifname), What::Quarantine, None));
    }
    for (at, record) in work.finish.iter().enumerate() {
        let error = act(Subject::Record(at));
        let action = Action::of(&work.id, Some(&record.attachment.ifname), What::Delete, error.as_ref());
        actions.push(Action { network: Some(record.attachment.network.clone()), ..action });
    }
    for ifname in &work.tombstones {
        actions.push(Action::of(&work.id, Some(ifname), What::Forget, act(Subject::Tombstone(ifname)).as_ref()));
    }
    for ifname in &work.stale {
        actions.push(Action::of(&work.id, Some(ifname), What::Forget, act(Subject::Entry(ifname)).as_ref()));
    }
    if actions.is_empty() {
        actions.push(Action::of(&work.id, None, What::Forget, None));
    }
    actions
}

impl Action {
    fn of(id: &ContainerId, ifname: Option<&IfName>, what: What, error: Option<&CniError>) -> Self {
        Self {
            sandbox: id.clone(),
            ifname: ifname.cloned(),
            network: None,
            what,
            error: error.map(|error| error.msg.clone()),
        }
    }

    fn failed(id: &ContainerId, error: &CniError) -> Self {
        tracing::warn!(sandbox = %id, "left for another sweep: {}", error.msg);
        Self::of(id, None, What::Forget, Some(error))
    }
}
