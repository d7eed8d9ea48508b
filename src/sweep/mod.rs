//! The sweep: what no runtime asks for any more is finished. gather → plan → act → report; this file alone knows the order.
//!
//! One at a time, bounded, and never in the way of a call: a sandbox that is busy is left alone. Started by a person, or by
//! any plugin call that finds it due.

mod gather;
mod work;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::act::Context;
use crate::act::leases::{all_known, of_earlier_epochs};
use crate::clock::boot_seconds;
use crate::cni::{CniError, Code, ContainerId, IfName};
use crate::config::Span;
use crate::exec::cancel::{holders, since};
use crate::gather::after;
use crate::plan::leases::{Looked, places};
use crate::plan::record::{Record, kernel_of};
use crate::plan::sweep::{Due, Facts, Now, Rest, Sweep, next, plan};
use crate::store::queue;
use crate::store::sweep::{ended, looked, remove_all, sweeping, sweeping_file};

use gather::{all, litter};
use work::work;

/// How long a run goes on to begin with another sandbox.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a look through the leases of earlier epochs may take, whatever the run took before.
const LOOK: Span = Span::seconds(30);

/// How a sweep is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Only what is due, as a plugin call has it done; else everything.
    pub queued: bool,
    /// Started by a plugin call, which is where the runtime is; else by a person or the daemon, who may be in a container.
    pub detached: bool,
    /// Where no pod is to be seen only what a runtime asked for is done; else the sweep is refused there.
    pub wary: bool,
    /// Nobody sweeps after this one: what finds its plugin nowhere is given up.
    pub last: bool,
    /// Nothing is touched.
    pub dry_run: bool,
    /// Also when nothing that was attached since the kernel started seems to be alive.
    pub force: bool,
}

/// One thing that was done, or with a dry run would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// The sandbox.
    pub sandbox: ContainerId,
    /// The attachment's interface; none for what belongs to the sandbox as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ifname: Option<IfName>,
    /// Its network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// What.
    pub what: What,
    /// Why it could not be done; it is in the queue then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The kinds of things that are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// DEL of an attachment's plugins; its record goes.
    Delete,
    /// Damaged records are put aside, and DEL is run as if a runtime asked for it.
    Quarantine,
    /// A tombstone, an entry of the queue without a record, or an empty place goes.
    Forget,
}

/// What came of a sweep.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was done, or would be.
    pub actions: Vec<Action>,
    /// Attachments that are alive, and stay.
    pub live: usize,
    /// Attachments whose next attempt is not due yet.
    pub waiting: usize,
    /// Sandboxes that another call is working on.
    pub busy: Vec<ContainerId>,
    /// Sandboxes with damaged records that nobody knows to be gone: left for their DEL.
    pub unknown: Vec<ContainerId>,
    /// Addresses that were released without a record.
    pub released: usize,
    /// Addresses that are kept although nobody knows their sandbox, as far as they were looked at; each is in the log.
    pub kept: usize,
    /// Sandboxes that are left for the next run, because there was no time to run their plugins.
    pub left: usize,
}

/// Sweeps. `None` when another sweep is under way.
///
/// # Errors
/// Code 5 when the state of the node cannot be looked at.
pub fn sweep(context: &Context, settings: Settings) -> Result<Option<Report>, CniError> {
    let run_dir = &context.config.run_dir;
    let _one_at_a_time = match settings.dry_run {
        true => None,
        false => match sweeping(run_dir)? {
            Some(lock) => Some(lock),
            None => return Ok(None),
        },
    };
    // A dry run makes no epoch either: without one everything is of another.
    let epoch = if settings.dry_run { context.known_epoch() } else { context.epoch()? };
    let facts = all(context)?;
    let unseen = !settings.detached && !settings.dry_run && !settings.force && is_elsewhere(&facts, &epoch);
    let Settings { queued, last, .. } = settings;
    let now = Now { seconds: boot_seconds(), epoch: &epoch, everything: !queued, unseen, last };
    if unseen && !settings.wary {
        let msg = "no attachment made since the kernel started is alive as seen from here: run it where the runtime runs, in \
                   its mount namespace, or with --force if they are all gone";
        return Err(CniError::new(Code::NETNS, msg));
    }
    let planned = plan(facts, now);
    if settings.dry_run {
        return Ok(Some(foretold(planned)));
    }
    let (seen, mut report) = acted(context, planned, now);
    for error in remove_all(&litter(context)) {
        tracing::warn!(error = error.story(), "left behind");
    }
    if unseen {
        // The rest stays due, for a plugin call.
        return Ok(Some(report));
    }
    let looked = released(context, &epoch, &mut report);
    until_next(context, (now.seconds, &seen), &report, &looked)?;
    told(&report);
    Ok(Some(report))
}

/// The process that is sweeping and for how long it has run, when [`sweep`] gave nothing; `None` when it has ended since.
#[must_use]
pub fn sweeper(context: &Context) -> Option<(i32, Duration)> {
    let (dev, ino) = sweeping_file(&context.config.run_dir)?;
    // Others may be trying the lock just now, but they came later.
    let oldest = holders(dev, ino).into_iter().min_by_key(|one| one.start)?;
    Some((oldest.pid, since(oldest.start)))
}

