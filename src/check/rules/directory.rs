//! MC-07x: what only all files of a directory together show: which the runtime loads, which is the primary, and why (D4).

use std::collections::BTreeMap;
use std::path::Path;

use crate::check::finding::{Finding, Rule, Severity};
use crate::check::subject::{At, Findings, Subject};
use crate::check::{Document, Kind, kind_of};
use crate::cni::conf::with_plugins;
use crate::cni::{NetworkConfigList, NetworkName};
use crate::config::MasterConfig;
use crate::plan::primary::{Candidate, Choice, choose, is_config_name};
use crate::profile::Profiles;

/// Several are as good.
pub const TIE: Rule = Rule {
    code: "MC-070",
    severity: Severity::Warning,
    title: "Another file is as good a primary",
    explanation: "Both are of known kinds, or neither is: the first by file name is taken.",
    remedy: "Remove one, or name the file that is meant in \"clusterNetwork\".",
};
/// Two networks of one name.
pub const SAME_NAME: Rule = Rule {
    code: "MC-071",
    severity: Severity::Warning,
    title: "Two files have the same network name",
    explanation: "Plugins and runtimes keep addresses and results by that name.",
    remedy: "Give one of them another \"name\", before pods use it.",
};
/// Two master configs.
pub const OTHER_MASTER: Rule = Rule {
    code: "MC-072",
    severity: Severity::Warning,
    title: "Another master config",
    explanation: "The runtime takes the first by file name.",
    remedy: "Remove it.",
};
/// Not the runtime's.
pub const LATER_FILE: Rule = Rule {
    code: "MC-073",
    severity: Severity::Error,
    title: "The master config is not the first file of its directory",
    explanation: "The runtime takes the first by file name: pods start without their networks.",
    remedy: "Name it so that it comes first, as 00-meta-cni.conflist does, or put it into a directory of its own.",
};
/// What was chosen.
pub const CHOICE: Rule = Rule {
    code: "MC-074",
    severity: Severity::Note,
    title: "The primary network",
    explanation: "Which file it is, and why not another.",
    remedy: "",
};
/// Nothing to choose.
pub const NO_CHOICE: Rule = Rule {
    code: "MC-075",
    severity: Severity::Warning,
    title: "There is no primary network",
    explanation: "Pods wait for it, then fail with code 11.",
    remedy: "The cluster's own CNI writes its file when it is up; look there if it does not come.",
};
/// The primary can do something that it will never be asked for.
pub const CAPABILITY_MISSING: Rule = Rule {
    code: "MC-076",
    severity: Severity::Warning,
    title: "The primary declares a capability that the master config does not",
    explanation: "The runtime then hands nothing over for it: no `hostPort` without `portMappings`.",
    remedy: "Add it to \"capabilities\" of the master config.",
};

/// Where the first master config of a directory says that the primary is.
enum Place {
    /// In the directory itself; so too when there is no master config.
    Here,
    /// A file of the directory.
    Pinned(String),
    /// Elsewhere, or by name.
    Elsewhere(String),
}

/// What there is to say about `documents` as the configurations in `dir`, beside what there is about each.
#[must_use]
pub fn directory(dir: &Path, documents: &[Document], profiles: &Profiles) -> Vec<Finding> {
    let mut documents: Vec<&Document> = documents.iter().filter(|document| is_config_name(document.name())).collect();
    documents.sort_by_key(|document| document.name());
    let masters: Vec<&Document> =
        documents.iter().copied().filter(|document| kind_of(&document.text) == Kind::Master).collect();
    let mut said = Said { profiles, list: Vec::new() };
    if let (Some(first), Some(master)) = (documents.first(), masters.first())
        && first.name() != master.name()
    {
        let message =
            format!("the runtime takes {:?}, which comes first by file name, and never runs meta-cni", first.name());
        said.about(&LATER_FILE, master, &message);
    }
    for other in masters.iter().skip(1) {
        said.about(&OTHER_MASTER, other, &format!("{:?} is a master config too and comes first", masters[0].name()));
    }
    names(&documents, &mut said);
    let config = masters.first().and_then(|master| MasterConfig::from_file(&master.text).ok());
    let choice = choose(documents.iter().map(|document| candidate(document)), profiles);
    let chosen = match place(dir, config.as_ref()) {
        Place::Here => chosen(dir, &documents, &choice, &mut said),
        Place::Pinned(name) => pinned(dir, &name, &documents, &mut said),
        Place::Elsewhere(place) => {
            said.about(
                &CHOICE,
                masters[0],
                &format!("the primary network is looked for by {place:?}, not in this directory"),
            );
            None
        }
    };
    if let (Some(list), Some(master)) = (chosen, masters.first()) {
        capabilities(&list, master, &mut said);
    }
    said.list
}

struct Said<'a> {
    profiles: &'a Profiles,
    list: Vec<Finding>,
}

