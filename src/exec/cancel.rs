//! Ends what an earlier call of the same sandbox left running (F9): told by process marks, found by the lock they hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::clock::since_boot;
use crate::plan::record::{ProcessMark, TICKS};

/// Now, in clock ticks since boot: what [`ProcessMark::seen`] is measured in.
#[must_use]
pub fn now_ticks() -> u64 {
    let since = since_boot();
    since.as_secs().saturating_mul(TICKS).saturating_add(u64::from(since.subsec_nanos()) * TICKS / 1_000_000_000)
}

/// How long ago `ticks` was, in clock ticks since boot.
#[must_use]
pub fn since(ticks: u64) -> Duration {
    Duration::from_millis(now_ticks().saturating_sub(ticks).saturating_mul(1000 / TICKS))
}

/// The calling process.
#[must_use]
pub fn own_mark() -> ProcessMark {
    ProcessMark { pid: nix::unistd::getpid().as_raw(), seen: now_ticks() }
}

/// True if the process of `mark` still runs: the one that had that ID then, not a later one, and no zombie.
#[must_use]
pub fn alive(mark: ProcessMark) -> bool {
    started(mark.pid).is_some_and(|(start, zombie)| start <= mark.seen && !zombie)
}

/// Ends the process of `mark`, if it still runs.
pub fn end_process(mark: ProcessMark) {
    if alive(mark) {
        let _ = kill(Pid::from_raw(mark.pid), Signal::SIGKILL);
    }
}

/// Ends the group that the process of `mark` leads or led; `is_ours` is as for [`group_lives`].
pub fn end_group(mark: ProcessMark, is_ours: &dyn Fn(i32) -> bool) {
    if is_same_group(mark, is_ours) {
        let _ = killpg(Pid::from_raw(mark.pid), Signal::SIGKILL);
    }
}

/// True if anyone is left of the group that the process of `mark` leads or led. `is_ours` tells, of a process, whether it is of
/// those that the mark was written for.
#[must_use]
pub fn group_lives(mark: ProcessMark, is_ours: &dyn Fn(i32) -> bool) -> bool {
    is_same_group(mark, is_ours) && killpg(Pid::from_raw(mark.pid), None).is_ok()
}

/// True if the group with the ID of `mark` is that of its process.
///
/// The leader may have ended and left members. The kernel gives its ID to nobody while one of them lives, but it does afterwards:
/// of a group without a leader, and every daemon that forked twice is one, only its members tell.
fn is_same_group(mark: ProcessMark, is_ours: &dyn Fn(i32) -> bool) -> bool {
    mark.pid > 1
        && match started(mark.pid) {
            Some((start, _)) => start <= mark.seen,
            None => processes()
                .any(|(pid, dir)| Stat::read(&dir).is_some_and(|stat| stat.group == mark.pid) && is_ours(pid)),
        }
}

/// A process that holds a file open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBy {
    /// Its ID.
    pub pid: i32,
    /// Its group.
    pub group: i32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
    /// What it runs.
    pub name: String,
}

/// The processes that hold `file` open (device and inode), ourselves left out.
#[must_use]
pub fn holders(dev: u64, ino: u64) -> Vec<OpenBy> {
    let own = nix::unistd::getpid().as_raw();
    processes()
        .filter(|(pid, _)| *pid != own && holds(*pid, (dev, ino)))
        .filter_map(|(pid, dir)| {
            let stat = Stat::read(&dir)?;
            Some(OpenBy { pid, group: stat.group, start: stat.start, name: stat.name })
        })
        .collect()
}

/// True if the process holds `file` open (device and inode).
#[must_use]
pub fn holds(pid: i32, file: (u64, u64)) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| fs::metadata(fd.path()).ok()).any(|open| (open.dev(), open.ino()) == file)
}

/// The processes that there are: their IDs and places in `/proc`.
fn processes() -> impl Iterator<Item = (i32, PathBuf)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

/// True if the process was started with `value` in its environment's variable `name`.
#[must_use]
pub fn was_given(pid: i32, name: &str, value: &str) -> bool {
    let pair = format!("{name}={value}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|one| one == pair.as_bytes())
}

/// When the process started, in clock ticks since boot, and whether it is a zombie.
fn started(pid: i32) -> Option<(u64, bool)> {
    let stat = Stat::read(&PathBuf::from(format!("/proc/{pid}")))?;
    Some((stat.start, stat.state == 'Z' || stat.state == 'X'))
}

/// What we read of `/proc/<pid>/stat`.
struct Stat {
    name: String,
    state: char,
    group: i32,
    start: u64,
}

impl Stat {
    fn read(dir: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(dir.join("stat")).ok()?)
    }

    /// Fields are counted after the name, which may itself hold spaces and brackets.
    fn parse(text: &str) -> Option<Self> {
        let (head, tail) = (text.find('(')?, text.rfind(')')?);
        let fields: Vec<&str> = text.get(tail + 1..)?.split_ascii_whitespace().collect();
        Some(Self {
            name: text.get(head + 1..tail)?.to_owned(),
            state: fields.first()?.chars().next()?,
            group: fields.get(2)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f9_a_process_is_told_from_a_later_one_with_its_id() {
        let own = own_mark();
        assert!(alive(own));
        assert!(!alive(ProcessMark { seen: 0, ..own }), "one that started after it was seen is another");
        assert!(!alive(ProcessMark { pid: i32::MAX, ..own }));
    }

    #[test]
    fn f9_a_process_tells_what_it_was_started_with() {
        let (pid, path) = (own_mark().pid, std::env::var("PATH").unwrap());
        assert!(was_given(pid, "PATH", &path));
        assert!(!was_given(pid, "PAT", &path) && !was_given(pid, "PATH", &path[1..]));
    }

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        let text = "7 (a) b (c) S 1 5 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.group, stat.start), ("a) b (c", 'S', 5, 4242));
        assert!(Stat::parse("7 (x").is_none());
        assert!(Stat::parse("").is_none());
    }
}
