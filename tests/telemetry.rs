//! The log as processes use it (G9): this program starts itself again, many times at once, each time as a process
//! that sets up its log, writes a few lines and ends.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests do I/O and panic"
)]

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use meta_cni::telemetry::{self, LogSettings};
use tracing::info;

/// First argument of a process that only logs; then directory, correlation id, number of lines, file limit.
const LOGGER: &str = "--log";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, LOGGER, directory, correlation, lines, max_size] =
        arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        log(Path::new(directory), correlation, lines.parse().unwrap(), max_size.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let tests: [(&str, fn()); 4] = [
        ("many_processes_never_tear_a_line", many_processes_never_tear_a_line),
        ("many_processes_rename_a_full_file_once", many_processes_rename_a_full_file_once),
        ("many_processes_send_to_journald", many_processes_send_to_journald),
        ("a_line_costs_little", a_line_costs_little),
    ];
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into_iter().collect()).exit_code()
}

fn log(directory: &Path, correlation: &str, lines: usize, max_size: u64) {
    telemetry::init(&settings(directory, max_size), correlation);
    for n in 0..lines {
        info!(target: "meta_cni", n, stderr = format!("first\nsecond {}", "x".repeat(n % 50)), "a delegate wrote");
    }
}

fn settings(directory: &Path, max_size: u64) -> LogSettings {
    let (journal, default_file) = (directory.join("journal"), directory.join("log"));
    LogSettings { journal, default_file, max_size, ..LogSettings::default() }
}

fn start(directory: &Path, correlation: &str, lines: usize, max_size: u64) -> Child {
    let arguments = [correlation, &lines.to_string(), &max_size.to_string()];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(LOGGER).arg(directory).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs 30 processes at once, each with `lines` lines. None writes to stdout or stderr.
fn run(directory: &Path, lines: usize, max_size: u64) {
    let children: Vec<Child> = (0..30).map(|n| start(directory, &format!("sandbox{n}"), lines, max_size)).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b""[..], &b""[..]));
    }
}

/// Every line of the given files must be whole. Gives the numbers of each sandbox's lines, in the order they stand.
fn read(files: &[PathBuf]) -> BTreeMap<String, Vec<usize>> {
    let mut sandboxes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for line in files.iter().flat_map(|file| {
        let text = std::fs::read_to_string(file).expect("a log file");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    }) {
        let words: Vec<&str> = line.splitn(7, ' ').collect();
        let [time, "INFO", sandbox, pid, "a", "delegate", rest] = words[..] else { panic!("torn: {line}") };
        assert!(time.len() == 24 && time.ends_with('Z') && pid.starts_with("pid="), "{line}");
        let n = rest.strip_prefix("wrote n=").unwrap().split(' ').next().unwrap().parse().unwrap();
        let whole = format!(r#"wrote n={n} stderr="first\nsecond {}""#, "x".repeat(n % 50));
        assert_eq!(rest, whole);
        let sandbox = sandbox.strip_prefix("sandbox=").unwrap();
        sandboxes.entry(sandbox.to_owned()).or_default().push(n);
    }
    sandboxes
}

fn many_processes_never_tear_a_line() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), 100, 10_000_000);
    let sandboxes = read(&[directory.path().join("log")]);
    assert_eq!(sandboxes.len(), 30);
    for lines in sandboxes.values() {
        assert_eq!(lines, &(0..100).collect::<Vec<_>>());
    }
}

fn many_processes_rename_a_full_file_once() {
    let directory = tempfile::tempdir().unwrap();
    let (log, old) = (directory.path().join("log"), directory.path().join("log.1"));
    // Some 400 000 bytes: one renaming, so that nothing is lost.
    run(directory.path(), 100, 250_000);
    let kept: usize = read(&[old.clone(), log.clone()]).values().map(Vec::len).sum();
    assert_eq!(kept, 30 * 100);
    // Many renamings: the newest lines stay, within the limit.
    run(directory.path(), 100, 50_000);
    let sizes = [&log, &old].map(|file| std::fs::metadata(file).unwrap().len());
    assert!(sizes.iter().all(|size| *size < 60_000), "{sizes:?}");
    assert!(read(&[old, log]).values().map(Vec::len).sum::<usize>() > 300);
}

fn many_processes_send_to_journald() {
    let directory = tempfile::tempdir().unwrap();
    let journal = UnixDatagram::bind(directory.path().join("journal")).unwrap();
    journal.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let all_ended = AtomicBool::new(false);
    let in_journal = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_journal(&journal, &all_ended));
        run(directory.path(), 20, 10_000_000);
        all_ended.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    // A process that had to wait for the queue went on in the file: nothing is lost.
    let log = directory.path().join("log");
    let in_file = if log.exists() { read(&[log]).values().map(Vec::len).sum() } else { 0 };
    assert_eq!(in_journal + in_file, 30 * 20);
}

/// Reads until the queue is empty after `all_ended`. Gives the number of events.
fn read_journal(journal: &UnixDatagram, all_ended: &AtomicBool) -> usize {
    let (mut buffer, mut count) = ([0; 4096], 0);
    loop {
        let ended = all_ended.load(Ordering::Relaxed);
        match journal.recv(&mut buffer) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&buffer[..length]);
                assert!(text.starts_with("MESSAGE=a delegate wrote n="), "{text}");
                assert!(text.contains("\nPRIORITY=6\nSYSLOG_IDENTIFIER=meta-cni\nSANDBOX=sandbox"), "{text}");
                count += 1;
            }
            Err(_) if ended => return count,
            Err(_) => {}
        }
    }
}

/// A plugin call that logs three lines: on the same machine the start of a program takes longer. The figures are printed.
fn a_line_costs_little() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), 10_000_000);
    let call = || {
        let start = Instant::now();
        tracing::subscriber::with_default(telemetry::subscriber(&settings, "c1"), || {
            info!(target: "meta_cni", operation = "ADD", "begins");
            info!(target: "meta_cni", ifname = "net1", network = "default/a", "attached");
            info!(target: "meta_cni", operation = "ADD", milliseconds = 12, "done");
        });
        let lines = start.elapsed();
        let start = Instant::now();
        assert!(Command::new("true").status().unwrap().success());
        (lines, start.elapsed())
    };
    let (mut lines, mut starts): (Vec<Duration>, Vec<Duration>) = (0..200).map(|_| call()).unzip();
    lines.sort();
    starts.sort();
    println!("three lines: median {:?}; a program: median {:?}", lines[100], starts[100]);
    assert!(lines[20] < starts[20], "{:?}, and a program {:?}", lines[20], starts[20]);
}
