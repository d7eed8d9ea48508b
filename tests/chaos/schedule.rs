//! One schedule: several pods on one node, any operation and any fault at once, and then the oracle.
//!
//! What is tried follows from the seed and the number of the step alone. What comes of it depends on time as well, and what
//! a step means on what came of those before: a seed plays the same pieces again, not the same microseconds.

mod trouble;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fault::{Done, Fault, perform_at};
use crate::kernel::isolated;
use crate::kills::wishes;
use crate::oracle::{Excused, lacks, wrong_now};
use crate::rng::Rng;
use crate::sweep::{kill_sweeps, poke};
use crate::world::{Plugins, Pod, World};

/// How long an undisturbed ADD takes, roughly: faults are spread over it.
const LENGTH: Duration = Duration::from_millis(300);

/// How long the sweep may take until nothing is left.
const SWEPT: Duration = Duration::from_secs(120);

/// What the runtime knows of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing was asked of us.
    New,
    /// Its ADD succeeded.
    Up,
    /// Something was asked and nobody knows what came of it: a DEL is due.
    Due,
    /// The runtime died and will never ask again.
    Forgotten,
}

struct Slot {
    pod: Pod,
    known: Known,
}

/// What came of a schedule.
#[derive(Debug, Default)]
pub struct Played {
    pub kills: usize,
    pub steps: usize,
    /// From the last thing that the runtime did until nothing was left, when the sweep had to do it.
    pub swept: Duration,
    pub wrong: Vec<String>,
    /// What was done, for who plays it again.
    pub story: String,
}

struct Schedule<'a> {
    world: World<'a>,
    slots: Vec<Slot>,
    excused: Excused,
    played: Played,
    /// The disk is full or read-only.
    trouble: bool,
    /// How far the wall clock is from where it was, in seconds.
    shift: i64,
}

/// Plays the schedule of `seed` on a node of its own.
pub fn play(seed: u64) -> Played {
    isolated(|kernel| {
        let mut rng = Rng::new(seed);
        let plugins = if rng.chance(70) { Plugins::Reference } else { Plugins::Debian };
        let world = World::new(kernel, plugins);
        let slots = (0..4).map(|_| Slot { pod: world.pod(wishes(&mut rng)), known: Known::New }).collect();
        let mut schedule =
            Schedule { world, slots, excused: Excused::default(), played: Played::default(), trouble: false, shift: 0 };
        let steps = 6 + rng.below(8);
        for step in 0..steps {
            schedule.step(&mut Rng::of(seed, step as u64 + 1), step);
            if !schedule.played.wrong.is_empty() {
                break;
            }
        }
        if schedule.played.wrong.is_empty() {
            schedule.settle(&mut rng);
        }
        schedule.played.steps = steps;
        if !schedule.played.wrong.is_empty() {
            let log = schedule.world.node.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(120)..].join("\n");
            write!(schedule.played.story, "\nthe end of the log:\n{end}").unwrap();
        }
        schedule.played
    })
}

