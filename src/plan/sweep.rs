//! One sweep as data: what is left of sandboxes that are gone, what of it is done now, and when the next is due (F2, F5, F6).
//!
//! What is alive stays, but for what was given up and could not be deleted: that has an entry in the queue.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::cni::{ContainerId, IfName};

use super::record::{ProcessMark, Record, State};

/// Sandboxes that one run works on at most.
pub const MOST: usize = 64;

/// Seconds until a sandbox that was busy is looked at again.
const BUSY: u64 = 10;

/// Seconds between two attempts at most.
const LONGEST: u64 = 600;

/// Seconds for which the DEL of an ADD that was undone may still come, though the sandbox's namespace is gone: a runtime that is
/// alive sends it within hours.
const LATE: u64 = 24 * 3600;

/// Why a DEL is due again, and when: an entry of the queue (docs/state.md).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// 1.
    pub version: u32,
    /// How often it was tried.
    pub attempts: u32,
    /// What the last attempt said.
    pub error: String,
    /// The epoch of the last attempt.
    pub epoch: String,
    /// Not before that many seconds of `CLOCK_BOOTTIME`.
    #[serde(default)]
    pub due: u64,
    /// The call that wrote the record which is to be deleted. One that another call wrote since is not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<ProcessMark>,
}

impl Due {
    /// True if it is that record whose DEL is due.
    #[must_use]
    pub fn is_of(&self, record: &Record) -> bool {
        self.call == Some(record.call)
    }

    /// True if its time has not come. One so far away that no attempt set it is damage.
    fn waits(&self, now: Now<'_>) -> bool {
        self.epoch == now.epoch && (now.seconds + 1..=now.seconds + 2 * LONGEST).contains(&self.due)
    }
}

/// Seconds from a failed attempt to the next.
#[must_use]
pub fn backoff(attempts: u32) -> u64 {
    1_u64.checked_shl(attempts.saturating_sub(1)).map_or(LONGEST, |seconds| seconds.min(LONGEST))
}

/// What is known of a sandbox of which only damaged records tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its namespace is there.
    Live,
    /// Its namespace is not there any more.
    Gone,
    /// Nothing says where its namespace is.
    Unknown,
}

/// What is on disk of a sandbox, with what the kernel says of its namespaces.
#[derive(Debug)]
pub struct Facts {
    /// Its container ID.
    pub id: ContainerId,
    /// Its records, and of each whether its namespace is still that namespace.
    pub records: Vec<(Record, bool)>,
    /// Of records that cannot be read: the interface name of the runtime's call they most likely belong to, and what became
    /// of the sandbox.
    pub damaged: Option<(IfName, Fate)>,
    /// Its entries of the queue.
    pub queue: Vec<(IfName, Due)>,
    /// There is a temporary file, an empty directory, or a lock file without a record.
    pub untidy: bool,
}

/// When and how it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// Seconds of `CLOCK_BOOTTIME`.
    pub seconds: u64,
    /// The epoch.
    pub epoch: &'a str,
    /// DELs that wait for their time are done too.
    pub everything: bool,
    /// Namespaces cannot be seen from here: what seems to be gone counts as alive, and only what is in the queue is done.
    pub unseen: bool,
    /// Nobody looks again: what finds its plugin nowhere is given up.
    pub last: bool,
}

/// What is to be done to one sandbox.
#[derive(Debug)]
pub struct Work {
    /// Its container ID.
    pub id: ContainerId,
    /// Damaged records are put aside, and DEL of this call's attachments is run as if a runtime asked for it.
    pub damaged: Option<IfName>,
    /// Records to finish, in this order.
    pub finish: Vec<Record>,
    /// Tombstones to remove.
    pub tombstones: Vec<IfName>,
    /// Entries of the queue that stand for no record.
    pub stale: Vec<IfName>,
    /// How often DEL of what is to be finished was tried.
    pub attempts: u32,
}

impl Work {
    /// True if nothing is to be done but to remove what stands for nothing.
    #[must_use]
    pub const fn is_tidying(&self) -> bool {
        !self.runs_plugins() && self.tombstones.is_empty() && self.stale.is_empty()
    }

    /// True if somebody's resources wait for it: plugins are to be run.
    #[must_use]
    pub const fn runs_plugins(&self) -> bool {
        self.damaged.is_some() || !self.finish.is_empty()
    }
}

/// One sandbox, judged.
#[derive(Debug, Default)]
pub struct Judged {
    /// What is to be done now.
    pub work: Option<Work>,
    /// Attachments that are alive and stay.
    pub live: usize,
    /// Attachments that wait for the time of their next attempt.
    pub waiting: usize,
    /// Damaged records stay, because nothing says whether their sandbox is alive.
    pub unknown: bool,
    /// Entries of the queue that were looked at: they say nothing about when the next sweep is due.
    pub seen: Vec<(ContainerId, IfName)>,
}

