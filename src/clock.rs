//! The kernel's clock: the time since it started, which no jump of the wall clock moves and which goes on while the machine sleeps.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// How long the kernel has run.
#[must_use]
pub fn since_boot() -> Duration {
    // Every kernel that we run on has this clock; without it everything would be long ago.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::from_secs(u64::MAX / 100), Duration::from)
}

/// The same in whole seconds.
#[must_use]
pub fn boot_seconds() -> u64 {
    since_boot().as_secs()
}
