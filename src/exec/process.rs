//! One plugin process: spawned by posix_spawn into a group of its own, with none of our standard streams.
//!
//! No `pre_exec`, so that std does not fork. The sandbox lock's descriptor is inherited because its close-on-exec flag was
//! taken away once it was locked (`store::lock`); everything else of ours is close-on-exec.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::cni::{CniError, PluginType};
use crate::plan::chain::Process;
use crate::plan::outcome::{Cause, Failure, MissingBinary};

use super::Runner;
use super::collect::{Collected, End, collect};

/// How long the end of what a killed plugin had started is waited for.
const REST: Duration = Duration::from_secs(1);

/// What happens to a process, told as it happens so that another call can end it (docs/state.md, lock of a sandbox). A
/// process whose start cannot be told is not started.
#[derive(Debug, Clone, Copy)]
pub enum Mark<'a> {
    /// It is about to be started.
    Start(&'a PluginType),
    /// It runs, as leader of the group with its own ID.
    Run(i32, &'a PluginType),
}

/// Takes what happens to processes.
pub type Marks<'a> = dyn Fn(Mark<'_>) -> io::Result<()> + 'a;

/// Runs plugins on this host.
#[derive(Default)]
pub struct Host<'a> {
    /// Told of every process.
    pub marks: Option<&'a Marks<'a>>,
}

impl Runner for Host<'_> {
    fn run(&self, process: &Process) -> Result<Vec<u8>, Failure> {
        let fail = |cause| Failure::early(process.plugin.clone(), cause);
        self.mark(Mark::Start(&process.plugin))
            .map_err(|error| fail(Cause::NotStarted(format!("it could not be noted: {error}"))))?;
        let started = Instant::now();
        let mut child = spawn(process).map_err(|error| fail(not_started(process, &error)))?;
        let pid = i32::try_from(child.id()).unwrap_or_default();
        if let Err(error) = self.mark(Mark::Run(pid, &process.plugin)) {
            // Announced it is, so it is found by the lock that it holds.
            tracing::warn!(%error, plugin = %process.plugin, "a started plugin could not be noted");
        }
        let collected = collect(&mut child, process.stdin.as_bytes(), started + process.deadline);
        if matches!(collected.end, End::Deadline | End::TooLarge | End::Lost(_)) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let status = child.wait();
        if status.as_ref().is_ok_and(|status| status.signal().is_some()) {
            end_rest(pid);
        }
        let elapsed = started.elapsed();
        let stderr = log_stderr(&process.plugin, &collected.stderr);
        tracing::debug!(plugin = %process.plugin, pid, elapsed_us = elapsed.as_micros() as u64, ?status, "plugin ended");
        let judged = match (collected.end, status) {
            (End::Deadline, _) => Err(Cause::Deadline(process.deadline)),
            (End::TooLarge, _) => {
                let most = super::collect::MOST_STDOUT / 1024;
                Err(Cause::BadAnswer(format!("the answer is larger than {most} KiB, so the plugin was ended")))
            }
            (End::Lost(error), _) | (_, Err(error)) => Err(Cause::Lost(error.to_string())),
            (End::Exited, Ok(status)) => judge(status, collected.stdout),
        };
        judged.map_err(|cause| Failure { plugin: process.plugin.clone(), cause, stderr })
    }
}

impl Host<'_> {
    fn mark(&self, mark: Mark<'_>) -> io::Result<()> {
        self.marks.map_or(Ok(()), |marks| marks(mark))
    }
}

/// Ends what a plugin that was killed had started, and waits for its end, a moment at most: an IPAM plugin or an iptables would go
/// on making things while the DEL that follows removes them. The kernel gives nobody the group's ID while anyone is left in it.
fn end_rest(pid: i32) {
    let until = Instant::now() + REST;
    while pid > 1 && killpg(Pid::from_raw(pid), Signal::SIGKILL).is_ok() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn spawn(process: &Process) -> io::Result<Child> {
    let mut command = Command::new(&process.binary);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    for (key, value) in &process.env {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command.spawn()
}

fn not_started(process: &Process, error: &io::Error) -> Cause {
    let missing = |not_executable| {
        let searched = process.binary.parent().map(std::path::Path::to_owned).into_iter().collect();
        Cause::Missing(MissingBinary { not_executable, searched })
    };
    if error.kind() == io::ErrorKind::NotFound {
        return missing(None);
    }
    if error.raw_os_error() == Some(nix::libc::ENOEXEC) || error.kind() == io::ErrorKind::PermissionDenied {
        return missing(Some(process.binary.clone()));
    }
    Cause::NotStarted(format!("{}: {error}", process.binary.display()))
}

/// What an ended process said.
fn judge(status: std::process::ExitStatus, stdout: Vec<u8>) -> Result<Vec<u8>, Cause> {
    if let Some(signal) = status.signal() {
        return Err(Cause::Signal(signal));
    }
    let exit = status.code().unwrap_or(-1);
    match (CniError::from_stdout(&stdout), exit) {
        (Some(error), _) => Err(Cause::Refused(error)),
        (None, 0) => Ok(stdout),
        (None, exit) if stdout.iter().all(u8::is_ascii_whitespace) => Err(Cause::Silent(exit)),
        (None, exit) => {
            Err(Cause::BadAnswer(format!("it failed with exit code {exit}, and its answer is no CNI error")))
        }
    }
}

/// Writes what the plugin wrote to stderr to the log, and gives the last line.
fn log_stderr(plugin: &PluginType, stderr: &Collected) -> Option<String> {
    let text = String::from_utf8_lossy(&stderr.kept);
    if stderr.dropped > 0 {
        tracing::warn!(%plugin, dropped_bytes = stderr.dropped, "stderr was too long to keep whole");
    }
    let mut last = None;
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        tracing::info!(%plugin, stderr = line);
        last = Some(line);
    }
    last.map(|line| crate::cni::error::one_line(line, crate::cni::error::LONGEST_MSG))
}
