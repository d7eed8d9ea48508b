//! What others kept of a pod that they added: libcni's cache and Multus' scratch file (F13). Read, and removed when done.

use std::path::{Path, PathBuf};

use crate::cni::{ContainerId, IfName};
use crate::plan::del::Foreign;
use crate::plan::foreign::{Cached, from_cache, from_multus, namespaces_of};

use super::{MOST_STATE, Owner, StoreError, list, read, remove};

/// Where libcni keeps its cache, for every runtime.
pub const LIBCNI_CACHE: &str = "/var/lib/cni";

/// Attachments of one sandbox that others made, in the order of ADD, and the files that say so.
#[derive(Debug, Default)]
pub struct Kept {
    /// The attachments.
    pub attachments: Vec<Foreign>,
    /// Files that are to go once those are deleted: Multus', and libcni's of a network that the runtime no longer has.
    pub files: Vec<PathBuf>,
}

/// What libcni's cache in `cache_dir` (usually `/var/lib/cni`) has of the sandbox's interface `ifname`, for a pod that was
/// added before meta-cni was the runtime's network. The runtime removes the entry of the network it deletes now, which is
/// ours; nobody but us removes that of the network it had then.
#[must_use]
pub fn libcni(cache_dir: &Path, id: &ContainerId, ifname: &IfName) -> Kept {
    let dir = cache_dir.join("results");
    let ending = format!("-{id}-{ifname}");
    let names = list(&dir).unwrap_or_default();
    let mut kept = Kept::default();
    for name in names.iter().filter(|name| name.ends_with(&ending)) {
        let path = dir.join(name);
        let Some(bytes) = read(&path, Owner::Admin, MOST_STATE).ok().flatten() else { continue };
        if let Some(foreign) = from_cache(&bytes, id.as_str()).filter(|foreign| foreign.ifname == *ifname) {
            kept.attachments.push(foreign);
            kept.files.push(path);
        }
    }
    kept
}

/// The namespaces that libcni's cache in `cache_dir` has of the sandbox, whatever the network: those of its ADDs that
/// succeeded and were not deleted.
///
/// # Errors
/// [`StoreError`] when that cannot be told.
pub fn namespaces(cache_dir: &Path, id: &ContainerId) -> Result<Vec<PathBuf>, StoreError> {
    let dir = cache_dir.join("results");
    let middle = format!("-{id}-");
    let mut found = Vec::new();
    for name in list(&dir)?.into_iter().filter(|name| name.contains(&middle)) {
        let bytes = read(&dir.join(name), Owner::Admin, MOST_STATE)?.unwrap_or_default();
        found.extend(namespaces_of(&bytes, id.as_str()));
    }
    Ok(found)
}

/// Every entry of a cache as libcni keeps it in `cache_dir`, of whatever network.
#[must_use]
pub fn cached(cache_dir: &Path) -> Vec<Cached> {
    let dir = cache_dir.join("results");
    let names = list(&dir).unwrap_or_default();
    let entries = names.iter().filter_map(|name| read(&dir.join(name), Owner::Admin, MOST_STATE).ok().flatten());
    entries.filter_map(|bytes| Cached::read(&bytes)).collect()
}

/// What Multus kept of the sandbox in `cni_dir`: the delegates' configurations, and their results from its own cache.
#[must_use]
pub fn multus(cni_dir: &Path, id: &ContainerId, primary: &IfName) -> Kept {
    let scratch = cni_dir.join(id);
    let Some(bytes) = read(&scratch, Owner::Admin, MOST_STATE).ok().flatten() else { return Kept::default() };
    let mut kept = Kept { attachments: from_multus(&bytes, primary), files: vec![scratch] };
    for foreign in &mut kept.attachments {
        let entry = cni_dir.join("results").join(format!("{}-{id}-{}", foreign.list.name, foreign.ifname));
        let Some(bytes) = read(&entry, Owner::Admin, MOST_STATE).ok().flatten() else { continue };
        if let Some(cached) = from_cache(&bytes, id.as_str()) {
            foreign.result = cached.result;
            foreign.args = cached.args;
            foreign.arguments = cached.arguments;
        }
        kept.files.push(entry);
    }
    kept
}

impl Kept {
    /// Removes the files that are to go.
    pub fn forget(&self) {
        for file in &self.files {
            if let Err(error) = remove(file) {
                tracing::warn!(error = error.story(), "left behind");
            }
        }
    }
}
