//! Configurations on disk that others write: the primary's file or directory, those found by name, and the plugins that lie
//! in a directory beside a list (Section 1, `loadOnlyInlinedPlugins`; A34).

use std::path::{Path, PathBuf};

use crate::cni::conf::{takes_more, with_plugins};
use crate::cni::{NetworkConfigList, PluginConfig};
use crate::plan::primary::{Candidate, is_config_name};

use super::{MOST_CONFIG, Owner, StoreError, is_dir, list, read};

/// Directories of plugins beside lists that are watched at most.
const MOST_WATCHED: usize = 64;

/// A configuration with everything that belongs to it.
#[derive(Debug)]
pub struct Whole {
    /// Its text, with the plugins of the directory beside it.
    pub bytes: Vec<u8>,
    /// Where those are from, in order.
    pub more: Vec<PluginFile>,
}

/// A plugin configuration in a file of its own.
#[derive(Debug)]
pub struct PluginFile {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub plugin: PluginConfig,
}

/// The files of `dir` that may hold a primary, each read when it is asked for: there may be thousands.
///
/// # Errors
/// [`StoreError`] when the directory cannot be listed; a file that cannot be read, or whose name says that it
/// need not be, is a candidate with the reason.
pub fn candidates(dir: &Path) -> Result<impl Iterator<Item = Candidate> + use<>, StoreError> {
    let dir = dir.to_owned();
    Ok(list(&dir)?.into_iter().filter_map(move |name| {
        if !is_config_name(&name) {
            return Some(Candidate { file_name: name, content: Err("not read".to_owned()) });
        }
        let content = match file(&dir.join(&name)) {
            Ok(whole) => Ok(whole?.bytes),
            Err(error) => Err(error.story()),
        };
        Some(Candidate { file_name: name, content })
    }))
}

/// A configuration found by its name.
#[derive(Debug)]
pub struct ByName {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub whole: Whole,
    /// What it says.
    pub list: NetworkConfigList,
}

/// The configuration called `name` in `dir`: lists first, then single configurations (B3). Files that cannot be read are
/// passed over and named in the second value.
///
/// # Errors
/// [`StoreError`] when the directory cannot be listed, or the plugins beside the list of that name cannot be used.
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
            let ours = takes_more(&bytes).is_some_and(|found| found.as_str() == name);
            let whole = if ours { whole(&path, bytes)? } else { Whole { bytes, more: Vec::new() } };
            match NetworkConfigList::parse(&whole.bytes, None) {
                Ok(list) if list.name.as_str() == name => return Ok((Some(ByName { path, whole, list }), passed_over)),
                Ok(_) => {}
                Err(error) => passed_over.push(format!("{}: {}", path.display(), error.story())),
            }
        }
    }
    Ok((None, passed_over))
}

/// The configuration in the file at `path`, with the plugins beside it; `None` when it is not there.
///
/// # Errors
/// [`StoreError`] when it or one of those is there and cannot be used.
pub fn file(path: &Path) -> Result<Option<Whole>, StoreError> {
    read(path, Owner::Admin, MOST_CONFIG)?.map(|bytes| whole(path, bytes)).transpose()
}

/// `bytes`, read from `path`, with the plugins in the directory that has the list's name, if it is a list that takes them.
fn whole(path: &Path, bytes: Vec<u8>) -> Result<Whole, StoreError> {
    // As runtimes do: what has another ending is a single configuration.
    let is_list = path.extension().is_some_and(|ending| ending == "conflist");
    let Some(name) = takes_more(&bytes).filter(|_| is_list) else { return Ok(Whole { bytes, more: Vec::new() }) };
    let more = plugins(&path.with_file_name(name.as_str()))?;
    if more.is_empty() {
        return Ok(Whole { bytes, more });
    }
    let bytes = with_plugins(&bytes, more.iter().map(|file| &file.plugin))
        .map_err(|error| StoreError::refused(path, error.story()))?;
    if bytes.len() as u64 > MOST_CONFIG {
        return Err(StoreError::refused(path, format!("is with its plugins larger than {} KiB", MOST_CONFIG >> 10)));
    }
    Ok(Whole { bytes, more })
}

/// The plugins in `dir`: its `*.conf` by file name, without those of hidden names, which writers give what is not whole.
///
/// # Errors
/// [`StoreError`] when it is there and cannot be listed, or one of them cannot be used.
pub fn plugins(dir: &Path) -> Result<Vec<PluginFile>, StoreError> {
    let mut plugins = Vec::new();
    let mut size = 0;
    for name in list(dir)?.into_iter().filter(|name| name.ends_with(".conf") && !name.starts_with('.')) {
        let path = dir.join(name);
        if is_dir(&path) {
            continue;
        }
        // Listed and not there: it is being replaced, or leads nowhere. Without it the chain would be another one.
        let bytes = read(&path, Owner::Admin, MOST_CONFIG)?;
        let bytes = bytes.ok_or_else(|| StoreError::refused(&path, "is listed and cannot be found"))?;
        size += bytes.len() as u64;
        if size > MOST_CONFIG {
            return Err(StoreError::refused(dir, format!("holds more than {} KiB of plugins", MOST_CONFIG >> 10)));
        }
        let plugin = PluginConfig::parse(&bytes)
            .map_err(|error| StoreError::refused(&path, format!("is no plugin of a list: {}", error.story())))?;
        plugins.push(PluginFile { path, plugin });
    }
    Ok(plugins)
}

/// Where plugins of lists in `dir` may lie: its directories.
#[must_use]
pub fn beside(dir: &Path) -> Vec<PathBuf> {
    let all = list(dir).unwrap_or_default().into_iter().map(|name| dir.join(name));
    all.filter(|path| is_dir(path)).take(MOST_WATCHED).collect()
}

/// Directories that decide what is in `dir` besides itself: those in which the links on the way to it and in it lie and end.
/// ConfigMap mounts are changed there.
#[must_use]
pub fn leads(dir: &Path) -> Vec<PathBuf> {
    let links = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let links = links.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())).map(|entry| entry.path());
    let mut found = Vec::new();
    for mut path in std::iter::once(dir.to_owned()).chain(links.take(MOST_WATCHED)) {
        // As many links in a row as the kernel follows.
        for _ in 0..40 {
            let Ok(target) = std::fs::read_link(&path) else { break };
            path = path.parent().unwrap_or(Path::new("/")).join(target);
            found.extend(path.parent().map(Path::to_owned));
        }
    }
    found.sort();
    found.dedup();
    found
}
