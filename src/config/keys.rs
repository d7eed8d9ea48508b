//! The keys of the master config: which are ours, which the runtime adds, which only Multus reads.

use std::fmt;

use crate::cni::names::distance;

/// Keys with a meaning here.
const OURS: &[&str] = &[
    "addBudget",
    "appended",
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

/// True if the daemon may write `key` into the master config as it is in its own: not what names the primary, and not what
/// belongs to the list.
#[must_use]
pub fn is_setting(key: &str) -> bool {
    const NOT: &[&str] = &[
        "appended",
        "capabilities",
        "clusterNetwork",
        "cniVersion",
        "cniVersions",
        "delegates",
        "name",
        "retryDeleteOnError",
        "type",
    ];
    (OURS.contains(&key) && !NOT.contains(&key)) || NOT_YET.contains(&key)
}

/// What is longer is no slip of a key of ours.
const LONGEST_KEY: usize = 64;

/// Something in a master config that a person should know and that stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The key.
    pub key: String,
    /// What kind of thing it is.
    pub kind: WarningKind,
    text: String,
}

/// Kinds of [`Warning`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningKind {
    /// A key of Multus, or one of ours of a later version: it is known and does nothing.
    Unused,
    /// A key that nobody knows.
    Unknown,
    /// A value that is not taken, or has no effect beside another.
    Ignored,
}

impl Warning {
    pub(super) fn ignored(key: &str, text: String) -> Self {
        Self { key: key.to_owned(), kind: WarningKind::Ignored, text }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The keys that nothing reads.
pub(super) fn unused<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<Warning> {
    let about = |key: &str| match MULTUS.iter().find(|(name, _)| *name == key) {
        Some((_, why)) => Some((WarningKind::Unused, format!("key {key:?} of Multus is not used: {why}"))),
        None if NOT_YET.contains(&key) => {
            Some((WarningKind::Unused, format!("key {key:?} has no effect in this version")))
        }
        None if OURS.contains(&key) || RUNTIMES.contains(&key) => None,
        None => Some((WarningKind::Unknown, format!("unknown key {key:?} in the master config"))),
    };
    keys.filter(|key| !key.starts_with("cni.dev/"))
        .filter_map(|key| about(key).map(|(kind, text)| Warning { key: key.to_owned(), kind, text }))
        .collect()
}

/// The key that somebody may have meant by `key`.
#[must_use]
pub fn nearest(key: &str) -> Option<&'static str> {
    if key.len() > LONGEST_KEY {
        return None;
    }
    let lower = key.to_lowercase();
    OURS.iter()
        .map(|known| (distance(&known.to_lowercase(), &lower), *known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().max(4) / 3)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_keys_are_named_once_each() {
        let keys = ["type", "prevResult", "cni.dev/attachments", "kubeconfig", "clusterNetwrk"];
        let said: Vec<_> = unused(keys.into_iter()).iter().map(|warning| (warning.kind, warning.to_string())).collect();
        let kubeconfig = "key \"kubeconfig\" of Multus is not used: the plugin never talks to the API server";
        let unknown = "unknown key \"clusterNetwrk\" in the master config";
        assert_eq!(said, [(WarningKind::Unused, kubeconfig.to_owned()), (WarningKind::Unknown, unknown.to_owned())]);
    }

    #[test]
    fn g1_the_nearest_key() {
        for (key, known) in [
            ("clusterNetwrk", Some("clusterNetwork")),
            ("readinessIndicatorFile", Some("readinessindicatorfile")),
            ("AddBudget", Some("addBudget")),
            ("frob", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(key), known, "{key}");
        }
    }
}
