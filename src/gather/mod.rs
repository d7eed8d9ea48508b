//! The first of the four steps, for whoever plans an ADD: what the pod asks for, the primary network, the additional ones,
//! the executables. The plugin gathers to act, `meta-cni plan` gathers to show; it is the same code.

mod annotations;
mod auxiliary;
mod known;
mod primary;
mod ready;
mod resolve;
pub mod status;

pub use annotations::{Asked, CAPABILITY, asked};
pub use primary::{Resolver, after};
pub use ready::{can_serve, missing};
pub use resolve::{binaries, search_path, wanted_networks};
