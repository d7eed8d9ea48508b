//! Configurations on disk that others write: the primary's file or directory, and those found by name.

use std::path::{Path, PathBuf};

use crate::cni::NetworkConfigList;
use crate::plan::primary::{Candidate, is_config_name};

use super::{MOST_CONFIG, Owner, StoreError, list, read};

/// The files of `dir` that may hold a primary.
///
/// # Errors
/// [`StoreError`] when the directory cannot be listed; a file that cannot be read, or whose name says that it
/// need not be, is a candidate with the reason.
pub fn candidates(dir: &Path) -> Result<Vec<Candidate>, StoreError> {
    let mut candidates = Vec::new();
    for name in list(dir)? {
        let path = dir.join(&name);
        if !is_config_name(&name) {
            candidates.push(Candidate { file_name: name, content: Err("not read".to_owned()) });
            continue;
        }
        let content = match read(&path, Owner::Admin, MOST_CONFIG) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => continue,
            Err(error) => Err(error.story()),
        };
        candidates.push(Candidate { file_name: name, content });
    }
    Ok(candidates)
}

/// A configuration found by its name.
#[derive(Debug)]
pub struct ByName {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub bytes: Vec<u8>,
    /// What it says.
    pub list: NetworkConfigList,
}

/// The configuration called `name` in `dir`: lists first, then single configurations (B3). Files that cannot be read are
/// passed over and named in the second value.
///
/// # Errors
/// [`StoreError`] when the directory cannot be listed.
pub fn by_name(dir: &Path, name: &str) -> Result<(Option<ByName>, Vec<String>), StoreError> {
    let mut passed_over = Vec::new();
    let files = list(dir)?;
    for ending in [".conflist", ".conf", ".json"] {
        for file in files.iter().filter(|file| file.ends_with(ending) && !file.starts_with('.')) {
            let path = dir.join(file);
            let bytes = match read(&path, Owner::Admin, MOST_CONFIG) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(error) => {
                    passed_over.push(error.story());
                    continue;
                }
            };
            match NetworkConfigList::parse(&bytes, None) {
                Ok(list) if list.name.as_str() == name => return Ok((Some(ByName { path, bytes, list }), passed_over)),
                Ok(_) => {}
                Err(error) => passed_over.push(format!("{}: {}", path.display(), error.story())),
            }
        }
    }
    Ok((None, passed_over))
}

/// The text of the file at `path`; `None` when it is not there.
///
/// # Errors
/// [`StoreError`] when it is there and cannot be used.
pub fn file(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    read(path, Owner::Admin, MOST_CONFIG)
}
