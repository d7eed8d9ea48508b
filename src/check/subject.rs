//! What rules are given, and where they put what they find.

use std::ops::Range;

use crate::cni::error::{LONGEST_MSG, cut, one_line};
use crate::cni::{NetworkConfigList, Object, PluginConfig};
use crate::profile::Profiles;

use super::Document;
use super::finding::{Finding, Rule, place};
use super::members::Members;

/// Findings of one document at most: who has as many mends some and asks again.
const MOST: usize = 100;

/// Characters of a pointer at most.
const LONGEST_POINTER: usize = 256;

/// A document, or a part of one that is a configuration of its own, as rules see it.
pub(super) struct Subject<'a> {
    /// The document that it is, or is in.
    pub document: &'a Document,
    /// Its text.
    pub text: &'a [u8],
    /// What is where in it.
    pub members: Members<'a>,
    /// What is known of primaries.
    pub profiles: &'a Profiles,
    /// For a part of a document: where its text begins there, and its pointer.
    pub part: Option<(usize, String)>,
}

/// Where in a subject something is.
pub(super) enum At {
    /// The value at a pointer; the start of what should hold it, when it is not there.
    Value(String),
    /// The key at a pointer.
    Key(usize),
    /// The value of a member.
    Member(usize),
    /// Bytes of a text that has no members, or none that matter.
    Bytes(Range<usize>),
    /// The file, not its text.
    File,
}

impl<'a> Subject<'a> {
    /// The whole of `document`.
    pub fn new(document: &'a Document, profiles: &'a Profiles) -> Self {
        let text = document.text.as_slice();
        Self { document, text, members: Members::of(text), profiles, part: None }
    }

    /// The configuration that the value of a member is.
    pub fn part(&self, number: usize) -> Self {
        let text = self.members.raw(number);
        let start = self.members.get(number).map_or(0, |member| member.value.start);
        let (offset, prefix) = self.part.clone().unwrap_or_default();
        let part = Some((offset + start, prefix + &self.members.pointer(number)));
        Self { text, members: Members::of(text), part, ..*self }
    }

    /// The plugins of the directory beside it; a part has none.
    pub fn more(&self) -> &'a [PluginConfig] {
        if self.part.is_none() { &self.document.more } else { &[] }
    }

    /// The span and the pointer of a place, in the document.
    fn place(&self, at: At) -> (Range<usize>, String) {
        let (span, pointer) = match at {
            At::File => (0..0, String::new()),
            At::Bytes(span) => (span, String::new()),
            At::Member(number) => self.value(number),
            At::Key(number) => {
                let key = self.members.get(number).and_then(|member| member.key.clone());
                key.map_or_else(|| self.value(number), |key| (key, self.members.pointer(number)))
            }
            At::Value(pointer) => {
                let number = self.members.find(&pointer);
                let (span, found) = self.value(number);
                // What is missing is missing where its object begins.
                let span = if found == pointer { span } else { span.start..(span.start + 1).min(span.end) };
                (span, pointer)
            }
        };
        let (offset, prefix) = self.part.clone().unwrap_or_default();
        (span.start + offset..span.end + offset, prefix + &pointer)
    }

    fn value(&self, number: usize) -> (Range<usize>, String) {
        (self.members.get(number).map_or(0..0, |member| member.value.clone()), self.members.pointer(number))
    }
}

/// What was found in a document.
pub(super) struct Findings<'a> {
    document: &'a Document,
    list: Vec<Finding>,
}

impl<'a> Findings<'a> {
    pub fn new(document: &'a Document) -> Self {
        Self { document, list: Vec::new() }
    }

    /// Adds a finding that the run time knows nothing of.
    pub fn add(&mut self, rule: &'static Rule, subject: &Subject<'_>, at: At, message: &str) -> Option<&mut Finding> {
        if self.list.len() >= MOST {
            return None;
        }
        let whole_file = matches!(at, At::File);
        let (span, pointer) = subject.place(at);
        let known = self
            .list
            .iter()
            .any(|finding| finding.code == rule.code && finding.pointer == pointer && finding.span == span);
        if known {
            return None;
        }
        let (line, column) = if whole_file { (0, 0) } else { place(&self.document.text, span.start) };
        self.list.push(Finding {
            code: rule.code,
            severity: rule.severity,
            file: self.document.file.clone(),
            line,
            column,
            span,
            pointer: cut(&pointer, LONGEST_POINTER),
            message: one_line(message, LONGEST_MSG),
            help: rule.remedy.to_owned(),
            refused: false,
        });
        self.list.last_mut()
    }

    /// Adds a finding for which the run time refuses the document.
    pub fn refused(
        &mut self,
        rule: &'static Rule,
        subject: &Subject<'_>,
        at: At,
        message: &str,
    ) -> Option<&mut Finding> {
        let finding = self.add(rule, subject, at, message)?;
        finding.refused = true;
        Some(finding)
    }

    /// True if the run time refuses the document for something that was found.
    pub fn any_refused(&self) -> bool {
        self.list.iter().any(|finding| finding.refused)
    }

    /// The findings in the order of the text.
    pub fn done(mut self) -> Vec<Finding> {
        self.list.sort_by_key(|finding| (finding.span.start, finding.severity));
        self.list
    }
}

/// A configuration with what the run time refuses mended, so that the rest of it can be judged too.
pub(super) struct Mended {
    /// As an object.
    pub object: Object,
    /// As a list.
    pub list: NetworkConfigList,
}
