//! Facts about what networks need: signs, executables, manifests, the snapshot.

use std::collections::BTreeMap;

use crate::check::doctor::Lines;
use crate::check::doctor::networks::{self as judge, Manifests, Missing, Readiness, Snapshot};
use crate::cni::{CniError, PluginType};
use crate::gather::{Resolver, binaries, missing};
use crate::npwg::Namespace;
use crate::plan::add::Network;
use crate::plan::outcome::MissingBinary;
use crate::store::networks::{hidden, snapshot, synced};
use crate::store::{epoch, exists};

use super::Node;

pub(super) fn all(node: &Node, lines: &mut Lines) {
    let config = &node.config;
    let resolver = Resolver::looking(config);
    let mut bad = Vec::new();
    let mut every_pod: Vec<Network> = resolver.primary_now().into_iter().collect();
    let namespace = Namespace::new("default");
    let of_every_pod = namespace.map_or_else(|_| Ok(Vec::new()), |namespace| resolver.of_every_pod(&namespace));
    for found in [of_every_pod, resolver.auxiliary().map(Vec::from_iter)] {
        let mut keep = |error: CniError| bad.push(error.msg);
        every_pod.extend(found.map_err(&mut keep).unwrap_or_default());
    }
    let mut manifests = Vec::new();
    for found in resolver.manifests() {
        match found {
            Ok(network) => manifests.extend(network),
            Err(error) => bad.push(error.msg),
        }
    }
    let seen = Readiness {
        indicator: config.readiness_indicator_file.as_ref().map(|path| (path.clone(), exists(path))),
        missing: missing(&every_pod),
        signs: every_pod.iter().map(|network| network.signs.clone()).collect(),
    };
    judge::readiness(&seen, lines);
    plugins(node, every_pod.iter().chain(&manifests), lines);
    let seen = Manifests {
        good: manifests.len(),
        bad,
        hidden: hidden(&config.network_dirs),
        snapshot: config.network_dirs.contains(&snapshot(&config.state_dir)).then(|| marker(node)),
    };
    judge::manifests(&seen, lines);
}

fn plugins<'a>(node: &Node, networks: impl Iterator<Item = &'a Network> + Clone, lines: &mut Lines) {
    let looked = binaries(networks.clone().map(|network| &network.list), &node.path);
    let found = looked.values().filter(|binary| binary.is_ok()).count();
    let missing: BTreeMap<&PluginType, &MissingBinary> =
        looked.iter().filter_map(|(plugin, binary)| Some((plugin, binary.as_ref().err()?))).collect();
    let users = |plugin: &PluginType| {
        let uses = |network: &&Network| network.list.plugins.iter().any(|one| one.plugin == *plugin);
        networks.clone().filter(uses).map(|network| format!("{:?}", network.display)).collect()
    };
    let missing: Vec<Missing> = missing
        .into_iter()
        .map(|(plugin, binary)| Missing {
            plugin: plugin.to_string(),
            networks: users(plugin),
            why: binary.error(plugin).msg,
        })
        .collect();
    judge::plugins(&missing, found, lines);
}

fn marker(node: &Node) -> Snapshot {
    match synced(&node.config.state_dir) {
        Ok(None) => Snapshot::Unsynced,
        Err(error) => Snapshot::Unread(error.story()),
        Ok(Some(marker)) => Snapshot::Synced {
            of_this_epoch: epoch::known(&node.config.run_dir).is_some_and(|epoch| epoch == marker.epoch),
            revision: marker.revision,
            time: marker.time,
        },
    }
}
