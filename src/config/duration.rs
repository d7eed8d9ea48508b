//! Durations as configurations write them: a number and `ms`, `s` or `m` (`20s`, `150ms`, `2m`).

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// A length of time, at most one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration: write a whole number and ms, s or m, at most 60m")]
pub struct NotASpan(String);

impl Span {
    /// Whole seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl TryFrom<String> for Span {
    type Error = NotASpan;
    fn try_from(text: String) -> Result<Self, NotASpan> {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let millis = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            _ => None,
        };
        number
            .parse::<u64>()
            .ok()
            .zip(millis)
            .and_then(|(number, millis)| number.checked_mul(millis))
            .filter(|millis| *millis <= 3_600_000)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| NotASpan(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis.is_multiple_of(1000) { write!(f, "{}s", millis / 1000) } else { write!(f, "{millis}ms") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [("20s", 20_000), ("150ms", 150), ("2m", 120_000), ("0s", 0), ("60m", 3_600_000)] {
            assert_eq!(Span::try_from(text.to_owned()).unwrap().0.as_millis(), millis, "{text}");
        }
        for bad in ["", "20", "s", "-1s", "1.5s", "20 s", "1h", "61m", "99999999999999999999s", "18446744073709551615m"]
        {
            assert!(Span::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
