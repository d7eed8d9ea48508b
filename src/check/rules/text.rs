//! MC-00x: the text as JSON, whatever it is to say.

use crate::check::finding::{Rule, Severity, offset};
use crate::check::subject::{At, Findings, Subject};
use crate::cni::{ConfError, NetworkConfigList, Object};

/// Nothing in it.
pub const EMPTY: Rule = Rule {
    code: "MC-001",
    severity: Severity::Error,
    title: "The file is empty",
    explanation: "Or holds only white space or zeros, as after a power cut or while somebody writes it.",
    remedy: "Write it again, or remove it; what cannot be written whole should be renamed into place.",
};
/// It ends too early.
pub const TRUNCATED: Rule = Rule {
    code: "MC-002",
    severity: Severity::Error,
    title: "The text ends before the JSON does",
    explanation: "It was cut off, or is being written.",
    remedy: "Write the rest of it; what cannot be written whole should be renamed into place.",
};
/// Not JSON.
pub const NOT_JSON: Rule = Rule {
    code: "MC-003",
    severity: Severity::Error,
    title: "The text is not JSON",
    explanation: "JSON has no comments, no comma after the last element, and only double quotes.",
    remedy: "Correct the text at the place that is marked.",
};
/// Something after the end.
pub const TRAILING: Rule = Rule {
    code: "MC-004",
    severity: Severity::Error,
    title: "Something follows the JSON",
    explanation: "The end of an older, longer file that was written over, for one.",
    remedy: "Remove what is marked and all that follows.",
};
/// Something else than an object.
pub const NOT_AN_OBJECT: Rule = Rule {
    code: "MC-005",
    severity: Severity::Error,
    title: "The JSON is not an object",
    explanation: "A configuration is one object with at most 4096 keys.",
    remedy: "Write one configuration, in braces.",
};
/// A key given twice.
pub const KEY_TWICE: Rule = Rule {
    code: "MC-006",
    severity: Severity::Warning,
    title: "A key is given twice in one object",
    explanation: "The last value counts here; another program may take the first.",
    remedy: "Keep one of them.",
};

/// The object that the text is; why it is none is found.
pub(super) fn parsed(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Option<Object> {
    let text = subject.text;
    let error = match NetworkConfigList::parse(text, None) {
        Err(ConfError::Empty) => {
            findings.refused(&EMPTY, subject, At::Bytes(0..0), "the file is empty");
            return None;
        }
        Err(ConfError::NotJson(error)) => error,
        _ => return Object::parse(text).ok(),
    };
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    let mut at = offset(text, error.line(), error.column());
    if said.starts_with("control character") {
        // The decoder names the byte before it.
        at += text[at..].iter().position(|byte| *byte < b' ').unwrap_or_default();
    }
    if let Some(bad) = std::str::from_utf8(text).err().map(|error| error.valid_up_to()).filter(|bad| *bad <= at) {
        findings.refused(
            &NOT_JSON,
            subject,
            At::Bytes(bad..bad + 1),
            "the text is not UTF-8: this byte is part of no character",
        );
        return None;
    }
    if error.is_eof() {
        at = text.trim_ascii_end().len();
        let message = format!("the text ends before the JSON does: {said}");
        findings.refused(&TRUNCATED, subject, At::Bytes(at..at), &message);
    } else if error.is_data() {
        let at = text.len() - text.trim_ascii_start().len();
        findings.refused(
            &NOT_AN_OBJECT,
            subject,
            At::Bytes(at..at + 1),
            &format!("the JSON is no object that can be used: {said}"),
        );
    } else if said == "trailing characters" {
        findings.refused(
            &TRAILING,
            subject,
            At::Bytes(at..text.trim_ascii_end().len().max(at)),
            "something follows the JSON",
        );
    } else {
        let rest = text.get(at + 1..).unwrap_or_default();
        let end = (at + 1 + rest.iter().take_while(|byte| **byte & 0xc0 == 0x80).count()).min(text.len());
        let bom = text.starts_with(b"\xef\xbb\xbf");
        let said = if bom { "it begins with a byte order mark" } else { said };
        findings.refused(&NOT_JSON, subject, At::Bytes(at..end), &format!("the text is not JSON: {said}"));
    }
    None
}

/// What the decoder takes and should not have been written.
pub(super) fn advice(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    for (number, _) in subject.members.iter().filter(|(_, member)| member.again) {
        let key = subject.members.key(number).unwrap_or_default();
        findings.add(
            &KEY_TWICE,
            subject,
            At::Key(number),
            &format!("key {key:?} is given twice; the last value counts"),
        );
    }
}
