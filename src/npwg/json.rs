//! JSON of strangers, one key at a time: what a value is, and typed reads whose errors name the place.
//!
//! An annotation is not deserialised into a struct, because a derive's errors speak of types and byte offsets and the
//! people who wrote the annotation know keys and elements. Values stay slices of the annotation until they are read.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::{Kind, MOST_DEPTH, Notice, Place, Problem, cut};

/// More keys than any object in an annotation has, `cni-args` excepted.
const MOST_KEYS: usize = 64;

/// What the value is: JSON's first character tells.
pub(super) fn kind(value: &RawValue) -> Kind {
    match value.get().bytes().next() {
        Some(b'n') => Kind::Null,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'"') => Kind::Text,
        Some(b'[') => Kind::List,
        Some(b'{') => Kind::Object,
        _ => Kind::Number,
    }
}

/// True if lists and objects in `text` are nested deeper than [`MOST_DEPTH`]. Total: `text` need not be JSON.
pub(super) fn too_deep(text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MOST_DEPTH {
            return true;
        }
    }
    false
}

/// The members of an object in the order written, keys given twice included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                    if members.len() > MOST_KEYS {
                        return Err(serde::de::Error::custom("too many keys"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// The members of `object`, which is one. What else could be wrong with it was found when the whole was parsed.
fn members(object: &RawValue) -> Result<Vec<(String, &RawValue)>, Problem> {
    match serde_json::from_str::<Members<'_>>(object.get()) {
        Ok(members) => Ok(members.0),
        Err(error) if error.is_data() => Err(Problem::TooManyKeys(MOST_KEYS)),
        Err(_) => Err(Problem::BadKey),
    }
}

/// The values that `object` has at the `known` keys, in that order; `null` is the same as no value. Keys are matched as
/// Go's decoder matches them for Multus: exactly, else but for upper and lower case, which `warn` is told. It is told of
/// unknown keys too, but for those with a dot, which the standard leaves to others (section 4.1.2.1).
pub(super) fn values<'a, const N: usize>(
    object: &'a RawValue,
    known: [Place; N],
    warn: &mut dyn FnMut(&str, Notice),
) -> Result<[Option<Found<'a>>; N], Problem> {
    let mut found = [None; N];
    for (key, value) in members(object)? {
        let name = |place: &Place| place.inner.unwrap_or(place.key);
        let Some(at) = known.iter().position(|place| name(place).eq_ignore_ascii_case(&key)) else {
            if !key.contains('.') {
                warn(&key, Notice::Ignored);
            }
            continue;
        };
        let place = known[at];
        if name(&place) != key {
            warn(&key, Notice::TakenAs(name(&place)));
        }
        if found[at].replace(Found { place, value }).is_some() {
            return Err(Problem::Rule { place, rule: "is given twice" });
        }
    }
    Ok(found.map(|found| found.filter(|found| kind(found.value) != Kind::Null)))
}

/// A value and the place it was found at.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) place: Place,
    pub(super) value: &'a RawValue,
}

impl<'a> Found<'a> {
    /// The value broken by a `rule`.
    pub(super) fn breaks(&self, rule: &'static str) -> Problem {
        let text = match serde_json::from_str::<String>(self.value.get()) {
            Ok(text) => format!("{:?}", cut(&text)),
            Err(_) => cut(self.value.get()),
        };
        Problem::Value { place: self.place, text, rule }
    }

    /// Fails unless the value is of the kind `expected`.
    pub(super) fn expect(&self, expected: Kind) -> Result<(), Problem> {
        match kind(self.value) {
            found if found == expected => Ok(()),
            found => Err(Problem::WrongType { place: self.place, found, expected }),
        }
    }

    fn read<T: DeserializeOwned>(&self, expected: Kind, rule: &'static str) -> Result<T, Problem> {
        self.expect(expected)?;
        serde_json::from_str(self.value.get()).map_err(|_| Problem::Rule { place: self.place, rule })
    }

    /// The value as text.
    pub(super) fn text(&self) -> Result<String, Problem> {
        self.read(Kind::Text, "has an escape that stands for no character")
    }

    /// The value as a number that is not negative and has no fraction.
    pub(super) fn whole_number(&self) -> Result<u64, Problem> {
        self.expect(Kind::Number)?;
        serde_json::from_str(self.value.get()).map_err(|_| self.breaks("is not a whole number from 0 to 2^64-1"))
    }

    /// The items of the value, which is a list.
    pub(super) fn items(&self) -> Result<Vec<Found<'a>>, Problem> {
        self.expect(Kind::List)?;
        let values: Vec<&'a RawValue> = serde_json::from_str(self.value.get())
            .map_err(|_| Problem::Rule { place: self.place, rule: "is not a valid list" })?;
        let place = self.place;
        Ok(values.into_iter().enumerate().map(|(at, value)| Found { place: place.item(at + 1), value }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(!too_deep(&nested(MOST_DEPTH)));
        assert!(too_deep(&nested(MOST_DEPTH + 1)));
        assert!(!too_deep(&format!("\"\\\"{}\"", nested(1000))));
        assert!(!too_deep(&"[]".repeat(1000)));
        assert!(!too_deep(&"]".repeat(1000)));
    }
}
