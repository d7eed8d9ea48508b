//! The rules, as one table, and the order in which they are asked.
//!
//! A rule is data; what finds it is a function of its file. docs/config.md has the table, and a test compares the two.

pub mod directory;
pub mod file;
pub mod master;
pub mod nesting;
pub mod network;
pub mod text;

use super::Kind;
use super::finding::Rule;
use super::subject::{Findings, Subject};

/// Every rule, by code.
pub const TABLE: &[&Rule] = &[
    &text::EMPTY,
    &text::TRUNCATED,
    &text::NOT_JSON,
    &text::TRAILING,
    &text::NOT_AN_OBJECT,
    &text::KEY_TWICE,
    &network::WRONG_TYPE,
    &network::NO_NAME,
    &network::NAME,
    &network::VERSION,
    &network::NO_PLUGINS,
    &network::NO_TYPE,
    &network::PLUGIN_TYPE,
    &network::OTHER_VERSION,
    &network::NO_VERSION,
    &network::CAPABILITY,
    &network::RUNTIME_KEY,
    &network::LIST_CAPABILITIES,
    &master::NO_PRIMARY,
    &master::NOT_ABSOLUTE,
    &master::PRIMARY_ROUTES,
    &master::AUXILIARY,
    &master::NOT_OURS,
    &master::UNKNOWN_KEY,
    &master::UNUSED_KEY,
    &master::IGNORED_VALUE,
    &master::NO_ANNOTATIONS,
    &master::OWN_CAPABILITY,
    &master::OWN_FILE,
    &master::NOT_APART,
    &nesting::NESTED,
    &nesting::DELEGATES,
    &nesting::META_PLUGIN,
    &nesting::MULTUS_IN_MULTUS,
    &nesting::NEVER,
    &nesting::TWICE,
    &nesting::NOT_FIRST,
    &file::UNTRUSTED,
    &file::ENDING,
    &file::OWN_ENDING,
    &file::NOT_LOADED,
    &directory::TIE,
    &directory::SAME_NAME,
    &directory::OTHER_MASTER,
    &directory::LATER_FILE,
    &directory::CHOICE,
    &directory::NO_CHOICE,
    &directory::CAPABILITY_MISSING,
];

/// Asks every rule for one document. What the run time refuses comes first, so that no bound hides it.
pub(super) fn apply(kind: Kind, subject: &Subject<'_>, findings: &mut Findings<'_>) {
    let unread = subject.document.refused.is_some() && subject.text.is_empty();
    if unread || text::parsed(subject, findings).is_none() {
        return file::rules(kind, subject, findings);
    }
    let mended = network::refused(subject, findings);
    match (kind, &mended) {
        (Kind::Master, Some(mended)) => master::rules(subject, mended, findings),
        (Kind::Network, Some(mended)) => nesting::refused(subject, mended, findings),
        (_, None) => {}
    }
    file::rules(kind, subject, findings);
    nesting::inside(kind, subject, findings);
    network::advice(kind, subject, findings);
    text::advice(subject, findings);
}

/// The table as docs/config.md has it.
#[must_use]
pub fn reference() -> String {
    let rows = TABLE.iter().map(|rule| {
        let Rule { code, severity, title, explanation, remedy } = rule;
        let explanation = if explanation.is_empty() { String::new() } else { format!(" {explanation}") };
        format!("| {code} | {severity} | **{title}.**{explanation} | {remedy} |\n")
    });
    "| code | severity | what | what to do |\n|---|---|---|---|\n".to_owned() + &rows.collect::<String>()
}
