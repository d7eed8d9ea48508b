//! A JSON object looked at through a window (P4): keys in order, values as the bytes that were read.
//!
//! A delegate's configuration is somebody else's document. It is never deserialised into a struct of ours and written
//! back: a key is read or set here and everything else stays as it was, number texts, escapes and unknown keys included.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON object: keys in the order read, each value its exact text. A key given twice keeps its first place and its
/// last value, as Go's decoder does.
#[derive(Clone, Default)]
pub struct Object {
    entries: Vec<(String, Box<RawValue>)>,
}

/// More keys than any configuration has: a document with more is hostile, and looking through it would be slow.
const MOST_KEYS: usize = 4096;

/// A key of an object that is not of the type it should be.
#[derive(Debug, thiserror::Error)]
#[error("key {key:?} is not {expected}")]
pub struct WrongType {
    /// The key.
    pub key: String,
    /// What it should be, with its article ("a string").
    pub expected: &'static str,
    /// What the decoder said.
    pub source: serde_json::Error,
}

impl Object {
    /// The object that `bytes` are.
    ///
    /// # Errors
    /// The decoder's, with line and column, when `bytes` are not one JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The text of the value at `key`.
    #[must_use]
    pub fn raw(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.get())
    }

    /// True if `key` is there, also with the value `null`.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// The value at `key`, or `None` when it is missing or `null`.
    ///
    /// # Errors
    /// [`WrongType`] when it is something else than `expected` says.
    pub fn get<T: DeserializeOwned>(&self, key: &str, expected: &'static str) -> Result<Option<T>, WrongType> {
        match self.raw(key) {
            None | Some("null") => Ok(None),
            Some(text) => serde_json::from_str(text).map(Some).map_err(|source| WrongType {
                key: key.to_owned(),
                expected,
                source,
            }),
        }
    }

    /// Sets `key`, in its place when it is there, else at the end.
    pub fn set(&mut self, key: &str, value: Box<RawValue>) {
        match self.entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key.to_owned(), value)),
        }
    }

    /// Sets the keys of `other` that `which` is true for, in their order.
    pub fn copy(&mut self, other: &Self, which: impl Fn(&str) -> bool) {
        for (key, value) in other.entries.iter().filter(|(key, _)| which(key)) {
            self.set(key, value.clone());
        }
    }

    /// Sets `key` to a text.
    pub fn set_text(&mut self, key: &str, text: &str) {
        self.set(key, text_value(text));
    }

    /// Sets `key` to an object.
    pub fn set_object(&mut self, key: &str, object: &Self) {
        self.set(key, object.to_raw());
    }

    /// Removes `key` and gives what it held.
    pub fn remove(&mut self, key: &str) -> Option<Box<RawValue>> {
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(at).1)
    }

    /// Keeps the keys that `keep` is true for.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|(key, _)| keep(key));
    }

    /// True if there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and the texts of their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.get()))
    }

    /// The object as JSON text, without white space of its own; the values keep theirs.
    #[must_use]
    pub fn to_text(&self) -> String {
        let size = self.entries.iter().map(|(key, value)| key.len() + value.get().len() + 4).sum::<usize>();
        let mut text = String::with_capacity(size + 2);
        text.push('{');
        for (at, (key, value)) in self.entries.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(text_value(key).get());
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        text
    }

    /// The object as a value of another object.
    #[must_use]
    pub fn to_raw(&self) -> Box<RawValue> {
        // Keys are encoded above and values were decoded once: the text is JSON. `null` only if that is ever untrue.
        RawValue::from_string(self.to_text()).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

/// `text` as a JSON string.
#[must_use]
pub fn text_value(text: &str) -> Box<RawValue> {
    serde_json::value::to_raw_value(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Any of our own plain values as JSON; `null` for one that cannot be (maps with keys that are no texts).
#[must_use]
pub fn value_of<T: Serialize>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len()
            && self.entries.iter().zip(&other.entries).all(|(a, b)| a.0 == b.0 && a.1.get() == b.1.get())
    }
}

impl Eq for Object {}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (key, value) in &self.entries {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut object = Object::default();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    object.set(&key, value);
                    if object.entries.len() > MOST_KEYS {
                        return Err(serde::de::Error::custom(format_args!("more than {MOST_KEYS} keys in one object")));
                    }
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, change: impl FnOnce(&mut Object), expected: &str) {
        let mut object = Object::parse(text.as_bytes()).unwrap();
        change(&mut object);
        assert_eq!(object.to_text(), expected);
    }

    #[test]
    fn a36_order_numbers_escapes_and_white_space_stay() {
        let text = r#"{"z":1.50e3,"a":{"y": [1, 12345678901234567890123],"x":null},"\u0041":"\u00e4\/"}"#;
        check(text, |_| {}, &text.replace(r#""\u0041""#, r#""A""#));
        check(text, |object| object.set_text("a", "b"), r#"{"z":1.50e3,"a":"b","A":"\u00e4\/"}"#);
        check(text, |object| drop(object.remove("a")), r#"{"z":1.50e3,"A":"\u00e4\/"}"#);
    }

    #[test]
    fn a_key_given_twice_is_its_last_value() {
        check(r#"{"a":1,"b":2,"a":3}"#, |_| {}, r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn only_objects_are_objects() {
        for bad in ["", "null", "[]", "1", "{", "{}x", "{\"a\":}", "\u{feff}{}"] {
            assert!(Object::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn null_is_nothing_and_a_wrong_type_says_so() {
        let object = Object::parse(br#"{"a":null,"b":1}"#).unwrap();
        assert_eq!(object.get::<String>("a", "a string").unwrap(), None);
        assert_eq!(object.get::<String>("b", "a string").unwrap_err().to_string(), "key \"b\" is not a string");
    }
}
