//! F2: SIGKILL for the plugin at any point, then the runtime's DEL: no leaked address, interface, port map or record.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::fault::{Fault, perform, trace};
use crate::harness::Output;
use crate::kernel::isolated;
use crate::oracle::{Excused, wrong};
use crate::rng::Rng;
use crate::world::{Plugins, Pod, Wishes, World};

/// What came of many kills.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many, by what was killed and what it had done until then.
    pub kills: BTreeMap<String, usize>,
    /// What was found, each with the words that play it again.
    pub leaks: Vec<String>,
    /// The longest time from a kill until nothing was left, the runtime's DEL included.
    pub longest: (Duration, String),
}

impl Tally {
    pub fn count(&self) -> usize {
        self.kills.values().sum()
    }

    pub fn join(mut self, other: Self) -> Self {
        for (place, count) in other.kills {
            *self.kills.entry(place).or_default() += count;
        }
        self.leaks.extend(other.leaks);
        self.longest = self.longest.max(other.longest);
        self
    }
}

/// Kills the plugin `count` times at random points of ADD and DEL, on a node of its own.
pub fn random(seed: u64, count: usize) -> Tally {
    isolated(|kernel| {
        let world = World::new(kernel, if seed.is_multiple_of(2) { Plugins::Reference } else { Plugins::Debian });
        let points = Points::of(&world);
        let mut tally = Tally::default();
        let mut pod = world.pod(Wishes::default());
        for number in 0.. {
            if tally.count() >= count || tally.leaks.len() >= 3 {
                break;
            }
            let mut rng = Rng::of(seed, number);
            pod.wishes = wishes(&mut rng);
            pod.id = format!("{}{number:06x}", &pod.id[..26]);
            let before = tally.count();
            let leaks = one(&world, &points, &pod, &mut rng, &mut tally);
            assert!(number < 20 || tally.count() > 0, "nothing is ever killed");
            if !leaks.is_empty() {
                let again = format!("--seed {seed}, kill {before}");
                tally.leaks.push(format!("{again}: {}\n{}", leaks.join("\n"), log_of(&world, &pod)));
                pod = world.pod(Wishes::default());
            } else if rng.chance(10) {
                world.vanish(&mut pod);
                pod = world.pod(Wishes::default());
            }
        }
        tally
    })
}