impl Said<'_> {
    fn about(&mut self, rule: &'static Rule, document: &Document, message: &str) {
        let mut findings = Findings::new(document);
        findings.add(rule, &Subject::new(document, self.profiles), At::File, message);
        self.list.extend(findings.done());
    }
}

fn candidate(document: &Document) -> Candidate {
    let content = match (&document.refused, document.more.as_slice()) {
        (Some(why), _) => Err(why.clone()),
        (None, []) => Ok(document.text.clone()),
        (None, more) => with_plugins(&document.text, more.iter()).map_err(|error| error.story()),
    };
    Candidate { file_name: document.name().to_owned(), content }
}

fn place(dir: &Path, config: Option<&MasterConfig>) -> Place {
    let Some(config) = config else { return Place::Here };
    let Some(place) = &config.cluster_network else { return Place::Elsewhere("delegates".to_owned()) };
    let path = Path::new(place);
    if path.is_absolute() && path == dir {
        return Place::Here;
    }
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if path.parent() == Some(dir) => Place::Pinned(name.to_owned()),
        _ => Place::Elsewhere(place.clone()),
    }
}

/// The choice among the files, and what stood against the others.
fn chosen(dir: &Path, documents: &[&Document], choice: &Choice, said: &mut Said<'_>) -> Option<NetworkConfigList> {
    let ours = |name: &str| documents.iter().any(|d| d.name() == name && kind_of(&d.text) == Kind::Master);
    let others = choice.verdicts.iter().filter(|verdict| !ours(&verdict.file_name));
    let others = others.filter_map(|verdict| Some((&verdict.file_name, verdict.rejected.as_ref()?)));
    let others: Vec<String> = others.map(|(name, why)| format!("{name:?}: {why}")).collect();
    let Some(primary) = &choice.primary else {
        let why = if others.is_empty() { "it holds no configuration".to_owned() } else { others.join("; ") };
        let place = Document::of(&dir.display().to_string(), b"");
        said.about(&NO_CHOICE, &place, &format!("no file of the directory can be the primary network: {why}"));
        return None;
    };
    let document = |name: &str| documents.iter().copied().find(|document| document.name() == name);
    let kind = said.profiles.of(&primary.list, Some(&primary.file_name)).map(|profile| profile.name);
    let kind = kind.map_or_else(|| "of no known kind".to_owned(), |name| format!("of the kind {name:?}"));
    let others = if others.is_empty() { String::new() } else { format!("; not {}", others.join("; not ")) };
    if let Some(document) = document(&primary.file_name) {
        said.about(&CHOICE, document, &format!("this is the primary network, {kind}{others}"));
    }
    for tie in choice.ties.iter().filter_map(|name| document(name)) {
        let message =
            format!("it could as well be the primary network; {:?} comes first by file name", primary.file_name);
        said.about(&TIE, tie, &message);
    }
    Some(primary.list.clone())
}

/// The file that the master config names. Nothing stands against it but what it says.
fn pinned(dir: &Path, name: &str, documents: &[&Document], said: &mut Said<'_>) -> Option<NetworkConfigList> {
    let Some(document) = documents.iter().copied().find(|document| document.name() == name) else {
        let place = Document::of(&dir.display().to_string(), b"");
        said.about(&NO_CHOICE, &place, &format!("{name:?}, which \"clusterNetwork\" names, is not there"));
        return None;
    };
    said.about(&CHOICE, document, "this is the primary network: \"clusterNetwork\" names it");
    NetworkConfigList::parse(&candidate(document).content.ok()?, None).ok()
}

fn names(documents: &[&Document], said: &mut Said<'_>) {
    let mut first: BTreeMap<NetworkName, &str> = BTreeMap::new();
    for document in documents {
        let Ok(list) = NetworkConfigList::parse(&document.text, None) else { continue };
        match first.get(&list.name) {
            Some(other) => {
                let message = format!("network name {:?} is that of {other:?} too", list.name.as_str());
                said.about(&SAME_NAME, document, &message);
            }
            None => drop(first.insert(list.name, document.name())),
        }
    }
}

fn capabilities(primary: &NetworkConfigList, master: &Document, said: &mut Said<'_>) {
    let ours = NetworkConfigList::parse(&master.text, None).map(|list| list.plugins).unwrap_or_default();
    let ours = ours.into_iter().find(|plugin| plugin.plugin.as_str() == crate::config::master::PLUGIN_TYPE);
    let ours = ours.map(|plugin| plugin.capabilities).unwrap_or_default();
    let mut missing: Vec<&str> =
        primary.plugins.iter().flat_map(|plugin| &plugin.capabilities).map(String::as_str).collect();
    missing.retain(|capability| !ours.iter().any(|own| own == capability));
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        let message =
            format!("capabilities of the primary {:?} are not declared: {}", primary.name.as_str(), missing.join(", "));
        said.about(&CAPABILITY_MISSING, master, &message);
    }
}
