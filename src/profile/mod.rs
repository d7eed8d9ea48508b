//! delegates/*.json as values: how to recognise a primary CNI, and what its habits are (E8).
//!
//! Knowledge about a primary is data: code never asks for one by name. The files are compiled in, one line each in
//! `builtin`; a file of the same name in the node's `delegateProfilesDir` replaces the one compiled in.
#![deny(missing_docs)]

mod builtin;
pub mod ready;

use serde::Deserialize;

use crate::cni::NetworkConfigList;

use ready::{Ready, Signs};

/// What is known about one kind of primary CNI.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Profile {
    /// Its name, which an override repeats.
    pub name: String,
    /// How it is recognised.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Why a configuration of this kind is never chosen as primary by itself.
    pub never_primary: Option<String>,
    /// It runs other networks, as we do: no list with such a plugin is a primary.
    #[serde(default)]
    pub meta_plugin: bool,
    /// How long its plugin may run.
    #[serde(default)]
    pub deadline: Deadlines,
    /// What has to be there beside its configuration, so that it can serve.
    #[serde(default)]
    pub ready: Ready,
    /// What its software does to the files of others.
    pub habits: Option<Habits>,
    /// Types of plugins that installers append to the list which the runtime loads; each is to run once.
    #[serde(default)]
    pub appenders: Vec<String>,
}

/// What software of a primary does to configurations that are not its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Habits {
    /// It renames them: the ending that they get.
    pub renames_others_to: String,
    /// What stops it, a sentence without its full stop.
    pub remedy: String,
}

/// How a configuration is recognised: every part that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Match {
    /// The first plugin's type is one of these.
    #[serde(default)]
    pub plugin_type_any: Vec<String>,
    /// The network's name is one of these.
    #[serde(default)]
    pub network_name_any: Vec<String>,
    /// The file's name is one of these; `*` stands for any characters.
    #[serde(default)]
    pub file_glob: Vec<String>,
}

/// Longest run of one plugin, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Deadlines {
    /// ADD and CHECK.
    pub add_attempt_s: u64,
    /// DEL.
    pub del_attempt_s: u64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { add_attempt_s: 100, del_attempt_s: 40 }
    }
}

/// The profiles in force on a node: the node's own, and those compiled in that none of them replaces.
#[derive(Debug, Clone)]
pub struct Profiles {
    own: Vec<Profile>,
}

impl Profile {
    /// The signs by which `list`, which this profile recognises, can serve.
    #[must_use]
    pub fn signs(&self, list: &NetworkConfigList) -> Signs {
        self.ready.of(&self.name, list)
    }
}

impl Profiles {
    /// The profiles compiled in, each replaced by the one of `own` with its name, and the others of `own`.
    #[must_use]
    pub const fn with_overrides(own: Vec<Profile>) -> Self {
        Self { own }
    }

    /// The profile of meta plugins that names the plugin type `plugin`.
    #[must_use]
    pub fn meta_plugin(&self, plugin: &str) -> Option<Profile> {
        let builtin = builtin::profiles(plugin).filter(|profile| !self.replaces(profile));
        let all = builtin.chain(self.own.iter().cloned());
        all.filter(|profile| profile.meta_plugin)
            .find(|profile| profile.matches.plugin_type_any.iter().any(|name| name == plugin))
    }

    fn replaces(&self, profile: &Profile) -> bool {
        self.own.iter().any(|own| own.name == profile.name)
    }

    /// True if `plugin` is appended to lists by an installer, and so must not run twice (D11).
    #[must_use]
    pub fn is_appended(&self, plugin: &str) -> bool {
        self.with_habits().any(|profile| profile.appenders.iter().any(|name| name == plugin))
    }