impl Schedule<'_> {
    fn tell(&mut self, what: &str) {
        writeln!(self.played.story, "  {what}").unwrap();
    }

    fn step(&mut self, rng: &mut Rng, step: usize) {
        match rng.below(100) {
            0..70 => self.batch(rng, step),
            70..75 => self.race(rng),
            75..80 => self.damage(rng),
            80..86 => self.lose_a_namespace(rng),
            86..91 => self.disk_trouble(rng, step),
            91..96 => self.clock_jump(rng),
            _ => self.reboot(rng),
        }
    }

    /// Up to three pods at once, an operation and a fault for each.
    fn batch(&mut self, rng: &mut Rng, step: usize) {
        let first = rng.below(self.slots.len());
        let count = 1 + rng.below(3);
        let chosen: Vec<usize> = (0..count).map(|at| (first + at) % self.slots.len()).collect();
        let mut planned: Vec<(usize, &'static str, Fault)> = Vec::new();
        for at in chosen {
            let operation = self.operation(at, rng);
            let fault = Fault::any(rng, LENGTH);
            self.tell(&format!(
                "{step}: {operation} of {} ({:?}) with {fault:?}",
                self.slots[at].pod.name, self.slots[at].known
            ));
            planned.push((at, operation, fault));
        }
        let node_calls = self.node_calls(rng);
        let done = self.at_once(&planned, &node_calls);
        for ((at, operation, fault), done) in planned.into_iter().zip(done) {
            self.judge(at, operation, &fault, &done);
        }
    }

    /// What a runtime may ask of a pod now.
    fn operation(&self, at: usize, rng: &mut Rng) -> &'static str {
        let one = rng.below(10);
        match self.slots[at].known {
            Known::New => "ADD",
            Known::Up => ["CHECK", "CHECK", "CHECK", "ADD", "DEL", "DEL", "DEL", "DEL", "DEL", "DEL"][one],
            Known::Due => ["ADD", "ADD", "ADD", "CHECK", "DEL", "DEL", "DEL", "DEL", "DEL", "DEL"][one],
            Known::Forgotten => "STATUS",
        }
    }

    /// STATUS and GC, beside everything else.
    fn node_calls(&mut self, rng: &mut Rng) -> Vec<crate::harness::Call> {
        let (status, gc, empty) = (rng.chance(30), rng.chance(30), rng.chance(30));
        if self.world.plugins == Plugins::Debian {
            return Vec::new();
        }
        let mut calls = Vec::new();
        if status {
            calls.push(self.world.node.node_call("STATUS"));
        }
        if gc {
            // An empty list, as CRI-O gives it for a list that no pod has, harms nobody either.
            let known = self.slots.iter().filter(|slot| slot.known != Known::Forgotten && !empty);
            let valid: Vec<Value> = known.map(|slot| json!({ "containerID": slot.pod.id, "ifname": "eth0" })).collect();
            self.tell(&format!("GC with {} valid", valid.len()));
            calls.push(self.world.node.node_call("GC").set("cni.dev/valid-attachments", valid.into()));
        }
        calls
    }

    fn at_once(&self, planned: &[(usize, &'static str, Fault)], node_calls: &[crate::harness::Call]) -> Vec<Done> {
        std::thread::scope(|scope| {
            let beside: Vec<_> = node_calls.iter().map(|call| scope.spawn(move || call.run())).collect();
            let threads: Vec<_> = planned
                .iter()
                .map(|(at, operation, fault)| {
                    let call = match *operation {
                        "STATUS" => self.world.node.node_call("VERSION"),
                        operation => self.world.call(operation, &self.slots[*at].pod),
                    };
                    scope.spawn(move || perform_at(&call, fault, self.shift))
                })
                .collect();
            let done = threads.into_iter().map(|thread| thread.join().expect("a call")).collect();
            beside.into_iter().for_each(|thread| drop(thread.join().expect("a call of the node")));
            done
        })
    }

    /// What the runtime knows afterwards; and a pod that is up has all it asked for.
    fn judge(&mut self, at: usize, operation: &str, fault: &Fault, done: &Done) {
        self.played.kills += usize::from(done.killed.is_some());
        let succeeded = done.output.exit == Some(0);
        let slot = &mut self.slots[at];
        let was = slot.known;
        match operation {
            "ADD" if succeeded => {
                slot.known = Known::Up;
                self.played.wrong.extend(lacks(&slot.pod));
            }
            // Live and whole: it is refused, and stays as it is.
            "ADD" if was == Known::Up => {}
            "ADD" => slot.known = Known::Due,
            "DEL" if succeeded => self.renew(at),
            "DEL" => slot.known = Known::Due,
            _ => {}
        }
        let undisturbed = !self.trouble && matches!(fault, Fault::None) && was == Known::Up && operation == "CHECK";
        // Debian's portmap looks for rules of IPv6 that it did not make; a bridge has another address for a moment while other
        // ports of it come and go.
        let of_plugins = self.slots[at].pod.wishes.port_maps() > 0 || done.output.stdout.contains("Mac doesn't match");
        if undisturbed && !succeeded && !of_plugins {
            self.played.wrong.push(format!("CHECK of a pod that is up failed: {:?}", done.output));
        }
        self.tell(&format!(
            "  -> {operation} {:?} {}",
            done.output.exit,
            done.output.stdout.chars().take(300).collect::<String>()
        ));
    }

    /// A sandbox that was deleted: the next one has another ID.
    fn renew(&mut self, at: usize) {
        let mut wishes = self.slots[at].pod.wishes.clone();
        let turn = usize::from(!wishes.default_route && !wishes.networks.is_empty());
        wishes.networks.rotate_left(turn);
        self.world.vanish(&mut self.slots[at].pod);
        self.slots[at] = Slot { pod: self.world.pod(wishes), known: Known::New };
    }

    /// A DEL that does not wait for the ADD, or whatever else runs, to end.
    fn race(&mut self, rng: &mut Rng) {
        let (at, wait) = (rng.below(self.slots.len()), rng.time(LENGTH));
        if self.slots[at].known == Known::Forgotten {
            return;
        }
        self.tell(&format!("DEL of {} passes its ADD after {wait:?}", self.slots[at].pod.name));
        let (add, del) = (self.world.call("ADD", &self.slots[at].pod), self.world.call("DEL", &self.slots[at].pod));
        std::thread::scope(|scope| {
            scope.spawn(|| add.run());
            std::thread::sleep(wait);
            let del = del.run();
            if del.exit != Some(0) {
                self.played.wrong.push(format!("a DEL that passes an ADD failed: {del:?}"));
            }
        });
        // An ADD that had not yet begun when DEL was done is an ordinary ADD.
        self.slots[at].known = Known::Due;
    }

    /// The runtime does every DEL that is due; then, and when all pods are gone, nothing is where it should not be.
    fn settle(&mut self, rng: &mut Rng) {
        for at in 0..self.slots.len() {
            if self.slots[at].known == Known::Due
                || self.slots[at].known == Known::Up && self.slots[at].pod.place.is_none()
            {
                self.must_del(at);
            }
        }
        self.tell("everything that was due is deleted");
        self.oracle(rng);
        if !self.played.wrong.is_empty() {
            return;
        }
        for at in 0..self.slots.len() {
            if self.slots[at].known == Known::Up {
                self.must_del(at);
            }
        }
        self.tell("everything is deleted");
        self.oracle(rng);
        if !self.excused.forgotten.is_empty() && self.played.wrong.is_empty() {
            self.reboot(rng);
            self.oracle(rng);
        }
    }

    fn must_del(&mut self, at: usize) {
        let output = self.world.call("DEL", &self.slots[at].pod).run();
        if output.exit != Some(0) {
            self.played.wrong.push(format!("an undisturbed DEL of {} failed: {output:?}", self.slots[at].pod.name));
        }
        self.world.vanish(&mut self.slots[at].pod);
        self.slots[at].known = Known::New;
    }

    fn oracle(&mut self, rng: &mut Rng) {
        let began = Instant::now();
        loop {
            let up: Vec<&Pod> =
                self.slots.iter().filter(|slot| slot.known == Known::Up).map(|slot| &slot.pod).collect();
            poke(&self.world);
            // At most some of them: one has to be let.
            if began.elapsed() < SWEPT / 10 && rng.chance(20) {
                self.played.kills += kill_sweeps();
            }
            std::thread::sleep(Duration::from_millis(20));
            let mut found = wrong_now(&self.world, &up, &self.excused);
            if found.is_empty() || began.elapsed() > SWEPT {
                self.played.wrong.append(&mut found);
                self.played.swept = self.played.swept.max(began.elapsed());
                return;
            }
        }
    }
}
