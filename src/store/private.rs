//! The private conf dir on disk: what was decided (`<stateDir>/private.json`), and the runtime's configuration, each step of which
//! leaves it whole (docs/state.md has the order).

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::private::{Change, Layout, is_ours};

use super::atomic::{self, Survives, sync_names, tidy};
use super::{MOST_CONFIG, Owner, StoreError, exists, program, read, remove, remove_if_empty};

/// Mode of files of a runtime's configuration that are new.
const MODE: u32 = 0o644;

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    #[serde(flatten)]
    layout: Layout,
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("private.json")
}

/// What was decided; `None` in a shared conf dir.
///
/// # Errors
/// [`StoreError`] when it is there and cannot be read.
pub fn layout(state_dir: &Path) -> Result<Option<Layout>, StoreError> {
    let path = path(state_dir);
    let Some(bytes) = read(&path, Owner::Us, 64 << 10)? else { return Ok(None) };
    let kept = serde_json::from_slice::<Kept>(&bytes).map_err(|error| error.to_string());
    kept.and_then(sound).map(Some).map_err(|why| {
        let remedy =
            "remove it, and if the runtime reads a private conf dir do `meta-cni install --private-conf-dir` again";
        StoreError::refused(&path, format!("is damaged: {why}; {remedy}"))
    })
}

/// What could have been decided: everything else would be done to directories that nobody meant.
fn sound(kept: Kept) -> Result<Layout, String> {
    let Kept { version, layout } = kept;
    if version != 1 {
        return Err(format!("version {version} is not known"));
    }
    if let Some(path) = [&layout.from, &layout.to, &layout.config].into_iter().find(|path| !path.is_absolute()) {
        return Err(format!("{path:?} is not an absolute path"));
    }
    if layout.from.components().eq(layout.to.components()) {
        return Err(format!("{} is both the private conf dir and the primary's", layout.to.display()));
    }
    Ok(layout)
}

/// Keeps it; writes nothing when it is what is there.
///
/// # Errors
/// [`StoreError`] when it cannot be written.
pub fn decide(state_dir: &Path, layout: &Layout) -> Result<(), StoreError> {
    if self::layout(state_dir).ok().flatten().as_ref() == Some(layout) {
        return Ok(());
    }
    let path = path(state_dir);
    let kept = Kept { version: 1, layout: layout.clone() };
    let text = serde_json::to_string(&kept).map_err(|error| StoreError::refused(&path, error.to_string()))?;
    atomic::write(&path, text.as_bytes(), Survives::Power)
}

/// The runtime's configuration at `path`; `None` when there is none.
///
/// # Errors
/// [`StoreError`] when it cannot be read, or is another's: a link, or no text.
pub fn config(path: &Path) -> Result<Option<String>, StoreError> {
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(StoreError::refused(path, "is a link, so somebody else makes it"));
    }
    let Some(bytes) = read(path, Owner::Admin, MOST_CONFIG)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| StoreError::refused(path, "is no text"))
}

/// Where the runtime's configuration is kept as it was.
#[must_use]
pub fn backup(layout: &Layout) -> PathBuf {
    let mut name = layout.config.file_name().unwrap_or_default().to_owned();
    name.push(".meta-cni.bak");
    layout.config.with_file_name(name)
}

/// Makes the change; tells `done` a line for each file that it changed, as it does. The drop-in comes before what imports it, the copy
/// before the edit.
///
/// # Errors
/// [`StoreError`] naming the step.
pub fn apply(
    layout: &Layout,
    change: &Change,
    text: Option<&str>,
    done: &mut dyn FnMut(&str),
) -> Result<(), StoreError> {
    if let Some((path, text)) = &change.drop_in
        && put(path, text.as_bytes(), MODE)?
    {
        done(&format!("{}: written", path.display()));
    }
    let Some(new) = &change.config else { return Ok(()) };
    let (path, backup) = (&layout.config, backup(layout));
    let mode = std::fs::metadata(path).map_or(MODE, |metadata| metadata.mode() & 0o7777);
    // What has lines of ours already is not what was there before.
    match text.filter(|text| !is_ours(text)) {
        Some(text) => {
            put(&backup, text.as_bytes(), mode)?;
            done(&format!("{}: as it was, {}", path.display(), backup.display()));
        }
        None if text.is_none() => remove(&backup)?,
        None => {}
    }
    put(path, new.as_bytes(), mode)?;
    done(&format!("{}: edited", path.display()));
    Ok(())
}

/// Unmakes the change; gives a line for each file that it changed.
///
/// # Errors
/// [`StoreError`] naming the step.
pub fn restore(layout: &Layout) -> Result<Vec<String>, StoreError> {
    let mut done = Vec::new();
    let (path, backup) = (&layout.config, backup(layout));
    let kept = config(&backup)?;
    let text = config(path)?;
    let restored = text.map(|text| layout.restored(&text, kept.as_deref())).transpose();
    let restored = restored.map_err(|why| StoreError::refused(path, format!("cannot be taken back: {why}")))?;
    if let Some((text, exactly)) = restored.flatten() {
        if kept.is_none() && text.is_empty() {
            removed(path)?;
            done.push(format!("{}: removed", path.display()));
        } else {
            let mode = std::fs::metadata(path).map_or(MODE, |metadata| metadata.mode() & 0o7777);
            put(path, text.as_bytes(), mode)?;
            let how = if exactly && kept.is_some() {
                "as it was before"
            } else {
                "our lines are taken out; others have changed it since"
            };
            done.push(format!("{}: {how}", path.display()));
        }
    }
    removed(&backup)?;
    if let Some(drop_in) = layout.drop_in()
        && exists(&drop_in)
    {
        removed(&drop_in)?;
        done.push(format!("{}: removed", drop_in.display()));
    }
    for path in [Some(path.clone()), layout.drop_in()].iter().flatten() {
        if path.parent().is_some_and(exists) {
            tidy(path)?;
        }
    }
    // The directory was ours if nothing else is in it: a package's stays with what the package has there.
    if let Some(dir) = layout.drop_in().as_deref().and_then(Path::parent) {
        remove_if_empty(dir);
    }
    Ok(done)
}

/// Removes the private conf dir and what was decided, when the runtime reads the other one.
///
/// # Errors
/// [`StoreError`] when something cannot be removed.
pub fn forget(state_dir: &Path, layout: &Layout) -> Result<(), StoreError> {
    super::removal::master(&layout.to)?;
    remove_if_empty(&layout.to);
    removed(&path(state_dir))
}

fn removed(path: &Path) -> Result<(), StoreError> {
    if !exists(path) {
        return Ok(());
    }
    remove(path)?;
    path.parent().map_or(Ok(()), sync_names)
}

/// True if it had to be written.
fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, StoreError> {
    if read(path, Owner::File, MOST_CONFIG).ok().flatten().is_some_and(|there| there == bytes) {
        return Ok(false);
    }
    tidy(path)?;
    program::replace(path, bytes, mode)?;
    Ok(true)
}
