#![doc = include_str!("../ARCHITECTURE.md")]

pub mod cni;
pub mod kernel;

pub mod config;
pub mod npwg;
pub mod profile;

pub mod plan;

pub mod check;

pub mod clock;
#[cfg(feature = "daemon")]
pub mod cri;
pub mod exec;
pub mod netns;
pub mod store;
pub mod watch;

pub mod gather;

pub mod act;

pub mod sweep;

pub mod exit;

pub mod install;

pub mod cli;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod plugin;

pub mod telemetry;
