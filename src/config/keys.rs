//! The keys of the master config: which are ours, which the runtime adds, which only Multus reads.

/// Keys with a meaning here.
const OURS: &[&str] = &[
    "addBudget",
    "auxiliaryCNIChainName",
    "binDir",
    "capabilities",
    "capabilityCheck",
    "clusterNetwork",
    "cniDir",
    "cniVersion",
    "cniVersions",
    "confDir",
    "defaultNetworks",
    "defaultRoutePolicy",
    "delBudget",
    "delegateProfilesDir",
    "delegates",
    "deviceInfoDir",
    "globalNamespaces",
    "logFile",
    "logLevel",
    "logToStderr",
    "multusNamespace",
    "name",
    "namespaceIsolation",
    "networkDirs",
    "primaryRoutes",
    "readinessindicatorfile",
    "retryDeleteOnError",
    "runDir",
    "stateDir",
    "sweepInterval",
    "systemNamespaces",
    "type",
];

/// Keys that a runtime adds, or that any plugin configuration may have.
const RUNTIMES: &[&str] = &["args", "disableCheck", "disableGC", "dns", "ipam", "prevResult", "runtimeConfig"];

/// Keys of Multus that have nothing to do here, and why.
const MULTUS: &[(&str, &str)] =
    &[("kubeconfig", "the plugin never talks to the API server"), ("logOptions", "the log is capped at 2 x 10 MB")];

/// Keys of ours that have no effect in this version.
const NOT_YET: &[&str] = &["statusWait"];

/// What to say about keys that nothing reads, one sentence each.
pub(super) fn unused<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<String> {
    keys.filter(|key| !key.starts_with("cni.dev/"))
        .filter_map(|key| match MULTUS.iter().find(|(name, _)| *name == key) {
            Some((_, why)) => Some(format!("key {key:?} of Multus is not used: {why}")),
            None if NOT_YET.contains(&key) => Some(format!("key {key:?} has no effect in this version")),
            None if OURS.contains(&key) || RUNTIMES.contains(&key) => None,
            None => Some(format!("unknown key {key:?} in the master config")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_keys_are_named_once_each() {
        assert_eq!(
            unused(["type", "prevResult", "cni.dev/attachments", "kubeconfig", "clusterNetwrk"].into_iter()),
            [
                "key \"kubeconfig\" of Multus is not used: the plugin never talks to the API server",
                "unknown key \"clusterNetwrk\" in the master config"
            ]
        );
    }
}
