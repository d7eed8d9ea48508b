//! What our own master config says (docs/config.md): the one struct that is read, by the plugin from stdin and by the
//! command line from a file. Pure: paths in it are not opened here.
#![deny(missing_docs)]

pub mod apart;
pub mod duration;
pub mod keys;
pub mod master;
pub mod places;

pub use duration::Span;
pub use keys::{Warning, WarningKind};
pub use master::{CapabilityCheck, ConfigError, DefaultRoutePolicy, MasterConfig};