/// True if there are attachments of this kernel, and not one of them is alive: a person may have come by a mount namespace in
/// which no pod's is to be seen. Nor is `runDir` there then, perhaps, and with it the other half of their epoch.
fn is_elsewhere(facts: &[Facts], epoch: &str) -> bool {
    let of_kernel = |(record, _): &&(Record, bool)| kernel_of(&record.epoch) == kernel_of(epoch);
    let mut ours = facts.iter().flat_map(|facts| &facts.records).filter(of_kernel).peekable();
    ours.peek().is_some() && !ours.any(|(_, live)| *live)
}

/// What would be done.
fn foretold(planned: Sweep) -> Report {
    let actions = planned.works.iter().flat_map(|work| work::actions(work, &|_| None)).collect();
    let Sweep { left, live, waiting, unknown, .. } = planned;
    Report { actions, live, waiting, unknown, left, ..Report::default() }
}

/// Works on one sandbox after the other, while there is time. Gives the entries of the queue that were seen, and the report.
fn acted(context: &Context, planned: Sweep, now: Now<'_>) -> (Vec<(ContainerId, IfName)>, Report) {
    let Sweep { works, left, live, waiting, unknown, seen } = planned;
    let mut report = Report { live, waiting, unknown, left, ..Report::default() };
    for planned in works {
        if is_over(context.started) {
            report.left += usize::from(planned.runs_plugins());
            continue;
        }
        match work(context, &planned, now) {
            Some(actions) if actions.is_empty() && planned.is_tidying() => {
                report.actions.extend(work::actions(&planned, &|_| None));
            }
            Some(actions) => report.actions.extend(actions),
            // Whoever holds the lock of a sandbox with nothing on record is an ADD that just begins.
            None if planned.is_tidying() => {}
            None => report.busy.push(planned.id),
        }
    }
    (seen, report)
}

/// Releases the addresses that earlier kernels' sandboxes left without a record, once in an epoch for each place of leases (F5).
/// Gives what has been looked through by now.
fn released(context: &Context, epoch: &str, report: &mut Report) -> Looked {
    let looked = looked(&context.config.run_dir, epoch);
    let networks = all_known(context);
    let places = places(&networks);
    let dirs: Vec<PathBuf> = places.iter().map(|place| place.dir.clone()).collect();
    if !looked.is_due(&dirs, boot_seconds()) {
        return looked;
    }
    let earlier = of_earlier_epochs(context, epoch, &places, after(LOOK));
    for error in &earlier.errors {
        tracing::warn!("not all addresses of earlier epochs are released: {}", error.msg);
    }
    report.released = earlier.released;
    report.kept = earlier.unknown;
    looked.after(&dirs, earlier.complete, boot_seconds())
}

/// Says when the next sweep is due. Said first and looked at again then: a DEL that was queued in between has either seen what
/// we said, or is seen.
fn until_next(
    context: &Context,
    (began, seen): (u64, &[(ContainerId, IfName)]),
    report: &Report,
    looked: &Looked,
) -> Result<(), CniError> {
    let config = &context.config;
    let mut said = None;
    for _ in 0..2 {
        let queue = queued(context)?;
        let rest = Rest {
            queue: &queue,
            seen,
            began,
            left: report.left > 0,
            busy: !report.busy.is_empty(),
            interval: config.sweep_interval.0.as_secs(),
        };
        let at = next(boot_seconds(), &rest);
        if said.is_none_or(|said| at < said) {
            ended(&config.run_dir, at, looked)?;
            said = Some(at);
        }
    }
    Ok(())
}

/// What the log says of it: how it ended, in one line, and what is kept although it may be dead. Most sweeps find nothing.
fn told(report: &Report) {
    let Report { actions, live, waiting, busy, unknown, released, kept, left } = report;
    for id in unknown {
        tracing::warn!(sandbox = %id, "its records are damaged and nothing says whether it is alive: all of it is kept");
    }
    let failed = actions.iter().filter(|action| action.error.is_some()).count();
    let (done, busy, unknown) = (actions.len() - failed, busy.len(), unknown.len());
    match done + failed + busy + unknown + released + kept + left {
        0 => tracing::debug!(live, waiting, "swept"),
        _ => tracing::info!(done, failed, live, waiting, busy, unknown, released, kept, left, "swept"),
    }
}

/// The queue as it is now.
fn queued(context: &Context) -> Result<Vec<(ContainerId, IfName, Due)>, CniError> {
    let state_dir = &context.config.state_dir;
    let mut entries = Vec::new();
    for id in queue::sandboxes(state_dir)? {
        match queue::of(state_dir, &id) {
            Ok(found) => entries.extend(found.into_iter().map(|(ifname, due)| (id.clone(), ifname, due))),
            Err(error) => tracing::warn!(error = error.story(), "left alone"),
        }
    }
    Ok(entries)
}

#[expect(clippy::disallowed_methods, reason = "a run is bounded")]
fn is_over(started: Instant) -> bool {
    Instant::now().saturating_duration_since(started) >= LONGEST
}
