//! What happens to the node of a schedule: files are damaged, namespaces go, the disk is full, the clock jumps, the kernel dies.

use std::time::Duration;

use super::{Known, LENGTH, Schedule};
use crate::boot;
use crate::damage;
use crate::rng::Rng;
use crate::world::{set_full, set_read_only};

/// Seconds of a year.
const YEAR: u64 = 365 * 86_400;

impl Schedule<'_> {
    /// Bytes of a file of ours are lost or changed.
    pub(super) fn damage(&mut self, rng: &mut Rng) {
        let at = rng.below(self.slots.len());
        if self.slots[at].known == Known::New || self.slots[at].known == Known::Forgotten {
            return;
        }
        let id = self.slots[at].pod.id.clone();
        let what = damage::any(&self.world, &id, rng);
        self.tell(&format!("damaged: {what:?}"));
        self.excused.damaged.insert(id);
        self.slots[at].known = Known::Due;
    }

    pub(super) fn lose_a_namespace(&mut self, rng: &mut Rng) {
        let at = rng.below(self.slots.len());
        let forgotten = rng.chance(50);
        self.tell(&format!("the namespace of {} goes, forgotten: {forgotten}", self.slots[at].pod.name));
        self.world.vanish(&mut self.slots[at].pod);
        match self.slots[at].known {
            Known::New => self.renew(at),
            _ if forgotten => self.slots[at].known = Known::Forgotten,
            Known::Forgotten => {}
            _ => self.slots[at].known = Known::Due,
        }
        if self.slots[at].known == Known::Forgotten {
            let id = self.slots[at].pod.id.clone();
            // libcni's cache tells of a pod that was up. Where there is nothing of it either, it is the design that all is kept,
            // and reported, until a boot.
            if self.excused.damaged.contains(&id) {
                self.excused.kept.insert(id.clone());
            }
            self.excused.forgotten.insert(id);
        }
    }

    /// A batch while the disk is full or read-only.
    pub(super) fn disk_trouble(&mut self, rng: &mut Rng, step: usize) {
        let (full, wait) = (rng.chance(50), rng.time(LENGTH / 3));
        let dirs = match rng.below(3) {
            0 => vec![self.world.node.state()],
            1 => vec![self.world.node.run_dir()],
            _ => vec![self.world.node.state(), self.world.node.run_dir()],
        };
        self.tell(&format!("full: {full}, else read-only, after {wait:?}: {dirs:?}"));
        let set = |on: bool| dirs.iter().for_each(|dir| if full { set_full(dir, on) } else { set_read_only(dir, on) });
        self.trouble = true;
        std::thread::scope(|scope| {
            let trouble = scope.spawn(|| {
                std::thread::sleep(wait);
                set(true);
            });
            self.batch(rng, step);
            trouble.join().unwrap();
        });
        set(false);
        self.trouble = false;
    }

    /// The wall clock jumps: for calls from now on, and for the kernel, which reckons back from it when it started; or it seems
    /// to have done so before, and every file of ours and every lease was written years before or after now.
    pub(super) fn clock_jump(&mut self, rng: &mut Rng) {
        let (years, back, files) = (rng.time(Duration::from_secs(20 * YEAR)), rng.chance(50), rng.chance(50));
        let by = i64::try_from(*rng.pick(&[3600, YEAR])).unwrap() * if back { -1 } else { 1 };
        if files {
            self.tell(&format!("the clock has jumped by {years:?}, back: {back}"));
            let now = std::time::SystemTime::now();
            damage::at_time(&self.world, if back { now - years } else { now + years });
        } else {
            self.tell(&format!("the clock jumps by {by} s"));
            self.shift += by;
            boot::clock_is_off(&self.world, self.shift);
        }
    }

    /// The kernel dies: processes, namespaces, links, rules and the run directory are gone; leases and records are not.
    pub(super) fn reboot(&mut self, rng: &mut Rng) {
        self.tell("reboot");
        boot::kill_all();
        for at in 0..self.slots.len() {
            let forgotten = rng.chance(50);
            self.world.vanish(&mut self.slots[at].pod);
            self.slots[at].known = match self.slots[at].known {
                Known::New => Known::New,
                Known::Forgotten => Known::Forgotten,
                _ if forgotten => Known::Forgotten,
                _ => Known::Due,
            };
        }
        boot::end(&self.world);
        boot::start(&self.world);
        self.shift = 0;
        self.excused.kept.clear();
        self.excused.forgotten.clear();
        for at in 0..self.slots.len() {
            if self.slots[at].known == Known::New {
                self.renew(at);
            }
        }
    }
}
