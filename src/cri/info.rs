//! What is in a runtime's answers. Each runtime puts its own things into `info`, which CRI leaves to it: what is missing there is
//! not known, and never an error.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use super::Answer;
use super::message::{StatusResponse, VersionResponse};

/// Characters of a text of the runtime's at most.
const LONGEST: usize = 2048;

/// Directories for plugins at most.
const MOST_DIRS: usize = 16;

/// `info.config` of containerd.
#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    cni: Cni,
}

/// In it, of containerd 1.x (`binDir`) and 2.x (`binDirs`).
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Cni {
    bin_dir: String,
    bin_dirs: Vec<String>,
    conf_dir: String,
}

/// `info.cniconfig` of containerd: what is loaded.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Loaded {
    plugin_conf_dir: String,
    networks: Vec<Network>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Network {
    config: List,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct List {
    name: String,
}

/// The answer in what was said.
pub(super) fn answer(socket: &Path, version: VersionResponse, status: StatusResponse) -> Answer {
    let info = |key: &str| status.info.get(key).map(String::as_str).unwrap_or_default();
    let config: Config = serde_json::from_str(info("config")).unwrap_or_default();
    let loaded: Loaded = serde_json::from_str(info("cniconfig")).unwrap_or_default();
    let conditions = status.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.kind == "NetworkReady");
    let mut names = loaded.networks.into_iter().map(|network| network.config.name);
    // Loopback is containerd's own, and stands beside the one of the pod's `eth0`.
    let name = names.find(|name| !name.is_empty() && name != "cni-loopback");
    let conf_dir = if config.cni.conf_dir.is_empty() { loaded.plugin_conf_dir } else { config.cni.conf_dir };
    let old = Some(config.cni.bin_dir).filter(|_| config.cni.bin_dirs.is_empty());
    let mut answer = Answer {
        socket: socket.to_owned(),
        runtime: bounded(&version.runtime_name),
        version: bounded(&version.runtime_version),
        network_ready: ready.is_some_and(|condition| condition.status),
        reason: ready.map(|condition| bounded(&condition.reason)).unwrap_or_default(),
        message: ready.map(|condition| bounded(&condition.message)).unwrap_or_default(),
        conf_dir: dir(&conf_dir),
        bin_dirs: dirs(config.cni.bin_dirs.into_iter().chain(old)),
        network: name.as_deref().map(bounded),
        load_error: Some(info("lastCNILoadStatus")).filter(|said| !said.is_empty() && *said != "OK").map(bounded),
    };
    if answer.conf_dir.is_none() {
        of_crio(&mut answer, info("config"));
    }
    answer
}

/// Adds the directories in `text`, CRI-O's whole configuration, as far as it is one.
pub(super) fn of_crio(answer: &mut Answer, text: &str) {
    let Ok(table) = DeTable::parse(text) else { return };
    let network = match table.get_ref().get("crio").map(|value| value.get_ref()) {
        Some(DeValue::Table(crio)) => crio.get("network").map(|value| value.get_ref()),
        _ => None,
    };
    let Some(DeValue::Table(network)) = network else { return };
    let texts = |key: &str| match network.get(key).map(|value| value.get_ref()) {
        Some(DeValue::String(text)) => vec![text.to_string()],
        Some(DeValue::Array(all)) => {
            all.iter().filter_map(|value| value.get_ref().as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    };
    answer.conf_dir = texts("network_dir").first().and_then(|text| dir(text));
    // The second name is that of CRI-O before 1.17, and still read.
    answer.bin_dirs = dirs(texts("plugin_dirs").into_iter().chain(texts("plugin_dir")));
}

fn dirs(texts: impl Iterator<Item = String>) -> Vec<PathBuf> {
    texts.filter_map(|text| dir(&text)).take(MOST_DIRS).collect()
}

/// An absolute path without the `/` at its end that CRI-O writes; paths are compared.
fn dir(text: &str) -> Option<PathBuf> {
    let absolute = text.starts_with('/') && text.len() <= LONGEST;
    absolute.then(|| Path::new(text).components().collect())
}

/// One line of a length that a person reads.
fn bounded(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
