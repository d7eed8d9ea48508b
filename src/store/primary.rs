//! The last primary configuration that was seen valid: `<stateDir>/primary.json` (docs/state.md, D8).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::plan::record::{seal, unseal};

use super::atomic::{Survives, write};
use super::{MOST_STATE, Owner, StoreError, read};

#[derive(Serialize, Deserialize)]
struct LastGood {
    source: String,
    config: String,
}

/// The text of the configuration last seen valid for `source` (`clusterNetwork` as configured), if there is one.
#[must_use]
pub fn last_good(state_dir: &Path, source: &str) -> Option<String> {
    let bytes = read(&state_dir.join("primary.json"), Owner::Us, MOST_STATE).ok().flatten()?;
    let last: LastGood = unseal(&bytes).ok()?;
    (last.source == source).then_some(last.config)
}

/// Keeps `config` as the last good one for `source`; writes nothing when it is what is there.
///
/// # Errors
/// [`StoreError`] when it cannot be written.
pub fn keep(state_dir: &Path, source: &str, config: &str) -> Result<(), StoreError> {
    let path = state_dir.join("primary.json");
    let text = seal(&LastGood { source: source.to_owned(), config: config.to_owned() })
        .map_err(|error| StoreError::refused(&path, error.to_string()))?;
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
        keep(dir.path(), "/a", "{\"x\": 1}").unwrap();
        assert_eq!(last_good(dir.path(), "/a").as_deref(), Some("{\"x\": 1}"));
        assert_eq!(last_good(dir.path(), "/b"), None);
        std::fs::write(dir.path().join("primary.json"), "{}").unwrap();
        assert_eq!(last_good(dir.path(), "/a"), None);
    }
}
