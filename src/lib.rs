//! x
pub mod netns;
pub mod telemetry;
