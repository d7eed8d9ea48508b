//! YAML as a [`Node`]: the events of the parser, stacked.
//!
//! What a manifest has no use for is refused rather than interpreted: a second document, aliases (and with them every
//! document that unfolds to more than it is), tags, merge keys, keys given twice. Nothing here recurses, nesting and number of
//! values are bounded. Plain words are what the core schema of YAML 1.2 makes of them.

use std::collections::BTreeMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{ManifestError, Node};
use crate::npwg::error::cut;

/// The deepest nesting; manifests stay below twenty.
const MOST_DEPTH: usize = 64;

/// The most values and keys; manifests have some dozens.
const MOST_VALUES: usize = 50_000;

/// A list or an object that has begun and not ended.
enum Open {
    List,
    Object { members: BTreeMap<String, Node>, key: Option<String> },
}

/// The value of the one document in `bytes`, null for none.
pub(super) fn read(bytes: &[u8]) -> Result<Node, ManifestError> {
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    let options = granit_parser::options! { flow_nesting_limit: MOST_DEPTH, block_nesting_limit: MOST_DEPTH };
    let mut tree = Tree::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) =
            event.map_err(|error| fault(error.marker(), error.info().replace(char::is_control, " ")))?;
        tree.take(event).map_err(|what| fault(&span.start, what))?;
    }
    Ok(tree.root.unwrap_or(Node::Null))
}

/// The document as far as it was read.
#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    root: Option<Node>,
    values: usize,
}

impl Tree {
    /// Takes the next event, or says what a manifest has no use for.
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err("a second document".to_owned()),
            Event::Alias(_) | Event::UnresolvedAlias(_) => Err("an alias".to_owned()),
            Event::MappingStart(_, _, Some(_)) | Event::SequenceStart(_, _, Some(_)) => Err("a tag".to_owned()),
            Event::MappingStart(..) => {
                self.open.push(Open::Object { members: BTreeMap::new(), key: None });
                Ok(())
            }
            Event::SequenceStart(..) => {
                self.open.push(Open::List);
                Ok(())
            }
            Event::MappingEnd | Event::SequenceEnd => match self.open.pop() {
                Some(Open::Object { members, .. }) => self.put(Node::Object(members)),
                _ => self.put(Node::List),
            },
            Event::Scalar(text, style, _, tag) => match self.open.last_mut() {
                Some(Open::Object { members, key: key @ None }) => {
                    *key = Some(new_key(members, &text, style)?);
                    Ok(())
                }
                _ => self.put(scalar(&text, style, tag.as_deref()).ok_or("a tag")?),
            },
            _ => Ok(()),
        }
    }

    /// Puts a value where the document has it.
    fn put(&mut self, node: Node) -> Result<(), String> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err("more values than a manifest has".to_owned());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List) => {}
            Some(Open::Object { members, key }) => {
                members.insert(key.take().ok_or("a key that is no text")?, node);
            }
        }
        Ok(())
    }
}

fn new_key(members: &BTreeMap<String, Node>, text: &str, style: ScalarStyle) -> Result<String, String> {
    match text {
        "<<" if style == ScalarStyle::Plain => Err("a merge key".to_owned()),
        _ if members.contains_key(text) => Err(format!("key {:?} is given twice", cut(text))),
        _ => Ok(text.to_owned()),
    }
}

/// What a scalar is; nothing when it has a tag other than that of texts.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Option<Node> {
    let is_text = match tag {
        None => style != ScalarStyle::Plain,
        Some(tag) if tag.is_yaml_core_schema_tag("str") => true,
        Some(_) => return None,
    };
    Some(match text {
        _ if is_text => Node::Text(text.to_owned()),
        "" | "~" | "null" | "Null" | "NULL" => Node::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Node::Boolean,
        _ if is_number(text) => Node::Number,
        _ => Node::Text(text.to_owned()),
    })
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let first = digits.strip_prefix('.').unwrap_or(digits).bytes().next();
    let hexadecimal = text.strip_prefix("0x").is_some_and(|text| u128::from_str_radix(text, 16).is_ok());
    let octal = text.strip_prefix("0o").is_some_and(|text| u128::from_str_radix(text, 8).is_ok());
    let decimal = first.is_some_and(|byte| byte.is_ascii_digit()) && digits.parse::<f64>().is_ok();
    let special = matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN");
    hexadecimal || octal || decimal || special
}

fn fault(at: &Marker, what: String) -> ManifestError {
    ManifestError::NotYaml { what, line: at.line(), column: at.col() + 1 }
}

fn not_utf8(bytes: &[u8], at: usize) -> ManifestError {
    let before = &bytes[..at];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
    ManifestError::NotYaml { what: "a byte that is not UTF-8".to_owned(), line, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_are_what_the_core_schema_says() {
        for text in ["", "~", "null", "NULL"] {
            assert_eq!(read(text.as_bytes()).unwrap(), Node::Null, "{text}");
        }
        for text in ["true", "False"] {
            assert_eq!(read(text.as_bytes()).unwrap(), Node::Boolean, "{text}");
        }
        for text in ["0", "-1", "+1", "1.5", ".5", "1e3", "0x1F", "0o17", ".inf", "-.inf", ".NaN", "007"] {
            assert_eq!(read(text.as_bytes()).unwrap(), Node::Number, "{text}");
        }
        for text in ["inf", "nan", "e3", "1_000", "1.0.0", "10.0.0.1", "-", "0x", "yes", "tRue", "a-1", "2001-01-01"] {
            let text = if text == "-" { "'-'" } else { text };
            assert!(matches!(read(text.as_bytes()), Ok(Node::Text(_))), "{text}");
        }
        for text in ["'1'", "\"null\"", "!!str 1", "!!str", "|\n  1", ">\n  1"] {
            assert!(matches!(read(text.as_bytes()), Ok(Node::Text(_))), "{text}");
        }
    }

    #[test]
    fn what_a_manifest_has_no_use_for_is_refused() {
        let check = |text: &str, expected: &str| {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, format!("not a YAML manifest: {expected}"), "{text}");
        };
        check("a: &x 1\nb: *x", "an alias at line 2, column 4");
        check("a: 1\n<<: {b: 1}", "a merge key at line 2, column 1");
        check("a: !!binary YQ==", "a tag at line 1, column 13");
        check("a: !mine {}", "a tag at line 1, column 10");
        check("{}\n---\n{}", "a second document at line 2, column 1");
        check("a: 1\nb: 2\na: 3", "key \"a\" is given twice at line 3, column 1");
        check("{a: 1}: 2", "a key that is no text at line 1, column 6");
        check("? [a]\n: 2", "a key that is no text at line 1, column 5");
    }

    #[test]
    fn keys_are_texts_whatever_they_look_like() {
        let Node::Object(members) = read(b"1: a\ntrue: b\n'<<': c\n~: d\n").unwrap() else { unreachable!() };
        assert_eq!(members.keys().collect::<Vec<_>>(), ["1", "<<", "true", "~"]);
    }

    #[test]
    fn comments_and_document_marks_are_nothing() {
        let text = b"# a\n%YAML 1.2\n---\n# b\na: 1 # c\n...\n# d\n";
        assert!(matches!(read(text), Ok(Node::Object(members)) if members.len() == 1));
    }
}
