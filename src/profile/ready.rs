//! By which signs a primary can serve, beside its own configuration: files and sockets that its software makes when it is up.
//!
//! A wrong path would hold up every pod of a node, so there are two kinds: those without which the plugin itself refuses every
//! ADD, at the very path; and those that only make it likely, for which an ADD waits a while and then goes on all the same.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cni::NetworkConfigList;

/// The signs of one kind of primary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ready {
    /// Without these its plugin refuses every ADD: an ADD waits for them within its budget, and STATUS is 50 without them.
    pub needs: Vec<Sign>,
    /// Where its agent serves: an ADD waits for these for `wait_s`, and then lets the plugin say what is missing.
    pub awaits: Vec<Sign>,
    /// Seconds for which an ADD waits for `awaits`.
    pub wait_s: u64,
}

/// One file or socket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sign {
    /// Where it is.
    pub path: PathBuf,
    /// The key of the first plugin's configuration that names another path.
    pub key: Option<String>,
    /// The key of the first plugin's configuration that, being true, says that it is not needed.
    pub unless: Option<String>,
}

/// The signs of one network: paths as its configuration has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signs {
    /// The name of the profile that knows of them.
    pub profile: String,
    /// See [`Ready::needs`].
    pub needs: Vec<PathBuf>,
    /// See [`Ready::awaits`].
    pub awaits: Vec<PathBuf>,
    /// Seconds to wait for `awaits`.
    pub wait_s: u64,
}

impl Signs {
    /// Every path.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.needs.iter().chain(&self.awaits).map(PathBuf::as_path)
    }
}

impl Ready {
    /// The signs of `list`, which the profile called `profile` recognises.
    #[must_use]
    pub fn of(&self, profile: &str, list: &NetworkConfigList) -> Signs {
        let at = |signs: &[Sign]| signs.iter().filter_map(|sign| sign.of(list)).collect();
        Signs { profile: profile.to_owned(), needs: at(&self.needs), awaits: at(&self.awaits), wait_s: self.wait_s }
    }
}

impl Sign {
    /// Where it is for `list`; `None` when that can do without. A value of another type is the plugin's to refuse.
    fn of(&self, list: &NetworkConfigList) -> Option<PathBuf> {
        let first = &list.plugins.first()?.object;
        let text = |key: &String| first.get::<String>(key, "a string").ok().flatten();
        let is_true = |key: &String| first.get::<bool>(key, "true or false").ok().flatten() == Some(true);
        if self.unless.as_ref().is_some_and(is_true) {
            return None;
        }
        let named = self.key.as_ref().and_then(text).filter(|path| !path.is_empty());
        Some(named.map_or_else(|| self.path.clone(), PathBuf::from)).filter(|path| path.is_absolute())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Profiles;
    use super::*;

    fn signs(text: &str) -> Signs {
        let list = NetworkConfigList::parse(text.as_bytes(), None).unwrap();
        let profile = Profiles::with_overrides(Vec::new()).of(&list, None).unwrap();
        profile.ready.of(&profile.name, &list)
    }

    #[test]
    fn e8_signs_are_where_the_configuration_says() {
        for (text, needs) in [
            (r#"{"name":"cbr0","type":"flannel"}"#, vec!["/run/flannel/subnet.env"]),
            (r#"{"name":"cbr0","type":"flannel","subnetFile":"/x/subnet.env"}"#, vec!["/x/subnet.env"]),
            (r#"{"name":"cbr0","type":"flannel","subnetFile":"subnet.env"}"#, vec![]),
            (r#"{"name":"k","type":"calico"}"#, vec!["/var/lib/calico/nodename"]),
            (r#"{"name":"k","type":"calico","nodename_file":"/y","nodename_file_optional":false}"#, vec!["/y"]),
            (r#"{"name":"k","type":"calico","nodename_file_optional":true}"#, vec![]),
        ] {
            let needs: Vec<PathBuf> = needs.into_iter().map(PathBuf::from).collect();
            assert_eq!(signs(text).needs, needs, "{text}");
        }
        let antrea = signs(r#"{"name":"a","type":"antrea"}"#);
        assert_eq!((antrea.needs.len(), antrea.awaits.len(), antrea.wait_s), (0, 1, 15));
        assert_eq!(antrea.paths().collect::<Vec<_>>(), [Path::new("/var/run/antrea/cni.sock")]);
    }
}
