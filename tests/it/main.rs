//! What the plugin does that its answers do not show: files, processes, time, the log; and the rules of the house.
//!
//! The conformance suite judges by behaviour alone and any plugin can be pointed at it; these tests know where things
//! lie (docs/state.md). One file per topic. Needs root, iproute2, util-linux and Debian's containernetworking-plugins.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests make files and processes, and a broken expectation ends the test"
)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../harness/kernel.rs"]
mod kernel;
mod scene;

mod announce;
mod auxchain;
mod cancel;
mod cleanup;
mod cli;
mod damage;
mod devinfo;
mod disk;
mod doctor;
mod foreign;
mod gc;
mod gc_command;
mod install;
mod leaks;
mod leases;
mod log;
mod private;
mod ready;
mod real;
mod records;
mod repair;
mod routes;
mod rule;
mod subdir;
mod sweep;
mod truth;
mod validate;
mod verify;
mod waits;
mod worst;
mod worst2;
mod worst3;
