//! CNI versions and what each can do ("Version considerations" of the specification, and its change log).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of the CNI specification that we speak. Ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[expect(missing_docs, reason = "each variant is the version in its name")]
pub enum CniVersion {
    V0_1_0,
    V0_2_0,
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

/// A version that we do not speak: code 1 for the runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("CNI version {0:?} is not one of 0.1.0 to 1.1.0")]
pub struct UnknownVersion(pub String);

impl CniVersion {
    /// Every version that we speak, oldest first (A1).
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest version that we speak.
    pub const NEWEST: Self = Self::V1_1_0;

    /// A configuration without `cniVersion` is of the first version (the specification's rule for old configurations).
    pub const WHEN_MISSING: Self = Self::V0_1_0;

    /// The version named by `text`, for example `1.0.0`.
    ///
    /// # Errors
    /// [`UnknownVersion`] when we do not speak it.
    pub fn parse(text: &str) -> Result<Self, UnknownVersion> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| UnknownVersion(text.chars().take(64).collect()))
    }

    /// The version as configurations write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// CHECK exists, and DEL is given `prevResult`, from 0.4.0.
    #[must_use]
    pub fn has_check(self) -> bool {
        self >= Self::V0_4_0
    }

    /// GC and STATUS exist from 1.1.0.
    #[must_use]
    pub fn has_gc_and_status(self) -> bool {
        self >= Self::V1_1_0
    }
}

impl fmt::Display for CniVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for CniVersion {
    type Error = UnknownVersion;
    fn try_from(text: String) -> Result<Self, UnknownVersion> {
        Self::parse(&text)
    }
}

impl From<CniVersion> for String {
    fn from(version: CniVersion) -> String {
        version.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a1_versions_are_ordered_and_round_trip() {
        assert!(CniVersion::ALL.is_sorted());
        for version in CniVersion::ALL {
            assert_eq!(CniVersion::parse(version.as_str()), Ok(version));
        }
        assert!(CniVersion::parse("0.3").is_err());
        assert!(CniVersion::parse("").is_err());
        assert!(CniVersion::parse("2.0.0").is_err());
    }

    #[test]
    fn a6_operations_by_version() {
        let checks: Vec<bool> = CniVersion::ALL.iter().map(|version| version.has_check()).collect();
        assert_eq!(checks, [false, false, false, false, true, true, true]);
        let gc: Vec<bool> = CniVersion::ALL.iter().map(|version| version.has_gc_and_status()).collect();
        assert_eq!(gc, [false, false, false, false, false, false, true]);
    }
}
