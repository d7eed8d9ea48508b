//! The networks of a pod: the primary's and every additional one, found and judged before anything is planned.

use std::time::Instant;

use crate::cni::{CniError, Code, NetworkConfigList, SearchPath};
use crate::config::MasterConfig;
use crate::config::places::BIN_DIR;
use crate::exec::find;
use crate::npwg::{MOST_ELEMENTS, Namespace, ObjectName, Selection};
use crate::plan::add::{Binaries, Network, Wanted};
use crate::store::confdir::by_name;
use crate::store::networks::{Found, find as find_manifest, nearest};
use crate::store::{StoreError, confdir};

use super::annotations::Asked;
use super::primary::{Resolver, guard_whole, parsed};

/// `binDir` when it is set, then `CNI_PATH`, then the default directory.
#[must_use]
pub fn search_path(cni_path: SearchPath, config: &MasterConfig) -> SearchPath {
    SearchPath::default().and_all(&config.bin_dir).and_all(cni_path.dirs()).and(BIN_DIR.as_ref())
}

/// The executables of every plugin of `networks`.
#[must_use]
pub fn binaries<'a>(networks: impl Iterator<Item = &'a NetworkConfigList>, path: &SearchPath) -> Binaries {
    let mut binaries = Binaries::new();
    for plugin in networks.flat_map(|list| &list.plugins) {
        if !binaries.contains_key(&plugin.plugin) {
            binaries.insert(plugin.plugin.clone(), find(&plugin.plugin, path.dirs()));
        }
    }
    binaries
}

/// Every network of a pod in the order of attachment: the primary, those of every pod, those the pod asks for, the auxiliary
/// chain.
///
/// # Errors
/// Code 11 when the primary is not there by `deadline`; 7 for a network that is unknown, refused or not allowed.
pub fn wanted_networks(resolver: &Resolver<'_>, asked: Asked, deadline: Instant) -> Result<Vec<Wanted>, CniError> {
    let config = resolver.config;
    let mut wanted = vec![match asked.default_network {
        Some(selection) => resolver.selected(selection, asked.namespace.as_ref())?,
        None => Wanted { network: resolver.primary(deadline)?, selection: None },
    }];
    if let Some(namespace) = asked.namespace {
        for network in resolver.of_every_pod(&namespace)? {
            wanted.push(Wanted { network, selection: None });
        }
        for selection in asked.networks {
            wanted.push(resolver.selected(selection, Some(&namespace))?);
        }
    }
    if wanted.len() - 1 > MOST_ELEMENTS {
        let msg = format!("{} networks are asked for, {} at most", wanted.len() - 1, MOST_ELEMENTS);
        return Err(CniError::new(Code::INVALID_CONFIG, msg));
    }
    wanted.extend(resolver.auxiliary()?.map(|network| Wanted { network, selection: None }));
    tracing::debug!(networks = wanted.len(), primary = ?config.cluster_network, "networks found");
    Ok(wanted)
}

/// What a manifest comes to.
pub(super) struct Manifest {
    /// Its configuration, as it stands.
    pub text: String,
    /// The same, read.
    pub list: NetworkConfigList,
    /// Whether addresses are announced.
    pub announce: bool,
}

