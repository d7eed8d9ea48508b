//! What is done to a node on which everything goes wrong, and that nothing of it stays (F2, F3, F5, F6, F9, F14, A17).
//!
//! - `model`: every step of an ADD, an undo, a DEL and a sweep x every way in which a runtime may go on, judged by what each
//!   plugin was given; and every other system call they make, with one of those ways each;
//! - `power`: every file that a power cut may leave otherwise than it was, in every condition, and then a boot (D14);
//! - `kills`: the plugin is killed at random points of ADD and DEL of real plugins, and then the runtime does what it does;
//! - `schedule`: several pods at once, any operation, any fault, boots and a wall clock that jumps (`clock`), and an oracle that
//!   compares kernel, leases and files;
//! - `runtime`: a real containerd, of both kinds, that is killed at random instants with the plugins that it runs.
//!
//! The last three follow from a seed, which is printed. To play one again, with what was printed as N:
//!
//! ```text
//! cargo test --test chaos random_kills -- --seed N [--kills K]  K kills (1000) of nodes N, N + 1 and so on: a leak says its node's
//! cargo test --test chaos schedules -- --seed N                 one schedule
//! cargo test --test chaos containerd -- --seed N                one round with each containerd, told step by step
//! ```
//!
//! `model` and `power` have no seed: they try all there is. A seed plays the same pieces again, not the same microseconds: what is
//! rare needs some tries. `--schedules N`, `--kills N` and `--minutes M` say how much is done: `--minutes 60` is half an hour each of
//! `kills` and `schedule`, and a quarter of an hour of each containerd.
//!
//! Needs strace, and for `runtime` the plugin as it is released: `make build`, or its path in `META_CNI_BIN`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::exit,
    clippy::print_stdout,
    reason = "tests make files and processes, and a broken expectation ends the test"
)]

mod boot;
mod clock;
#[allow(dead_code, unused_imports, unused_macros, clippy::print_stderr, reason = "shared with another test binary")]
#[path = "../runtime/harness/mod.rs"]
mod cri;
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
mod power;
mod rng;
mod runtime;
mod schedule;
mod sweep;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cri::Runtime;
use kills::Tally;
use libtest_mimic::{Arguments, Failed, Trial};
use schedule::Played;

/// How long a real runtime is killed again and again, unless it is said otherwise.
const RUNTIME: Duration = Duration::from_secs(30);

/// How much is done.
#[derive(Debug, Clone, Copy)]
struct Amount {
    seed: Option<u64>,
    schedules: usize,
    kills: usize,
    minutes: Option<u64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, option, shift, process] = &arguments[..]
        && option == clock::OPTION
    {
        return clock::trace(shift.parse().unwrap(), process.parse().unwrap());
    }
    let (amount, rest) = amount(arguments.into_iter());
    let mut arguments = Arguments::from_iter(rest);
    // Each trial keeps all processors busy by itself.
    arguments.test_threads = Some(1);
    let trials = vec![
        Trial::test("f1_f2_f9_f14_every_step_and_every_continuation", || exhaustive(false)),
        Trial::test("f2_killed_at_every_other_system_call", || exhaustive(true)),
        Trial::test("d14_f5_every_file_in_every_condition_after_a_power_cut", power_cuts),
        Trial::test("the_wall_clock_of_a_call_jumps_and_no_other_clock", wall_clock),
        Trial::test("f2_random_kills_leave_nothing", move || random_kills(amount)),
        Trial::test("f2_f5_f6_f9_a17_schedules_leave_nothing", move || schedules(amount)),
    ];
    let of_runtime = [("debian", Runtime::Debian), ("modules", Runtime::Modules)].map(|(name, runtime)| {
        let name = format!("f2_f9_a44_containerd_killed_at_random_{name}");
        Trial::test(name, move || killed_runtime(amount, runtime))
    });
    let trials: Vec<Trial> = trials.into_iter().chain(of_runtime).collect();
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

fn power_cuts() -> Result<(), Failed> {
    let began = Instant::now();
    let (cases, wrong) = power::all();
    println!(
        "D14: {cases} files in a condition that a power cut leaves, in {:.0?}, wrong: {}",
        began.elapsed(),
        wrong.len()
    );
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n\n").into()) }
}

fn killed_runtime(amount: Amount, runtime: Runtime) -> Result<(), Failed> {
    let began = Instant::now();
    let seed = amount.seed.unwrap_or_else(fresh_seed);
    let tells = amount.seed.is_some();
    let length = match (amount.seed, amount.minutes) {
        // A seed is one round.
        (Some(_), _) => Duration::ZERO,
        (None, minutes) => minutes.map_or(RUNTIME, |minutes| Duration::from_secs(15 * minutes)),
    };
    let played = runtime::play(runtime, seed, began + length);
    let runtime::Played { steps, runtimes, plugins, started, forgotten, longest, .. } = &played;
    println!(
        "{runtime:?}: {steps} steps from seed {seed} in {:.0?}, {started} pods started, SIGKILL for {runtimes} containerds and \
         {plugins} plugins, {forgotten} namespaces forgotten by the runtime, longest time to a clean node: {longest:.0?}",
        began.elapsed()
    );
    if tells {
        println!("{}", played.story);
    }
    if played.wrong.is_empty() { Ok(()) } else { Err(format!("{}\n{}", played.story, played.wrong.join("\n")).into()) }
}

/// That what [`clock`] does is done: the log tells the time of the call, and nothing else does.
fn wall_clock() -> Result<(), Failed> {
    kernel::isolated(|kernel| {
        let world = world::World::new(kernel, world::Plugins::Debian);
        let pod = world.pod(world::Wishes::default());
        for (operation, shift) in [("ADD", 0), ("DEL", 366 * 86_400), ("ADD", -366 * 86_400), ("DEL", 0)] {
            let output = clock::start(&world.call(operation, &pod), shift).wait();
            assert_eq!(output.exit, Some(0), "{operation} with a clock that is {shift} s away: {output:?}");
            let due = std::fs::metadata(world.node.run_dir().join("sweep")).unwrap().modified().unwrap();
            let due = due.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            assert!(due <= harness::boot_seconds() + 600, "the next sweep is due at {due} s after the boot");
        }
        let log = world.node.log();
        let years: std::collections::BTreeSet<&str> = log.lines().filter_map(|line| line.get(..4)).collect();
        assert!(years.len() >= 3, "{years:?}");
    });
    Ok(())
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
