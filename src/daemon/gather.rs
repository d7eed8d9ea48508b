//! What is on disk now: the primary, our own file, who is in the way. First of the four steps; nothing is decided here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cni::NetworkConfigList;
use crate::npwg::{Namespace, ObjectName};
use crate::plan::master::{self, FILE_NAME, Found, Sight};
use crate::plan::primary::{choose, guard};
use crate::profile::Profiles;
use crate::store::confdir::{Whole, beside, by_name, candidates, file, leads};
use crate::store::master::{current, is_removing, remembered};
use crate::store::{exists, is_dir, list, networks};

use super::config::{Config, PrimaryPlace};
use super::moving::home;

/// What was seen.
pub(super) struct Seen {
    /// The primary.
    pub primary: Sight,
    /// Our own file.
    pub own: Own,
    /// The master config that was last written.
    pub remembered: Option<String>,
    /// The names in the conf dir, few of them.
    pub names: Vec<String>,
    /// A cleanup is under way.
    pub removing: bool,
    /// `readinessindicatorfile`, if it is asked for and not there.
    pub not_ready: Option<PathBuf>,
}

/// Our own file, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Own {
    Missing,
    /// It cannot be read, or is not one that could be used.
    Damaged(String),
    /// It names a primary that is not there.
    Stale {
        text: Vec<u8>,
        primary: String,
    },
    Whole {
        text: Vec<u8>,
        primary: String,
    },
}

impl Own {
    pub fn bytes(&self) -> Option<&[u8]> {
        self.parts().map(|(text, _)| text)
    }

    /// Its text, and the primary that it names.
    fn parts(&self) -> Option<(&[u8], &str)> {
        match self {
            Self::Stale { text, primary } | Self::Whole { text, primary } => Some((text, primary)),
            _ => None,
        }
    }
}

/// Looks.
pub(super) fn look(config: &Config, profiles: &Profiles) -> Seen {
    let own = own(home(config));
    let remembered = remembered(&config.master.state_dir);
    let last = || master::lint(remembered.as_ref()?.as_bytes()).ok();
    let reference = own.parts().map(|(_, primary)| primary.to_owned()).or_else(last);
    let primary = match &config.primary {
        PrimaryPlace::BestOf(dir) => best_of(dir, profiles, reference.as_deref()),
        PrimaryPlace::Pinned(name) => pinned(config, name, profiles),
    };
    let not_ready = config.master.readiness_indicator_file.clone().filter(|path| !exists(path));
    let mut names = list(home(config)).unwrap_or_default();
    names.retain(|name| name.starts_with(FILE_NAME));
    Seen { primary, own, remembered, names, removing: is_removing(&config.master.run_dir), not_ready }
}

fn own(dir: &Path) -> Own {
    let text = match current(dir) {
        Ok(None) => return Own::Missing,
        Ok(Some(text)) => text,
        Err(error) => return Own::Damaged(error.story()),
    };
    match master::lint(&text) {
        Err(why) => Own::Damaged(why),
        Ok(primary) if primary.starts_with('/') && !exists(Path::new(&primary)) => Own::Stale { text, primary },
        Ok(primary) => Own::Whole { text, primary },
    }
}

fn best_of(dir: &Path, profiles: &Profiles, current: Option<&str>) -> Sight {
    match candidates(dir) {
        Ok(candidates) => master::sight(choose(candidates, profiles), &dir.to_string_lossy(), current),
        Err(error) => Sight::Unusable(error.story()),
    }
}

fn pinned(config: &Config, name: &str, profiles: &Profiles) -> Sight {
    let path = Path::new(name);
    if !name.contains('/') {
        return named(config, name);
    }
    if is_dir(path) {
        // The master config names the directory, as it was told to: each ADD chooses for itself.
        return match best_of(path, profiles, None) {
            Sight::Found(found) => Sight::Found(Found { reference: name.to_owned(), ..found }),
            other => other,
        };
    }
    match file(path) {
        Ok(Some(whole)) => judged(name, &path.display().to_string(), whole),
        Ok(None) => Sight::Absent(format!("{name} does not exist")),
        Err(error) => Sight::Unusable(error.story()),
    }
}

/// As the plugin resolves a name: a manifest, then a configuration of that name.
fn named(config: &Config, name: &str) -> Sight {
    let namespace = &config.master.multus_namespace;
    if let (Ok(space), Ok(object)) = (Namespace::new(namespace.as_str()), ObjectName::new(name)) {
        match networks::find(&config.master.network_dirs, &space, &object) {
            Err(error) => return Sight::Unusable(error.story()),
            Ok(Some(networks::Found { path, nad })) if nad.config.is_some() => {
                let bytes = nad.config.unwrap_or_default().into_bytes();
                return judged(name, &path.display().to_string(), Whole { bytes, more: Vec::new() });
            }
            Ok(_) => {}
        }
    }
    let dir = &config.master.conf_dir;
    match by_name(dir, name) {
        Ok((Some(found), _)) => judged(name, &found.path.display().to_string(), found.whole),
        Ok((None, passed_over)) if passed_over.is_empty() => Sight::Absent(format!(
            "no network {namespace}/{name}, and no configuration of that name in {}",
            dir.display()
        )),
        Ok((None, passed_over)) => Sight::Unusable(passed_over.join("; ")),
        Err(error) => Sight::Unusable(error.story()),
    }
}

fn judged(reference: &str, from: &str, whole: Whole) -> Sight {
    if let Err(error) = guard(&whole.bytes) {
        return Sight::Unusable(format!("{from}: {}", error.msg));
    }
    match NetworkConfigList::parse(&whole.bytes, Some(reference)) {
        Ok(list) => {
            let text = String::from_utf8_lossy(&whole.bytes).into_owned();
            Sight::Found(Found { reference: reference.to_owned(), from: from.to_owned(), text, list })
        }
        Err(error) => Sight::Unusable(format!("{from}: {}", error.story())),
    }
}

/// The directories in which something may change that matters.
pub(super) fn places(config: &Config) -> BTreeSet<PathBuf> {
    let mut dirs = vec![config.conf_dir.clone(), home(config).to_owned(), config.master.delegate_profiles_dir.clone()];
    match &config.primary {
        PrimaryPlace::BestOf(dir) => dirs.push(dir.clone()),
        PrimaryPlace::Pinned(name) if name.contains('/') => {
            let path = PathBuf::from(name);
            dirs.extend(path.parent().map(Path::to_owned));
            dirs.extend(Some(path).filter(|path| is_dir(path)));
        }
        PrimaryPlace::Pinned(_) => {
            dirs.push(config.master.conf_dir.clone());
            dirs.extend(config.master.network_dirs.iter().map(|dir| dir.join(&config.master.multus_namespace)));
        }
    }
    dirs.extend(config.master.readiness_indicator_file.iter().filter_map(|path| path.parent()).map(Path::to_owned));
    let more: Vec<PathBuf> = dirs.iter().flat_map(|dir| beside(dir).into_iter().chain(leads(dir))).collect();
    dirs.extend(more);
    // One that is replaced is seen from above.
    let above: Vec<PathBuf> = dirs.iter().filter_map(|dir| dir.parent()).map(Path::to_owned).collect();
    dirs.extend(above);
    dirs.into_iter().collect()
}
