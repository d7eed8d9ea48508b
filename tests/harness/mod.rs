//! What every black-box test of the plugin needs: a node made of temporary directories, delegates that do what a script
//! says, sandboxes with a real network namespace, and calls of the plugin as a runtime makes them.
//!
//! Nothing here knows how the plugin works inside; it is pointed at a binary and speaks environment, stdin, stdout and
//! files. Everything a test makes goes when it is dropped, so tests may run side by side. A test binary takes it in with
//! `#[path = "../harness/mod.rs"] mod harness;` and uses what it needs.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of the harness")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests make files and processes, and a broken expectation ends the test"
)]

mod call;
mod log;
mod netns;
mod node;
mod parts;
mod scripted;

pub use call::{Call, Output, Running};
pub use log::{Recorded, fields};
pub use netns::Netns;
pub use node::{Node, Sandbox, boot_seconds, files_below, unique};
pub use parts::reference_plugins;
pub use scripted::{install, plugin_under_test, scripted_plugin};
