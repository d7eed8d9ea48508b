//! Names that exist only if they are valid (P5): container IDs, network names, interface names, plugin types.
//!
//! Each has one fallible constructor, which cites the rule. Functions take these, never two strings side by side, so a
//! name cannot reach the place of another. Validation happens where text enters and nowhere else.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} {rule}")]
pub struct NameError {
    /// What the text should have been, in the words of the specification ("interface name").
    pub what: &'static str,
    /// The offending text, cut to 64 characters.
    pub text: String,
    /// The rule it breaks, as the end of a sentence.
    pub rule: &'static str,
}

/// What a plugin type is called in a [`NameError`].
pub(super) const PLUGIN_TYPE: &str = "plugin type";

/// A newtype for a text that keeps a rule: `name!(Type, "what it is", rule)`, the rule giving what is wrong, if anything.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:expr, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name, if `text` is valid.
            ///
            /// # Errors
            /// [`NameError`] with the rule that `text` breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                let rule: fn(&str) -> Option<&'static str> = $rule;
                match rule(&text) {
                    None => Ok(Self(text)),
                    Some(rule) => Err(NameError { what: $what, text: text.chars().take(64).collect(), rule }),
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<Path> for $type {
            fn as_ref(&self) -> &Path {
                Path::new(&self.0)
            }
        }
    };
}
pub(crate) use name;

name!(
    /// `CNI_CONTAINERID`: starts with an alphanumeric character, then alphanumerics, `_`, `.` and `-`
    /// (Section 2, "Parameters"). At most 200 bytes here, because it names directories of ours.
    ContainerId, "container ID", |text| identifier(text, 200)
);
name!(
    /// `name` of a network configuration list: as a container ID (Section 1, "Configuration format").
    NetworkName, "network name", |text| identifier(text, 253)
);
name!(
    /// `CNI_IFNAME`: what Linux takes as the name of an interface in a pod (Section 2, "Parameters"; `dev_valid_name` of
    /// the kernel). `lo`, `all` and `default` are refused too: the first is the loopback's, the others are directories of
    /// `/proc/sys/net` that stand for no single interface.
    IfName, "interface name", interface_name
);
name!(
    /// `type` of a plugin configuration: the file name of an executable in the plugin search path (Section 1, "Plugin
    /// configuration objects"). Never a path, so that no configuration reaches outside that search path.
    PluginType, PLUGIN_TYPE, plugin_type
);

/// How many single-byte edits turn `a` into `b` (Levenshtein).
#[must_use]
pub fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn identifier(text: &str, longest: usize) -> Option<&'static str> {
    let mut bytes = text.bytes();
    match bytes.next() {
        None => Some("is empty"),
        Some(first) if !first.is_ascii_alphanumeric() => Some("does not start with a letter or digit"),
        Some(_) if text.len() > longest => Some("is too long"),
        Some(_) if bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')) => None,
        Some(_) => Some("has a character other than letters, digits, \"_\", \".\" and \"-\""),
    }
}

fn interface_name(text: &str) -> Option<&'static str> {
    match text {
        "" => Some("is empty"),
        "." | ".." => Some("is reserved for directories"),
        "lo" => Some("is the loopback interface"),
        "all" | "default" => Some("stands for every interface in /proc/sys/net"),
        _ if text.len() > 15 => Some("is longer than 15 bytes"),
        _ if text.contains(['/', ':']) => Some("has a \"/\" or \":\""),
        // The kernel would put a number in its place.
        _ if text.contains('%') => Some("has a \"%\""),
        _ if text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            Some("has white space or a control character")
        }
        _ => None,
    }
}

fn plugin_type(text: &str) -> Option<&'static str> {
    match text {
        "" => Some("is empty"),
        "." | ".." => Some("is a directory, not a plugin"),
        _ if text.len() > 255 => Some("is longer than a file name can be"),
        _ if text.contains('/') => Some("has a path separator"),
        _ if text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            Some("has white space or a control character")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a5_container_ids_and_network_names() {
        for good in ["a", "0", "pod-1_x.y", &"a".repeat(200)] {
            assert!(ContainerId::new(good).is_ok(), "{good}");
            assert!(NetworkName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".", "..", "a/b", "a b", "ä", "a\n", &"a".repeat(254)] {
            assert!(ContainerId::new(bad).is_err(), "{bad}");
            assert!(NetworkName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn b9_interface_names_are_what_the_kernel_takes() {
        for good in ["eth0", "net1", "a", "pod1234567890ab", "eth0.100", "ä"] {
            assert!(IfName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "lo", "all", "default", "a/b", "a:b", "a b", "a\tb", "x%d", "sixteen-bytes-ab"] {
            assert!(IfName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn plugin_types_are_file_names() {
        assert!(PluginType::new("host-local").is_ok());
        for bad in ["", ".", "..", "../bridge", "/opt/cni/bin/bridge", "a b"] {
            assert!(PluginType::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn edits() {
        for (a, b, edits) in [("", "abc", 3), ("abc", "abc", 0), ("net-a", "neta", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn the_error_names_text_and_rule() {
        let error = IfName::new("a/b").unwrap_err().to_string();
        assert_eq!(error, "interface name \"a/b\" has a \"/\" or \":\"");
    }
}