impl Resolver<'_> {
    /// The networks that every pod gets: the inline delegates after the first, or `defaultNetworks` outside
    /// `systemNamespaces`.
    ///
    /// # Errors
    /// Code 7 when one is unknown or refused.
    pub fn of_every_pod(&self, namespace: &Namespace) -> Result<Vec<Network>, CniError> {
        if self.config.cluster_network.is_none() {
            return self.inline_networks().collect();
        }
        if self.config.system_namespaces.iter().any(|system| system == namespace.as_str()) {
            return Ok(Vec::new());
        }
        self.config.default_networks.iter().map(|entry| self.default_network(entry)).collect()
    }

    /// The inline delegates after the first.
    pub(super) fn inline_networks(&self) -> impl Iterator<Item = Result<Network, CniError>> {
        self.config.delegates.iter().skip(1).map(|object| {
            let list = parsed(object.to_text().as_bytes(), None);
            list.map(|list| self.network(None, list, None))
                .map_err(|error| error.in_context("master config: \"delegates\""))
        })
    }

    /// One of `defaultNetworks`: as `clusterNetwork`, a path or a name.
    pub(super) fn default_network(&self, entry: &str) -> Result<Network, CniError> {
        let context = || format!("master config: \"defaultNetworks\": {entry:?}");
        let single = MasterConfig { cluster_network: Some(entry.to_owned()), ..self.config.clone() };
        // Only the primary's last good configuration is kept.
        let resolver = Resolver { config: &single, profiles: self.profiles.clone(), keeps: false };
        resolver.primary_now().map_err(|error| error.in_context(&context()))
    }

    /// The network of an element of an annotation, if the pod may have it.
    fn selected(&self, selection: Selection, pod: Option<&Namespace>) -> Result<Wanted, CniError> {
        let display = format!("{}/{}", selection.namespace, selection.name);
        let refused =
            |what: String| CniError::new(Code::INVALID_CONFIG, what).in_context(&format!("network {display:?}"));
        let global = self.config.global_namespaces.iter().any(|name| name == selection.namespace.as_str());
        if self.config.namespace_isolation && pod != Some(&selection.namespace) && !global {
            let pod = pod.map_or("none", Namespace::as_str);
            return Err(refused(format!("a pod of namespace {pod:?} may not use it: \"namespaceIsolation\" is on")));
        }
        match self.manifest(&selection.namespace, &selection.name)? {
            Some(Manifest { list, announce, .. }) => {
                let network = Network { announce, ..self.network(Some(display), list, None) };
                Ok(Wanted { network, selection: Some(selection) })
            }
            None => {
                let like = nearest(&self.config.network_dirs, &selection.namespace, &selection.name);
                let hint =
                    if like.is_empty() { String::new() } else { format!("; did you mean {}?", like.join(" or ")) };
                let dirs: Vec<_> = self.config.network_dirs.iter().map(|dir| dir.display().to_string()).collect();
                let namespace = &selection.namespace;
                Err(refused(format!(
                    "there is no such network in namespace \"{namespace}\" of {}{hint}",
                    dirs.join(", ")
                )))
            }
        }
    }

    /// The configuration of the manifest `namespace/name`, inline or on disk by name (B3, B34), if there is one.
    pub(super) fn manifest(&self, namespace: &Namespace, name: &ObjectName) -> Result<Option<Manifest>, CniError> {
        let context = format!("network \"{namespace}/{name}\"");
        let found = find_manifest(&self.config.network_dirs, namespace, name)
            .map_err(|error| unusable(error).in_context(&context))?;
        found.map(|found| self.of_manifest(found, name, &context)).transpose()
    }

    /// What the manifest `found` of the network `name` says.
    pub(super) fn of_manifest(&self, found: Found, name: &ObjectName, context: &str) -> Result<Manifest, CniError> {
        if let Some(resource) = found.nad.resource_name {
            let what =
                format!("draws devices from {resource:?}, and devices are not supported by this version of meta-cni");
            return Err(CniError::new(Code::INVALID_CONFIG, what).in_context(context));
        }
        let text = match found.nad.config.filter(|text| !text.trim().is_empty()) {
            Some(text) => text,
            None => self.on_disk(name).map_err(|error| error.in_context(context))?,
        };
        let list = parsed(text.as_bytes(), Some(name.as_str())).map_err(|error| error.in_context(context))?;
        Ok(Manifest { text, list, announce: found.nad.announce })
    }

    /// The text of the configuration called `name` in `confDir`.
    fn on_disk(&self, name: &ObjectName) -> Result<String, CniError> {
        let dir = &self.config.conf_dir;
        let (found, passed_over) = by_name(dir, name.as_str()).map_err(unusable)?;
        let found: confdir::ByName = found.ok_or_else(|| {
            let seen = if passed_over.is_empty() { String::new() } else { format!(" ({})", passed_over.join("; ")) };
            let what = format!("its manifest has no \"config\", and no file in {} has that name{seen}", dir.display());
            CniError::new(Code::INVALID_CONFIG, what)
        })?;
        guard_whole(&found.path, &found.whole)?;
        Ok(String::from_utf8_lossy(&found.whole.bytes).into_owned())
    }
}

/// A file that cannot be used, as an error: code 7 for what it is or holds, 5 when it cannot be read.
pub(super) fn unusable(error: StoreError) -> CniError {
    match error {
        StoreError::Refused { .. } => CniError::new(Code::INVALID_CONFIG, error.story()),
        StoreError::Io { .. } => CniError::from(error),
    }
}
