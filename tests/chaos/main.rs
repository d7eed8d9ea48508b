//! What is done to a node on which everything goes wrong, and that nothing of it stays (F2, F3, F5, F6, F9, F14, A17).
//!
//! - `model`: every step of an ADD, an undo, a DEL and a sweep x every way in which a runtime may go on, judged by what each
//!   plugin was given; and every other system call they make, with one of those ways each;
//! - `kills`: the plugin is killed at random points of ADD and DEL of real plugins, and then the runtime does what it does;
//! - `schedule`: several pods at once, any operation, any fault, and an oracle that compares kernel, leases and files.
//!
//! Everything follows from a seed, which is printed: `cargo test --test chaos -- --seed N` plays one schedule again.
//! `--schedules N`, `--kills N` and `--minutes M` say how much is done: `--minutes 60` is half an hour of each of the last two.
//! Not tried: a wall clock that jumps (that of a machine cannot be set for a test alone; the times of files can, and are).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::exit,
    clippy::print_stdout,
    reason = "tests make files and processes, and a broken expectation ends the test"
)]

mod damage;
mod fault;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../harness/kernel.rs"]
mod kernel;
mod kills;
mod model;
mod oracle;
#[allow(dead_code, reason = "shared with another test binary")]
#[path = "../standard/place.rs"]
mod place;
mod rng;
mod schedule;
mod sweep;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kills::Tally;
use libtest_mimic::{Arguments, Failed, Trial};
use schedule::Played;

/// Whether the plugin starts a sweep of its own accord: then what no runtime asks for any more goes too.
pub const SWEEP: bool = true;

/// Whether the addresses of an attachment whose record was lost are released by the leases: then any record may be lost.
pub const LEASES: bool = true;

/// Whether a sandbox that the runtime has forgotten is finished although its record was lost, so that nothing but its age tells
/// whether it is alive.
pub const LOST_AND_FORGOTTEN: bool = false;

/// Whether DEL of a lost record's network is tried again when it failed for a reason that passes: a plugin that was killed.
pub const LOST_AND_TRIED_AGAIN: bool = false;

/// How much is done.
#[derive(Debug, Clone, Copy)]
struct Amount {
    seed: Option<u64>,
    schedules: usize,
    kills: usize,
    minutes: Option<u64>,
}

fn main() {
    let (amount, rest) = amount(std::env::args());
    let mut arguments = Arguments::from_iter(rest);
    // Each trial keeps all processors busy by itself.
    arguments.test_threads = Some(1);
    let trials = vec![
        Trial::test("f1_f2_f9_f14_every_step_and_every_continuation", || exhaustive(false)),
        Trial::test("f2_killed_at_every_other_system_call", || exhaustive(true)),
        Trial::test("f2_random_kills_leave_nothing", move || random_kills(amount)),
        Trial::test("f2_f5_f6_f9_a17_schedules_leave_nothing", move || schedules(amount)),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// Our own options, and the others.
fn amount(arguments: impl Iterator<Item = String>) -> (Amount, Vec<String>) {
    let mut amount = Amount { seed: None, schedules: 24, kills: 1000, minutes: None };
    let mut rest = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let mut number =
            || arguments.next().and_then(|text| text.parse::<u64>().ok()).expect("a number after the option");
        match argument.as_str() {
            "--seed" => amount.seed = Some(number()),
            "--schedules" => amount.schedules = number() as usize,
            "--kills" => amount.kills = number() as usize,
            "--minutes" => amount.minutes = Some(number()),
            _ => rest.push(argument),
        }
    }
    (amount, rest)
}

/// A seed that no run had before.
fn fresh_seed() -> u64 {
    u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos()) << 8
}

/// As many workers as keep the processors busy while the kernel waits.
fn workers() -> u64 {
    2 * std::thread::available_parallelism().map_or(2, |count| count.get() as u64)
}

fn random_kills(amount: Amount) -> Result<(), Failed> {
    let began = Instant::now();
    let first = amount.seed.unwrap_or_else(fresh_seed);
    let until = amount.minutes.map(|minutes| began + Duration::from_secs(60 * minutes) / 2);
    let share = amount.kills.div_ceil(workers() as usize);
    let worker = move |number: u64| {
        let mut tally = kills::random(first + number, share);
        while until.is_some_and(|until| Instant::now() < until) && tally.leaks.is_empty() {
            let more = first + number + tally.count() as u64 * workers();
            tally = tally.join(kills::random(more, share));
        }
        tally
    };
    let tally = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers()).map(|number| scope.spawn(move || worker(number))).collect();
        let all =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        all.fold(Tally::default(), Tally::join)
    });
    println!("F2: {} kills in {:.0?}, seeds {first} to {}:", tally.count(), began.elapsed(), first + workers() - 1);
    for (place, count) in &tally.kills {
        println!("  {count:5}  {place}");
    }
    let (longest, of) = &tally.longest;
    println!("  longest time from a kill to a clean node: {longest:.0?}, leaks: {}; {of}", tally.leaks.len());
    if tally.leaks.is_empty() { Ok(()) } else { Err(tally.leaks.join("\n\n").into()) }
}

fn schedules(amount: Amount) -> Result<(), Failed> {
    let began = Instant::now();
    let first = amount.seed.unwrap_or_else(fresh_seed);
    // A seed is one schedule; without one there are many.
    let count = if amount.seed.is_some() { 1 } else { amount.schedules as u64 };
    let until =
        amount.minutes.filter(|_| amount.seed.is_none()).map(|minutes| began + Duration::from_secs(30 * minutes));
    let next = AtomicU64::new(first);
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers().min(count) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let more = until.map_or(seed < first + count, |until| Instant::now() < until);
                    if !more || all.lock().unwrap().iter().any(|(_, played): &(u64, Played)| !played.wrong.is_empty()) {
                        return;
                    }
                    let played = std::panic::catch_unwind(|| schedule::play(seed)).unwrap_or_else(|panic| {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        Played { wrong: vec![format!("panicked: {text}")], ..Played::default() }
                    });
                    all.lock().unwrap().push((seed, played));
                }
            });
        }
    });
    let all = all.into_inner().unwrap();
    let sum = |of: fn(&Played) -> usize| all.iter().map(|(_, played)| of(played)).sum::<usize>();
    let (steps, kills) = (sum(|played| played.steps), sum(|played| played.kills));
    let swept = all.iter().map(|(_, played)| played.swept).max().unwrap_or_default();
    println!(
        "chaos: {} schedules from seed {first} in {:.0?}: {steps} steps, {kills} kills",
        all.len(),
        began.elapsed()
    );
    println!("  longest time from the last DEL to a clean node: {swept:.0?}");
    let wrong = all.iter().filter(|(_, played)| !played.wrong.is_empty());
    let wrong: Vec<String> =
        wrong.map(|(seed, played)| format!("--seed {seed}:\n{}\n{}", played.story, played.wrong.join("\n"))).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n\n").into()) }
}

fn exhaustive(every: bool) -> Result<(), Failed> {
    let began = Instant::now();
    let checked = model::all(workers() as usize, every);
    let what = if every { "other system calls" } else { "steps, every continuation" };
    let (cases, kills, points) = (checked.cases, checked.kills, checked.points);
    println!(
        "model: {points} {what}: {cases} cases, {kills} kills in {:.0?}, wrong: {}",
        began.elapsed(),
        checked.wrong.len()
    );
    assert!(kills > 0, "nothing was killed");
    if checked.wrong.is_empty() { Ok(()) } else { Err(checked.wrong.join("\n\n").into()) }
}
