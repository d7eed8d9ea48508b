pub mod cni;
pub mod npwg;
