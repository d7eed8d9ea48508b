//! What can happen to a call while it runs.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock;
use crate::harness::{Call, Output};
use crate::rng::Rng;

/// System calls by which something changes, or somebody is told.
const CHANGES: [&str; 4] = [
    "open,openat,creat,mkdir,mkdirat",
    "write,pwrite64,writev,ftruncate,fsync",
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir",
    "flock,fcntl,clone,clone3,vfork,poll,ppoll,pipe2,wait4,waitid",
];

/// What happens to a call.
#[derive(Debug, Clone)]
pub enum Fault {
    None,
    /// SIGKILL for the plugin this long after its start.
    KillAfter(Duration),
    /// SIGKILL for the plugin when it makes one of these system calls for the `when`th time.
    KillAt(String, usize),
    /// SIGKILL for what the plugin runs then: its delegate, or if so the host-local that this runs.
    KillDelegate(Duration, bool),
    /// An error for these system calls of the plugin: the `when`th, or from there on.
    Refuse(String, &'static str, usize, bool),
}

impl Fault {
    /// One for a call that takes about `length` when nothing happens to it.
    pub fn any(rng: &mut Rng, length: Duration) -> Self {
        // Numbers are taken whatever comes of them, so that what follows depends on the seed alone.
        let (kind, time, number, flag) = (rng.below(100), rng.time(length), rng.below(60) + 1, rng.chance(50));
        let set = (*rng.pick(&CHANGES)).to_owned();
        let errno = match (rng.below(3), set.starts_with("open")) {
            // A record that cannot be opened for another reason is as good as lost.
            (_, true) => "EMFILE",
            (0, false) => "ENOSPC",
            (1, false) => "EIO",
            (_, false) => "EACCES",
        };
        match kind {
            0..35 => Self::None,
            35..55 => Self::KillAfter(time),
            55..70 => Self::KillAt(set, number % 20 + 1),
            70..85 => Self::KillDelegate(time, flag),
            // What a program is linked by happens before it can answer; there are other tests for a plugin that cannot start.
            _ => Self::Refuse(set, errno, number + 5, flag),
        }
    }

    /// What strace is told.
    fn injection(&self) -> Option<String> {
        match self {
            Self::KillAt(set, when) => Some(format!("inject={set}:signal=KILL:when={when}")),
            Self::Refuse(set, errno, when, on) => {
                Some(format!("inject={set}:error={errno}:when={when}{}", if *on { "+" } else { "" }))
            }
            _ => None,
        }
    }
}

/// A call to which something happened.
pub struct Done {
    pub output: Output,
    /// When a process was killed, if one was.
    pub killed: Option<Instant>,
}

/// Runs `call` to its end, while `fault` happens to it.
pub fn perform(call: &Call, fault: &Fault) -> Done {
    perform_at(call, fault, 0)
}

/// The same with a wall clock that is `shift` seconds away, but for what is traced already to make the fault happen.
pub fn perform_at(call: &Call, fault: &Fault, shift: i64) -> Done {
    if let Some(injection) = fault.injection() {
        let output = call.clone().through(&["strace", "-o", "/dev/null", "-e", &injection]).run();
        let killed = output.signal.map(|_| Instant::now());
        return Done { output, killed };
    }
    let mut running = clock::start(call, shift);
    let mut killed = None;
    match fault {
        Fault::KillAfter(time) => {
            std::thread::sleep(*time);
            if !running.is_over() {
                running.kill();
                killed = Some(Instant::now());
            }
        }
        Fault::KillDelegate(time, ipam) => {
            std::thread::sleep(*time);
            let of = |pid: i32| {
                let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
                text.split_whitespace().next().and_then(|pid| pid.parse::<i32>().ok())
            };
            let delegate = of(i32::try_from(running.pid()).unwrap());
            // Not its iptables: portmap says then that it succeeded, and nobody could know better.
            let is_ipam = |pid: &i32| {
                std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "host-local")
            };
            let ipam = delegate.and_then(of).filter(is_ipam).filter(|_| *ipam);
            let victim = ipam.or(delegate);
            if let Some(victim) = victim {
                // It may have ended by itself.
                let _ = kill(Pid::from_raw(victim), Signal::SIGKILL);
                killed = Some(Instant::now());
            }
        }
        _ => {}
    }
    Done { output: running.wait(), killed }
}

/// The system calls that `call`, which succeeds or does not, makes, each with how often, in the order of their first time.
pub fn trace(call: &Call, succeeds: bool) -> Vec<(String, usize)> {
    let log = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = call.clone().through(&["strace", "-o", log.path().to_str().unwrap()]).run();
    assert_eq!(output.exit == Some(0), succeeds, "{output:?}");
    let mut calls: Vec<(String, usize)> = Vec::new();
    for line in std::fs::read_to_string(log.path()).unwrap().lines() {
        let Some((name, _)) = line.split_once('(') else { continue };
        if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
            continue;
        }
        match calls.iter_mut().find(|(known, _)| known == name) {
            Some((_, count)) => *count += 1,
            None => calls.push((name.to_owned(), 1)),
        }
    }
    calls
}
