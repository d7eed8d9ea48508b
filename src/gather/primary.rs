//! The primary network: found, waited for when it is absent, and remembered for when its file is torn (D4, D8).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cni::{CniError, Code, NetworkConfigList, PluginConfig};
use crate::config::MasterConfig;
use crate::config::duration::Span;
use crate::npwg::{Namespace, ObjectName};
use crate::plan::add::Network;
use crate::plan::master::FILE_NAME;
use crate::plan::primary::{Primary, choose, guard};
use crate::profile::Profiles;
use crate::store::confdir::{Whole, beside, by_name, candidates, file};
use crate::store::primary::{LastGood, keep, last_good};
use crate::store::profiles::profiles;
use crate::store::{is_dir, networks};
use crate::watch;

use super::resolve::Manifest;

/// How long a file that cannot be used is looked at again before the last good one is taken: a writer may be at it.
const TORN: Duration = Duration::from_millis(50);

/// Finds networks by the master config.
pub struct Resolver<'a> {
    pub(super) config: &'a MasterConfig,
    pub(super) profiles: Profiles,
    /// Whether a primary that was found is kept as the last good one.
    pub(super) keeps: bool,
}

/// What a look at the primary's place gave.
enum Look {
    Found(Box<Found>),
    /// Something is there that cannot be used, as it is now.
    Unusable(String),
    Absent(String),
    /// What is there must never be used.
    Refused(CniError),
}

struct Found {
    text: String,
    list: NetworkConfigList,
    file_name: Option<String>,
    display: Option<String>,
    announce: bool,
}

impl<'a> Resolver<'a> {
    /// A resolver with the node's profiles.
    #[must_use]
    pub fn new(config: &'a MasterConfig) -> Self {
        Self { config, profiles: profiles(&config.delegate_profiles_dir), keeps: true }
    }

    /// A resolver that writes nothing.
    #[must_use]
    pub fn looking(config: &'a MasterConfig) -> Self {
        Self { keeps: false, ..Self::new(config) }
    }

    /// The primary network, waited for until `deadline`.
    ///
    /// # Errors
    /// Code 11 when it is not there by then, 7 when what is there would run meta-cni from meta-cni.
    pub fn primary(&self, deadline: Instant) -> Result<Network, CniError> {
        let source = self.source();
        let first = self.look();
        if let Look::Unusable(_) = first {
            let torn = deadline.min(soon());
            let again = watch::until(&self.places(), torn, || match self.look() {
                Look::Found(found) => Some(found),
                _ => None,
            });
            if let Some(found) = again {
                return Ok(self.taken(&source, *found));
            }
            if let Some(network) = self.last_good(&source) {
                return Ok(network);
            }
        }
        match first {
            Look::Found(found) => return Ok(self.taken(&source, *found)),
            Look::Refused(error) => return Err(error),
            Look::Unusable(why) | Look::Absent(why) => tracing::warn!(source, "waiting for the primary: {why}"),
        }
        let mut last = String::new();
        let answer = watch::until(&self.places(), deadline, || match self.look() {
            Look::Found(found) => Some(Ok(found)),
            Look::Refused(error) => Some(Err(error)),
            Look::Unusable(why) | Look::Absent(why) => {
                last = why;
                None
            }
        });
        match answer {
            Some(found) => Ok(self.taken(&source, *found?)),
            None => Err(not_there(&source, &last)),
        }
    }

    /// The primary network as it is now, or the last good one: for operations that must not wait.
    ///
    /// # Errors
    /// As [`Self::primary`].
    pub fn primary_now(&self) -> Result<Network, CniError> {
        self.sighted().map(|(network, _)| network)
    }

    /// The same, and why it is the last good one, if it is.
    ///
    /// # Errors
    /// As [`Self::primary`].
    pub fn sighted(&self) -> Result<(Network, Option<String>), CniError> {
        let source = self.source();
        match self.look() {
            Look::Found(found) => Ok((self.taken(&source, *found), None)),
            Look::Refused(error) => Err(error),
            Look::Unusable(why) => match self.last_good(&source) {
                Some(network) => Ok((network, Some(why))),
                None => Err(not_there(&source, &why)),
            },
            Look::Absent(why) => Err(not_there(&source, &why)),
        }
    }

    fn source(&self) -> String {
        self.config.cluster_network.clone().unwrap_or_else(|| "delegates".to_owned())
    }

