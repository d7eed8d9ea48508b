//! MC-06x: the file that the text is in.

use crate::check::Kind;
use crate::check::finding::{Rule, Severity};
use crate::check::subject::{At, Findings, Subject};
use crate::plan::primary::is_config_name;

/// Not the admin's alone, too large, with a broken plugin beside it.
pub const UNTRUSTED: Rule = Rule {
    code: "MC-060",
    severity: Severity::Error,
    title: "The file is not used",
    explanation: "It is not root's alone, or no regular file, or larger than 1 MiB, or a plugin in the directory that belongs to it cannot be used.",
    remedy: "Mend what the sentence names: `chown root` and `chmod 600` for a file that others may write.",
};
/// The ending says something else than the content.
pub const ENDING: Rule = Rule {
    code: "MC-061",
    severity: Severity::Warning,
    title: "The file's ending is not that of its content",
    explanation: "Runtimes take `.conflist` for a list and `.conf` and `.json` for a single plugin, and pass over what is something else.",
    remedy: "Rename it: `.conflist` for a list, `.conf` for a single plugin.",
};
/// The same of ours.
pub const OWN_ENDING: Rule = Rule {
    code: "MC-062",
    severity: Severity::Error,
    title: "The master config's ending is not that of its content",
    explanation: "The runtime passes over it, and pods start without their networks.",
    remedy: "Rename it: `.conflist` for a list, `.conf` for a single plugin.",
};
/// A name that nobody loads.
pub const NOT_LOADED: Rule = Rule {
    code: "MC-063",
    severity: Severity::Note,
    title: "No runtime loads a file of this name",
    explanation: "Only `.conf`, `.conflist` and `.json` are loaded, and here no hidden ones.",
    remedy: "Rename it if it is to be loaded.",
};

/// What the file's name and owner say.
pub(super) fn rules(kind: Kind, subject: &Subject<'_>, findings: &mut Findings<'_>) {
    let document = subject.document;
    if let Some(why) = &document.refused {
        findings.refused(&UNTRUSTED, subject, At::File, why);
    }
    let name = document.name();
    if name.is_empty() {
        return;
    }
    if !is_config_name(name) {
        findings.add(&NOT_LOADED, subject, At::File, &format!("no runtime loads a file called {name:?}"));
        return;
    }
    let is_list = subject.members.find("/plugins") > 0 || !document.more.is_empty();
    let is_single = subject.members.find("/type") > 0;
    let said = match name.ends_with(".conflist") {
        true if !is_list && is_single => "a list is expected in a .conflist, and this is a single plugin configuration",
        false if is_list => "a single plugin configuration is expected in a .conf or .json, and this is a list",
        _ => return,
    };
    let rule = if kind == Kind::Master { &OWN_ENDING } else { &ENDING };
    findings.add(rule, subject, At::File, said);
}
