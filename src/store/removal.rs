//! Taking all of meta-cni's files off a node, in an order that can be gone on with: what is needed to do it again goes last (D13).

use std::path::{Path, PathBuf};

use crate::config::places::{OF_RUN_DIR, OF_STATE_DIR};
use crate::plan::master::FILE_NAME;

use super::atomic::{Survives, sync_names, write};
use super::master::is_removing;
use super::{Owner, StoreError, exists, is_dir, list, remove, remove_if_empty};

/// Says that a cleanup is under way: nobody writes the master config from now on.
///
/// # Errors
/// [`StoreError`] when that cannot be written.
pub fn begin(run_dir: &Path) -> Result<(), StoreError> {
    write(&run_dir.join("removing"), b"", Survives::Process)
}

/// True if a cleanup has come so far that what an ADD makes now, nobody would take back.
#[must_use]
pub fn is_done(run_dir: &Path) -> bool {
    !exists(&run_dir.join("epoch")) && is_removing(run_dir)
}

/// Puts an entry into libcni's cache.
///
/// # Errors
/// [`StoreError`] when it cannot be written.
pub fn export(cache_dir: &Path, (name, text): &(String, String)) -> Result<(), StoreError> {
    write(&cache_dir.join("results").join(name), text.as_bytes(), Survives::Power)
}

/// Takes an entry out of libcni's cache, if it is there.
///
/// # Errors
/// [`StoreError`] when it cannot be removed.
pub fn forget(cache_dir: &Path, name: &str) -> Result<(), StoreError> {
    remove(&cache_dir.join("results").join(name))
}

/// Removes the master config from `dir`.
///
/// # Errors
/// [`StoreError`] when it cannot be removed.
pub fn master(dir: &Path) -> Result<(), StoreError> {
    remove(&dir.join(FILE_NAME))?;
    if is_dir(dir) { sync_names(dir) } else { Ok(()) }
}

/// Removes what is ours in both directories; gives what else is there, which stays.
///
/// # Errors
/// [`StoreError`] when something cannot be removed.
pub fn state(state_dir: &Path, run_dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let ours = OF_RUN_DIR.iter().map(|name| run_dir.join(name));
    for path in ours.chain(OF_STATE_DIR.iter().map(|name| state_dir.join(name))) {
        tree(&path)?;
    }
    let mut left = Vec::new();
    for (dir, keeps) in [(state_dir, &[][..]), (run_dir, &["removing", "master.lock"][..])] {
        for name in list(dir)?.into_iter().filter(|name| !keeps.contains(&name.as_str())) {
            let path = dir.join(&name);
            if name.starts_with('.') && name.ends_with(".tmp") { remove(&path)? } else { left.push(path) }
        }
    }
    remove_if_empty(state_dir);
    Ok(left)
}

fn tree(path: &Path) -> Result<(), StoreError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path).map_err(StoreError::io("remove", path)),
        Ok(_) => remove(path),
        Err(_) => Ok(()),
    }
}

/// True if the file at `path` may be the plugin: one of ours is no link, and root's.
#[must_use]
pub fn is_program(path: &Path) -> bool {
    super::read(path, Owner::Us, 512 << 20).is_ok_and(|bytes| bytes.is_some_and(|bytes| bytes.starts_with(b"\x7fELF")))
}
