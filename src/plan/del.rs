//! One DEL as data: of a pod that has no record, what others kept of its attachments (F13); and what is made otherwise when it is
//! done again (F6).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use crate::cni::{CniArgs, IfName, NetworkConfigList, Object, PluginType, SearchPath};
use crate::profile::Deadlines;

use super::capability::runtime_config;
use super::outcome::MissingBinary;
use super::{Attachment, Call, Role};

/// Whether a DEL that has just failed is made once more with an empty `CNI_NETNS`, which the specification allows: the namespace
/// at `netns` is `gone`, which some plugins never forgive, and it failed before, `attempts` times. Not at the first: the path
/// may tell a plugin what to look for.
#[must_use]
pub fn again_without_namespace(netns: &Path, gone: bool, attempts: u32) -> bool {
    gone && attempts > 0 && !netns.as_os_str().is_empty()
}

/// An attachment that others made: their configuration, arguments and result, as far as they kept them.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// How people know the network.
    pub network: String,
    /// Its configuration.
    pub list: NetworkConfigList,
    /// `CNI_IFNAME` it was made with.
    pub ifname: IfName,
    /// Capability arguments it was made with.
    pub arguments: Object,
    /// `CNI_ARGS` it was made with; `None` when that is not known.
    pub args: Option<CniArgs>,
    /// What the last plugin of its chain printed.
    pub result: Option<Box<RawValue>>,
}

impl Foreign {
    /// The attachment to run DEL of. A plugin whose executable is missing is left out and returned.
    #[must_use]
    pub fn attachment(
        &self,
        ordinal: usize,
        args: &CniArgs,
        path: &SearchPath,
        binaries: &BTreeMap<PluginType, Result<PathBuf, MissingBinary>>,
    ) -> (Attachment, Vec<(PluginType, MissingBinary)>) {
        let mut missing = Vec::new();
        let mut calls = Vec::new();
        for (index, plugin) in self.list.plugins.iter().enumerate() {
            let mut config = self.list.execution_config(index).unwrap_or_default();
            if let Some(runtime_config) = runtime_config(plugin, &self.arguments) {
                config.set_object("runtimeConfig", &runtime_config);
            }
            match binaries.get(&plugin.plugin) {
                Some(Ok(binary)) => calls.push(Call { plugin: plugin.plugin.clone(), binary: binary.clone(), config }),
                Some(Err(why)) => missing.push((plugin.plugin.clone(), why.clone())),
                None => {}
            }
        }
        let attachment = Attachment {
            ordinal,
            role: if ordinal == 0 { Role::Primary } else { Role::Additional },
            network: self.network.clone(),
            name: self.list.name.clone(),
            cni_version: self.list.cni_version,
            ifname: self.ifname.clone(),
            disable_check: self.list.disable_check,
            disable_gc: self.list.disable_gc,
            args: self.args.clone().unwrap_or_else(|| args.clone()),
            path: path.clone(),
            deadline: Deadlines::default().into(),
            default_route: None,
            prev_result: None,
            device_info: None,
            verify: None,
            announce: Vec::new(),
            calls,
        };
        (attachment, missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f6_only_a_del_that_failed_before_is_made_without_the_namespace_and_only_if_that_is_gone() {
        for (netns, gone, attempts, again) in [
            ("/run/netns/x", true, 1, true),
            ("/run/netns/x", true, 9, true),
            ("/run/netns/x", true, 0, false),
            ("/run/netns/x", false, 9, false),
            ("", true, 9, false),
        ] {
            assert_eq!(again_without_namespace(Path::new(netns), gone, attempts), again, "{netns} {gone} {attempts}");
        }
    }
}
