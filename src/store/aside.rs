//! Files of a conf dir that `meta-cni repair` changes, kept under a name that no runtime loads.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::plan::repair::BACKUP;

use super::atomic::{Survives, sync_names, write, write_by_rename};
use super::{MOST_STATE, Owner, StoreError, read};

/// Renames the file `name` of `dir` to `<name>.<time>.meta-cni.bak`; gives that name.
///
/// # Errors
/// [`StoreError`] when it cannot be renamed.
pub fn put_aside(dir: &Path, name: &str) -> Result<String, StoreError> {
    let (path, (kept, place)) = (dir.join(name), free(dir, name));
    std::fs::rename(&path, place).map_err(StoreError::io("rename", &path))?;
    sync_names(dir).map(|()| kept)
}

/// Copies the file `name` of `dir` likewise; `None` when there is none.
///
/// # Errors
/// [`StoreError`] when it cannot be read or the copy cannot be written.
pub fn copy_aside(dir: &Path, name: &str) -> Result<Option<String>, StoreError> {
    let Some(bytes) = read(&dir.join(name), Owner::File, MOST_STATE)? else { return Ok(None) };
    let (kept, place) = free(dir, name);
    write(&place, &bytes, Survives::Power).map(|()| Some(kept))
}

/// Puts `text` into the new file `name` of `dir`.
///
/// # Errors
/// [`StoreError`] when there is one of that name, or it cannot be written.
pub fn write_beside(dir: &Path, name: &str, text: &str) -> Result<(), StoreError> {
    let path = dir.join(name);
    match std::fs::symlink_metadata(&path) {
        Ok(_) => Err(StoreError::refused(&path, "is there already")),
        Err(_) => write_by_rename(&path, text.as_bytes()),
    }
}

fn free(dir: &Path, name: &str) -> (String, PathBuf) {
    let mut time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    loop {
        let kept = format!("{name}.{time}{BACKUP}");
        let place = dir.join(&kept);
        if std::fs::symlink_metadata(&place).is_err() {
            return (kept, place);
        }
        time += 1;
    }
}
