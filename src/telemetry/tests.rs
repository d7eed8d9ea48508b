use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use tracing::subscriber::with_default;
use tracing::{debug, error, info, warn};

use super::*;

/// A log in a directory of its own, without journald.
fn settings(directory: &Path) -> LogSettings {
    LogSettings {
        journal: directory.join("journal"),
        default_file: directory.join("default.log"),
        ..LogSettings::default()
    }
}

/// What `log` writes to the default file, without time and process.
fn logged(level: Level, log: impl FnOnce()) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let settings = LogSettings { level, ..settings(directory.path()) };
    with_default(subscriber(&settings, "c1"), log);
    let text = std::fs::read_to_string(&settings.default_file).unwrap_or_default();
    let pid = format!("pid={} ", std::process::id());
    text.lines().map(|line| line[25..].replace(&pid, "")).collect()
}

#[test]
fn levels_by_name() {
    for (word, level) in [
        ("panic", Some(Level::Error)),
        ("error", Some(Level::Error)),
        ("warn", Some(Level::Warn)),
        ("Verbose", Some(Level::Info)),
        ("INFO", Some(Level::Info)),
        ("debug", Some(Level::Debug)),
        ("trace", Some(Level::Trace)),
        ("", None),
        ("all", None),
    ] {
        assert_eq!(Level::parse(word), level, "{word:?}");
    }
}

#[test]
fn each_level_includes_those_before_it() {
    for (level, lines) in [(Level::Error, 1), (Level::Warn, 2), (Level::Info, 3), (Level::Debug, 4), (Level::Trace, 5)]
    {
        let log = || {
            error!("e");
            warn!("w");
            info!("i");
            debug!("d");
            tracing::trace!("t");
        };
        assert_eq!(logged(level, log).len(), lines, "{level:?}");
    }
}

#[test]
fn an_event_is_one_line() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);
    let failure = Outer(std::io::Error::other("inner"));
    let failure: &(dyn std::error::Error + 'static) = &failure;
    let lines = logged(Level::Info, || {
        info!(ifname = "net1", count = 3, "attached");
        info!(empty = "", words = "two words", quote = "a\"b", equals = "a=b", path = ?Path::new("/x"), "v");
        error!(stderr = "first\nsecond\r\n\tthird \x1b[31mred\u{2028}", "a delegate\nwrote \\");
        error!(error = failure, ok = true, "it failed");
        info!(only = "fields");
    });
    let expected = [
        r#"INFO sandbox=c1 attached ifname=net1 count=3"#,
        r#"INFO sandbox=c1 v empty="" words="two words" quote="a\"b" equals="a=b" path="\"/x\"""#,
        concat!(
            r#"ERROR sandbox=c1 a delegate\nwrote \\ stderr="first\nsecond\r\n\tthird "#,
            r#"\u001b[31mred\u2028""#
        ),
        r#"ERROR sandbox=c1 it failed error="outer: inner" ok=true"#,
        r#"INFO sandbox=c1  only=fields"#,
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_is_too_long_is_cut_between_characters() {
    let long = "\u{e9}".repeat(40_000);
    let lines = logged(Level::Info, || info!(a = long, b = long, c = long, d = long, e = long, "{long}"));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].len() < 66_000 && lines[0].ends_with("[...]"), "{} bytes", lines[0].len());
}

#[test]
fn times() {
    for (seconds, milliseconds, text) in [
        (0, 0, "1970-01-01T00:00:00.000Z"),
        (951_782_399, 999, "2000-02-28T23:59:59.999Z"),
        (951_782_400, 1, "2000-02-29T00:00:00.001Z"),
        (951_868_800, 0, "2000-03-01T00:00:00.000Z"),
        (1_709_164_800, 0, "2024-02-29T00:00:00.000Z"),
        (1_735_689_599, 50, "2024-12-31T23:59:59.050Z"),
        (4_107_542_400, 0, "2100-03-01T00:00:00.000Z"),
    ] {
        let time = Duration::from_secs(seconds) + Duration::from_millis(milliseconds);
        assert_eq!(format::timestamp(time), text);
    }
}

/// G9: the file that the administrator named replaces journald and the default file.
#[test]
fn a_named_file_replaces_both() {
    let directory = tempfile::tempdir().unwrap();
    let named = directory.path().join("new/deep/named.log");
    let settings = LogSettings { file: Some(named.clone()), ..settings(directory.path()) };
    let journal = UnixDatagram::bind(&settings.journal).unwrap();
    journal.set_nonblocking(true).unwrap();
    with_default(subscriber(&settings, "c1"), || info!("here"));
    assert!(std::fs::read_to_string(&named).unwrap().ends_with("here\n"));
    assert_eq!(std::fs::metadata(&named).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!settings.default_file.exists());
    assert!(journal.recv(&mut [0; 16]).is_err());
}

