//! `make bench`: what the plugin costs on top of the delegates it runs.
//!
//! The unmodified release binary, called as a runtime calls it, against the same delegates called directly in the same
//! run. Exit code 0 unless a call that is measured fails. `--quick` takes a tenth of the rounds;
//! `--only floor|counted|noop|keys|bridge|libcni` runs one part.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own, that starts, times and watches others"
)]

mod counts;
mod floor;
mod keys;
mod report;
#[expect(dead_code, reason = "the budget test uses the rest")]
mod rig;
mod timed;

use std::env;
use std::fs;
use std::process::ExitCode;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid as ProcessId;

use report::Budget;
use rig::parts::{Parts, scratch};
use rig::sandbox::Sandbox;
use rig::scene::{Delegate, Scene};
use rig::{Error, Result};
use timed::AT_ONCE;

const NETWORKS: [usize; 3] = [0, 2, 8];

/// How often each thing is done.
struct Rounds {
    one_at_a_time: usize,
    bursts: usize,
    starts: usize,
}

struct Options {
    quick: bool,
    only: Option<String>,
}

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("bench: {text}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> std::result::Result<Self, String> {
        let mut options = Self { quick: false, only: None };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // cargo says it to every bench.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--only" => options.only = args.next(),
                other => return Err(format!("unknown argument {other}; --quick, --only PART")),
            }
        }
        Ok(options)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }

    fn rounds(&self, delegate: Delegate, networks: usize) -> Rounds {
        let (one_at_a_time, bursts) = match (delegate, networks) {
            (Delegate::Noop, 8) => (200, 6),
            (Delegate::Noop, _) => (400, 10),
            (Delegate::Bridge | Delegate::Ptp, 8) => (20, 1),
            (Delegate::Bridge | Delegate::Ptp, _) => (50, 3),
        };
        let less = |rounds: usize| {
            if self.quick { rounds.div_ceil(10) } else { rounds }
        };
        Rounds { one_at_a_time: less(one_at_a_time), bursts: less(bursts), starts: less(500) }
    }
}

fn run(options: &Options) -> Result<()> {
    let parts = Parts::find()?;
    let cores = two_cores()?;
    let sandbox = Sandbox::enter(&scratch(), AT_ONCE)?;
    let load = fs::read_to_string("/proc/loadavg").map_err(Error::doing("reading the load"))?;
    println!(
        "{}\n{} cores, {}, records on {}, load before {}",
        parts.plugin.display(),
        cores,
        fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        sandbox.file_system()?,
        load.split(' ').next().unwrap_or_default(),
    );
    if options.wants("floor") {
        floor::part(&sandbox, options.rounds(Delegate::Noop, 0).starts)?;
    }
    if options.wants("counted") {
        counts::part(&sandbox, &parts, options.rounds(Delegate::Noop, 0).starts)?;
    }
    if options.wants("noop") {
        timed_part(&sandbox, &parts, Delegate::Noop, options)?;
    }
    if options.wants("keys") {
        keys::part(&sandbox, &parts, options.rounds(Delegate::Noop, 1).one_at_a_time)?;
    }
    if options.wants("bridge") {
        parts.require_reference()?;
        timed_part(&sandbox, &parts, Delegate::Bridge, options)?;
    }
    if options.wants("libcni") {
        libcni_part(&sandbox, &parts, options)?;
    }
    Ok(())
}

/// The budgets are for two cores; a bigger machine lends two.
fn two_cores() -> Result<usize> {
    let this = ProcessId::from_raw(0);
    let doing = || Error::doing("choosing two cores");
    let allowed = nix::sched::sched_getaffinity(this).map_err(doing())?;
    let mut chosen = CpuSet::new();
    let mut count = 0;
    for cpu in 0..CpuSet::count() {
        if count < 2 && allowed.is_set(cpu).map_err(doing())? {
            chosen.set(cpu).map_err(doing())?;
            count += 1;
        }
    }
    sched_setaffinity(this, &chosen).map_err(doing())?;
    Ok(count)
}

/// ADD with CHECK right after it, and DEL, by the client that plays CRI-O's habits.
fn libcni_part(sandbox: &Sandbox, parts: &Parts, options: &Options) -> Result<()> {
    let Some(program) = &parts.crio_habits else {
        println!("\nlibcni: not measured, CRIO_HABITS does not name the client");
        return Ok(());
    };
    report::heading("no-op delegate through libcni, start of the client and CHECK included");
    for networks in NETWORKS {
        let scene = Scene::new(sandbox, parts, Delegate::Noop, networks)?;
        let scene = scene.through_libcni(program)?;
        let rounds = options.rounds(Delegate::Noop, networks);
        let timing = timed::one_at_a_time(sandbox, &scene, rounds.one_at_a_time / 4)?;
        let name = format!("ADD+CHECK, {networks} extra");
        report::row(&name, &timing.add, Budget::None);
        report::row(&format!("DEL, {networks} extra"), &timing.del, Budget::None);
        let timing = timed::at_once(sandbox, &scene, rounds.bursts.div_ceil(2))?;
        report::rates(networks, &timing, Budget::None);
    }
    report::heading("bridge + host-local through libcni, start of the client and CHECK included");
    let scene = Scene::new(sandbox, parts, Delegate::Bridge, 0)?.through_libcni(program)?;
    let rounds = options.rounds(Delegate::Bridge, 0);
    let timing = timed::one_at_a_time(sandbox, &scene, rounds.one_at_a_time)?;
    report::row("ADD+CHECK, 0 extra", &timing.add, Budget::None);
    report::row("DEL, 0 extra", &timing.del, Budget::None);
    Ok(())
}

fn timed_part(sandbox: &Sandbox, parts: &Parts, delegate: Delegate, options: &Options) -> Result<()> {
    let name = match delegate {
        Delegate::Noop => "no-op delegate",
        Delegate::Bridge => "bridge + host-local",
        Delegate::Ptp => "ptp + host-local",
    };
    let rounds = options.rounds(delegate, 0).one_at_a_time;
    report::heading(&format!("{name}, one at a time (up to {rounds} rounds)"));
    let scenes =
        NETWORKS.iter().map(|networks| Scene::new(sandbox, parts, delegate, *networks)).collect::<Result<Vec<_>>>()?;
    for scene in &scenes {
        let networks = scene.networks;
        let rounds = options.rounds(delegate, networks);
        let timing = timed::one_at_a_time(sandbox, scene, rounds.one_at_a_time)?;
        let budget = report::added_by_add(networks);
        report::row(&format!("ADD, {networks} extra"), &timing.add, budget);
        report::row(&format!("ADD, {networks} extra: CPU"), &timing.add_cpu, Budget::None);
        report::row(&format!("DEL, {networks} extra"), &timing.del, Budget::None);
    }
    report::heading(&format!("{name}, {AT_ONCE} at once"));
    for scene in &scenes {
        let networks = scene.networks;
        let rounds = options.rounds(delegate, networks);
        let timing = timed::at_once(sandbox, scene, rounds.bursts)?;
        report::row(&format!("ADD, {networks} extra"), &timing.add, Budget::None);
        report::row(&format!("DEL, {networks} extra"), &timing.del, Budget::None);
        let budget = match delegate {
            Delegate::Noop => report::adds_per_second(networks),
            Delegate::Bridge | Delegate::Ptp => Budget::None,
        };
        report::rates(networks, &timing, budget);
    }
    Ok(())
}
