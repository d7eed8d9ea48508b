//! What meta-cni itself keeps: records, what is to be done again, what was put aside, the sweep, calls under way, left-overs.

use super::Lines;

/// Records of attachments.
#[derive(Debug, Default)]
pub struct Records {
    /// Attachments whose sandbox is there.
    pub live: usize,
    /// Those whose sandbox is gone.
    pub stale: Vec<String>,
    /// Files that are no records, and why.
    pub damaged: Vec<String>,
    /// What could not be looked at.
    pub unseen: Vec<String>,
}

/// A DEL that has to be done again.
#[derive(Debug, Clone)]
pub struct Queued {
    /// Container ID and interface.
    pub what: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Seconds until the next attempt is due.
    pub due_in: u64,
    /// What the last one said.
    pub error: String,
}

/// The sweep.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Seconds until the next is due, below zero when it is overdue; none when that is not said.
    pub due_in: Option<i64>,
    /// Seconds since that was said, at the end of the last one as a rule.
    pub said_ago: Option<u64>,
    /// The process that is sweeping, and for how many seconds it has run.
    pub under_way: Option<(i32, u64)>,
    /// `sweepInterval`, in seconds.
    pub interval: u64,
}

/// Records.
pub fn records(seen: &Records, lines: &mut Lines) {
    const ABOUT: &str = "records";
    let (live, stale, damaged) = (seen.live, seen.stale.len(), seen.damaged.len());
    lines.ok(ABOUT, format!("{live} attachments live, {stale} stale, {damaged} damaged"));
    lines.each(ABOUT, &seen.stale, |lines, what| {
        let says = format!("{what}: its sandbox is gone, and it is not deleted yet");
        lines.wrong(ABOUT, says, "the sweep does it; at once: `meta-cni gc`");
    });
    lines.each(ABOUT, &seen.damaged, |lines, why| {
        lines.wrong(
            ABOUT,
            format!("damaged: {why}"),
            "its DEL or `meta-cni gc` puts it aside and deletes by what else is known",
        );
    });
    lines.each(ABOUT, &seen.unseen, |lines, why| lines.unseen(ABOUT, &**why));
}

/// DELs that have to be done again; what could not be looked at is in `unseen`.
pub fn queue(queued: &[Queued], unseen: &[String], lines: &mut Lines) {
    const ABOUT: &str = "queue";
    if queued.is_empty() && unseen.is_empty() {
        lines.ok(ABOUT, "empty");
    }
    lines.each(ABOUT, queued, |lines, one| {
        let due = if one.due_in == 0 { "now".to_owned() } else { format!("in {} s", one.due_in) };
        let says = format!("DEL of {} failed {} times, due {due}: {}", one.what, one.attempts, one.error);
        lines.wrong(ABOUT, says, "mend what the error names; `meta-cni gc` tries it now");
    });
    lines.each(ABOUT, unseen, |lines, why| lines.unseen(ABOUT, &**why));
}

/// What was put aside: each file, with the first line of its reason.
pub fn quarantine(seen: &Result<Vec<(String, String)>, String>, lines: &mut Lines) {
    const ABOUT: &str = "quarantine";
    match seen {
        Err(why) => lines.unseen(ABOUT, &**why),
        Ok(files) if files.is_empty() => lines.ok(ABOUT, "empty"),
        Ok(files) => lines.each(ABOUT, files, |lines, (file, reason)| {
            let reason = if reason.is_empty() { "no reason is kept" } else { reason };
            lines.wrong(
                ABOUT,
                format!("{file}: {reason}"),
                "look whether something of it is left (its .reason says what), then remove it",
            );
        }),
    }
}

/// The sweep.
pub fn sweep(seen: &Sweep, lines: &mut Lines) {
    const ABOUT: &str = "sweep";
    if let Some((pid, age)) = seen.under_way {
        match age > seen.interval {
            true => lines.wrong(
                ABOUT,
                format!("process {pid} has been sweeping for {age} s, and nothing else is swept meanwhile"),
                "if it is stuck, end it",
            ),
            false => lines.ok(ABOUT, format!("process {pid} has been sweeping for {age} s")),
        }
    }
    let ago = seen.said_ago.map(|ago| format!(", last time {ago} s ago")).unwrap_or_default();
    match seen.due_in {
        None => lines.note(ABOUT, "due now: none was since this node started; the next call starts one"),
        Some(seconds) if seconds > 0 => lines.ok(ABOUT, format!("due in {seconds} s{ago}")),
        Some(seconds) if seconds.unsigned_abs() > 2 * seen.interval => {
            let says = format!("overdue by {} s{ago}: the next call starts it", seconds.unsigned_abs());
            lines.note(ABOUT, says);
        }
        Some(_) => lines.ok(ABOUT, format!("due now{ago}: the next call starts it")),
    }
}

/// Calls under way that hold the lock of ADDs: process and seconds.
pub fn adds(under_way: &[(i32, u64)], lines: &mut Lines) {
    const ABOUT: &str = "calls";
    if under_way.is_empty() {
        return lines.ok(ABOUT, "no ADD under way");
    }
    // Longer than any ADD can take.
    const LONGEST: u64 = 240;
    let (stuck, fine): (Vec<_>, Vec<_>) = under_way.iter().partition(|(_, age)| *age > LONGEST);
    if !fine.is_empty() {
        let longest = fine.iter().map(|(_, age)| *age).max().unwrap_or_default();
        lines.ok(ABOUT, format!("{} ADDs under way, the longest for {longest} s", fine.len()));
    }
    lines.each(ABOUT, &stuck, |lines, (pid, age)| {
        lines.wrong(
            ABOUT,
            format!("process {pid} has been at an ADD for {age} s"),
            "see what it waits for; if it is stuck, end it",
        );
    });
}

/// What others, or a writer that died, left in the conf dirs.
pub fn leftovers(seen: &Result<Vec<String>, String>, lines: &mut Lines) {
    const ABOUT: &str = "leftovers";
    match seen {
        Err(why) => lines.unseen(ABOUT, &**why),
        Ok(all) if all.is_empty() => lines.ok(ABOUT, "none"),
        Ok(all) => lines.each(ABOUT, all, |lines, what| {
            lines.wrong(ABOUT, &**what, "`meta-cni repair` with that directory mends it")
        }),
    }
}
