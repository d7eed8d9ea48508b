//! What can be wrong with a file in a conf dir: findings, each with its place in the text and a remedy.
//!
//! The rules are those of the run time: its own parsers and its own choice of the primary are asked, and what they refuse is a
//! finding of severity error. Beside that there is what only somebody who writes a file can be told, an unknown key for one.
//! Used by `meta-cni validate` and before anything is written to a conf dir. Pure: what a file's owner is, and what lies beside
//! it, is handed in.
#![deny(missing_docs)]

#[cfg(test)]
mod corpus_tests;
pub mod doctor;
pub mod finding;
pub mod members;
pub mod rules;
mod subject;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::cni::PluginConfig;
use crate::config::master::PLUGIN_TYPE;
use crate::profile::Profiles;

pub use finding::{Finding, Severity};
use members::Members;
pub use rules::directory::directory;
use subject::{Findings, Subject};

/// What a document is held to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Our own: a list with a plugin of our type, or a single configuration of it.
    Master,
    /// Anybody else's list or single plugin configuration.
    Network,
}

/// A document, and what is known of the file that it is from.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// Where it is from, as a person knows it.
    pub file: String,
    /// Its text.
    pub text: Vec<u8>,
    /// Absolute paths of its file, symlinks resolved or not; none when it is from no file.
    pub paths: Vec<PathBuf>,
    /// Why the file is not used at run time, whatever is in it: whose it is, its size, a plugin beside it.
    pub refused: Option<String>,
    /// The plugins in the directory beside it that belong to it.
    pub more: Vec<PluginConfig>,
}

impl Document {
    /// A document that is from no file.
    #[must_use]
    pub fn of(file: &str, text: &[u8]) -> Self {
        Self { file: file.to_owned(), text: text.to_vec(), ..Self::default() }
    }

    /// The name of its file; empty when it is from none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.paths.first().and_then(|path| path.file_name()?.to_str()).unwrap_or_default()
    }
}

/// What `text` is, by what is in it and not by what its file is called. Any bytes are something.
#[must_use]
pub fn kind_of(text: &[u8]) -> Kind {
    let members = Members::of(text);
    if ours(&members).next().is_some() { Kind::Master } else { Kind::Network }
}

/// The plugins of our type in the list, or the document itself if it is one: the numbers of their members.
fn ours<'a>(members: &'a Members<'_>) -> impl Iterator<Item = usize> + 'a {
    let plugins = members.find("/plugins");
    let listed = members.of_parent(plugins).map(|(number, _)| number).filter(move |_| plugins > 0);
    std::iter::once(0).chain(listed).filter(|number| {
        let kind = members.of_parent(*number).filter(|(member, _)| members.key(*member).as_deref() == Some("type"));
        kind.last().and_then(|(member, _)| members.text(member)).as_deref() == Some(PLUGIN_TYPE)
    })
}

/// Everything there is to say about one document, in its order.
#[must_use]
pub fn check(document: &Document, profiles: &Profiles) -> Vec<Finding> {
    check_as(kind_of(&document.text), document, profiles)
}

/// What forbids that `text` be written, or used, as what it is to be: the findings of severity error.
#[must_use]
pub fn errors(kind: Kind, document: &Document, profiles: &Profiles) -> Vec<Finding> {
    let mut findings = check_as(kind, document, profiles);
    findings.retain(|finding| finding.severity == Severity::Error);
    findings
}

fn check_as(kind: Kind, document: &Document, profiles: &Profiles) -> Vec<Finding> {
    let mut findings = Findings::new(document);
    let subject = Subject::new(document, profiles);
    rules::apply(kind, &subject, &mut findings);
    findings.done()
}
