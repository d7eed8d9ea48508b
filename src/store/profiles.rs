//! The node's own profiles: `<delegateProfilesDir>/*.json`, the admin's.

use std::path::Path;

use crate::profile::{Profile, Profiles};

use super::{MOST_CONFIG, Owner, StoreError, list, read};

/// The profiles in force: those compiled in, with the node's own over them. One that cannot be read is logged and left out.
#[must_use]
pub fn profiles(dir: &Path) -> Profiles {
    let names = list(dir).unwrap_or_default();
    let paths =
        names.iter().filter(|name| name.ends_with(".json") && !name.starts_with('.')).map(|name| dir.join(name));
    let own = paths.filter_map(|path| match profile(&path) {
        Ok(profile) => profile,
        Err(error) => {
            tracing::warn!(error = error.story(), "profile is not used");
            None
        }
    });
    Profiles::with_overrides(own.collect())
}

fn profile(path: &Path) -> Result<Option<Profile>, StoreError> {
    let Some(bytes) = read(path, Owner::Admin, MOST_CONFIG)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| StoreError::refused(path, format!("is no profile: {error}")))
}
