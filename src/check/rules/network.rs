//! MC-01x and MC-02x: what any network configuration has to say, a list or a single plugin's, ours too.

use crate::check::Kind;
use crate::check::finding::{Rule, Severity};
use crate::check::subject::{At, Findings, Mended, Subject};
use crate::cni::conf::with_plugins;
use crate::cni::raw::{WrongType, value_of};
use crate::cni::{CniVersion, ConfError, NetworkConfigList, Object};

/// A value of the wrong type.
pub const WRONG_TYPE: Rule = Rule {
    code: "MC-010",
    severity: Severity::Error,
    title: "A key holds the wrong type",
    explanation: "Nothing is guessed: a guess could cost a pod a network.",
    remedy: "Write a value of the type that is named.",
};
/// No name.
pub const NO_NAME: Rule = Rule {
    code: "MC-011",
    severity: Severity::Error,
    title: "`name` is missing",
    explanation: "The network's name is what its plugins keep addresses and state under.",
    remedy: "Give the configuration a \"name\".",
};
/// A name that is none.
pub const NAME: Rule = Rule {
    code: "MC-012",
    severity: Severity::Error,
    title: "`name` is no network name",
    explanation: "It begins with a letter or digit; letters, digits, `_`, `.` and `-` follow.",
    remedy: "Choose a name of these characters.",
};
/// A version that is not spoken.
pub const VERSION: Rule = Rule {
    code: "MC-013",
    severity: Severity::Error,
    title: "No version that is spoken",
    explanation: "Neither `cniVersion` nor any of `cniVersions` is one of 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0.",
    remedy: "Write a version that every plugin of the list speaks.",
};
/// No plugins.
pub const NO_PLUGINS: Rule = Rule {
    code: "MC-014",
    severity: Severity::Error,
    title: "No plugins",
    explanation: "There is neither `type` nor a `plugins` with something in it.",
    remedy: "List the plugins in \"plugins\", each with its \"type\".",
};
/// A plugin without a type.
pub const NO_TYPE: Rule = Rule {
    code: "MC-015",
    severity: Severity::Error,
    title: "A plugin has no `type`",
    explanation: "",
    remedy: "Name the plugin's executable in \"type\".",
};
/// A type that is no file name.
pub const PLUGIN_TYPE: Rule = Rule {
    code: "MC-016",
    severity: Severity::Error,
    title: "A `type` is not the name of an executable",
    explanation: "A path would reach outside the directories in which plugins are searched.",
    remedy: "Write the file name alone, and put the executable where plugins are searched.",
};
/// A version beside others that is not spoken.
pub const OTHER_VERSION: Rule = Rule {
    code: "MC-017",
    severity: Severity::Note,
    title: "One of the versions is not spoken",
    explanation: "The newest of the others is taken.",
    remedy: "Remove it, unless another program is to take it.",
};
/// No version at all.
pub const NO_VERSION: Rule = Rule {
    code: "MC-018",
    severity: Severity::Note,
    title: "No `cniVersion`",
    explanation: "The configuration is taken as of 0.1.0, which knows neither CHECK nor chained results.",
    remedy: "Write the newest version that every plugin of the list speaks.",
};
/// A capability that is neither on nor off.
pub const CAPABILITY: Rule = Rule {
    code: "MC-019",
    severity: Severity::Warning,
    title: "A capability is neither true nor false",
    explanation: "It counts as not declared here; a runtime refuses the whole file.",
    remedy: "Write true, or remove it.",
};
/// What only a runtime may set.
pub const RUNTIME_KEY: Rule = Rule {
    code: "MC-020",
    severity: Severity::Warning,
    title: "A key that only a runtime sets",
    explanation: "`runtimeConfig`, `prevResult` and `cni.dev/...` are taken out before the plugin is run.",
    remedy: "Remove it.",
};
/// Capabilities where nobody looks.
pub const LIST_CAPABILITIES: Rule = Rule {
    code: "MC-021",
    severity: Severity::Warning,
    title: "`capabilities` of a list",
    explanation: "Capabilities are declared by the plugins of a list; here nothing reads them.",
    remedy: "Move it into the plugin that has the capability.",
};

/// More errors of one configuration than anybody mends in one go.
const MOST_MENDED: usize = 32;

