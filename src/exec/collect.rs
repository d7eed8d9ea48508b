//! Feeds a process and collects what it says until it has exited, is past its deadline or says too much.
//!
//! One poll over stdin, stdout, stderr and the process itself: a grandchild that keeps the pipes open holds nobody up, and
//! neither does a plugin that does not read its stdin.

use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdin};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Bytes of stdout at most: a result is a few hundred.
pub(super) const MOST_STDOUT: usize = 1 << 20;

/// Bytes of stderr that are kept, the last ones.
const KEPT_STDERR: usize = 64 << 10;

/// How long only the end of a plugin is waited for.
const QUIET: Duration = Duration::from_millis(20);

/// How it ended.
#[derive(Debug)]
pub(super) enum End {
    /// It exited or was killed by somebody else.
    Exited,
    /// It was still running at the deadline.
    Deadline,
    /// It printed more than [`MOST_STDOUT`].
    TooLarge,
    /// It could not be watched.
    Lost(io::Error),
}

/// What came out of a pipe.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// The last bytes.
    pub kept: Vec<u8>,
    /// How many before them were dropped.
    pub dropped: usize,
}

/// Everything a process said.
#[derive(Debug)]
pub(super) struct Said {
    pub stdout: Vec<u8>,
    pub stderr: Collected,
    pub end: End,
}

/// Feeds `input` to `child` and collects its output until it ends, at the latest at `deadline`.
pub(super) fn collect(child: &mut Child, input: &[u8], deadline: Instant) -> Said {
    let mut said = Said { stdout: Vec::new(), stderr: Collected::default(), end: End::Exited };
    said.end = watch(child, input, deadline, &mut said).unwrap_or_else(End::Lost);
    said
}

fn watch(child: &mut Child, mut input: &[u8], deadline: Instant, said: &mut Said) -> io::Result<End> {
    let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let id = id.ok_or_else(|| io::Error::other("no process ID"))?;
    let exited = rustix::process::pidfd_open(id, rustix::process::PidfdFlags::empty())?;
    let mut stdin = child.stdin.take();
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    for pipe in [stdin.as_ref().map(AsFd::as_fd), stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)] {
        pipe.map_or(Ok(()), nonblocking)?;
    }
    // Most plugins are quick and say little: their end is waited for first, and then all they said is there. Waiting for the
    // pipes too would wake us for each of them. One that says more than a pipe holds is held up this long once.
    let mut quiet = Some(Instant::now() + QUIET);
    loop {
        feed(&mut stdin, &mut input);
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Ok(End::Deadline);
        }
        quiet = quiet.filter(|until| *until > now);
        let left = quiet.map_or(left, |until| left.min(until - now));
        let listening = quiet.is_none();
        let ended = wait(
            [
                Some((exited.as_fd(), PollFlags::POLLIN)),
                stdout.as_ref().filter(|_| listening).map(|pipe| (pipe.as_fd(), PollFlags::POLLIN)),
                stderr.as_ref().filter(|_| listening).map(|pipe| (pipe.as_fd(), PollFlags::POLLIN)),
                stdin.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::POLLOUT)),
            ],
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
        )?;
        drain(&mut stdout, |bytes| said.stdout.extend_from_slice(bytes));
        drain(&mut stderr, |bytes| said.stderr.keep(bytes));
        if said.stdout.len() > MOST_STDOUT {
            return Ok(End::TooLarge);
        }
        if ended {
            return Ok(End::Exited);
        }
    }
}

/// Waits until one of `sources` has something; true when the first, the process, has ended.
fn wait(sources: [Option<(BorrowedFd<'_>, PollFlags)>; 4], timeout: PollTimeout) -> io::Result<bool> {
    let mut fds: Vec<PollFd<'_>> = sources.into_iter().flatten().map(|(fd, flags)| PollFd::new(fd, flags)).collect();
    match poll(&mut fds, timeout) {
        Ok(_) => Ok(fds.first().and_then(PollFd::any).unwrap_or(false)),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes what fits; closes the pipe when all is written or nobody reads.
fn feed(stdin: &mut Option<ChildStdin>, input: &mut &[u8]) {
    let Some(pipe) = stdin else { return };
    while !input.is_empty() {
        match pipe.write(input) {
            Ok(written) => *input = &input[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // It closed its stdin without reading: its answer says whether that is an error.
            Err(_) => break,
        }
    }
    *stdin = None;
}

/// Reads what is there, a bounded number of bytes; closes the pipe at its end.
fn drain(pipe: &mut Option<impl Read>, mut take: impl FnMut(&[u8])) {
    let mut buffer = [0; 4 << 10];
    for _ in 0..256 {
        let Some(source) = pipe else { return };
        match source.read(&mut buffer) {
            Ok(0) => *pipe = None,
            Ok(read) => take(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => *pipe = None,
        }
    }
}

fn nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop).map_err(io::Error::from)
}

impl Collected {
    fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        if self.kept.len() > 2 * KEPT_STDERR {
            let surplus = self.kept.len() - KEPT_STDERR;
            self.kept.drain(..surplus);
            self.dropped += surplus;
        }
    }
}
