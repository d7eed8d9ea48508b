//! Why an annotation is refused, and what about an accepted one deserves a word.
//!
//! Each text is one line and short, whatever the annotation holds: offending text is cut and escaped. It says which
//! element (counted from 1), which key, and what is wrong; not which annotation, which the caller knows.

use std::fmt;

use crate::cni::names::{IfName, NameError};

/// The largest annotation that is looked at. Kubernetes itself bounds all annotations of a pod together to this.
pub const MOST_BYTES: usize = 256 * 1024;

/// The most attachments one pod may ask for.
pub const MOST_ELEMENTS: usize = 64;

/// The deepest nesting of lists and objects in an annotation; `cni-args` of plugins stay far below.
pub const MOST_DEPTH: usize = 64;

/// Why an annotation is not a list of selections.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// The text is larger than [`MOST_BYTES`].
    #[error("longer than {MOST_BYTES} bytes")]
    TooLarge,
    /// The text is nested deeper than [`MOST_DEPTH`].
    #[error("lists and objects nested deeper than {MOST_DEPTH} levels")]
    TooDeep,
    /// The text has a bracket, a brace or a quote, so it should be JSON, and is not.
    #[error("not JSON: {0}")]
    NotJson(serde_json::Error),
    /// The text is JSON but no list.
    #[error("{found} instead of a list of objects")]
    NotAList {
        /// What it is.
        found: Kind,
    },
    /// More than [`MOST_ELEMENTS`] elements.
    #[error("{count} elements, the most is {MOST_ELEMENTS}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// Something is wrong within one element.
    #[error("element {position}: {problem}")]
    Element {
        /// Position of the element, counted from 1.
        position: usize,
        /// What is wrong.
        problem: Problem,
    },
    /// Two elements ask for the same interface name (B10).
    #[error("element {second}: interface name {:?} is asked for by element {first} too", .name.as_str())]
    SameInterface {
        /// The earlier element, counted from 1.
        first: usize,
        /// The later element, counted from 1.
        second: usize,
        /// The name.
        name: IfName,
    },
    /// Two elements have `default-route` (B15).
    #[error("element {second}: key \"default-route\" is set on element {first} too, only one may have it")]
    TwoDefaultRoutes {
        /// The earlier element, counted from 1.
        first: usize,
        /// The later element, counted from 1.
        second: usize,
    },
    /// An annotation for the default network that does not name exactly one.
    #[error("{count} elements, must be exactly one")]
    NotOne {
        /// How many there are.
        count: usize,
    },
}

/// What is wrong within one element.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// An element of the list is no object.
    #[error("{found} instead of an object")]
    NotAnObject {
        /// What it is.
        found: Kind,
    },
    /// A reference `[namespace/]name[@interface]` with a separator too many.
    #[error("{text:?} has more than one {separator:?}")]
    Separators {
        /// The reference, cut.
        text: String,
        /// The separator.
        separator: &'static str,
    },
    /// A name of an object, a namespace or an interface is invalid (B2, B9).
    #[error("{0}")]
    Name(NameError),
    /// A value is not of the type it should be.
    #[error("{place} is {found}, not {expected}")]
    WrongType {
        /// Where.
        place: Place,
        /// What it is.
        found: Kind,
        /// What it should be.
        expected: Kind,
    },
    /// A value of the right type breaks a rule.
    #[error("{place}: {text} {rule}")]
    Value {
        /// Where.
        place: Place,
        /// The value as JSON, cut.
        text: String,
        /// The rule it breaks, as the end of a sentence.
        rule: &'static str,
    },
    /// A key breaks a rule by being there, or not, or by its size.
    #[error("{place} {rule}")]
    Rule {
        /// Where.
        place: Place,
        /// The rule it breaks, as the end of a sentence.
        rule: &'static str,
    },
    /// More keys than any element has.
    #[error("an object with more than {0} keys")]
    TooManyKeys(usize),
    /// A key that is no text: it has half of a surrogate pair.
    #[error("a key has an escape that stands for no character")]
    BadKey,
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

/// A place within an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The key of the element.
    pub key: &'static str,
    /// The item of the list at that key, counted from 1.
    pub item: Option<usize>,
    /// The key within that item or value.
    pub inner: Option<&'static str>,
}

impl Place {
    /// The value at `key`.
    #[must_use]
    pub const fn key(key: &'static str) -> Self {
        Self { key, item: None, inner: None }
    }

    /// Item `number`, counted from 1, of the list here.
    #[must_use]
    pub const fn item(self, number: usize) -> Self {
        Self { item: Some(number), ..self }
    }

    /// The value at `key` of the object here.
    #[must_use]
    pub const fn inner(self, key: &'static str) -> Self {
        Self { inner: Some(key), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key \"{}\"", self.key)?;
        if let Some(item) = self.item {
            write!(f, " item {item}")?;
        }
        if let Some(inner) = self.inner {
            write!(f, " key \"{inner}\"")?;
        }
        Ok(())
    }
}

/// What a value is, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is what its name says")]
pub enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    List,
    Object,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::List => "a list",
            Self::Object => "an object",
        })
    }
}

/// Something about an accepted element that its author should know: what was asked for is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Position of the element, counted from 1.
    pub element: usize,
    /// The key as written, cut.
    pub key: String,
    /// What became of it.
    pub notice: Notice,
}

/// What became of a key that a [`Warning`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Not known, therefore without effect.
    Ignored,
    /// Taken as the key it resembles but for upper and lower case, as Multus does.
    TakenAs(&'static str),
    /// Works, but has been replaced.
    Deprecated(&'static str),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "element {}: key {:?} ", self.element, self.key)?;
        match self.notice {
            Notice::Ignored => f.write_str("is not known and has no effect"),
            Notice::TakenAs(key) => write!(f, "is taken as \"{key}\""),
            Notice::Deprecated(key) => write!(f, "is deprecated, write \"{key}\""),
        }
    }
}

/// `text` for a message: its first 64 characters.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}
