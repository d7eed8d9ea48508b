//! Which configuration in a directory is the primary's: by content, never by file name alone (D4).
//!
//! Own output, other meta plugins, anything with nested `delegates`, stock files and backups are never chosen. Among the
//! rest a known profile comes before a generic one, then the first by file name.

use crate::cni::conf::pointer_to_type;
use crate::cni::{CniError, Code, ConfError, NetworkConfigList};
use crate::config::master::PLUGIN_TYPE;
use crate::profile::{Profile, Profiles};

/// A file of a directory that may hold the primary.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its file name.
    pub file_name: String,
    /// What it holds, or why it cannot be read.
    pub content: Result<Vec<u8>, String>,
}

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Its file name.
    pub file_name: String,
    /// Why it is not the primary; `None` for the one that is.
    pub rejected: Option<String>,
}

/// The primary among the files of a directory.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The one that is, when there is one.
    pub primary: Option<Primary>,
    /// What was decided about each file, in order of file names.
    pub verdicts: Vec<Verdict>,
    /// Those that only their names put behind the primary: a finding for a person (`meta-cni validate`), never a refusal.
    pub ties: Vec<String>,
    /// Files that may be the primary once they are whole.
    pub unusable: Vec<String>,
}

/// A candidate that is the primary.
#[derive(Debug, Clone)]
pub struct Primary {
    /// Its file name.
    pub file_name: String,
    /// Its text.
    pub bytes: Vec<u8>,
    /// What it says.
    pub list: NetworkConfigList,
}

/// What stands against a file that could be the primary as well.
pub const BEHIND: &str = "another file comes first";

/// The primary among `candidates`, looked at one after the other: only the best one's text is kept.
#[must_use]
pub fn choose(candidates: impl IntoIterator<Item = Candidate>, profiles: &Profiles) -> Choice {
    let mut choice = Choice { primary: None, verdicts: Vec::new(), ties: Vec::new(), unusable: Vec::new() };
    let mut valid = Vec::new();
    let mut best: Option<(bool, Primary)> = None;
    for Candidate { file_name, content } in candidates {
        let judged = match content {
            _ if !is_config_name(&file_name) => Err(Rejection::Name),
            Err(why) => Err(Rejection::Unreadable(why)),
            Ok(bytes) => judge(&file_name, &bytes, profiles).map(|(known, list)| (known, bytes, list)),
        };
        let rejected = match judged {
            Err(rejection) => {
                choice.unusable.extend(rejection.passes().then(|| file_name.clone()));
                rejection.to_string()
            }
            Ok((known, bytes, list)) => {
                valid.push((known, file_name.clone()));
                // A known one first, then by file name.
                let comes_first = |(other, best): &(bool, Primary)| (!known, &file_name) < (!*other, &best.file_name);
                if best.as_ref().is_none_or(comes_first) {
                    best = Some((known, Primary { file_name: file_name.clone(), bytes, list }));
                }
                BEHIND.to_owned()
            }
        };
        choice.verdicts.push(Verdict { file_name, rejected: Some(rejected) });
    }
    choice.verdicts.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    if let Some((best_known, primary)) = best {
        let tie = |(known, name): (bool, String)| (known == best_known && name != primary.file_name).then_some(name);
        choice.ties = valid.into_iter().filter_map(tie).collect();
        choice.ties.sort();
        let chosen = choice.verdicts.iter_mut().find(|verdict| verdict.file_name == primary.file_name);
        chosen.into_iter().for_each(|verdict| verdict.rejected = None);
        choice.primary = Some(primary);
    }
    choice
}

/// True for a name that runtimes take for that of a configuration.
#[must_use]
pub fn is_config_name(name: &str) -> bool {
    !name.starts_with('.') && [".conf", ".conflist", ".json"].iter().any(|end| name.ends_with(end))
}

/// Why a candidate is never the primary, or not as it is.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// No runtime takes a file of that name for a configuration.
    #[error("its name is not that of a configuration")]
    Name,
    /// Its file cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is no network configuration.
    #[error("{}", .0.story())]
    Conf(ConfError),
    /// It leads back to us (D6).
    #[error("{}", .0.msg)]
    Nested(CniError),
    /// The plugin at this index has `delegates`.
    #[error("it has nested delegates, as a meta plugin has")]
    Delegates(usize),
    /// The plugin at index `at` runs networks of its own.
    #[error("{why}")]
    MetaPlugin {
        /// Its index in the list.
        at: usize,
        /// Why that is never a primary.
        why: String,
    },
    /// A profile says so.
    #[error("{0}")]
    Never(String),
}

impl Rejection {
    /// True if it may be usable once it is whole.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::Conf(_))
    }
}

