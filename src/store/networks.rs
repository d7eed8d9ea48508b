//! Manifests of networks: `<networkDir>/<namespace>/<name>.{json,yaml,yml}`, the first directory that has one wins.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cni::names::distance;
use crate::npwg::nad::{Format, Nad};
use crate::npwg::{Namespace, ObjectName};

use super::{MOST_CONFIG, Owner, StoreError, list, read};

/// The endings of a manifest's file, in the order they are looked for.
const ENDINGS: [&str; 3] = ["json", "yaml", "yml"];

/// Manifests that are looked through at most: a cluster has some hundreds.
const MOST: usize = 4096;

/// A manifest that was found.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub nad: Nad,
}

/// The manifest of `namespace/name` in the first of `dirs` that has one; `None` when none has.
///
/// # Errors
/// [`StoreError`] when the first one found cannot be read, or is no manifest of that name.
pub fn find(dirs: &[PathBuf], namespace: &Namespace, name: &ObjectName) -> Result<Option<Found>, StoreError> {
    for dir in dirs {
        for ending in ENDINGS {
            let path = dir.join(namespace).join(format!("{name}.{ending}"));
            let Some(bytes) = read(&path, Owner::Admin, MOST_CONFIG)? else { continue };
            let nad = parse(&path, ending, &bytes)?;
            if nad.name != *name || nad.namespace.as_ref().is_some_and(|other| other != namespace) {
                let other = nad.namespace.as_ref().unwrap_or(namespace);
                return Err(StoreError::refused(&path, format!("is the manifest of {other}/{}", nad.name)));
            }
            return Ok(Some(Found { path, nad }));
        }
    }
    Ok(None)
}

/// The names of every manifest in `dirs`, as far as they can be listed; some thousands at most.
#[must_use]
pub fn all(dirs: &[PathBuf]) -> BTreeSet<(Namespace, ObjectName)> {
    let mut names = BTreeSet::new();
    for dir in dirs {
        for namespace in list(dir).unwrap_or_default().into_iter().filter_map(|name| Namespace::new(name).ok()) {
            let files = list(&dir.join(&namespace)).unwrap_or_default();
            let stems = files.iter().filter_map(|file| file.rsplit_once('.').filter(|(_, end)| ENDINGS.contains(end)));
            let found = stems.filter_map(|(stem, _)| Some((namespace.clone(), ObjectName::new(stem).ok()?)));
            names.extend(found.take(MOST.saturating_sub(names.len())));
        }
    }
    names
}

/// Manifests behind one of the same name in an earlier directory, or of an earlier ending: the one that is taken, and the one
/// that is not.
#[must_use]
pub fn hidden(dirs: &[PathBuf]) -> Vec<(PathBuf, PathBuf)> {
    let mut hidden = Vec::new();
    for (namespace, name) in all(dirs) {
        let files =
            dirs.iter().flat_map(|dir| ENDINGS.map(|ending| dir.join(&namespace).join(format!("{name}.{ending}"))));
        let mut there = files.filter(|path| super::exists(path));
        if let Some(taken) = there.next() {
            hidden.extend(there.map(|path| (taken.clone(), path)));
        }
    }
    hidden
}

/// The marker of the snapshot: `networks/.synced` (docs/state.md).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Synced {
    /// The API server's `resourceVersion`.
    pub revision: String,
    /// When, RFC 3339.
    pub time: String,
    /// In which epoch.
    pub epoch: String,
}

/// Where the snapshot is.
#[must_use]
pub fn snapshot(state_dir: &Path) -> PathBuf {
    state_dir.join("networks")
}

/// The marker of the snapshot; `None` when there is none.
///
/// # Errors
/// [`StoreError`] when it cannot be read, or is none.
pub fn synced(state_dir: &Path) -> Result<Option<Synced>, StoreError> {
    let path = snapshot(state_dir).join(".synced");
    let Some(bytes) = read(&path, Owner::Us, 64 << 10)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| StoreError::refused(&path, format!("is no marker: {error}")))
}

fn parse(path: &Path, ending: &str, bytes: &[u8]) -> Result<Nad, StoreError> {
    let format = Format::of_extension(ending).unwrap_or(Format::Json);
    Nad::parse(bytes, format).map_err(|error| StoreError::refused(path, format!("is no network manifest: {error}")))
}

/// Names of networks in `namespace` that are like `name`, the likest first, at most three.
#[must_use]
pub fn nearest(dirs: &[PathBuf], namespace: &Namespace, name: &ObjectName) -> Vec<String> {
    let mut names: Vec<(usize, String)> = dirs
        .iter()
        .flat_map(|dir| list(&dir.join(namespace)).unwrap_or_default())
        .filter_map(|file| {
            file.rsplit_once('.').filter(|(_, end)| ENDINGS.contains(end)).map(|(stem, _)| stem.to_owned())
        })
        .map(|stem| (distance(&stem, name.as_str()), stem))
        .filter(|(distance, stem)| *distance <= stem.len().max(4) / 2)
        .collect();
    names.sort();
    names.dedup();
    names.into_iter().take(3).map(|(_, stem)| stem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_wins_and_like_names_are_offered() {
        let dir = tempfile::tempdir().unwrap();
        let dirs: Vec<PathBuf> = ["one", "two"].iter().map(|name| dir.path().join(name)).collect();
        let manifest = |name: &str, config: &str| {
            format!(
                "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {{name: {name}}}\nspec: {{config: '{config}'}}\n"
            )
        };
        for (dir, file, text) in [
            (&dirs[0], "net-a.yaml", manifest("net-a", "{}")),
            (&dirs[1], "net-a.yaml", manifest("net-a", "[]")),
            (&dirs[1], "net-b.yaml", manifest("net-c", "{}")),
        ] {
            let path = dir.join("default").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let namespace = Namespace::new("default").unwrap();
        let name = |text: &str| ObjectName::new(text).unwrap();
        let found = find(&dirs, &namespace, &name("net-a")).unwrap().unwrap();
        assert_eq!((found.nad.config.as_deref(), found.path), (Some("{}"), dirs[0].join("default/net-a.yaml")));
        assert!(find(&dirs, &namespace, &name("neta")).unwrap().is_none());
        assert_eq!(nearest(&dirs, &namespace, &name("neta")), ["net-a", "net-b"]);
        let error = find(&dirs, &namespace, &name("net-b")).unwrap_err().story();
        assert!(error.ends_with("is the manifest of default/net-c"), "{error}");
    }
}
