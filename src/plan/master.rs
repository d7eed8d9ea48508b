//! The master config that should be on disk, from the primary, the daemon's settings and the file that is there. It refers to
//! the primary and never embeds it, so it cannot nest (D5, D6).
//!
//! The file is ours: every key of it comes from the settings, and what others change in it is undone. Only plugins that others
//! appended after ours stay, byte for byte and in order, each once (D11). The same inputs give the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use crate::cni::conf::pointer_to_type;
use crate::cni::raw::{text_value, value_of};
use crate::cni::{CniVersion, NetworkConfigList, NetworkName, Object, PluginConfig, PluginType};
use crate::config::MasterConfig;
use crate::config::master::PLUGIN_TYPE;
use crate::profile::Profiles;

use super::primary::Choice;

/// The file name of the master config: before those that primaries use.
pub const FILE_NAME: &str = "00-meta-cni.conflist";

/// By which the runtime hands over a pod's annotations.
pub const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// The newest version that every runtime knows which reads `cniVersion` alone.
const WIDELY_KNOWN: CniVersion = CniVersion::V1_0_0;

/// Plugins that others may append: more is hostile, or a fight.
const MOST_APPENDED: usize = 32;

/// What the daemon's config says about the master config.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `name` of the list.
    pub name: NetworkName,
    /// Keys of our plugin; neither `type` nor `capabilities` nor `clusterNetwork`.
    pub keys: Object,
    /// Capabilities beside those of the primary.
    pub capabilities: Vec<String>,
}

/// What is known of the primary now.
#[derive(Debug, Clone)]
pub enum Sight {
    /// It is there.
    Found(Found),
    /// It is there and cannot be used, or nothing there may be used.
    Unusable(String),
    /// It is not there.
    Absent(String),
}

/// A primary that is there.
#[derive(Debug, Clone)]
pub struct Found {
    /// What `clusterNetwork` is to be: a path or a name.
    pub reference: String,
    /// Its file, for people.
    pub from: String,
    /// Its text.
    pub text: String,
    /// What it says.
    pub list: NetworkConfigList,
}

/// The versions that each appended plugin speaks; `None` for one that was asked and did not say.
pub type Spoken = BTreeMap<PluginType, Option<BTreeSet<CniVersion>>>;

/// What plugins `said` when they were asked again. One that did not answer now speaks what it spoke: the list is not to lose versions
/// because a node is slow for a moment.
pub fn renew(spoken: &mut Spoken, said: Spoken) {
    for (plugin, versions) in said {
        let known = spoken.entry(plugin).or_default();
        *known = versions.or(known.take());
    }
}

/// A plugin that somebody else appended.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Its configuration, as it was read.
    pub text: Box<RawValue>,
    /// What it says.
    pub plugin: PluginConfig,
    /// An installer appends it to whatever list it finds, so it may be in the primary's too.
    pub roams: bool,
}

/// The master config as it should be, and what a person should know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// The text.
    pub text: String,
    /// One sentence each.
    pub notes: Vec<String>,
}

/// The primary in directory `dir` by `choice`. `current` is the `clusterNetwork` of the master config that is there: when that
/// very file is there and cannot be used, no other takes its place (D8).
#[must_use]
pub fn sight(choice: Choice, dir: &str, current: Option<&str>) -> Sight {
    let dir = dir.trim_end_matches('/');
    let path = |name: &str| format!("{dir}/{name}");
    let torn = choice.unusable.iter().find(|name| current == Some(&path(name)));
    let why = |name: &String| {
        let verdict = choice.verdicts.iter().find(|verdict| verdict.file_name == *name);
        let rejected = verdict.and_then(|verdict| verdict.rejected.as_deref()).unwrap_or_default();
        format!("{}: {rejected}", path(name))
    };
    if let Some(name) = torn {
        return Sight::Unusable(why(name));
    }
    if let Some(primary) = choice.primary {
        let reference = path(&primary.file_name);
        let text = String::from_utf8_lossy(&primary.bytes).into_owned();
        return Sight::Found(Found { from: reference.clone(), reference, text, list: primary.list });
    }
    let mut whys: Vec<String> = choice.unusable.iter().take(8).map(why).collect();
    if !whys.is_empty() {
        return Sight::Unusable(whys.join("; "));
    }
    // That ours is none is no reason.
    let says = |name: &str| super::primary::is_config_name(name) && name != FILE_NAME;
    let named = choice.verdicts.iter().filter(|verdict| says(&verdict.file_name)).take(8);
    whys.extend(named.map(|verdict| why(&verdict.file_name)));
    if whys.is_empty() {
        Sight::Absent(format!("{dir} holds no configuration of a network"))
    } else {
        Sight::Absent(format!("no file of {dir} can be the primary: {}", whys.join("; ")))
    }
}

