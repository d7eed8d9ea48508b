//! MC-03x and MC-04x: the master config's own object.

use std::path::Path;

use crate::check::finding::{Rule, Severity};
use crate::check::subject::{At, Findings, Mended, Subject};
use crate::check::{Kind, ours};
use crate::cni::ConfError;
use crate::cni::raw::{Object, text_value, value_of};
use crate::config::apart::{BIN, CONF, PRIMARY, not_apart};
use crate::config::keys::nearest;
use crate::config::master::PLUGIN_TYPE;
use crate::config::places::{BIN_DIR, CONF_DIR};
use crate::config::{ConfigError, MasterConfig, WarningKind};
use crate::plan::master::{ANNOTATIONS, FILE_NAME};
use crate::plan::primary::is_config_name;

use super::{nesting, network};

/// No primary.
pub const NO_PRIMARY: Rule = Rule {
    code: "MC-030",
    severity: Severity::Error,
    title: "No primary network",
    explanation: "The master config has neither `clusterNetwork` nor `delegates`.",
    remedy: "Name the file or directory of the cluster's own network in \"clusterNetwork\".",
};
/// A path that is relative.
pub const NOT_ABSOLUTE: Rule = Rule {
    code: "MC-031",
    severity: Severity::Error,
    title: "A path that is not absolute",
    explanation: "A plugin is started in any directory. In `clusterNetwork` and `defaultNetworks` only what has a `/` is a path.",
    remedy: "Write the whole path, from \"/\".",
};
/// Routes that are none.
pub const PRIMARY_ROUTES: Rule = Rule {
    code: "MC-032",
    severity: Severity::Error,
    title: "`primaryRoutes` has something that is no network",
    explanation: "The default route is none either: it is what moves.",
    remedy: "Write networks such as \"10.96.0.0/12\" or \"fd00:10::/64\".",
};
/// A chain that cannot be found.
pub const AUXILIARY: Rule = Rule {
    code: "MC-033",
    severity: Severity::Error,
    title: "`auxiliaryCNIChainName` leads nowhere",
    explanation: "It is the name of a directory beside the file of `clusterNetwork`.",
    remedy: "Write a network name, and a path in \"clusterNetwork\".",
};
/// No plugin of ours.
pub const NOT_OURS: Rule = Rule {
    code: "MC-034",
    severity: Severity::Error,
    title: "No plugin of type `meta-cni`",
    explanation: "It was to be a master config.",
    remedy: "Put a plugin of type \"meta-cni\" first in \"plugins\".",
};
/// A key that nobody knows.
pub const UNKNOWN_KEY: Rule = Rule {
    code: "MC-035",
    severity: Severity::Error,
    title: "An unknown key",
    explanation: "At run time it is a warning in the log, so that an older meta-cni reads a newer one's file.",
    remedy: "Correct its spelling, or remove it.",
};
/// A key that does nothing.
pub const UNUSED_KEY: Rule = Rule {
    code: "MC-036",
    severity: Severity::Note,
    title: "A key without effect",
    explanation: "One of Multus that has nothing to do here, or one of a later version.",
    remedy: "It may stay.",
};
/// A value that is not taken.
pub const IGNORED_VALUE: Rule = Rule {
    code: "MC-037",
    severity: Severity::Warning,
    title: "A value that is not taken",
    explanation: "Or that has no effect beside another key.",
    remedy: "Correct or remove it.",
};
/// No annotations.
pub const NO_ANNOTATIONS: Rule = Rule {
    code: "MC-038",
    severity: Severity::Warning,
    title: "The runtime is not asked for annotations",
    explanation: "Without the capability `io.kubernetes.cri.pod-annotations` it does not hand them over, and no pod can be started.",
    remedy: "Add \"io.kubernetes.cri.pod-annotations\": true to \"capabilities\".",
};
/// A capability of ours that is neither on nor off.
pub const OWN_CAPABILITY: Rule = Rule {
    code: "MC-039",
    severity: Severity::Error,
    title: "A capability of the master config is neither true nor false",
    explanation: "Runtimes refuse the whole file then, and take the next one: pods would start without their networks.",
    remedy: "Write true, or remove it.",
};
/// It is its own primary.
pub const OWN_FILE: Rule = Rule {
    code: "MC-040",
    severity: Severity::Error,
    title: "`clusterNetwork` is the master config's own file",
    explanation: "It would run meta-cni from meta-cni, which is refused at run time too.",
    remedy: "Name the file of the cluster's own network.",
};
/// A directory of ours that is somebody else's too.
pub const NOT_APART: Rule = Rule {
    code: "MC-041",
    severity: Severity::Error,
    title: "`stateDir` or `runDir` is in another's directory, or has one in it",
    explanation: "In a conf dir our files would be taken for networks; what is in ours `meta-cni cleanup` removes.",
    remedy: "Say a directory of its own.",
};

