//! The auxiliary chain: plugins in a directory beside the primary that run last for every pod (`auxiliaryCNIChainName`).

use std::path::Path;

use crate::cni::conf::version_of;
use crate::cni::{CniError, CniVersion, Code, NetworkConfigList, NetworkName};
use crate::plan::add::Network;
use crate::plan::primary::guard;
use crate::store::confdir::{PluginFile, plugins};
use crate::store::is_dir;

use super::primary::Resolver;
use super::resolve::unusable;

impl Resolver<'_> {
    /// The auxiliary chain as a network, if one is configured and its directory has a plugin.
    ///
    /// # Errors
    /// Code 7 with the file that is refused, 5 with one that cannot be read.
    pub fn auxiliary(&self) -> Result<Option<Network>, CniError> {
        let (Some(name), Some(place)) = (&self.config.auxiliary_chain, &self.config.cluster_network) else {
            return Ok(None);
        };
        let place = Path::new(place);
        let beside = if is_dir(place) { Some(place) } else { place.parent() };
        let dir = beside.unwrap_or(place).join(name);
        let context = |error: CniError| error.in_context("master config: \"auxiliaryCNIChainName\"");
        let files = plugins(&dir).map_err(unusable).map_err(context)?;
        if files.is_empty() {
            tracing::debug!(dir = %dir.display(), "no plugin of the auxiliary chain");
            return Ok(None);
        }
        let list = self.chain(name, files).map_err(context)?;
        Ok(Some(Network { auxiliary: true, ..self.network(None, list, None) }))
    }

    /// The chain of `files`, in the lowest version that one of them names, else in our own: what runs is theirs.
    fn chain(&self, name: &NetworkName, files: Vec<PluginFile>) -> Result<NetworkConfigList, CniError> {
        let mut named: Option<CniVersion> = None;
        for PluginFile { path, plugin } in &files {
            let context = |error: CniError| error.in_context(&path.display().to_string());
            guard(plugin.object.to_text().as_bytes()).map_err(context)?;
            if ["cniVersion", "cniVersions"].into_iter().any(|key| plugin.object.has(key)) {
                let version = version_of(&plugin.object)
                    .map_err(|error| context(CniError::new(Code::INVALID_CONFIG, error.story())))?;
                named = Some(named.map_or(version, |lowest| lowest.min(version)));
            }
        }
        Ok(NetworkConfigList {
            name: name.clone(),
            cni_version: named.unwrap_or(self.config.cni_version),
            // The chain's interface is a name without a link, which the reference plugins' CHECK looks for (tuning's does).
            disable_check: true,
            disable_gc: false,
            plugins: files.into_iter().map(|file| file.plugin).collect(),
        })
    }
}
