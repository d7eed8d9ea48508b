//! MC-05x: configurations that run other networks, which must not be one below the other (D4, D6, E7).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::check::finding::{Rule, Severity};
use crate::check::members::Members;
use crate::check::subject::{At, Findings, Mended, Subject};
use crate::check::{Kind, ours};
use crate::config::master::PLUGIN_TYPE;
use crate::plan::primary::{Rejection, judge};

use super::network::plugin;

/// It would run us from us.
pub const NESTED: Rule = Rule {
    code: "MC-050",
    severity: Severity::Error,
    title: "It would run meta-cni from meta-cni",
    explanation: "A configuration below the master config's has a plugin of type `meta-cni`, at whatever depth.",
    remedy: "Name the cluster's real network there; `meta-cni repair` takes nested parts out.",
};
/// Nested delegates.
pub const DELEGATES: Rule = Rule {
    code: "MC-051",
    severity: Severity::Error,
    title: "A network with `delegates`",
    explanation: "Only a meta plugin has them: it would run networks of its own below ours. Multus' thin entrypoint writes such files.",
    remedy: "Put what is in its \"delegates\" into a file of its own; `meta-cni repair` does it and keeps a backup.",
};
/// Another meta plugin.
pub const META_PLUGIN: Rule = Rule {
    code: "MC-052",
    severity: Severity::Error,
    title: "A meta plugin in the place of a network",
    explanation: "Multus, its shim, Genie and DANM run every network of the pod a second time. None is ever chosen as the primary.",
    remedy: "Name the cluster's own network instead, and remove this file once nothing needs it; `meta-cni repair` does both.",
};
/// Multus in Multus.
pub const MULTUS_IN_MULTUS: Rule = Rule {
    code: "MC-053",
    severity: Severity::Error,
    title: "A meta plugin within the `delegates` of a meta plugin",
    explanation: "Multus' entrypoint took an older file of its own for the cluster's network. Pods fail with \"interface name ... already exists\".",
    remedy: "`meta-cni repair` takes the real network out of it and keeps a backup; or remove the file and all others of Multus but one.",
};
/// A sample file.
pub const NEVER: Rule = Rule {
    code: "MC-054",
    severity: Severity::Note,
    title: "Never chosen as the primary",
    explanation: "A sample of a package, or the loopback. It may stay where it is.",
    remedy: "If it is the primary after all, name its file in \"clusterNetwork\".",
};
/// Two of us.
pub const TWICE: Rule = Rule {
    code: "MC-055",
    severity: Severity::Error,
    title: "More than one meta-cni in a list",
    explanation: "Each would attach every network of the pod.",
    remedy: "Keep the first.",
};
/// Others before us.
pub const NOT_FIRST: Rule = Rule {
    code: "MC-056",
    severity: Severity::Error,
    title: "meta-cni is not the first of its list",
    explanation: "A plugin before it makes the interface that the primary is to make.",
    remedy: "Put it first; what is chained to the primary's result comes after it.",
};

/// What the choice of the primary refuses a configuration for.
pub(super) fn refused(subject: &Subject<'_>, mended: &Mended, findings: &mut Findings<'_>) {
    let bytes = mended.object.to_text();
    let Err(rejection) = judge(subject.document.name(), bytes.as_bytes(), subject.profiles) else { return };
    let why = rejection.to_string();
    // Inline in a master config nothing is chosen: only what runs us is refused at run time.
    let whole = subject.part.is_none();
    let found = match &rejection {
        Rejection::Nested(_) => {
            let at = At::Value(nested(subject, mended).unwrap_or_default());
            findings.refused(&NESTED, subject, at, &why);
            return;
        }
        Rejection::Delegates(at) => {
            let number = subject.members.find(&format!("{}/delegates", plugin(subject, *at)));
            findings.add(&DELEGATES, subject, At::Key(number), &why)
        }
        Rejection::MetaPlugin { at, .. } => {
            let kind = mended.list.plugins.get(*at).map(|plugin| plugin.plugin.as_str()).unwrap_or_default();
            let at = At::Value(format!("{}/type", plugin(subject, *at)));
            findings.add(&META_PLUGIN, subject, at, &format!("{kind:?}: {why}"))
        }
        Rejection::Never(_) => findings.add(&NEVER, subject, At::Value(format!("{}/type", plugin(subject, 0))), &why),
        Rejection::Name | Rejection::Unreadable(_) | Rejection::Conf(_) => return,
    };
    if let (Some(finding), true) = (found, whole) {
        finding.refused = true;
    }
}

