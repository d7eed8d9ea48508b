//! The sweep, as the world outside has to do with it: started by what a runtime does anyway, and killed.

use crate::kills::undisturbed;
use crate::oracle::running;
use crate::world::{Plugins, Wishes, World};

/// What a runtime does anyway, and by which a sweep is started: a STATUS, or with a runtime of before that a pod.
pub fn poke(world: &World<'_>) {
    match world.plugins {
        Plugins::Reference => drop(world.node.node_call("STATUS").run()),
        Plugins::Debian => {
            let mut pod = world.pod(Wishes::default());
            assert_eq!(undisturbed(world, &pod), None, "ADD of another pod");
            let output = world.call("DEL", &pod).run();
            assert_eq!(output.exit, Some(0), "DEL of another pod: {output:?}");
            world.vanish(&mut pod);
        }
    }
}

/// SIGKILL for every sweep that runs now; how many.
pub fn kill_sweeps() -> usize {
    let sweeps = running().into_iter().filter(|(_, line)| line.contains(" gc --queued "));
    let kill = |pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    sweeps.filter(|(pid, _)| kill(*pid).is_ok()).count()
}
