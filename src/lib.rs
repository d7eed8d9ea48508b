//! x
pub mod cni;
pub mod config;
pub mod exec;
pub mod npwg;
pub mod plan;
pub mod profile;