/// More errors of one object than anybody mends in one go.
const MOST_MENDED: usize = 32;

/// Everything about the first plugin of our type in a list that is one.
pub(super) fn rules(subject: &Subject<'_>, mended: &Mended, findings: &mut Findings<'_>) {
    let Some(config) = refused(subject, mended, findings) else { return };
    let Some(own) = ours(&subject.members).next() else { return };
    let place = subject.members.pointer(own);
    for warning in &config.warnings {
        let rule = match warning.kind {
            WarningKind::Unused => &UNUSED_KEY,
            WarningKind::Unknown => &UNKNOWN_KEY,
            WarningKind::Ignored => &IGNORED_VALUE,
        };
        let key = warning.key.replace('~', "~0").replace('/', "~1");
        let number = subject.members.find(&format!("{place}/{key}"));
        let at = if warning.kind == WarningKind::Ignored { At::Member(number) } else { At::Key(number) };
        if let (Some(finding), true) = (findings.add(rule, subject, at, &warning.to_string()), rule == &UNKNOWN_KEY)
            && let Some(known) = nearest(&warning.key)
        {
            finding.help = format!("Did you mean {known:?}?");
        }
    }
    let annotations = subject.members.find(&format!("{place}/capabilities/{}", ANNOTATIONS.replace('/', "~1")));
    let asked =
        subject.members.key(annotations).as_deref() == Some(ANNOTATIONS) && subject.members.raw(annotations) == b"true";
    if !asked {
        let message =
            format!("capability {ANNOTATIONS:?} is not declared: the runtime will not hand over what pods ask for");
        findings.add(&NO_ANNOTATIONS, subject, At::Value(format!("{place}/capabilities")), &message);
    }
    apart(subject, &config, &place, findings);
    primary(subject, &config, &place, findings);
}

/// Where the file is the runtime looks; of one that is nowhere, or of a part, the usual place is known.
fn apart(subject: &Subject<'_>, config: &MasterConfig, place: &str, findings: &mut Findings<'_>) {
    let mut others = vec![(BIN, config.bin_dir.as_deref().unwrap_or(Path::new(BIN_DIR))), (CONF, Path::new(CONF_DIR))];
    let own = subject.document.paths.iter().filter(|path| path.file_name().is_some_and(|name| name == FILE_NAME));
    others.extend(own.filter_map(|path| Some((CONF, path.parent()?))));
    if let Some(primary) = config.cluster_network.as_ref().filter(|primary| primary.starts_with('/')).map(Path::new) {
        // Of a file nobody lists the directory.
        let is_file = primary.file_name().and_then(|name| name.to_str()).is_some_and(is_config_name);
        others.extend((!is_file).then_some((PRIMARY, primary)));
    }
    if let Some((key, why)) = not_apart(&config.state_dir, &config.run_dir, &others) {
        findings.add(&NOT_APART, subject, At::Value(format!("{place}/{key}")), &why);
    }
}