#[test]
fn nothing_is_opened_before_something_is_logged() {
    let directory = tempfile::tempdir().unwrap();
    with_default(subscriber(&settings(directory.path()), "c1"), || debug!("not at this level"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// G9: journald when it listens; the file as soon as it does not, or does not keep up; journald again by a new process.
#[test]
fn journald_first_and_the_file_when_it_fails() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let journal = UnixDatagram::bind(&settings.journal).unwrap();
    with_default(subscriber(&settings, "c1"), || {
        info!(ifname = "net1", "to the journal");
        let mut buffer = [0; 1024];
        let length = journal.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]);
        assert!(text.contains("MESSAGE=to the journal ifname=net1 sandbox=c1\n"), "{text}");
        assert!(text.contains("\nSANDBOX=c1\n") && text.contains("\nIFNAME=net1\n"), "{text}");
        assert!(!settings.default_file.exists());

        // journald was started anew: the old socket is dead, the new one is found.
        drop(journal);
        std::fs::remove_file(&settings.journal).unwrap();
        let journal = UnixDatagram::bind(&settings.journal).unwrap();
        info!("after its restart");
        assert!(journal.recv(&mut buffer).is_ok());

        // Nobody reads: the queue fills, and from then on the file gets it all, without a wait for each line.
        let start = Instant::now();
        (0..2_000).for_each(|n| info!(n, "flood"));
        // A wait for each would be half a minute.
        assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
        let in_file = std::fs::read_to_string(&settings.default_file).unwrap().lines().count();
        let mut in_journal = 0;
        journal.set_nonblocking(true).unwrap();
        while journal.recv(&mut buffer).is_ok() {
            in_journal += 1;
        }
        assert_eq!(in_file + in_journal, 2_000);
    });
}

/// A log that cannot be written is nobody's failure, and stdout is never a log.
#[test]
fn what_cannot_be_a_log_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let named = [directory.path().to_owned(), directory.path().join("file/below"), pipe, "/dev/full".into()];
    for file in named.into_iter().chain(["/dev/stdout".into(), "/proc/self/fd/1".into(), "".into()]) {
        let settings = LogSettings { file: Some(file), ..settings(directory.path()) };
        with_default(subscriber(&settings, "c1"), || info!("THIS MUST NOT BE ON STDOUT"));
    }
}

#[test]
fn a_full_file_is_renamed_and_the_older_one_goes() {
    let directory = tempfile::tempdir().unwrap();
    let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
    let mut log = LogFile::new(path.clone(), 30);
    let check = |current: &str, older: Option<&str>| {
        assert_eq!(std::fs::read_to_string(&path).unwrap(), current);
        assert_eq!(std::fs::read_to_string(&old).ok().as_deref(), older);
    };
    for line in ["1 ten bytes", "2 ten bytes"] {
        log.append(format!("{line}\n").as_bytes()).unwrap();
    }
    check("1 ten bytes\n2 ten bytes\n", None);
    log.append(b"3 ten bytes\n").unwrap();
    check("3 ten bytes\n", Some("1 ten bytes\n2 ten bytes\n"));
    // A line larger than the limit gets a file of its own.
    log.append(format!("4 {}\n", "x".repeat(40)).as_bytes()).unwrap();
    log.append(b"5\n").unwrap();
    check("5\n", Some(&format!("4 {}\n", "x".repeat(40))));
    // Somebody else renamed or removed the file.
    std::fs::remove_file(&path).unwrap();
    log.append(b"6\n").unwrap();
    check("6\n", Some(&format!("4 {}\n", "x".repeat(40))));
    // Whoever holds the lock is busy with renaming; nobody waits for it for long.
    let holder = std::fs::File::open(&path).unwrap();
    holder.lock().unwrap();
    log.append(format!("7 {}\n", "x".repeat(40)).as_bytes()).unwrap();
    check(&format!("6\n7 {}\n", "x".repeat(40)), Some(&format!("4 {}\n", "x".repeat(40))));
}

/// Eight writers, each with a descriptor of its own as processes have, with `lines` lines each of some 60 bytes. Every
/// line that is kept is whole and there once; both files respect the limit. Gives how many are kept.
#[track_caller]
fn check_writers(lines: usize, max_size: u64) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let mut log = LogFile::new(path.clone(), max_size);
            scope.spawn(move || {
                for n in 0..lines {
                    let filling = "x".repeat(n % 100);
                    log.append(format!("{writer} {n} {filling} end\n").as_bytes()).unwrap();
                }
            });
        }
    });
    let mut seen = BTreeSet::new();
    for name in ["log", "log.1"] {
        let text = std::fs::read_to_string(directory.path().join(name)).unwrap();
        // Writers that looked at the size at the same moment may each add one line.
        assert!(text.len() as u64 <= max_size + 8 * 120, "{name} has {} bytes", text.len());
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let n: usize = words[1].parse().unwrap();
            assert_eq!(line, format!("{} {n} {} end", words[0], "x".repeat(n % 100)));
            assert!(seen.insert(line.to_owned()), "twice: {line}");
        }
    }
    seen.len()
}

#[test]
fn many_writers_never_tear_a_line() {
    // One renaming: nothing may be lost.
    assert_eq!(check_writers(250, 100_000), 8 * 250);
    // Several: only what is older than the two newest files.
    assert!(check_writers(1_000, 30_000) > 400);
}
