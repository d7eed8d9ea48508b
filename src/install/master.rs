//! What the commands that change a node have in common: the lock of the master config, and the text that it should have.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cni::{NetworkName, Object};
use crate::config::master::PLUGIN_TYPE;
use crate::config::places::{RUN_DIR, STATE_DIR};
use crate::plan::master::{Settings, Sight, appended, master, sight};
use crate::plan::primary::choose;
use crate::profile::Profiles;
use crate::store::confdir::candidates;
use crate::store::master::{MasterLock, remembered};

/// How long another writer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The lock of the master config.
///
/// # Errors
/// The reason as one sentence, with who holds it.
pub fn lock(run_dir: &Path) -> Result<MasterLock, String> {
    crate::store::master::lock(run_dir, "meta-cni", PATIENCE)
}

/// Where state and locks are, and whether somebody said so.
#[derive(Debug, Clone)]
pub struct Dirs {
    /// `stateDir`.
    pub state: PathBuf,
    /// `runDir`.
    pub run: PathBuf,
    /// What of it the master config has to say.
    pub keys: Object,
}

impl Dirs {
    /// What the command line says, else the defaults.
    #[must_use]
    pub fn of(state: Option<&Path>, run: Option<&Path>) -> Self {
        let mut keys = Object::default();
        for (key, dir) in [("stateDir", state), ("runDir", run)] {
            if let Some(dir) = dir.and_then(Path::to_str) {
                keys.set_text(key, dir);
            }
        }
        Self {
            state: state.unwrap_or(Path::new(STATE_DIR)).to_owned(),
            run: run.unwrap_or(Path::new(RUN_DIR)).to_owned(),
            keys,
        }
    }
}

/// The master config for the best primary in `conf_dir`, and that primary's file; else why there is none. As the daemon makes it
/// without a config of its own; plugins that others had appended to the last one are kept.
///
/// # Errors
/// Why there is none, as one sentence.
pub fn should(conf_dir: &Path, dirs: &Dirs, profiles: &Profiles) -> Result<(String, String), String> {
    let candidates = candidates(conf_dir).map_err(|error| error.story())?;
    let found = match sight(choose(candidates, profiles), &conf_dir.to_string_lossy(), None) {
        Sight::Found(found) => found,
        Sight::Unusable(why) | Sight::Absent(why) => return Err(why),
    };
    let name = NetworkName::new(PLUGIN_TYPE).map_err(|error| error.to_string())?;
    let settings = Settings { name, keys: dirs.keys.clone(), capabilities: Vec::new() };
    let (kept, _) = remembered(&dirs.state).and_then(|text| appended(text.as_bytes(), profiles)).unwrap_or_default();
    Ok((master(&settings, &found, &kept, &Default::default()).text, found.from))
}