/// What others appended to the master config `text`; `None` when that is none of ours and so says nothing about it. The
/// second value says what of it does not stay.
#[must_use]
pub fn appended(text: &[u8], profiles: &Profiles) -> Option<(Vec<Appended>, Vec<String>)> {
    let list = NetworkConfigList::parse(text, None).ok()?;
    let texts: Vec<Box<RawValue>> = Object::parse(text).ok()?.get("plugins", "a list").ok()??;
    let first = list.plugins.iter().position(|plugin| plugin.plugin.as_str() == PLUGIN_TYPE)?;
    let mut notes = Vec::new();
    if first > 0 {
        notes.push(format!("{first} plugins stood before {PLUGIN_TYPE}, which makes the interfaces; they do not stay"));
    }
    let mut kept: Vec<Appended> = Vec::new();
    for (plugin, text) in list.plugins.into_iter().zip(texts).skip(first + 1) {
        let kind = plugin.plugin.to_string();
        let roams = profiles.is_appended(&kind);
        let nested = !matches!(pointer_to_type(text.get().as_bytes(), PLUGIN_TYPE), Ok(None));
        let same = |other: &Appended| {
            says_the_same(other.text.get().as_bytes(), text.get().as_bytes())
                || (other.plugin.plugin == plugin.plugin && roams)
        };
        if nested {
            notes.push(format!("an appended plugin {kind:?} would run {PLUGIN_TYPE} again; it does not stay"));
        } else if kept.len() == MOST_APPENDED {
            notes.push(format!("more than {MOST_APPENDED} plugins were appended; {kind:?} does not stay"));
        } else if let Some(known) = kept.iter_mut().find(|other| same(other)) {
            // The later one is what its installer wants now.
            *known = Appended { text, plugin, roams };
            notes.push(format!("plugin {kind:?} was appended more than once; it runs once"));
        } else {
            kept.push(Appended { text, plugin, roams });
        }
    }
    Some((kept, notes))
}

/// The master config for the primary `found`.
#[must_use]
pub fn master(settings: &Settings, found: &Found, appended: &[Appended], spoken: &Spoken) -> Master {
    let mut notes = Vec::new();
    let versions = versions(appended, spoken, &mut notes);
    let capabilities: BTreeSet<&str> = found
        .list
        .plugins
        .iter()
        .flat_map(|plugin| &plugin.capabilities)
        .chain(&settings.capabilities)
        .map(String::as_str)
        .chain([ANNOTATIONS])
        .collect();
    let mut wanted = Object::default();
    for capability in capabilities {
        wanted.set(capability, value_of(&true));
    }
    let mut ours = Object::default();
    ours.set_text("type", PLUGIN_TYPE);
    ours.set_object("capabilities", &wanted);
    ours.set_text("clusterNetwork", &found.reference);
    let roaming: BTreeSet<&str> =
        appended.iter().filter(|plugin| plugin.roams).map(|plugin| plugin.plugin.plugin.as_str()).collect();
    if !roaming.is_empty() {
        ours.set("appended", value_of(&roaming));
    }
    let said = ours.clone();
    ours.copy(&settings.keys, |key| !said.has(key));
    let newest = versions.iter().rev().find(|version| **version <= WIDELY_KNOWN).or(versions.last());
    let newest = newest.copied().unwrap_or(WIDELY_KNOWN);
    let plugins = std::iter::once(pretty(&ours)).chain(appended.iter().map(|plugin| plugin.text.get().to_owned()));
    let text = format!(
        "{{\n  \"cniVersion\": {},\n  \"cniVersions\": {},\n  \"name\": {},\n  \"plugins\": [\n    {}\n  ]\n}}\n",
        value_of(&newest).get(),
        value_of(&versions).get(),
        text_value(settings.name.as_str()).get(),
        plugins.collect::<Vec<_>>().join(",\n    "),
    );
    Master { text, notes }
}