/// What the file `name`, the name being one of a configuration, says, if it can be the primary, and whether its kind is known.
///
/// # Errors
/// [`Rejection`]: it is none, by itself or as it is now.
pub fn judge(name: &str, bytes: &[u8], profiles: &Profiles) -> Result<(bool, NetworkConfigList), Rejection> {
    let list = NetworkConfigList::parse(bytes, None).map_err(Rejection::Conf)?;
    guard(bytes).map_err(Rejection::Nested)?;
    if let Some(at) = list.plugins.iter().position(|plugin| plugin.object.has("delegates")) {
        return Err(Rejection::Delegates(at));
    }
    // The first plugin's profile may be the node's own, which has the last word on it.
    let profile = profiles.of(&list, Some(name));
    let known = profile.is_some();
    if let Some(Profile { meta_plugin, never_primary: Some(why), .. }) = profile {
        return Err(if meta_plugin { Rejection::MetaPlugin { at: 0, why } } else { Rejection::Never(why) });
    }
    for (at, plugin) in list.plugins.iter().enumerate().skip(1) {
        let meta = profiles.meta_plugin(plugin.plugin.as_str()).and_then(|profile| profile.never_primary);
        if let Some(why) = meta {
            return Err(Rejection::MetaPlugin { at, why });
        }
    }
    Ok((known, list))
}

/// Refuses a configuration that would run meta-cni from meta-cni (D6).
///
/// # Errors
/// Code 7 with the place of the nested part as a JSON pointer.
pub fn guard(bytes: &[u8]) -> Result<(), CniError> {
    match pointer_to_type(bytes, PLUGIN_TYPE)? {
        None => Ok(()),
        Some(pointer) => Err(CniError::new(
            Code::INVALID_CONFIG,
            format!(
                "would run {PLUGIN_TYPE} from {PLUGIN_TYPE}: {pointer} is {PLUGIN_TYPE:?}; name the cluster's real network"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], primary: Option<&str>, rejections: &[&str]) {
        let candidates = files
            .iter()
            .map(|(name, text)| Candidate { file_name: (*name).to_owned(), content: Ok(text.as_bytes().to_vec()) });
        let choice = choose(candidates, &Profiles::with_overrides(Vec::new()));
        assert_eq!(choice.primary.map(|primary| primary.file_name).as_deref(), primary);
        let rejected: Vec<_> = choice.verdicts.into_iter().filter_map(|verdict| verdict.rejected).collect();
        assert_eq!(rejected, rejections);
    }

    const BRIDGE: &str = r#"{"name":"b","type":"bridge"}"#;
    const CALICO: &str = r#"{"name":"k","plugins":[{"type":"calico"}]}"#;
    const OTHER: &str = "another file comes first";

    #[test]
    fn d4_a_known_primary_comes_before_a_generic_one_then_the_file_name_decides() {
        check(&[("20-b.conf", BRIDGE), ("10-b.conf", BRIDGE)], Some("10-b.conf"), &[OTHER]);
        check(&[("10-b.conf", BRIDGE), ("20-c.conflist", CALICO)], Some("20-c.conflist"), &[OTHER]);
        check(&[], None, &[]);
    }

    #[test]
    fn d4_what_is_never_chosen() {
        let meta = "a meta plugin would run every network of the pod a second time";
        for (name, text, why) in [
            ("10-b.conf.bak", BRIDGE, "its name is not that of a configuration"),
            ("10-b.conflist.cilium_bak", BRIDGE, "its name is not that of a configuration"),
            ("10-b.old", BRIDGE, "its name is not that of a configuration"),
            (".10-b.conf", BRIDGE, "its name is not that of a configuration"),
            ("00-multus.conf", r#"{"name":"m","type":"multus"}"#, meta),
            ("00-shim.conf", r#"{"name":"m","type":"multus-shim"}"#, meta),
            ("00-x.conflist", r#"{"name":"m","plugins":[{"type":"bridge"},{"type":"danm"}]}"#, meta),
            ("00-x.conf", r#"{"name":"m","type":"x","delegates":[]}"#, "it has nested delegates, as a meta plugin has"),
            (
                "nerdctl-bridge.conflist",
                r#"{"name":"bridge","plugins":[{"type":"bridge"}]}"#,
                "nerdctl's own network: it writes the file when somebody runs a container by hand, not for a cluster",
            ),
            ("99-lo.conf", r#"{"name":"l","type":"loopback"}"#, "the loopback interface is the runtime's own affair"),
            (
                "05-x.conflist",
                r#"{"name":"o","plugins":[{"type":"bridge"},{"type":"meta-cni"}]}"#,
                "would run meta-cni from meta-cni: /plugins/1/type is \"meta-cni\"; name the cluster's real network",
            ),
            ("05-x.conflist", "", "the configuration is empty"),
        ] {
            check(&[(name, text), ("90-b.conf", BRIDGE)], Some("90-b.conf"), &[why]);
            check(&[(name, text)], None, &[why]);
        }
    }
}