    /// What renamed our file `ours`, judged by the names in its directory: the sentence that names it and its setting (D10).
    #[must_use]
    pub fn culprit<'a>(&self, ours: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
        let mut habits = self.with_habits().filter_map(|profile| profile.habits);
        habits
            .find(|habits| names.clone().any(|name| name.strip_prefix(ours) == Some(&habits.renames_others_to)))
            .map(|habits| habits.remedy)
    }

    fn with_habits(&self) -> impl Iterator<Item = Profile> {
        builtin::with_habits().filter(|profile| !self.replaces(profile)).chain(self.own.iter().cloned())
    }

    /// The most specific profile that recognises `list`, read from a file called `file_name` (if from a file).
    #[must_use]
    pub fn of(&self, list: &NetworkConfigList, file_name: Option<&str>) -> Option<Profile> {
        let first = list.plugins.first()?.plugin.as_str();
        builtin::profiles(first)
            .filter(|profile| !self.replaces(profile))
            .chain(self.own.iter().cloned())
            .filter_map(|profile| Some((profile.matches.weight(list, file_name)?, profile)))
            .max_by_key(|(weight, _)| *weight)
            .map(|(_, profile)| profile)
    }
}

impl Match {
    /// How specific the match is, or `None` when it is none: a file name counts least, a network name most.
    fn weight(&self, list: &NetworkConfigList, file_name: Option<&str>) -> Option<u32> {
        let first = list.plugins.first()?.plugin.as_str();
        let mut weight = 0;
        for (names, holds, worth) in [
            (
                &self.file_glob,
                file_name.is_some_and(|name| self.file_glob.iter().any(|glob| matches_glob(glob, name))),
                1,
            ),
            (&self.plugin_type_any, self.plugin_type_any.iter().any(|name| name == first), 2),
            (&self.network_name_any, self.network_name_any.iter().any(|name| name == list.name.as_str()), 4),
        ] {
            match (names.is_empty(), holds) {
                (true, _) => {}
                (false, true) => weight += worth,
                (false, false) => return None,
            }
        }
        Some(weight).filter(|weight| *weight > 0)
    }
}

/// True if `name` is `glob` with each `*` standing for any characters.
#[must_use]
pub fn matches_glob(glob: &str, name: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, file: &str) -> Option<String> {
        let list = NetworkConfigList::parse(text.as_bytes(), None).unwrap();
        Profiles::with_overrides(Vec::new()).of(&list, Some(file)).map(|profile| profile.name.clone())
    }

    #[test]
    fn e8_configurations_are_recognised_by_content_before_file_name() {
        for (text, file, name) in [
            (r#"{"name":"cbr0","plugins":[{"type":"flannel"},{"type":"portmap"}]}"#, "10-x.conflist", Some("flannel")),
            (r#"{"name":"k","type":"bridge"}"#, "10-kuberouter.conf", Some("kube-router")),
            (r#"{"name":"k","type":"bridge"}"#, "10-bridge.conf", None),
            (r#"{"name":"podman","type":"bridge"}"#, "87-podman-bridge.conflist", Some("podman")),
            (r#"{"name":"bridge","type":"bridge"}"#, "nerdctl-bridge.conflist", Some("nerdctl")),
            (r#"{"name":"m","type":"multus"}"#, "10-calico.conf", Some("meta-plugins")),
            (r#"{"name":"m","type":"calico"}"#, "87-podman.conflist", Some("calico")),
        ] {
            assert_eq!(of(text, file).as_deref(), name, "{text} {file}");
        }
    }

    #[test]
    fn e8_the_nodes_own_profile_replaces_the_one_compiled_in() {
        let list = NetworkConfigList::parse(br#"{"name":"n","type":"flannel"}"#, None).unwrap();
        let own: Profile = serde_json::from_str(
            r#"{"name":"flannel","match":{"plugin_type_any":["flannel"]},"deadline":{"add_attempt_s":7,"del_attempt_s":8}}"#,
        )
        .unwrap();
        let profiles = Profiles::with_overrides(vec![own]);
        assert_eq!(profiles.of(&list, None).unwrap().deadline.add_attempt_s, 7);
    }

    #[test]
    fn globs() {
        for (glob, name, holds) in [
            ("a*.conf", "a.conf", true),
            ("a*.conf", "ab.conf", true),
            ("a*.conf", "ab.conflist", false),
            ("a*b*c", "a-b-b-c", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
        ] {
            assert_eq!(matches_glob(glob, name), holds, "{glob} {name}");
        }
    }
}