    /// What to watch while the primary is not there: its place, and those of the plugins beside it.
    fn places(&self) -> Vec<PathBuf> {
        match &self.config.cluster_network {
            Some(name) if name.contains('/') => {
                let place = PathBuf::from(name);
                let dir = if is_dir(&place) { Some(place.as_path()) } else { place.parent() };
                let beside = dir.map(beside).unwrap_or_default();
                std::iter::once(place).chain(beside).collect()
            }
            _ => {
                let mut places = vec![self.config.conf_dir.clone()];
                places.extend(self.config.network_dirs.iter().map(|dir| dir.join(&self.config.multus_namespace)));
                places.extend(beside(&self.config.conf_dir));
                places
            }
        }
    }

    fn look(&self) -> Look {
        match &self.config.cluster_network {
            None => self.inline(),
            Some(name) if name.contains('/') => self.at(Path::new(name)),
            Some(name) => self.named(name),
        }
    }

    fn inline(&self) -> Look {
        let Some(object) = self.config.delegates.first() else { return Look::Absent("no delegates".to_owned()) };
        match parsed(object.to_text().as_bytes(), None) {
            Ok(list) => Look::found(object.to_text(), list, None),
            Err(error) => Look::Refused(error.in_context("master config: \"delegates\"")),
        }
    }

    fn at(&self, path: &Path) -> Look {
        if is_dir(path) {
            return self.in_directory(path);
        }
        let whole = match file(path) {
            Ok(Some(whole)) => whole,
            Ok(None) => return Look::Absent("it does not exist".to_owned()),
            Err(error) => return Look::Unusable(error.story()),
        };
        if let Err(error) = guard_whole(path, &whole) {
            return Look::Refused(error);
        }
        match NetworkConfigList::parse(&whole.bytes, None) {
            Ok(list) => Look::found(String::from_utf8_lossy(&whole.bytes).into_owned(), list, file_name(path)),
            Err(error) => Look::Unusable(error.story()),
        }
    }

    fn in_directory(&self, dir: &Path) -> Look {
        let candidates = match candidates(dir) {
            Ok(candidates) => candidates,
            Err(error) => return Look::Unusable(error.story()),
        };
        let choice = choose(candidates, &self.profiles);
        // That ours is none is no reason.
        let others = choice.verdicts.iter().filter(|verdict| verdict.file_name != FILE_NAME);
        let verdicts: Vec<String> = others
            .filter_map(|verdict| Some(format!("{}: {}", verdict.file_name, verdict.rejected.as_ref()?)))
            .collect();
        // The one that was the primary, torn: another that is whole must not take its place (D8).
        let last = last_good(&self.config.state_dir, &self.source()).and_then(|last| last.file);
        let torn = last.is_some_and(|last| choice.unusable.contains(&last));
        match choice.primary {
            Some(Primary { file_name, bytes, list }) if !torn => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                tracing::debug!(file = file_name, others = verdicts.join("; "), "primary chosen");
                Look::found(text, list, Some(file_name))
            }
            _ if torn || !choice.unusable.is_empty() => Look::Unusable(verdicts.join("; ")),
            _ if verdicts.is_empty() => Look::Absent("the directory holds no configuration of a network".to_owned()),
            _ => Look::Absent(format!("no file of the directory can be the primary: {}", verdicts.join("; "))),
        }
    }

    fn named(&self, name: &str) -> Look {
        let namespace = match Namespace::new(self.config.multus_namespace.as_str()) {
            Ok(namespace) => namespace,
            Err(error) => {
                let what = format!("master config: key \"multusNamespace\": {error}");
                return Look::Refused(CniError::new(Code::INVALID_CONFIG, what));
            }
        };
        // A name that no object can have may still be that of a configuration.
        if let Ok(object) = ObjectName::new(name) {
            match networks::find(&self.config.network_dirs, &namespace, &object) {
                Ok(Some(found)) => return self.of_name(found, &namespace, &object),
                Ok(None) => {}
                // Torn, perhaps: whoever writes it is at it.
                Err(error) => return Look::Unusable(error.story()),
            }
        }
        match by_name(&self.config.conf_dir, name) {
            Ok((Some(found), _)) => match guard_whole(&found.path, &found.whole) {
                Ok(()) => {
                    let text = String::from_utf8_lossy(&found.whole.bytes).into_owned();
                    Look::found(text, found.list, file_name(&found.path))
                }
                Err(error) => Look::Refused(error),
            },
            Ok((None, passed_over)) if passed_over.is_empty() => {
                let places = format!(
                    "no network {}/{name}, and no configuration of that name in {}",
                    self.config.multus_namespace,
                    self.config.conf_dir.display()
                );
                Look::Absent(places)
            }
            Ok((None, passed_over)) => Look::Unusable(passed_over.join("; ")),
            Err(error) => Look::Unusable(error.story()),
        }
    }

    fn of_name(&self, found: networks::Found, namespace: &Namespace, name: &ObjectName) -> Look {
        let display = format!("{namespace}/{name}");
        match self.of_manifest(found, name, &format!("network {display:?}")) {
            Ok(Manifest { text, list, announce }) => {
                Look::Found(Box::new(Found { text, list, file_name: None, display: Some(display), announce }))
            }
            Err(error) => Look::Refused(error),
        }
    }

    fn taken(&self, source: &str, found: Found) -> Network {
        let list = once(found.list, &self.config.appended);
        let network = self.network(found.display, list, found.file_name.as_deref());
        let network = Network { announce: found.announce, ..network };
        if self.keeps && self.config.cluster_network.is_some() {
            let good = LastGood { source: source.to_owned(), file: found.file_name, config: found.text };
            if let Err(error) = keep(&self.config.state_dir, &good) {
                tracing::warn!(error = error.story(), "the last good primary is not kept");
            }
        }
        network
    }

    fn last_good(&self, source: &str) -> Option<Network> {
        let network = self.remembered()?;
        tracing::warn!(source, "the primary's configuration cannot be used; the last good one is");
        Some(network)
    }

    /// The primary that was last seen valid.
    #[must_use]
    pub fn remembered(&self) -> Option<Network> {
        let last = last_good(&self.config.state_dir, &self.source())?;
        let list = parsed(last.config.as_bytes(), None).ok()?;
        Some(self.network(None, once(list, &self.config.appended), last.file.as_deref()))
    }

    /// A network as plans take it, with what its profile says.
    pub(super) fn network(&self, display: Option<String>, list: NetworkConfigList, file_name: Option<&str>) -> Network {
        let profile = self.profiles.of(&list, file_name);
        let signs = profile.as_ref().map(|profile| profile.signs(&list)).unwrap_or_default();
        let deadline = profile.map(|profile| profile.deadline).unwrap_or_default();
        let display = display.unwrap_or_else(|| list.name.to_string());
        Network { display, list, deadline: deadline.into(), auxiliary: false, announce: true, signs }
    }
}

