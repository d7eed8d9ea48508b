//! A wall clock that jumps, for one call and whatever it starts: the machine's own is nobody's to set.
//!
//! The call is traced by another process, this program itself. What the kernel lends a program to read clocks without a system
//! call is hidden when the program starts; then every look at `CLOCK_REALTIME` can be answered otherwise. Other clocks stay.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace::{Event, Options, getregs, seize, syscall};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::harness::{Call, Running};

/// The option by which this program becomes the tracer: `--clock SECONDS PROCESS`.
pub const OPTION: &str = "--clock";

/// In what the kernel tells a program at its start: where it lends code (`AT_SYSINFO_EHDR`), and an entry that says nothing.
const LENT: u64 = 33;
const NOTHING: u64 = 1;

/// Starts the call with a wall clock that is `shift` seconds away.
pub fn start(call: &Call, shift: i64) -> Running {
    if shift == 0 {
        return call.start();
    }
    let running = call.clone().through(&["sh", "-c", "kill -STOP $$; exec \"$0\" \"$@\""]).start();
    let stat = format!("/proc/{}/stat", running.pid());
    let began = Instant::now();
    let is_stopped = |text: String| text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
    while !std::fs::read_to_string(&stat).is_ok_and(is_stopped) {
        assert!(began.elapsed() < Duration::from_secs(60), "a call that waits for its tracer");
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut tracer = Command::new(std::env::current_exe().unwrap())
        .args([OPTION.to_owned(), shift.to_string(), running.pid().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starting the tracer");
    let mut line = String::new();
    BufReader::new(tracer.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "the tracer");
    std::thread::spawn(move || tracer.wait());
    running
}

/// The tracer: until the process and everything that it starts have ended.
pub fn trace(shift: i64, process: i32) {
    let first = Pid::from_raw(process);
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE;
    seize(first, options).expect("tracing the call");
    std::io::stdout().write_all(b"ready\n").unwrap();
    kill(first, Signal::SIGCONT).expect("the call goes on");
    loop {
        let (pid, signal) = match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Err(Errno::EINTR) => continue,
            Err(_) => return,
            Ok(WaitStatus::PtraceSyscall(pid)) => {
                // It may have been killed.
                let _ = answer(pid, shift);
                (pid, None)
            }
            Ok(WaitStatus::PtraceEvent(pid, _, event)) => {
                if event == Event::PTRACE_EVENT_EXEC as i32 {
                    let _ = hide(pid);
                }
                (pid, None)
            }
            Ok(WaitStatus::Stopped(pid, signal)) => (pid, Some(signal)),
            Ok(_) => continue,
        };
        let _ = syscall(pid, signal);
    }
}

fn memory(pid: Pid) -> std::io::Result<File> {
    File::options().read(true).write(true).open(format!("/proc/{pid}/mem"))
}

/// After a look at the wall clock that succeeded: another answer.
fn answer(pid: Pid, shift: i64) -> std::io::Result<()> {
    let registers = getregs(pid)?;
    let at = match (registers.orig_rax, registers.rdi, registers.rax) {
        // clock_gettime of CLOCK_REALTIME, and of the one that is as coarse as the kernel's tick.
        (228, 0 | 5, 0) => registers.rsi,
        // gettimeofday.
        (96, place, 0) if place != 0 => place,
        _ => return Ok(()),
    };
    let memory = memory(pid)?;
    let mut seconds = [0; 8];
    memory.read_exact_at(&mut seconds, at)?;
    memory.write_all_at(&(i64::from_ne_bytes(seconds) + shift).to_ne_bytes(), at)
}

/// At the start of a program: its stack has the arguments, the environment and then what the kernel tells it, in pairs.
fn hide(pid: Pid) -> std::io::Result<()> {
    let memory = memory(pid)?;
    let mut at = getregs(pid)?.rsp;
    let mut next = || {
        let mut word = [0; 8];
        memory.read_exact_at(&mut word, at)?;
        at += 8;
        Ok::<_, std::io::Error>((u64::from_ne_bytes(word), at - 8))
    };
    for _ in 0..next()?.0 {
        next()?;
    }
    next()?;
    while next()?.0 != 0 {}
    loop {
        let (kind, place) = next()?;
        match kind {
            0 => return Ok(()),
            LENT => return memory.write_all_at(&NOTHING.to_ne_bytes(), place),
            _ => next()?,
        };
    }
}
