//! DELs that have to be done again: `<stateDir>/queue/<containerID>/<ifname>.json` (docs/state.md).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cni::{ContainerId, IfName};

use super::atomic::{Survives, write};
use super::{Owner, StoreError, read, remove, remove_if_empty};

/// Why a DEL is due again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Due {
    /// 1.
    pub version: u32,
    /// How often it was tried.
    pub attempts: u32,
    /// What the last attempt said.
    pub error: String,
    /// The epoch of the last attempt.
    pub epoch: String,
}

/// Says that DEL of the attachment is due again; counts the attempts.
///
/// # Errors
/// [`StoreError`] when that cannot be written.
pub fn push(state_dir: &Path, id: &ContainerId, ifname: &IfName, error: &str, epoch: &str) -> Result<(), StoreError> {
    let path = path_of(state_dir, id, ifname);
    let earlier = read(&path, Owner::Us, 64 << 10).ok().flatten();
    let attempts = earlier.and_then(|bytes| serde_json::from_slice::<Due>(&bytes).ok()).map_or(0, |due| due.attempts);
    let due =
        Due { version: 1, attempts: attempts.saturating_add(1), error: error.to_owned(), epoch: epoch.to_owned() };
    let text = serde_json::to_string(&due).map_err(|error| StoreError::refused(&path, error.to_string()))?;
    write(&path, text.as_bytes(), Survives::Process)
}

/// The DEL is done.
///
/// # Errors
/// [`StoreError`] when the entry cannot be removed.
pub fn done(state_dir: &Path, id: &ContainerId, ifname: &IfName) -> Result<(), StoreError> {
    let path = path_of(state_dir, id, ifname);
    remove(&path)?;
    if let Some(dir) = path.parent() {
        remove_if_empty(dir);
    }
    Ok(())
}

fn path_of(state_dir: &Path, id: &ContainerId, ifname: &IfName) -> PathBuf {
    state_dir.join("queue").join(id).join(format!("{ifname}.json"))
}