impl Look {
    fn found(text: String, list: NetworkConfigList, file_name: Option<String>) -> Self {
        Self::Found(Box::new(Found { text, list, file_name, display: None, announce: true }))
    }
}

/// The configuration `bytes`, if it does not lead back to us.
pub(super) fn parsed(bytes: &[u8], default_name: Option<&str>) -> Result<NetworkConfigList, CniError> {
    let list = NetworkConfigList::parse(bytes, default_name)
        .map_err(|error| CniError::new(Code::INVALID_CONFIG, error.story()))?;
    guard(bytes)?;
    Ok(list)
}

/// Refuses a configuration that leads back to us, by the file that does.
pub(super) fn guard_whole(path: &Path, whole: &Whole) -> Result<(), CniError> {
    for file in &whole.more {
        let text = file.plugin.object.to_text();
        guard(text.as_bytes()).map_err(|error| error.in_context(&file.path.display().to_string()))?;
    }
    guard(&whole.bytes).map_err(|error| error.in_context(&path.display().to_string()))
}

/// The primary without plugins that an installer appended to both lists: they run after ours, once (D11). One that would be all
/// of it stays.
fn once(mut list: NetworkConfigList, appended: &[String]) -> NetworkConfigList {
    let twice = |plugin: &PluginConfig| appended.iter().any(|kind| kind == plugin.plugin.as_str());
    if !list.plugins.iter().all(twice) {
        list.plugins.retain(|plugin| !twice(plugin));
    }
    list
}

fn not_there(source: &str, why: &str) -> CniError {
    let msg = format!("the primary network is not ready: {source}: {why}; the cluster's CNI writes it when it is up");
    CniError::new(Code::TRY_AGAIN, msg)
}

fn file_name(path: &Path) -> Option<String> {
    path.file_name().and_then(|name| name.to_str()).map(str::to_owned)
}

fn soon() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the edge of a wait")]
    let now = Instant::now();
    now + TORN
}

/// A deadline `span` from now.
#[must_use]
pub fn after(span: Span) -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the edge of a wait")]
    let now = Instant::now();
    now + span.0
}
