//! The last primary configuration that was seen valid: `<stateDir>/primary.json` (docs/state.md, D8).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::plan::record::{seal, unseal};

use super::atomic::{Survives, write};
use super::{MOST_STATE, Owner, StoreError, read};

/// The configuration that was last seen valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGood {
    /// `clusterNetwork` as configured.
    pub source: String,
    /// Its file, when the source is a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its text.
    pub config: String,
}

/// The configuration last seen valid for `source` (`clusterNetwork` as configured), if there is one.
#[must_use]
pub fn last_good(state_dir: &Path, source: &str) -> Option<LastGood> {
    let bytes = read(&state_dir.join("primary.json"), Owner::Us, MOST_STATE).ok().flatten()?;
    let last: LastGood = unseal(&bytes).ok()?;
    (last.source == source).then_some(last)
}

/// Keeps the last good configuration; writes nothing when it is what is there.
///
/// # Errors
/// [`StoreError`] when it cannot be written.
pub fn keep(state_dir: &Path, good: &LastGood) -> Result<(), StoreError> {
    let path = state_dir.join("primary.json");
    let text = seal(good).map_err(|error| StoreError::refused(&path, error.to_string()))?;
    if read(&path, Owner::Us, MOST_STATE).ok().flatten().is_some_and(|bytes| bytes == text.as_bytes()) {
        return Ok(());
    }
    write(&path, text.as_bytes(), Survives::Power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d8_the_last_good_configuration_is_found_for_its_own_source() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last_good(dir.path(), "/a"), None);
        let good = LastGood { source: "/a".to_owned(), file: None, config: "{\"x\": 1}".to_owned() };
        keep(dir.path(), &good).unwrap();
        assert_eq!(last_good(dir.path(), "/a"), Some(good));
        assert_eq!(last_good(dir.path(), "/b"), None);
        std::fs::write(dir.path().join("primary.json"), "{}").unwrap();
        assert_eq!(last_good(dir.path(), "/a"), None);
    }
}