/// `clusterNetwork`, or the configurations in `delegates`, which are judged as files would be.
fn primary(subject: &Subject<'_>, config: &MasterConfig, place: &str, findings: &mut Findings<'_>) {
    let delegates = subject.members.find(&format!("{place}/delegates"));
    let has_delegates = subject.members.key(delegates).as_deref() == Some("delegates");
    match &config.cluster_network {
        Some(path) => {
            if subject.document.paths.iter().any(|own| own.as_os_str() == path.as_str()) {
                let at = At::Value(format!("{place}/clusterNetwork"));
                findings.add(&OWN_FILE, subject, at, &format!("\"clusterNetwork\" is this file itself: {path:?}"));
            }
            if has_delegates {
                let message = "\"delegates\" has no effect beside \"clusterNetwork\"";
                findings.add(&IGNORED_VALUE, subject, At::Key(delegates), message);
            }
        }
        None => {
            for (number, _) in subject.members.of_parent(delegates).filter(|_| has_delegates) {
                let part = subject.part(number);
                if let Some(mended) = network::refused(&part, findings) {
                    nesting::refused(&part, &mended, findings);
                }
                network::advice(Kind::Network, &part, findings);
            }
        }
    }
}

/// Everything for which the run time refuses the object, as in [`network::refused`].
fn refused(subject: &Subject<'_>, mended: &Mended, findings: &mut Findings<'_>) -> Option<MasterConfig> {
    let own = ours(&subject.members).next();
    let place = own.map(|own| subject.members.pointer(own)).unwrap_or_default();
    let mut object = mended.object.clone();
    for _ in 0..MOST_MENDED {
        let text = object.to_text();
        let error = match MasterConfig::from_file(text.as_bytes()).and_then(MasterConfig::with_primary) {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let key = report(&error, subject, &place, findings)?;
        mend(&mut object, key)?;
    }
    None
}

/// Says what is wrong, and gives the key.
fn report<'a>(
    error: &'a ConfigError,
    subject: &Subject<'_>,
    place: &str,
    findings: &mut Findings<'_>,
) -> Option<&'a str> {
    let (key, message) = match error {
        ConfigError::Conf(ConfError::Key(wrong)) => (wrong.key.as_str(), network::wrong_type(wrong)),
        // The list was asked before: what it would be refused for is mended.
        ConfigError::Conf(error) => (error.place().key?, error.story()),
        ConfigError::Key { key, .. } => (*key, error.to_string()),
    };
    let pointer = format!("{place}/{key}");
    let there = subject.members.pointer(subject.members.find(&pointer)) == pointer;
    let rule = match (error, key) {
        (ConfigError::Conf(_), _) => &network::WRONG_TYPE,
        (_, "plugins") => &NOT_OURS,
        (_, "primaryRoutes") => &PRIMARY_ROUTES,
        (_, "auxiliaryCNIChainName") => &AUXILIARY,
        (_, "clusterNetwork") if !there || subject.members.raw(subject.members.find(&pointer)) == b"null" => {
            &NO_PRIMARY
        }
        (_, "clusterNetwork") if message.contains(" is missing") => &NO_PRIMARY,
        _ => &NOT_ABSOLUTE,
    };
    let at = if rule == &NOT_OURS {
        At::Value("/plugins".to_owned())
    } else {
        network::at_value(subject, &pointer, &message)
    };
    findings.refused(rule, subject, at, &message);
    (rule != &NOT_OURS).then_some(key)
}

/// Takes `key` out of our object, or puts something valid in its place.
fn mend(list: &mut Object, key: &str) -> Option<()> {
    let change = |object: &mut Object| match key {
        // Absolute, so that what needs a path is content too.
        "clusterNetwork" => object.set("clusterNetwork", text_value("/mended")),
        key => drop(object.remove(key)),
    };
    if !list.has("plugins") {
        change(list);
        return Some(());
    }
    let mut plugins = list.get::<Vec<Object>>("plugins", "").ok()??;
    let ours =
        |plugin: &&mut Object| plugin.get::<String>("type", "").is_ok_and(|kind| kind.as_deref() == Some(PLUGIN_TYPE));
    change(plugins.iter_mut().find(ours)?);
    list.set("plugins", value_of(&plugins));
    Some(())
}
