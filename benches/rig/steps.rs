//! How many instructions one call of the plugin runs in user space, counted by stepping through it.
//!
//! Slow (about a million instructions in some seconds) and exact, on every machine: virtual ones often have no counters,
//! and valgrind does not know every system call. Delegates and the kernel's work are not counted.

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::call::Call;
use super::{Error, Result};

/// Stops itself, so that it can be seized before it becomes the plugin.
const WAITER: &str = r#"kill -STOP $$; exec "$0""#;

pub fn instructions(call: &Call) -> Result<u64> {
    let waiting = call.within("/bin/sh", &["-c", WAITER]);
    let mut child = waiting.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    waitpid(pid, Some(WaitPidFlag::WUNTRACED)).map_err(Error::doing("waiting for the shell"))?;
    let options = Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACEEXIT;
    ptrace::seize(pid, options).map_err(Error::doing("seizing the shell"))?;
    kill(pid, Signal::SIGCONT).map_err(Error::doing("waking the shell"))?;
    waiting.feed(&mut child)?;
    let steps = count(pid)?;
    waiting.collect(child)?;
    Ok(steps)
}

fn count(pid: Pid) -> Result<u64> {
    let failed = || Error::doing("stepping through the plugin");
    let (mut counting, mut steps) = (false, 0);
    loop {
        let status = waitpid(pid, Some(WaitPidFlag::__WALL)).map_err(failed())?;
        let signal = match status {
            WaitStatus::PtraceEvent(_, _, event) if event == ptrace::Event::PTRACE_EVENT_EXIT as i32 => {
                ptrace::cont(pid, None).map_err(failed())?;
                return Ok(steps);
            }
            WaitStatus::PtraceEvent(_, _, event) => {
                counting |= event == ptrace::Event::PTRACE_EVENT_EXEC as i32;
                None
            }
            WaitStatus::Stopped(_, Signal::SIGTRAP) if counting => {
                steps += 1;
                None
            }
            WaitStatus::Stopped(_, signal) => Some(signal),
            other => return Err(Error::Unfit(format!("the plugin ended early: {other:?}"))),
        };
        let go_on = if counting { ptrace::step } else { ptrace::cont };
        go_on(pid, signal).map_err(failed())?;
    }
}
