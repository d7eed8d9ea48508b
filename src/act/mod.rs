//! The third step: what is done to a sandbox. Shared by the plugin, which does what a runtime asks, and the sweep, which finishes
//! what nobody asks for any more.
//!
//! Owns the order of record, plugins and outcome, the lock of a sandbox, and what a failure takes back. Decides nothing about
//! networks: a plan or a record says what is to be done.

pub mod announce;
pub mod attach;
mod context;
pub mod del;
pub mod foreign;
pub mod leases;
pub mod live;
pub mod routes;
pub mod sandbox;
pub mod undo;
mod unwritten;
mod verify;

use crate::exec::Host;
use crate::store::lock::SandboxLock;

pub use context::Context;

/// What a call acts with.
pub struct Acting<'a> {
    /// The call.
    pub context: &'a Context,
    /// Where plugins are run.
    pub host: &'a Host<'a>,
    /// The sandbox's lock, when it could be had.
    pub lock: Option<&'a SandboxLock>,
    /// The epoch; empty when it is not known.
    pub epoch: String,
    /// After how many attempts a plugin that is nowhere is given up: [`PATIENCE`], or 0 where nobody would come back for it.
    pub patience: u32,
}

/// After how many attempts, half an hour, a plugin that is nowhere is given up: it may be on its way to its directory.
pub const PATIENCE: u32 = 12;