/// Where a type of ours is in a configuration, in the file or in a plugin beside it.
fn nested(subject: &Subject<'_>, mended: &Mended) -> Option<String> {
    let here = types(&subject.members).find(|(_, kind)| kind == PLUGIN_TYPE);
    let here = here.map(|(number, _)| subject.members.pointer(number));
    here.or_else(|| crate::cni::conf::pointer_to_type(mended.object.to_text().as_bytes(), PLUGIN_TYPE).ok()?)
}

/// Every text that is the value of a key `type`.
fn types<'a>(members: &'a Members<'_>) -> impl Iterator<Item = (usize, String)> + 'a {
    let named = members.iter().filter(|(number, _)| members.key(*number).as_deref() == Some("type"));
    named.filter_map(|(number, _)| Some((number, members.text(number)?.into_owned())))
}

/// Meta plugins within others, at any depth, and ours in the wrong places of its own list.
pub(super) fn inside(kind: Kind, subject: &Subject<'_>, findings: &mut Findings<'_>) {
    let members = &subject.members;
    let own: BTreeSet<usize> = if kind == Kind::Master { ours(members).collect() } else { BTreeSet::new() };
    // Each answer once: there may be as many questions as members.
    let (mut outer, mut meta) = (BTreeMap::new(), BTreeMap::new());
    let mut is_meta =
        |name: &str| *meta.entry(name.to_owned()).or_insert_with(|| subject.profiles.meta_plugin(name).is_some());
    for (number, name) in types(members) {
        let pointer = members.pointer(number);
        let Some(object) = members.get(number).and_then(|member| member.parent) else { continue };
        if name == PLUGIN_TYPE && !own.contains(&object) {
            let message = format!("would run {PLUGIN_TYPE} from {PLUGIN_TYPE}: {pointer} is {PLUGIN_TYPE:?}");
            findings.add(&NESTED, subject, At::Member(number), &message);
            continue;
        }
        let Some(place) = delegates_above(members, object).filter(|_| is_meta(&name)) else { continue };
        let outer = outer.entry(place).or_insert_with(|| type_of(members, place));
        if let Some(outer) = outer.as_ref().filter(|outer| is_meta(outer)) {
            let message = format!(
                "{pointer} is {name:?}, within the \"delegates\" of {outer:?}: a meta plugin took its own file for the primary network"
            );
            findings.add(&MULTUS_IN_MULTUS, subject, At::Member(number), &message);
        }
    }
    let plugins = members.find("/plugins");
    for (at, number) in own.into_iter().filter(|number| *number > 0).enumerate() {
        let at_type = At::Value(format!("{}/type", members.pointer(number)));
        let first = members.of_parent(plugins).next().map(|(first, _)| first);
        if at > 0 {
            findings.add(&TWICE, subject, at_type, &format!("{PLUGIN_TYPE:?} is in this list already"));
        } else if first != Some(number) {
            findings.add(&NOT_FIRST, subject, at_type, &format!("{PLUGIN_TYPE:?} is not the first plugin of the list"));
        }
    }
}

/// The object in whose `delegates` the object `number` is.
fn delegates_above(members: &Members<'_>, number: usize) -> Option<usize> {
    let mut here = number;
    loop {
        let parent = members.get(here)?.parent?;
        if members.key(here).as_deref() == Some("delegates") {
            return Some(parent);
        }
        here = parent;
    }
}

/// The `type` of an object.
fn type_of(members: &Members<'_>, object: usize) -> Option<String> {
    let types = members.of_parent(object).filter(|(number, _)| members.key(*number).as_deref() == Some("type"));
    types.last().and_then(|(number, _)| members.text(number)).map(Cow::into_owned)
}
