//! What a clock says: pods attached and detached one at a time and many at once, bare and through the plugin in turn.
//!
//! The two subjects alternate call by call (or burst by burst), and so does who begins: what disturbs the machine
//! disturbs both. Every call must succeed and every DEL must leave nothing, else the figures mean nothing.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::rig::call::Call;
use crate::rig::sandbox::Sandbox;
use crate::rig::scene::{Added, Pod, Scene, Subject};
use crate::rig::{Error, Result};

/// Pods that start at the same moment in a burst.
pub const AT_ONCE: usize = 50;

#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// In ms; `share` is 0.5 for the median.
    pub fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let rank = (last as f64 * share).round() as usize;
        sorted.get(rank).map_or(0.0, |value| value.as_secs_f64() * 1e3)
    }

    pub fn push(&mut self, value: Duration) {
        self.0.push(value);
    }
}

/// The same thing done bare and through the plugin.
#[derive(Default)]
pub struct Pair {
    pub bare: Samples,
    pub plugin: Samples,
}

impl Pair {
    fn of(&mut self, subject: Subject) -> &mut Samples {
        match subject {
            Subject::Bare => &mut self.bare,
            Subject::Plugin => &mut self.plugin,
        }
    }

    /// What the plugin adds, in ms; 0.5 is the median, 0.1 what a quieter machine would show.
    pub fn added(&self, share: f64) -> f64 {
        self.plugin.percentile(share) - self.bare.percentile(share)
    }
}

#[derive(Default)]
pub struct Timing {
    pub add: Pair,
    pub del: Pair,
    /// Processor time of an ADD with all that it ran; not taken in bursts.
    pub add_cpu: Pair,
    /// From the first start to the last end of a burst of ADDs, and of DELs.
    pub add_burst: Pair,
    pub del_burst: Pair,
}

/// `rounds` pods by each subject, never two at the same time.
pub fn one_at_a_time(sandbox: &Sandbox, scene: &Scene, rounds: usize) -> Result<Timing> {
    let mut timing = Timing::default();
    for round in 0..rounds + 1 {
        for subject in order(round) {
            let pod = Pod::new(sandbox, subject, round);
            let before = children_cpu()?;
            let added = scene.add(subject, &pod)?;
            let cpu = children_cpu()?.saturating_sub(before);
            let deleted = scene.del(subject, &pod, &added)?;
            // The first round makes directories and bridges.
            if round > 0 {
                timing.add.of(subject).push(added.took);
                timing.add_cpu.of(subject).push(cpu);
                timing.del.of(subject).push(deleted);
            }
        }
    }
    nothing_left(scene)?;
    Ok(timing)
}

/// `rounds` bursts of `AT_ONCE` pods by each subject.
pub fn at_once(sandbox: &Sandbox, scene: &Scene, rounds: usize) -> Result<Timing> {
    let mut timing = Timing::default();
    for round in 0..rounds {
        for subject in order(round) {
            let pods: Vec<Pod> = (0..AT_ONCE).map(|number| Pod::new(sandbox, subject, number)).collect();
            let (added, took) = burst(&pods, |_, pod| scene.add(subject, pod))?;
            timing.add_burst.of(subject).push(took);
            let (deleted, took) = burst(&pods, |number, pod| scene.del(subject, pod, &added[number]))?;
            timing.del_burst.of(subject).push(took);
            let each = added.iter().map(|Added { took, .. }| *took);
            each.for_each(|took| timing.add.of(subject).push(took));
            deleted.into_iter().for_each(|took| timing.del.of(subject).push(took));
        }
    }
    nothing_left(scene)?;
    Ok(timing)
}

/// Calls without networks (VERSION), the two programs in turn.
pub fn start(bare: &Call, plugin: &Call, rounds: usize) -> Result<Pair> {
    let mut pair = Pair::default();
    for round in 0..rounds {
        for subject in order(round) {
            let call = match subject {
                Subject::Bare => bare,
                Subject::Plugin => plugin,
            };
            let begin = Instant::now();
            call.run()?;
            pair.of(subject).push(begin.elapsed());
        }
    }
    Ok(pair)
}

/// All at the same moment, each in its own thread; how long until the last was done.
fn burst<T: Send>(pods: &[Pod], act: impl Fn(usize, &Pod) -> Result<T> + Sync) -> Result<(Vec<T>, Duration)> {
    let gate = Barrier::new(pods.len());
    let (act, gate) = (&act, &gate);
    thread::scope(|scope| {
        let waiting: Vec<_> = pods
            .iter()
            .enumerate()
            .map(|(number, pod)| {
                scope.spawn(move || {
                    gate.wait();
                    let begin = Instant::now();
                    (act(number, pod), begin, Instant::now())
                })
            })
            .collect();
        let mut all = Vec::with_capacity(pods.len());
        let (mut begins, mut ends) = (Vec::new(), Vec::new());
        for one in waiting {
            let died = |_| Error::Unfit("a thread of the burst died".to_owned());
            let (result, begin, end) = one.join().map_err(died)?;
            all.push(result);
            begins.push(begin);
            ends.push(end);
        }
        let span = ends.iter().max().zip(begins.iter().min());
        let took = span.map_or(Duration::ZERO, |(end, begin)| *end - *begin);
        Ok((all.into_iter().collect::<Result<Vec<_>>>()?, took))
    })
}

fn children_cpu() -> Result<Duration> {
    let usage =
        getrusage(UsageWho::RUSAGE_CHILDREN).map_err(Error::doing("reading the processor time of the calls"))?;
    let micros = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() * 1_000_000 + time.tv_usec())
        .iter()
        .sum::<i64>();
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or_default()))
}

fn order(round: usize) -> [Subject; 2] {
    match round % 2 {
        0 => [Subject::Bare, Subject::Plugin],
        _ => [Subject::Plugin, Subject::Bare],
    }
}

fn nothing_left(scene: &Scene) -> Result<()> {
    match scene.left_over() {
        0 => Ok(()),
        files => Err(Error::Unfit(format!(
            "{files} records are left in {} after every pod was deleted",
            scene.dir.display()
        ))),
    }
}
