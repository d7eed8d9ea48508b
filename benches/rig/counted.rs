//! What does not depend on the machine's mood: system calls, peak memory, bytes written of one call.
//!
//! Each is taken from one call of the unmodified binary, by strace and ptrace. Delegates are not counted.

use std::fs;
use std::path::Path;

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::call::Call;
use super::sandbox::Sandbox;
use super::scene::{Pod, Scene, Subject};
use super::trace::Trace;
use super::{Error, Result};

const STRACE: &str = "/usr/bin/strace";

/// Takes a measure of one ADD and one DEL by the plugin, of a sandbox it has not seen, on a node it has.
pub fn lifetime<T>(
    sandbox: &Sandbox,
    scene: &Scene,
    measure: impl Fn(&Call) -> Result<T>,
) -> Result<[(&'static str, T); 2]> {
    // The first pod makes directories and tells what ADD answers.
    let pod = Pod::new(sandbox, Subject::Plugin, 0);
    let first = scene.add(Subject::Plugin, &pod)?;
    scene.del(Subject::Plugin, &pod, &first)?;
    let add = scene.add_calls(Subject::Plugin, &pod).remove(0);
    let del = scene.del_calls(Subject::Plugin, &pod, &first.answers).remove(0);
    Ok([("ADD", measure(&add)?), ("DEL", measure(&del)?)])
}

/// System calls and writes of the plugin process. `dir` is where its state, locks and log are.
pub fn trace(call: &Call, dir: &Path) -> Result<Trace> {
    if !Path::new(STRACE).is_file() {
        let text = format!("{STRACE} is missing; the package strace has it");
        return Err(Error::Unfit(text));
    }
    let log = dir.join("strace.log");
    let path = log.display().to_string();
    call.within(STRACE, &["-f", "-y", "-s", "0", "-o", &path]).run()?;
    let text = fs::read_to_string(&log).map_err(Error::doing("reading strace's log"))?;
    fs::remove_file(&log).map_err(Error::doing("removing strace's log"))?;
    Ok(Trace::parse(&text, dir))
}

/// The most memory the plugin process had resident, in KiB.
///
/// Not from `wait4`: that would count the delegates too, and begins at the size of the caller. The kernel stops the
/// process on its way out instead, and its own high-water mark is read.
pub fn peak_memory(call: &Call) -> Result<u64> {
    let mut child = call.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    // It reads its configuration first, so there is time to seize it before it is fed.
    ptrace::seize(pid, Options::PTRACE_O_TRACEEXIT).map_err(Error::doing("seizing the plugin"))?;
    call.feed(&mut child)?;
    let peak = watch_to_exit(pid)?;
    call.collect(child)?;
    Ok(peak)
}

fn watch_to_exit(pid: Pid) -> Result<u64> {
    loop {
        let status = waitpid(pid, Some(WaitPidFlag::__WALL)).map_err(Error::doing("waiting for the plugin"))?;
        match status {
            WaitStatus::PtraceEvent(..) => {
                let peak = high_water_mark(pid)?;
                ptrace::cont(pid, None).map_err(Error::doing("letting the plugin end"))?;
                return Ok(peak);
            }
            WaitStatus::Stopped(_, signal) => {
                ptrace::cont(pid, signal).map_err(Error::doing("letting the plugin go on"))?;
            }
            other => return Err(Error::Unfit(format!("the plugin ended early: {other:?}"))),
        }
    }
}

fn high_water_mark(pid: Pid) -> Result<u64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).map_err(Error::doing("reading the plugin's peak memory"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or_else(|| Error::Unfit("the kernel gives no VmHWM".to_owned()))
}
