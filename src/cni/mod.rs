//! What the CNI specification says, as values: names, versions, invocations, configuration lists, results, errors.
//!
//! Pure vocabulary. Nothing here does I/O, reads the environment or knows what meta-cni is; other modules import it, it
//! imports nothing of ours. Sections cited are those of the CNI specification 1.1.0 unless another document is named.
#![deny(missing_docs)]

pub mod conf;
pub mod error;
pub mod invocation;
pub mod names;
pub mod raw;
pub mod result;
mod result_convert;
pub mod version;

pub use conf::{ConfError, NetworkConfigList, PluginConfig};
pub use error::{CniError, Code};
pub use invocation::{AttachmentId, CniArgs, Invocation, Operation, Request, SearchPath};
pub use names::{ContainerId, IfName, NetworkName, PluginType};
pub use raw::Object;
pub use result::CniResult;
pub use version::CniVersion;