/// The versions that every plugin of our list speaks, oldest first. The primary's is irrelevant: results are converted.
fn versions(appended: &[Appended], spoken: &Spoken, notes: &mut Vec<String>) -> Vec<CniVersion> {
    let mut versions = BTreeSet::from(CniVersion::ALL);
    for Appended { plugin, .. } in appended {
        match spoken.get(&plugin.plugin).and_then(Option::as_ref) {
            Some(theirs) => versions.retain(|version| theirs.contains(version)),
            None => {
                let what = format!("appended plugin {:?} does not say which CNI versions", plugin.plugin.as_str());
                notes.push(format!("{what} it speaks; taken for {WIDELY_KNOWN}"));
                versions.retain(|version| *version == WIDELY_KNOWN);
            }
        }
    }
    if versions.is_empty() {
        notes.push(format!("no CNI version is spoken by every appended plugin; {WIDELY_KNOWN} is written"));
        versions.insert(WIDELY_KNOWN);
    }
    versions.into_iter().collect()
}

/// The object as a person would write it inside the list of plugins.
fn pretty(object: &Object) -> String {
    let line = |(key, value): (&str, &str)| format!("      {}: {value}", text_value(key).get());
    format!("{{\n{}\n    }}", object.iter().map(line).collect::<Vec<_>>().join(",\n"))
}

/// The `clusterNetwork` of the master config `text`, unless something forbids to write it: it would nest, names no primary, or could
/// not be read back (D6).
///
/// # Errors
/// The reason, as one sentence.
pub fn lint(text: &[u8]) -> Result<String, String> {
    let list = NetworkConfigList::parse(text, None).map_err(|error| error.story())?;
    let (ours, others) = match list.plugins.split_first() {
        Some((first, others)) if first.plugin.as_str() == PLUGIN_TYPE => (first, others),
        _ => return Err(format!("its first plugin is not {PLUGIN_TYPE:?}")),
    };
    let mut rest = ours.object.clone();
    rest.remove("type");
    let places = std::iter::once(&rest).chain(others.iter().map(|plugin| &plugin.object));
    for (at, object) in places.enumerate() {
        match pointer_to_type(object.to_text().as_bytes(), PLUGIN_TYPE) {
            Ok(None) => {}
            Ok(Some(pointer)) => {
                return Err(format!("would run {PLUGIN_TYPE} from {PLUGIN_TYPE}: /plugins/{at}{pointer}"));
            }
            Err(error) => return Err(error.msg),
        }
    }
    let config =
        MasterConfig::from_file(text).and_then(MasterConfig::with_primary).map_err(|error| error.to_string())?;
    config.cluster_network.ok_or_else(|| "it embeds its primary instead of referring to it".to_owned())
}

/// True if both texts are the same JSON: order of keys and white space say nothing. Who formats our file another way is not
/// fought.
#[must_use]
pub fn says_the_same(one: &[u8], other: &[u8]) -> bool {
    let value = |text| serde_json::from_slice::<serde_json::Value>(text).ok();
    one == other || value(one).is_some_and(|one| value(other) == Some(one))
}

#[cfg(test)]
#[path = "master_tests.rs"]
mod tests;
