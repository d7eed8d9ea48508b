//! The node's own profiles: `<delegateProfilesDir>/*.json`, the admin's.

use std::path::Path;

use crate::profile::{Profile, Profiles};

use super::{MOST_CONFIG, Owner, StoreError, list, read};

/// The profiles in force: those compiled in, with the node's own over them. One that cannot be read is logged and left out.
#[must_use]
pub fn profiles(dir: &Path) -> Profiles {
    let (profiles, refused) = sifted(dir);
    for error in refused {
        tracing::warn!(error, "profile is not used");
    }
    profiles
}

/// The profiles in force, and why each of the node's own that is left out cannot be used.
#[must_use]
pub fn sifted(dir: &Path) -> (Profiles, Vec<String>) {
    let names = list(dir).unwrap_or_default();
    let paths =
        names.iter().filter(|name| name.ends_with(".json") && !name.starts_with('.')).map(|name| dir.join(name));
    let mut refused = Vec::new();
    let own = paths.filter_map(|path| {
        profile(&path).unwrap_or_else(|error| {
            refused.push(error.story());
            None
        })
    });
    let own = own.collect();
    (Profiles::with_overrides(own), refused)
}

fn profile(path: &Path) -> Result<Option<Profile>, StoreError> {
    let Some(bytes) = read(path, Owner::Admin, MOST_CONFIG)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| StoreError::refused(path, format!("is no profile: {error}")))
}
