//! The lock of a sandbox: taken, waited for, or wrested from a call that was given up (F9, A44).

use std::fs::File;
use std::time::{Duration, Instant};

use crate::cni::{CniError, Code, ContainerId, Operation};
use crate::exec::cancel::{alive, end_group, end_process, group_lives, holders, holds, now_ticks, since, was_given};
use crate::exec::process::Mark;
use crate::plan::chain::CALLER_VARIABLE;
use crate::plan::record::ProcessMark;
use crate::store::lock::{self, Adding, Attempt, LockHolder, SandboxLock, holder, try_sandbox};

use super::Context;

/// How long DEL waits for a process that left the groups it was started in and still holds the lock.
const STRAY: Duration = Duration::from_secs(2);

/// How often a lock that is waited for is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// The sandbox's lock, waited for until `deadline`. Nobody is ended.
///
/// # Errors
/// Code 11 with who holds it.
pub fn lock(
    context: &Context,
    id: &ContainerId,
    operation: Operation,
    deadline: Instant,
) -> Result<SandboxLock, CniError> {
    loop {
        match try_sandbox(&context.config.run_dir, id, context.call, operation)? {
            Attempt::Held(lock) => return Ok(lock),
            Attempt::Busy(dev, ino) if now() >= deadline => {
                let msg = format!("another call for this sandbox is still at work: {}", named(dev, ino));
                return Err(CniError::new(Code::TRY_AGAIN, msg));
            }
            Attempt::Busy(..) => pause(),
        }
    }
}

/// The sandbox's lock for a CHECK, as [`lock()`]. `None` when only processes hold it that earlier calls left for good, such as a
/// daemon that a plugin started: those change nothing any more.
///
/// # Errors
/// Code 11 with who holds it.
pub fn lock_for_check(context: &Context, id: &ContainerId, deadline: Instant) -> Result<Option<SandboxLock>, CniError> {
    let run_dir = &context.config.run_dir;
    let file = match try_sandbox(run_dir, id, context.call, Operation::Check)? {
        Attempt::Held(lock) => return Ok(Some(lock)),
        Attempt::Busy(dev, ino) => (dev, ino),
    };
    let LockHolder { call, runs, starting } = holder(run_dir, id)?;
    let runs_still = |run| group_lives(run, &is_of(id, file));
    let over = call.is_some_and(|(call, _)| !alive(call)) && starting.is_none() && !runs.into_iter().any(runs_still);
    if over { Ok(None) } else { lock(context, id, Operation::Check, deadline).map(Some) }
}

/// The sandbox's lock for a DEL: a call that holds it is ended first, with everything it started. `None` when a process
/// that left all groups still holds it after 2 s, or when its file cannot be used: DEL goes on without, and has said why.
///
/// # Errors
/// Code 11 when another DEL is at work past `deadline`.
pub fn wrest(context: &Context, id: &ContainerId, deadline: Instant) -> Result<Option<SandboxLock>, CniError> {
    let run_dir = &context.config.run_dir;
    let mut ended_at = None;
    loop {
        let (dev, ino) = match try_sandbox(run_dir, id, context.call, Operation::Del) {
            Ok(Attempt::Held(lock)) => return Ok(Some(lock)),
            Ok(Attempt::Busy(dev, ino)) => (dev, ino),
            // A full or read-only disk keeps nobody from giving back what the pod had.
            Err(error) => {
                tracing::warn!(error = error.story(), "DEL goes on without the sandbox's lock");
                return Ok(None);
            }
        };
        // A content that cannot be read tells of nobody; its holder is found all the same, and named.
        let holder = holder(run_dir, id).unwrap_or_default();
        match holder.call {
            // Another DEL does what this one would do: let it.
            Some((call, Operation::Del | Operation::Gc)) if alive(call) => {
                if now() >= deadline {
                    let msg = format!("another DEL of this sandbox is still at work: process {}", call.pid);
                    return Err(CniError::new(Code::TRY_AGAIN, msg));
                }
            }
            call => {
                let first = ended_at.is_none();
                let since = *ended_at.get_or_insert_with(now);
                if first && let Some((call, operation)) = call {
                    tracing::warn!(%operation, pid = call.pid, "an earlier call of this sandbox is ended");
                }
                end(&holder, id, (dev, ino));
                if now().saturating_duration_since(since) >= STRAY {
                    tracing::warn!(holders = named(dev, ino), "DEL goes on without the sandbox's lock");
                    return Ok(None);
                }
            }
        }
        pause();
    }
}

/// Whether the sweep may work on a sandbox.
#[derive(Debug)]
pub enum Reclaimed {
    /// It may: its lock is held, or `None` when only a process that left all groups still holds it.
    Yes(Option<SandboxLock>),
    /// A call is at work on it, or what a dead one left has not had its time.
    Busy,
}

