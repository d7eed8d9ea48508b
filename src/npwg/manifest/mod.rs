//! Kubernetes manifests as far as we read them: a tree of texts and objects, and typed reads whose errors name the key.
//!
//! One manifest in one document, JSON or YAML, as an API server or a person writes it. Numbers and the contents of lists
//! are passed over: nothing we look at is one. YAML is read from its parser's events because that is all a manifest needs; a
//! complete deserialiser would be half of the plugin's binary.

mod json;
mod yaml;

use std::collections::BTreeMap;

use super::error::{Kind, cut};
use super::names::{Namespace, ObjectName};
use crate::cni::names::NameError;

/// The largest manifest that is looked at; an API server takes no larger object.
pub const MOST_BYTES: usize = 1024 * 1024;

/// How a manifest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML, one document.
    Yaml,
}

impl Format {
    /// The format of files with this extension (without its dot).
    #[must_use]
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// Why a manifest is refused. Each text is one line and short.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The manifest is larger than [`MOST_BYTES`].
    #[error("larger than {MOST_BYTES} bytes")]
    TooLarge,
    /// The manifest is not JSON.
    #[error("not a JSON manifest: {0}")]
    NotJson(serde_json::Error),
    /// The manifest is not YAML, or has what a manifest has no use for.
    #[error("not a YAML manifest: {what} at line {line}, column {column}")]
    NotYaml {
        /// What is wrong.
        what: String,
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
    },
    /// A required key is missing.
    #[error("key \"{key}\" is missing")]
    Missing {
        /// The key, with the keys that lead to it.
        key: &'static str,
    },
    /// The manifest itself is not an object.
    #[error("the manifest is {found}, not an object")]
    NotAnObject {
        /// What it is.
        found: Kind,
    },
    /// A value is not of the type it should be.
    #[error("key {key:?} is {found}, not {expected}")]
    WrongType {
        /// The key, with the keys that lead to it.
        key: String,
        /// What it is.
        found: Kind,
        /// What it should be.
        expected: Kind,
    },
    /// The manifest is of another kind or version.
    #[error("key \"{key}\" is {text:?}, not {expected:?}")]
    Other {
        /// The key.
        key: &'static str,
        /// Its value, cut.
        text: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A name is invalid.
    #[error("key \"{key}\": {error}")]
    Name {
        /// The key, with the keys that lead to it.
        key: &'static str,
        /// What is wrong.
        error: NameError,
    },
}

/// A value of a manifest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node {
    Null,
    Boolean,
    Number,
    Text(String),
    List,
    Object(BTreeMap<String, Node>),
}

const ANNOTATIONS: &str = "metadata.annotations";

/// A manifest of the right kind. One for an object yet to be created may have no name.
pub(super) struct Manifest {
    root: Node,
    pub(super) namespace: Option<Namespace>,
    pub(super) name: Option<ObjectName>,
}

impl Manifest {
    /// The manifest in `bytes`, which must be of `api_version` and `kind`.
    pub(super) fn parse(
        bytes: &[u8],
        format: Format,
        api_version: &'static str,
        kind: &'static str,
    ) -> Result<Self, ManifestError> {
        if bytes.len() > MOST_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let root = match format {
            Format::Json => serde_json::from_slice(bytes).map_err(ManifestError::NotJson)?,
            Format::Yaml => yaml::read(bytes)?,
        };
        if root.kind() != Kind::Object {
            return Err(ManifestError::NotAnObject { found: root.kind() });
        }
        root.expect("apiVersion", api_version)?;
        root.expect("kind", kind)?;
        let key = "metadata.name";
        let name = root.text(key)?.map(ObjectName::new).transpose();
        let name = name.map_err(|error| ManifestError::Name { key, error })?;
        let key = "metadata.namespace";
        let namespace = root.text(key)?.filter(|text| !text.is_empty()).map(Namespace::new).transpose();
        let namespace = namespace.map_err(|error| ManifestError::Name { key, error })?;
        Ok(Self { root, namespace, name })
    }

    /// The text at keys joined by dots, `None` when it is missing or null.
    pub(super) fn text(&self, keys: &'static str) -> Result<Option<&str>, ManifestError> {
        self.root.text(keys)
    }

    /// The annotation `name`, `None` when it is missing or null.
    pub(super) fn annotation(&self, name: &str) -> Result<Option<&str>, ManifestError> {
        match self.root.at(ANNOTATIONS)? {
            None => Ok(None),
            Some(annotations) => annotations.member(ANNOTATIONS, name)?.map(|value| value.as_text(name)).transpose(),
        }
    }

    /// All annotations.
    pub(super) fn annotations(&self) -> Result<BTreeMap<String, String>, ManifestError> {
        let annotation = |(name, value): (&String, &Node)| Ok((name.clone(), value.as_text(name)?.to_owned()));
        match self.root.at(ANNOTATIONS)? {
            None => Ok(BTreeMap::new()),
            Some(Node::Object(annotations)) => annotations.iter().map(annotation).collect(),
            Some(other) => Err(other.wrong_type(ANNOTATIONS, Kind::Object)),
        }
    }
}

impl Node {
    fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Boolean => Kind::Boolean,
            Self::Number => Kind::Number,
            Self::Text(_) => Kind::Text,
            Self::List => Kind::List,
            Self::Object(_) => Kind::Object,
        }
    }

    fn wrong_type(&self, key: &str, expected: Kind) -> ManifestError {
        ManifestError::WrongType { key: key.to_owned(), found: self.kind(), expected }
    }

    /// The value at `key` of this, which is what `path` leads to; `None` when it is missing or null.
    fn member(&self, path: &str, key: &str) -> Result<Option<&Self>, ManifestError> {
        match self {
            Self::Object(members) => Ok(members.get(key).filter(|value| **value != Self::Null)),
            other => Err(other.wrong_type(path, Kind::Object)),
        }
    }

    /// The value at keys joined by dots.
    fn at(&self, keys: &str) -> Result<Option<&Self>, ManifestError> {
        let mut node = self;
        let mut end = 0;
        for key in keys.split('.') {
            match node.member(&keys[..end], key)? {
                None => return Ok(None),
                Some(value) => node = value,
            }
            end += key.len() + usize::from(end > 0);
        }
        Ok(Some(node))
    }

    fn as_text(&self, key: &str) -> Result<&str, ManifestError> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.wrong_type(key, Kind::Text)),
        }
    }

    fn text(&self, keys: &'static str) -> Result<Option<&str>, ManifestError> {
        self.at(keys)?.map(|value| value.as_text(keys)).transpose()
    }

    fn expect(&self, key: &'static str, expected: &'static str) -> Result<(), ManifestError> {
        match self.text(key)? {
            None => Err(ManifestError::Missing { key }),
            Some(text) if text == expected => Ok(()),
            Some(text) => Err(ManifestError::Other { key, text: cut(text), expected }),
        }
    }
}
