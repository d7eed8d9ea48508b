//! Names of Kubernetes objects, valid or not at all: namespaces and the objects in them (B2).
//!
//! Each has one fallible constructor; a namespace cannot take the place of a name. Section 3.3 of the standard asks for
//! units of DNS-1123 labels: a namespace is one label, an object's name may be several, joined by dots.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cni::names::{NameError, name};

name!(
    /// A namespace: one DNS-1123 label, at most 63 bytes.
    Namespace, "namespace", label
);
name!(
    /// The name of an object in a namespace: DNS-1123 labels joined by dots, at most 253 bytes.
    ObjectName, "name", subdomain
);

const LABEL_CHARACTERS: &str = "has a character other than lower-case letters, digits and \"-\"";
const LABEL_ENDS: &str = "does not start and end with a lower-case letter or digit";

fn label(text: &str) -> Option<&'static str> {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(_), Some(_)) if text.len() > 63 => Some("is longer than 63 bytes"),
        (Some(_), Some(_)) if !bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-') => Some(LABEL_CHARACTERS),
        (Some(&first), Some(&last)) if alphanumeric(first) && alphanumeric(last) => None,
        (Some(_), Some(_)) => Some(LABEL_ENDS),
        _ => Some("is empty"),
    }
}

fn subdomain(text: &str) -> Option<&'static str> {
    if text.len() > 253 {
        return Some("is longer than 253 bytes");
    }
    if !text.contains('.') {
        return label(text);
    }
    text.split('.').find_map(label).map(|rule| match rule {
        "is empty" => "has an empty part before, after or between its dots",
        "is longer than 63 bytes" => "has a part longer than 63 bytes",
        LABEL_ENDS => "has a part that does not start and end with a lower-case letter or digit",
        _ => "has a character other than lower-case letters, digits, \"-\" and \".\"",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b2_namespaces_are_labels() {
        for good in ["a", "0", "kube-system", "a--b", &"a".repeat(63)] {
            assert!(Namespace::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-", "-a", "a-", "A", "a.b", "a_b", "a/b", "ä", "a b", "a\n", "..", &"a".repeat(64)] {
            assert!(Namespace::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn b2_object_names_are_labels_joined_by_dots() {
        let longest = [&*"a".repeat(63), &*"b".repeat(63), &*"c".repeat(63), &*"d".repeat(61)].join(".");
        assert_eq!(longest.len(), 253);
        for good in ["a", "net-a", "net.a", "10.macvlan", &longest] {
            assert!(ObjectName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a.", ".a", "a..b", "a.-b", "Net", "a_b", "a/b", "../a", "a b", &"a".repeat(64)] {
            assert!(ObjectName::new(bad).is_err(), "{bad}");
        }
        assert!(ObjectName::new(format!("{longest}e")).is_err());
    }

    #[test]
    fn the_error_names_text_and_rule() {
        let check = |text: &str, expected: &str| {
            assert_eq!(ObjectName::new(text).unwrap_err().to_string(), expected);
        };
        check("", "name \"\" is empty");
        check("a_b", "name \"a_b\" has a character other than lower-case letters, digits and \"-\"");
        check("a.b_c", "name \"a.b_c\" has a character other than lower-case letters, digits, \"-\" and \".\"");
        check("a..b", "name \"a..b\" has an empty part before, after or between its dots");
    }
}
