//! DELs that have to be done again: `<stateDir>/queue/<containerID>/<ifname>.json` (docs/state.md).

use std::path::{Path, PathBuf};

use crate::cni::{ContainerId, IfName};
use crate::plan::record::Record;
use crate::plan::sweep::{Due, backoff};

use super::atomic::{Survives, write};
use super::{Owner, StoreError, is_dir, list, read, remove, remove_if_empty};

/// Bytes of an entry at most.
const MOST: u64 = 64 << 10;

/// Says that DEL of the attachment on `record` is due again, because of `error`; counts the attempts. Gives when it is due;
/// `now` and that are seconds of `CLOCK_BOOTTIME`.
///
/// # Errors
/// [`StoreError`] when that cannot be written.
pub fn push(state_dir: &Path, record: &Record, error: &str, epoch: &str, now: u64) -> Result<u64, StoreError> {
    let path = path_of(state_dir, &record.sandbox.container_id, &record.attachment.ifname);
    let attempts = attempts(state_dir, record).saturating_add(1);
    let due = Due {
        version: 1,
        attempts,
        error: error.to_owned(),
        epoch: epoch.to_owned(),
        due: now.saturating_add(backoff(attempts)),
        call: Some(record.call),
    };
    let text = serde_json::to_string(&due).map_err(|error| StoreError::refused(&path, error.to_string()))?;
    write(&path, text.as_bytes(), Survives::Process)?;
    Ok(due.due)
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

/// How often the DEL of the attachment on `record` was tried in vain.
#[must_use]
pub fn attempts(state_dir: &Path, record: &Record) -> u32 {
    let path = path_of(state_dir, &record.sandbox.container_id, &record.attachment.ifname);
    let entry = read(&path, Owner::Us, MOST).ok().flatten().unwrap_or_default();
    let due = serde_json::from_slice::<Due>(&entry).ok().filter(|due| due.is_of(record));
    due.map_or(0, |due| due.attempts)
}

/// The sandboxes that have a directory here.
///
/// # Errors
/// [`StoreError`] when the directory cannot be listed.
pub fn sandboxes(state_dir: &Path) -> Result<Vec<ContainerId>, StoreError> {
    let dir = state_dir.join("queue");
    let dirs = list(&dir)?.into_iter().filter(|name| is_dir(&dir.join(name)));
    Ok(dirs.filter_map(|name| ContainerId::new(name).ok()).collect())
}

/// The entries of one sandbox. One that cannot be read says that a DEL is due, and nothing more.
///
/// # Errors
/// [`StoreError`] when its directory cannot be listed.
pub fn of(state_dir: &Path, id: &ContainerId) -> Result<Vec<(IfName, Due)>, StoreError> {
    let dir = state_dir.join("queue").join(id);
    let names = list(&dir)?.into_iter().filter_map(|name| IfName::new(name.strip_suffix(".json")?).ok());
    let entries = names.filter_map(|ifname| match read(&path_of(state_dir, id, &ifname), Owner::Us, MOST) {
        Ok(None) => None,
        Ok(Some(bytes)) => Some((ifname, serde_json::from_slice(&bytes).unwrap_or_default())),
        Err(_) => Some((ifname, Due::default())),
    });
    Ok(entries.collect())
}

/// Removes what writers that died left in the sandbox's directory, and the directory when that was all. Only for whoever
/// holds the sandbox's lock.
///
/// # Errors
/// [`StoreError`] when something is there that cannot be listed or removed.
pub fn tidy(state_dir: &Path, id: &ContainerId) -> Result<(), StoreError> {
    super::tidy(&state_dir.join("queue").join(id))
}

fn path_of(state_dir: &Path, id: &ContainerId, ifname: &IfName) -> PathBuf {
    state_dir.join("queue").join(id).join(format!("{ifname}.json"))
}
