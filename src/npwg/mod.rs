//! What the multi-network de-facto standard says: "Kubernetes Network Custom Resource Definition De-facto Standard",
//! version 1.3, of the Network Plumbing Working Group (NPWG). Annotations a pod carries, NetworkAttachmentDefinition
//! manifests, the network status written back.
//!
//! Pure: text in, typed values or a precise error out. It never finds a network, names an interface or calls a plugin,
//! and it knows nothing of Kubernetes' API. What enters here is hostile until parsed: bounded, never a panic.
#![deny(missing_docs)]

pub mod element;
pub mod error;
mod json;
pub mod manifest;
pub mod nad;
pub mod names;
pub mod pod;
pub mod selection;
pub mod status;
pub mod values;

pub use error::{MOST_ELEMENTS, Problem, SelectionError, Warning};
pub use manifest::{Format, ManifestError};
pub use nad::Nad;
pub use names::{Namespace, ObjectName};
pub use pod::Pod;
pub use selection::{Parsed, Selection, default_network, parse};

/// Pod annotation that asks for additional networks (section 4.1).
pub const NETWORKS_ANNOTATION: &str = "k8s.v1.cni.cncf.io/networks";

/// Pod annotation that asks for another primary network. Multus' own, not of the standard.
pub const DEFAULT_NETWORK_ANNOTATION: &str = "v1.multus-cni.io/default-network";

/// Pod annotation that network status is written to (section 5).
pub const NETWORK_STATUS_ANNOTATION: &str = "k8s.v1.cni.cncf.io/network-status";

/// NetworkAttachmentDefinition annotation that says whether addresses of attachments are announced to their neighbours,
/// `"true"` (the default) or `"false"`. Our own.
pub const ANNOUNCE_ANNOTATION: &str = "meta-cni.io/announce";

/// NetworkAttachmentDefinition annotation that names the device resource a network draws from.
pub const RESOURCE_NAME_ANNOTATION: &str = "k8s.v1.cni.cncf.io/resourceName";
