//! What an operation will do, as a value (P1, P2): which plugins, which bytes, which names, which order, which deadline.
//!
//! Pure: no I/O, no clock, no environment. Every refusal happens here, before anything runs. An [`Attachment`] of a plan
//! is what a record on disk holds, so DEL and CHECK decide nothing: they run the record.
#![deny(missing_docs)]

pub mod add;
pub mod announce;
pub mod capability;
pub mod chain;
pub mod cleanup;
pub mod del;
pub mod devinfo;
pub mod foreign;
pub mod gc;
pub mod ifname;
pub mod install;
pub mod leases;
pub mod left;
pub mod lint;
pub mod made;
pub mod master;
pub mod outcome;
pub mod primary;
pub mod private;
pub mod record;
pub mod repair;
pub mod routes;
pub mod status;
pub mod sweep;
pub mod toml;
pub mod verify;

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cni::{CniArgs, CniVersion, ContainerId, IfName, NetworkName, Object, PluginType, SearchPath};
use crate::kernel::Family;
use crate::profile::Deadlines;

/// What a pod's networks belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// `CNI_CONTAINERID`.
    #[serde(rename = "containerID")]
    pub container_id: ContainerId,
    /// `CNI_NETNS`: path of the namespace; empty when a DEL came without one.
    pub netns: PathBuf,
    /// The pod, when the runtime named one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod: Option<Pod>,
}

/// The pod of a sandbox, from `CNI_ARGS`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`; empty when the runtime does not say.
    #[serde(default)]
    pub uid: String,
}

impl Pod {
    /// The pod that `args` name, if they name one.
    #[must_use]
    pub fn of(args: &CniArgs) -> Option<Self> {
        let name = args.get("K8S_POD_NAME").filter(|name| !name.is_empty())?;
        Some(Self {
            namespace: args.get("K8S_POD_NAMESPACE").unwrap_or_default().to_owned(),
            name: name.to_owned(),
            uid: args.get("K8S_POD_UID").unwrap_or_default().to_owned(),
        })
    }
}

/// What an ADD will do: attachments in order, the primary's first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// For which sandbox.
    pub sandbox: Sandbox,
    /// `CNI_IFNAME` of the runtime's call.
    pub request: IfName,
    /// One for each network.
    pub attachments: Vec<Attachment>,
}

/// Whether an attachment is the cluster's or the pod's own wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The cluster-wide default network.
    Primary,
    /// Any other.
    Additional,
}

/// One network in one sandbox, with everything that ADD, CHECK and DEL of it need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its place in the order of ADD, from 0.
    pub ordinal: usize,
    /// Primary or additional.
    pub role: Role,
    /// How people know the network: `namespace/name` of its manifest, else the name of its configuration.
    pub network: String,
    /// `name` of its configuration: one part of its identity for plugins.
    pub name: NetworkName,
    /// The version of its configuration.
    #[serde(rename = "cniVersion")]
    pub cni_version: CniVersion,
    /// `CNI_IFNAME` of its plugins.
    pub ifname: IfName,
    /// CHECK is not run.
    #[serde(rename = "disableCheck")]
    pub disable_check: bool,
    /// GC is not run.
    #[serde(rename = "disableGC")]
    pub disable_gc: bool,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// `CNI_PATH`.
    pub path: SearchPath,
    /// How long each plugin may run.
    pub deadline: Deadline,
    /// `default-route`: the pod's default routes shall be this attachment's, by these gateways or by its own result's.
    #[serde(rename = "defaultRoute", default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<Vec<IpAddr>>,
    /// What its first plugin is given as `prevResult` on ADD: of a chain that makes no interface of its own.
    #[serde(rename = "prevResult", default, skip_serializing_if = "Option::is_none")]
    pub prev_result: Option<Object>,
    /// The file in which its plugins tell of its device, when one of them declares that capability.
    #[serde(rename = "deviceInfoFile", default, skip_serializing_if = "Option::is_none")]
    pub device_info: Option<PathBuf>,
    /// What the kernel must show after ADD (`capabilityCheck: "verify"`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<verify::Verify>,
    /// The families of its addresses that are ours to announce.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub announce: Vec<Family>,
    /// The plugins, in the order of ADD.
    pub calls: Vec<Call>,
}

impl Attachment {
    /// The attachment as errors and logs name it: `network "default/net-a" (macvlan) net1`.
    #[must_use]
    pub fn context(&self, plugin: &PluginType) -> String {
        format!("network {:?} ({plugin}) {}", self.network, self.ifname)
    }
}

/// Longest run of one plugin, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// ADD and CHECK.
    pub add: u64,
    /// DEL.
    pub del: u64,
}

impl From<Deadlines> for Deadline {
    fn from(known: Deadlines) -> Self {
        Self { add: known.add_attempt_s, del: known.del_attempt_s }
    }
}

/// One plugin of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// `type`.
    pub plugin: PluginType,
    /// Its executable.
    pub binary: PathBuf,
    /// What it is given on stdin, but for `prevResult`.
    pub config: Object,
}
