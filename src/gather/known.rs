//! Every network that this node knows, whether or not a pod asks for it now: those that a GC is about, and those in which a
//! sandbox may hold an address.

use crate::cni::CniError;
use crate::plan::add::Network;
use crate::store::networks::all;

use super::primary::Resolver;
use super::resolve::Manifest;

impl Resolver<'_> {
    /// The primary as it is and as it last was, the networks of every pod, the auxiliary chain, every manifest. What cannot be
    /// had now is passed over, and the log says so: it may be a network of other nodes, or of nobody yet.
    #[must_use]
    pub fn known(&self) -> Vec<Network> {
        let mut known: Vec<Network> = Vec::new();
        let mut take = |what: &str, found: Result<Option<Network>, CniError>| match found {
            Ok(Some(network)) if known.iter().any(|other| other.list == network.list) => {}
            Ok(network) => known.extend(network),
            Err(error) => tracing::debug!("{what} is passed over: {}", error.msg),
        };
        // Before a look at the primary makes that the last one.
        let remembered = self.remembered();
        take("the primary", self.primary_now().map(Some));
        take("the last primary", Ok(remembered));
        let every_pod = match &self.config.cluster_network {
            Some(_) => self.config.default_networks.iter().map(|entry| self.default_network(entry)).collect(),
            None => self.inline_networks().collect::<Vec<_>>(),
        };
        every_pod.into_iter().for_each(|network| take("a network of every pod", network.map(Some)));
        take("the auxiliary chain", self.auxiliary());
        for network in self.manifests() {
            take("a manifest", network);
        }
        known
    }

    /// Every manifest as a network, or why it cannot be one.
    pub fn manifests(&self) -> impl Iterator<Item = Result<Option<Network>, CniError>> {
        all(&self.config.network_dirs).into_iter().map(|(namespace, name)| {
            let display = format!("{namespace}/{name}");
            let found = self.manifest(&namespace, &name)?;
            Ok(found.map(|Manifest { list, .. }| self.network(Some(display), list, None)))
        })
    }
}
