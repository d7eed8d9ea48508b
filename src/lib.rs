pub mod cni;
pub mod netns;
pub mod npwg;
pub mod telemetry;