/// Everything for which the run time's parser refuses the configuration: it is asked, what it names is mended in a copy, and it is
/// asked again. `None` when there is nothing behind an error that could be judged.
pub(super) fn refused(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Option<Mended> {
    let mut object = match subject.more() {
        [] => Object::parse(subject.text).ok()?,
        more => match with_plugins(subject.text, more.iter()) {
            Ok(bytes) => Object::parse(&bytes).ok()?,
            Err(error) => {
                report(&error, subject, findings);
                return None;
            }
        },
    };
    for _ in 0..MOST_MENDED {
        match NetworkConfigList::parse(object.to_text().as_bytes(), None) {
            Ok(list) => return Some(Mended { object, list }),
            Err(error) => {
                report(&error, subject, findings);
                mend(&mut object, &error)?;
            }
        }
    }
    None
}

/// The JSON pointer of the plugin at index `at`.
pub(super) fn plugin(subject: &Subject<'_>, at: usize) -> String {
    let is_list = subject.members.find("/plugins") > 0 || !subject.more().is_empty();
    if is_list { format!("/plugins/{at}") } else { String::new() }
}

fn report(error: &ConfError, subject: &Subject<'_>, findings: &mut Findings<'_>) {
    let (rule, message) = match error.inner() {
        ConfError::Empty | ConfError::NotJson(_) => return,
        // Plugins that could not be read may be those of the directory beside it.
        ConfError::Neither if subject.document.refused.is_some() => return,
        ConfError::Key(wrong) => (&WRONG_TYPE, wrong_type(wrong)),
        ConfError::NoName => (&NO_NAME, error.story()),
        ConfError::Neither | ConfError::NoPlugins => (&NO_PLUGINS, error.story()),
        ConfError::NoType(_) => (&NO_TYPE, error.story()),
        ConfError::Name(_) if error.place().key == Some("type") => (&PLUGIN_TYPE, error.story()),
        ConfError::Name(_) => (&NAME, error.story()),
        ConfError::Version(_) => (&VERSION, error.story()),
        ConfError::InPlugin { .. } => (&WRONG_TYPE, error.story()),
    };
    let place = error.place();
    let above = place.plugin.map(|at| plugin(subject, at)).unwrap_or_default();
    let key = match place.key {
        Some(_) if rule == &VERSION && !single_version(subject) => "cniVersions",
        key => key.unwrap_or_default(),
    };
    let at = at_value(subject, &format!("{above}/{key}"), &message);
    findings.refused(rule, subject, at, &message);
}

/// A value at a pointer; of a list the element that the message speaks of, when it is one.
pub(super) fn at_value(subject: &Subject<'_>, pointer: &str, message: &str) -> At {
    let number = subject.members.find(pointer);
    let is_list = subject.members.raw(number).starts_with(b"[");
    let named = |(number, _): &(usize, _)| {
        std::str::from_utf8(subject.members.raw(*number)).is_ok_and(|raw| raw.starts_with('"') && message.contains(raw))
    };
    let element = subject.members.of_parent(number).find(named).filter(|_| is_list);
    element.map_or_else(|| At::Value(pointer.to_owned()), |(element, _)| At::Member(element))
}

/// What is wrong with the type of a value, without the decoder's line and column, which are those of the value alone.
pub(super) fn wrong_type(wrong: &WrongType) -> String {
    let source = wrong.source.to_string();
    format!("{wrong}: {}", source.split(" at line ").next().unwrap_or_default())
}

fn single_version(subject: &Subject<'_>) -> bool {
    subject.members.text(subject.members.find("/cniVersion")).is_some_and(|text| !text.is_empty())
}

/// Takes what `error` names out of `object`, or puts something valid in its place.
fn mend(object: &mut Object, error: &ConfError) -> Option<()> {
    let place = error.place();
    let key = place.key.filter(|key| *key != "plugins")?;
    let change = |object: &mut Object| match key {
        "name" | "type" => object.set_text(key, "mended"),
        "cniVersion" => object.retain(|key| key != "cniVersion" && key != "cniVersions"),
        _ => drop(object.remove(key)),
    };
    match place.plugin {
        Some(at) if object.has("plugins") => {
            let mut plugins = object.get::<Vec<Object>>("plugins", "").ok()??;
            change(plugins.get_mut(at)?);
            object.set("plugins", value_of(&plugins));
        }
        _ => change(object),
    }
    Some(())
}

/// What is taken and should not have been written.
pub(super) fn advice(kind: Kind, subject: &Subject<'_>, findings: &mut Findings<'_>) {
    versions(subject, findings);
    let members = &subject.members;
    let plugins = members.find("/plugins");
    let is_list = plugins > 0;
    for (number, _) in members.of_parent(0) {
        match members.key(number).as_deref() {
            Some("capabilities") if is_list => {
                findings.add(&LIST_CAPABILITIES, subject, At::Key(number), "\"capabilities\" of a list have no effect");
            }
            Some(key) if runtimes(key) => only_runtimes(key, number, subject, findings),
            _ => {}
        }
    }
    let single = std::iter::once(0).filter(|_| !is_list);
    let listed = members.of_parent(plugins).map(|(number, _)| number).filter(|_| is_list);
    for (number, _) in single.chain(listed).flat_map(|plugin| members.of_parent(plugin)) {
        match members.key(number).as_deref() {
            Some("capabilities") => capabilities(kind, number, subject, findings),
            Some(key) if runtimes(key) => only_runtimes(key, number, subject, findings),
            _ => {}
        }
    }
}

fn runtimes(key: &str) -> bool {
    matches!(key, "runtimeConfig" | "prevResult") || key.starts_with("cni.dev/")
}

fn only_runtimes(key: &str, number: usize, subject: &Subject<'_>, findings: &mut Findings<'_>) {
    findings.add(
        &RUNTIME_KEY,
        subject,
        At::Key(number),
        &format!("key {key:?} is for a runtime to set, not for a file"),
    );
}

/// Ours have a rule of their own, in `master`.
fn capabilities(kind: Kind, number: usize, subject: &Subject<'_>, findings: &mut Findings<'_>) {
    let rule = if kind == Kind::Master { &super::master::OWN_CAPABILITY } else { &CAPABILITY };
    for (on, _) in subject.members.of_parent(number) {
        if !matches!(subject.members.raw(on), b"true" | b"false") {
            let key = subject.members.key(on).unwrap_or_default();
            findings.add(rule, subject, At::Member(on), &format!("capability {key:?} is neither true nor false"));
        }
    }
}

fn versions(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    let members = &subject.members;
    let (single, listed) = (members.find("/cniVersion"), members.find("/cniVersions"));
    if single == 0 && listed == 0 {
        let message = "without \"cniVersion\" the configuration is taken as of version 0.1.0";
        findings.add(&NO_VERSION, subject, At::Value("/cniVersion".to_owned()), message);
    }
    for (number, _) in members.of_parent(listed).filter(|_| listed > 0) {
        let unknown = members.text(number).filter(|text| CniVersion::parse(text).is_err());
        if let Some(text) = unknown.filter(|_| !findings.any_refused()) {
            let message = format!("CNI version {text:?} is not spoken; the newest of the others is taken");
            findings.add(&OTHER_VERSION, subject, At::Member(number), &message);
        }
    }
}
