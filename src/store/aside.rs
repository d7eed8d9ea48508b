//! Files of a conf dir that `meta-cni repair` changes, kept under a name that no runtime loads.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::plan::repair::BACKUP;

use super::atomic::{Survives, sync_names, write, write_by_rename};
use super::{MOST_CONFIG, MOST_STATE, Owner, StoreError, read};

/// Renames the file `name` of `dir` to `<name>.<time>.meta-cni.bak`; gives that name. If its text is not `judged`, its owner wrote it
/// since, and it gets its own name again, unless there is a newer one by then.
///
/// # Errors
/// [`StoreError`] when it cannot be renamed, or was written since.
pub fn put_aside(dir: &Path, name: &str, judged: Option<&[u8]>) -> Result<String, StoreError> {
    let (path, (kept, place)) = (dir.join(name), free(dir, name));
    std::fs::rename(&path, &place).map_err(StoreError::io("rename", &path))?;
    let is = |judged| read(&place, Owner::File, MOST_CONFIG).is_ok_and(|text| text.as_deref() == Some(judged));
    if judged.is_some_and(|judged| !is(judged)) {
        // Only now nobody puts another file in its place any more.
        let back = renameat_with(CWD, &place, CWD, &path, RenameFlags::NOREPLACE);
        let there = match back {
            Ok(()) => String::new(),
            Err(_) => format!(" (what was there first is {kept})"),
        };
        return Err(StoreError::refused(&path, format!("was rewritten meanwhile{there}; run `meta-cni repair` again")));
    }
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

#[cfg(test)]
mod tests {
    use super::super::list;
    use super::*;

    #[test]
    fn e7_what_its_owner_wrote_since_it_was_judged_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00-multus.conf");
        std::fs::write(&path, "whole again").unwrap();
        let story = put_aside(dir.path(), "00-multus.conf", Some(b"cut")).unwrap_err().story();
        let expected = format!("{} was rewritten meanwhile; run `meta-cni repair` again", path.display());
        assert_eq!(story, expected);
        assert_eq!(list(dir.path()).unwrap(), ["00-multus.conf"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole again");
        let kept = put_aside(dir.path(), "00-multus.conf", Some(b"whole again")).unwrap();
        assert_eq!(list(dir.path()).unwrap(), [kept]);
        // Of what could not be read nobody knows what it was.
        std::fs::write(&path, "").unwrap();
        assert!(put_aside(dir.path(), "00-multus.conf", None).is_ok() && !path.exists());
    }
}
