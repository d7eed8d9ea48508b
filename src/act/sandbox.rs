//! The lock of a sandbox: taken, waited for, or wrested from a call that was given up (F9, A44).

use std::fs::File;
use std::time::{Duration, Instant};

use crate::cni::{CniError, Code, ContainerId, Operation};
use crate::exec::cancel::{alive, end_group, end_process, group_lives, holders, now_ticks, since};
use crate::exec::process::Mark;
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
    match try_sandbox(run_dir, id, context.call, Operation::Check)? {
        Attempt::Held(lock) => return Ok(Some(lock)),
        Attempt::Busy(..) => {}
    }
    let LockHolder { call, runs, starting } = holder(run_dir, id)?;
    let over = call.is_some_and(|(call, _)| !alive(call)) && starting.is_none() && !runs.into_iter().any(group_lives);
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
                end(&holder, dev, ino);
                if now().saturating_duration_since(since) >= STRAY {
                    tracing::warn!(holders = named(dev, ino), "DEL goes on without the sandbox's lock");
                    return Ok(None);
                }
            }
        }
        pause();
    }
}

/// True if what holds the sandbox's lock was left by a call that is dead, and whatever that started has had longer than
/// `patience`: nobody is left to end it at its deadline.
#[must_use]
pub fn is_abandoned(context: &Context, id: &ContainerId, patience: Duration) -> bool {
    let Ok(LockHolder { call: Some((call, _)), runs, starting }) = holder(&context.config.run_dir, id) else {
        return false;
    };
    let last = runs.iter().map(|run| run.seen).chain(starting).fold(call.seen, u64::max);
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

/// Ends the call that `holder` describes, then what it started.
fn end(holder: &LockHolder, dev: u64, ino: u64) {
    if let Some((call, _)) = holder.call {
        end_process(call);
    }
    for run in &holder.runs {
        end_group(*run);
    }
    // A plugin that was announced and whose process is not known: it holds the lock, and started no earlier than that.
    // It leads a group of its own.
    if let Some(start) = holder.starting {
        let call = holder.call.map(|(call, _)| call.pid);
        for process in holders(dev, ino) {
            if process.start + 1 >= start && process.group == process.pid && Some(process.pid) != call {
                end_group(ProcessMark { pid: process.pid, seen: now_ticks() });
            }
        }
    }
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
