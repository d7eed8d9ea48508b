//! The daemon as a program: the real `meta-cnid` in directories of its own, judged by what is on disk and what it says.
//! Needs root, strace, util-linux.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests make files and processes, and a broken expectation ends the test"
)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../harness/kernel.rs"]
mod kernel;
mod place;

mod appears;
mod appended;
mod container;
mod doctor;
mod faults;
mod fights;
mod layout;
mod ready;
mod report;
mod survives;
mod told;
mod watcher;
mod whole;