/// What a pod asks for, at random.
pub fn wishes(rng: &mut Rng) -> Wishes {
    let port = rng.chance(30).then(|| 20_000 + u16::try_from(rng.below(9_000)).unwrap());
    let all: [&[&'static str]; 8] = [
        &[],
        &["net-a"],
        &["net-b"],
        &["net-a", "net-b"],
        &["net-b", "net-a"],
        &["net-c", "net-b"],
        &["net-a", "net-c"],
        &["net-a", "net-b", "net-c"],
    ];
    let networks = rng.pick(&all).to_vec();
    let default_route = rng.chance(20) && networks.first().is_some_and(|network| *network != "net-b");
    Wishes { networks, port, default_route }
}

/// What is known of undisturbed calls.
pub struct Points {
    pub add: Duration,
    pub del: Duration,
    add_calls: Vec<(String, usize)>,
    del_calls: Vec<(String, usize)>,
}

impl Points {
    pub fn of(world: &World<'_>) -> Self {
        let pod = world.pod(Wishes { networks: vec!["net-a", "net-b"], port: None, default_route: true });
        let time = |operation: &str| {
            let output = world.call(operation, &pod).run();
            assert_eq!(output.exit, Some(0), "{operation}, undisturbed: {output:?}");
            output.elapsed
        };
        let (add, del) = (time("ADD"), time("DEL"));
        let add_calls = trace(&world.call("ADD", &pod), true);
        let del_calls = trace(&world.call("DEL", &pod), true);
        // Other pods have port maps, and take longer.
        Self { add: add * 3 / 2, del: del * 3 / 2, add_calls, del_calls }
    }

    /// A point of an ADD or a DEL.
    fn any(&self, rng: &mut Rng, add: bool) -> Fault {
        let (length, calls) = if add { (self.add, &self.add_calls) } else { (self.del, &self.del_calls) };
        let all: usize = calls.iter().map(|(_, count)| count).sum();
        let (by_call, time, mut at) = (rng.chance(50), rng.time(length), rng.below(all));
        for (name, count) in calls.iter().filter(|_| by_call) {
            if at < *count {
                return Fault::KillAt(name.clone(), at + 1);
            }
            at -= count;
        }
        Fault::KillAfter(time)
    }
}

/// An ADD as a runtime makes it. bridge fails by itself when the last other port of its bridge goes just then: then the runtime
/// sends a DEL and tries again.
pub fn add(world: &World<'_>, pod: &Pod) -> Output {
    let mut added = world.call("ADD", pod).run();
    for _ in 0..4 {
        if !added.stdout.contains("could not set bridge's mac") || world.call("DEL", pod).run().exit != Some(0) {
            break;
        }
        added = world.call("ADD", pod).run();
    }
    added
}

/// An ADD that nothing disturbs; gives what it failed with all the same.
pub fn undisturbed(world: &World<'_>, pod: &Pod) -> Option<String> {
    let added = add(world, pod);
    if added.exit == Some(0) {
        return None;
    }
    Some(format!("{added:?}, then DEL: {:?}", world.call("DEL", pod).run()))
}

/// One kill, what the runtime does then, and what is left.
fn one(world: &World<'_>, points: &Points, pod: &Pod, rng: &mut Rng, tally: &mut Tally) -> Vec<String> {
    let mut found = Vec::new();
    let of_add = rng.chance(70);
    let (fault, again, twice) = (points.any(rng, of_add), rng.chance(20), rng.chance(10));
    let operation = if of_add { "ADD" } else { "DEL" };
    if !of_add && let Some(failed) = undisturbed(world, pod) {
        return vec![format!("an undisturbed ADD failed: {failed}")];
    }
    let done = perform(&world.call(operation, pod), &fault);
    let killed = done.killed.filter(|_| done.output.signal == Some(9));
    if killed.is_some() {
        let how = if matches!(fault, Fault::KillAt(..)) { "system call" } else { "instant" };
        *tally.kills.entry(format!("{operation} at a random {how}, {}", reached(world, pod))).or_default() += 1;
    } else if done.output.exit != Some(0) {
        found.push(format!("{operation} failed without being killed: {:?}", done.output));
    }
    if of_add && again && killed.is_some() {
        let second = world.call("ADD", pod).run();
        if second.exit != Some(0) && !second.stdout.contains("attached already") {
            found.push(format!("the same ADD again failed: {second:?}"));
        }
    }
    let since = killed.unwrap_or_else(Instant::now);
    for _ in 0..if twice { 2 } else { 1 } {
        let del = world.call("DEL", pod).run();
        if del.exit != Some(0) {
            found.push(format!("DEL after {operation} with {fault:?} failed: {del:?}"));
        }
    }
    found.extend(wrong(world, &[], &Excused { rules: pod.wishes.port.is_none(), ..Excused::default() }));
    let clean = (since.elapsed(), format!("{operation} of {:?} with {fault:?}", pod.wishes));
    if clean > tally.longest {
        let log = log_of(world, pod);
        tally.longest = (clean.0, format!("{}\n{log}", clean.1));
    }
    if !found.is_empty() {
        found.insert(0, format!("{operation} of {:?} with {fault:?}, again {again}, twice {twice}", pod.wishes));
    }
    found
}

/// How far the call had come, by its records.
fn reached(world: &World<'_>, pod: &Pod) -> String {
    let dir = world.node.state().join("attachments").join(&pod.id);
    let texts = crate::harness::files_below(&dir).into_iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let (ended, begun): (Vec<String>, Vec<String>) = texts.partition(|text| text.contains('\u{1e}'));
    format!("{} attached, {} begun", ended.len(), begun.len())
}

/// The end of what the plugin logged about the pod.
pub fn log_of(world: &World<'_>, pod: &Pod) -> String {
    let log = world.node.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&pod.id)).collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
