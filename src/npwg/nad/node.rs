//! A document as a tree of what we look at: texts and objects. Numbers and the contents of lists are passed over.

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::npwg::error::Kind;

/// A value of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node {
    Null,
    Boolean,
    Number,
    Text(String),
    List,
    Object(Vec<(String, Node)>),
}

impl Node {
    /// What it is.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Boolean => Kind::Boolean,
            Self::Number => Kind::Number,
            Self::Text(_) => Kind::Text,
            Self::List => Kind::List,
            Self::Object(_) => Kind::Object,
        }
    }

    /// Its members, or what it is instead of an object.
    pub(super) fn as_object(&self) -> Result<&[(String, Self)], Kind> {
        match self {
            Self::Object(members) => Ok(members),
            other => Err(other.kind()),
        }
    }

    /// The value at `key`, `None` when it is missing or null, or what this is instead of an object.
    pub(super) fn get(&self, key: &str) -> Result<Option<&Self>, Kind> {
        let found = self.as_object()?.iter().find(|(name, _)| name == key);
        Ok(found.map(|(_, value)| value).filter(|value| **value != Self::Null))
    }

    /// The value at keys joined by dots, or the part of them that leads to no object and what it leads to.
    pub(super) fn at(&self, keys: &str) -> Result<Option<&Self>, (String, Kind)> {
        let mut node = self;
        let mut end = 0;
        for key in keys.split('.') {
            match node.get(key).map_err(|found| (keys[..end].to_owned(), found))? {
                None => return Ok(None),
                Some(value) => node = value,
            }
            end += key.len() + usize::from(end > 0);
        }
        Ok(Some(node))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Boolean)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members: Vec<(String, Node)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Node>()? {
            members.push((key, value));
        }
        let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                let key: String = pair[0].chars().take(64).collect();
                Err(A::Error::custom(format_args!("key {key:?} is given twice")))
            }
            None => Ok(Node::Object(members)),
        }
    }
}