/// What becomes of one sandbox.
#[must_use]
pub fn judge(facts: Facts, now: Now<'_>) -> Judged {
    let mut judged = Judged::default();
    let mut work = Work {
        id: facts.id,
        damaged: None,
        finish: Vec::new(),
        tombstones: Vec::new(),
        stale: Vec::new(),
        attempts: 0,
    };
    match facts.damaged {
        Some((request, Fate::Gone)) if !now.unseen => work.damaged = Some(request),
        Some((_, fate)) => judged.unknown = fate == Fate::Unknown,
        // What may be entries of damaged records stays with them.
        None => {
            let standing = |ifname: &IfName| {
                facts.records.iter().any(|(one, _)| one.attachment.ifname == *ifname && one.state != State::Undone)
            };
            work.stale.extend(facts.queue.iter().map(|(ifname, _)| ifname).filter(|name| !standing(name)).cloned());
        }
    }
    for (record, live) in facts.records {
        let live = live || now.unseen;
        let ifname = &record.attachment.ifname;
        let entry = facts.queue.iter().find(|(name, _)| name == ifname).map(|(_, due)| due);
        match (record.state, live, entry) {
            (State::Undone, true, _) => judged.live += 1,
            (State::Undone, false, _) if is_awaited(&record, now) => {}
            (State::Undone, false, _) => work.tombstones.push(ifname.clone()),
            (_, true, None) => judged.live += 1,
            // Of an attachment that was there before this one, and did not go by itself.
            (_, true, Some(due)) if !due.is_of(&record) => judged.live += 1,
            (_, _, Some(due)) if !now.everything && due.waits(now) => {
                judged.waiting += 1;
            }
            (_, _, entry) => {
                work.attempts = work.attempts.max(entry.map_or(0, |due| due.attempts));
                work.finish.push(record);
            }
        }
    }
    judged.seen.extend(facts.queue.into_iter().map(|(ifname, _)| (work.id.clone(), ifname)));
    let place = |record: &Record| (record.request.clone(), record.attachment.ordinal);
    work.finish.sort_by_key(|record| Reverse(place(record)));
    if facts.untidy || !work.is_tidying() {
        judged.work = Some(work);
    }
    judged
}

/// True if the DEL of the ADD that `record` is the tombstone of may still come (F14).
fn is_awaited(record: &Record, now: Now<'_>) -> bool {
    record.epoch == now.epoch && now.seconds.saturating_sub(record.call.seconds()) < LATE
}

/// What one run will do.
#[derive(Debug, Default)]
pub struct Sweep {
    /// The sandboxes that are worked on, in this order.
    pub works: Vec<Work>,
    /// How many more there are for which plugins are to be run, for the next run.
    pub left: usize,
    /// Attachments that are alive and stay.
    pub live: usize,
    /// Attachments that wait for the time of their next attempt.
    pub waiting: usize,
    /// Sandboxes with damaged records that nobody knows to be gone.
    pub unknown: Vec<ContainerId>,
    /// Entries of the queue that were looked at.
    pub seen: Vec<(ContainerId, IfName)>,
}

/// One run over all sandboxes. What failed most often comes late, so that it keeps nothing else from being done, and what only
/// stands for nothing last.
#[must_use]
pub fn plan(sandboxes: Vec<Facts>, now: Now<'_>) -> Sweep {
    let mut sweep = Sweep::default();
    for facts in sandboxes {
        let id = facts.id.clone();
        let judged = judge(facts, now);
        sweep.live += judged.live;
        sweep.waiting += judged.waiting;
        sweep.unknown.extend(judged.unknown.then_some(id));
        sweep.seen.extend(judged.seen);
        sweep.works.extend(judged.work);
    }
    let place = |work: &Work| (!work.runs_plugins(), work.attempts);
    // Each run begins with another one of those that are alike: one at which a run dies keeps no other from being done.
    let first = usize::try_from(now.seconds).unwrap_or_default() % sweep.works.len().max(1);
    let first = sweep.works.get(first).map(|work| work.id.clone());
    let turn = |work: &Work| first.as_ref().is_some_and(|first| work.id < *first);
    sweep.works.sort_by(|a, b| (place(a), turn(a), &a.id).cmp(&(place(b), turn(b), &b.id)));
    let more = sweep.works.split_off(sweep.works.len().min(MOST));
    sweep.left = more.iter().filter(|work| work.runs_plugins()).count();
    sweep
}

/// What a run leaves behind, as far as the next one depends on it.
#[derive(Debug)]
pub struct Rest<'a> {
    /// The queue as it is now.
    pub queue: &'a [(ContainerId, IfName, Due)],
    /// Entries that this run saw when it began.
    pub seen: &'a [(ContainerId, IfName)],
    /// When the run began, in the same seconds as `due`.
    pub began: u64,
    /// Sandboxes were left for the next run.
    pub left: bool,
    /// A sandbox to work on was busy.
    pub busy: bool,
    /// `sweepInterval`, in seconds.
    pub interval: u64,
}

/// When the next run is due, in seconds of `CLOCK_BOOTTIME`.
#[must_use]
pub fn next(now: u64, rest: &Rest<'_>) -> u64 {
    if rest.left {
        return now;
    }
    let seen: BTreeSet<(&ContainerId, &IfName)> = rest.seen.iter().map(|(id, ifname)| (id, ifname)).collect();
    // What was due when we began and is still there was busy, or is not ours to do; all others are due at their time.
    let entries = rest.queue.iter().filter(|(id, ifname, due)| due.due > rest.began || !seen.contains(&(id, ifname)));
    let entries = entries.map(|(_, _, due)| due.due.clamp(now, now + LONGEST));
    let busy = rest.busy.then_some(now + BUSY);
    entries.chain(busy).chain([now + rest.interval.max(1)]).min().unwrap_or(now)
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
