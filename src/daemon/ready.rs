//! Whether the primary can serve: by the same judgement as STATUS (`plan::status`), for `/readyz`. It changes nothing about the master
//! config, which is right as soon as the primary's file is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::plan::master::{Found, Sight};
use crate::plan::status::{no_indicator, unready};
use crate::profile::Profiles;
use crate::profile::ready::Signs;
use crate::store::exists;

use super::config::Config;
use super::gather::{Own, Seen};
use super::hostexec;

/// How long what was seen to be there is taken for true, where a program has to be asked.
const LASTS: Duration = Duration::from_secs(10);

/// What was last seen.
#[derive(Default)]
pub(super) struct Readiness {
    signs: Signs,
    missing: BTreeSet<PathBuf>,
    looked: Option<Duration>,
}

impl Readiness {
    /// The directories in which the signs come and go.
    pub fn places(&self) -> impl Iterator<Item = PathBuf> {
        self.signs.needs.iter().filter_map(|path| path.parent()).map(Path::to_owned)
    }

    /// What the primary lacks, if it lacks something, at `now` since the daemon's start.
    pub fn words(&mut self, config: &Config, seen: &Seen, profiles: &Profiles, now: Duration) -> Option<String> {
        let Sight::Found(found) = &seen.primary else { return None };
        if let Some(path) = seen.not_ready.as_ref().filter(|_| seen.own != Own::Missing || seen.remembered.is_some()) {
            return Some(no_indicator(path));
        }
        let signs = signs(found, profiles);
        let changed = signs != self.signs;
        let old = self.looked.is_none_or(|looked| now.saturating_sub(looked) >= LASTS);
        if changed || old || !self.missing.is_empty() || !config.on_host {
            self.missing = missing(config, &signs.needs);
            self.looked = Some(now);
        }
        self.signs = signs;
        unready(found.list.name.as_str(), &self.signs, &self.missing)
    }
}

fn signs(found: &Found, profiles: &Profiles) -> Signs {
    let file = Path::new(&found.from).file_name().and_then(|name| name.to_str());
    profiles.of(&found.list, file).map(|profile| profile.signs(&found.list)).unwrap_or_default()
}

/// Those that are not there. In a container only the host's program sees them; what that does not say is not held against anybody.
fn missing(config: &Config, needs: &[PathBuf]) -> BTreeSet<PathBuf> {
    if config.on_host && !needs.is_empty() {
        return hostexec::missing(config, needs.to_vec()).unwrap_or_default();
    }
    needs.iter().filter(|path| !exists(path)).cloned().collect()
}