/// The sandbox's lock for the sweep. What a call that is dead left behind, and has had longer than `patience`, is ended, for
/// nobody is left to end it at its deadline; a call that lives is neither ended nor waited for, however late it came.
///
/// # Errors
/// Code 5 when the lock's file cannot be used.
pub fn reclaim(context: &Context, id: &ContainerId, patience: Duration) -> Result<Reclaimed, CniError> {
    let run_dir = &context.config.run_dir;
    let began = now();
    loop {
        let (dev, ino) = match try_sandbox(run_dir, id, context.call, Operation::Gc)? {
            Attempt::Held(lock) => return Ok(Reclaimed::Yes(Some(lock))),
            Attempt::Busy(dev, ino) => (dev, ino),
        };
        let left = holder(run_dir, id)?;
        if !is_abandoned(&left, patience) {
            return Ok(Reclaimed::Busy);
        }
        let nameless = nameless(&left, id, (dev, ino));
        // A call that came in between has written itself before it started anything.
        if holder(run_dir, id)? == left {
            left.runs.iter().copied().chain(nameless).for_each(|run| end_group(run, &is_of(id, (dev, ino))));
            if now().saturating_duration_since(began) >= STRAY {
                tracing::warn!(holders = named(dev, ino), "the sweep goes on without the sandbox's lock");
                return Ok(Reclaimed::Yes(None));
            }
        }
        pause();
    }
}

/// True if the call that wrote itself into the lock is dead, and whatever it started has had longer than `patience`.
fn is_abandoned(LockHolder { call, runs, starting }: &LockHolder, patience: Duration) -> bool {
    let Some((call, _)) = *call else { return false };
    let last = runs.iter().map(|run| run.seen).chain(*starting).fold(call.seen, u64::max);
    !alive(call) && since(last) > patience
}

/// Holds what says that an ADD is under way, or that none is, waited for until `deadline`; `None` when it cannot be had by then.
///
/// # Errors
/// Code 5 when its file cannot be used.
pub fn adding(context: &Context, who: Adding, deadline: Instant) -> Result<Option<File>, CniError> {
    loop {
        let held = lock::adding(&context.config.run_dir, who)?;
        if held.is_some() || now() >= deadline {
            return Ok(held);
        }
        pause();
    }
}

/// Ends the call that `holder` describes, then what it started. `file` is the lock's device and inode.
fn end(holder: &LockHolder, id: &ContainerId, file: (u64, u64)) {
    if let Some((call, _)) = holder.call {
        end_process(call);
    }
    holder.runs.iter().copied().chain(nameless(holder, id, file)).for_each(|run| end_group(run, &is_of(id, file)));
}

/// Tells a process that the sandbox's plugins left: it holds the lock, which is `file`, or was told whose it is.
fn is_of(id: &ContainerId, file: (u64, u64)) -> impl Fn(i32) -> bool {
    move |pid| holds(pid, file) || was_given(pid, CALLER_VARIABLE, id.as_str())
}

/// The plugin that was announced and whose process is not known: it holds the lock, started no earlier than that, leads a group
/// of its own and was told whose it is.
fn nameless(holder: &LockHolder, id: &ContainerId, (dev, ino): (u64, u64)) -> Vec<ProcessMark> {
    let Some(start) = holder.starting else { return Vec::new() };
    let mut found = holders(dev, ino);
    found.retain(|one| {
        one.start + 1 >= start && one.group == one.pid && was_given(one.pid, CALLER_VARIABLE, id.as_str())
    });
    found.into_iter().map(|one| ProcessMark { pid: one.pid, seen: now_ticks() }).collect()
}

/// The processes that hold the lock, for people.
fn named(dev: u64, ino: u64) -> String {
    let holders: Vec<String> =
        holders(dev, ino).iter().map(|one| format!("{} (process {})", one.name, one.pid)).collect();
    if holders.is_empty() { "a process that cannot be seen from here".to_owned() } else { holders.join(", ") }
}

/// Writes every process that is started into `lock`, so that another call can end it. A DEL that has no lock, or whose disk
/// is full, runs its plugins all the same: `strict` is for the others.
pub fn note(lock: Option<&SandboxLock>, strict: bool) -> impl Fn(Mark<'_>) -> std::io::Result<()> {
    move |mark| {
        let Some(lock) = lock else { return Ok(()) };
        let noted = match mark {
            Mark::Start(plugin) => lock.note_start(now_ticks(), plugin),
            Mark::Run(pid, plugin) => lock.note_run(ProcessMark { pid, seen: now_ticks() }, plugin),
        };
        if strict { noted } else { noted.or(Ok(())) }
    }
}

#[expect(clippy::disallowed_methods, reason = "waiting for a lock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "waiting for a lock")]
fn pause() {
    std::thread::sleep(RETRY);
}
