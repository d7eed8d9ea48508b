//! Who runs a pod's networks: the master config, its daemon, the primary, and the runtime's own view of all that.

use std::path::{Path, PathBuf};

use crate::check::finding::{Finding, Severity};
use crate::cni::{CniError, Code};
use crate::plan::master::FILE_NAME;
use crate::plan::primary::{BEHIND, Choice, is_config_name};
use crate::plan::private::Layout;

use super::Lines;

/// Whether pods start.
#[derive(Debug)]
pub enum Pods {
    /// What STATUS would say.
    Asked(Result<(), CniError>),
    /// There is no master config that could be asked about.
    NoMaster,
}

/// What is at the master config's place.
#[derive(Debug)]
pub enum Master {
    /// Nothing.
    Missing,
    /// Something that cannot be read.
    Unread(String),
    /// A file, and what is to be said of it and its directory.
    Read(Vec<Finding>),
}

/// What the daemon said.
#[derive(Debug)]
pub enum Daemon {
    /// None has told where it serves health.
    Untold,
    /// The file that tells cannot be looked at.
    Unread(String),
    /// It is none that a daemon wrote.
    Damaged(String),
    /// Nobody answers there.
    Silent {
        /// The address.
        address: String,
        /// Why.
        why: String,
    },
    /// It answered.
    Answered {
        /// The address.
        address: String,
        /// `/readyz` is 200.
        ready: bool,
        /// The lines of `/readyz`.
        lines: Vec<String>,
        /// Somebody keeps changing the file.
        fights: bool,
    },
}

/// Where the primary is looked for, and what is there.
#[derive(Debug, Default)]
pub struct Primary {
    /// `clusterNetwork`, or how else it is named.
    pub source: String,
    /// The directory, if it is in one.
    pub dir: PathBuf,
    /// Its file there, when `clusterNetwork` names it.
    pub pinned: Option<String>,
    /// What there is; none when it is not in a directory.
    pub choice: Option<Result<Choice, String>>,
    /// The profile that knows it.
    pub profile: Option<String>,
    /// The name of the network, and why it is the last good one, if it is; else why there is none.
    pub sighted: Option<Result<(String, Option<String>), CniError>>,
    /// Whether the last good one is the same; none when none is kept.
    pub kept_is_same: Option<bool>,
}

/// What the runtime says, when the daemon asked it.
#[derive(Debug, Default, Clone)]
pub struct Runtime {
    /// Its name and version.
    pub name: String,
    /// Seconds since it was asked.
    pub age: u64,
    /// Whether it calls the network ready.
    pub ready: bool,
    /// And why not.
    pub why: String,
    /// The directory it reads.
    pub conf_dir: PathBuf,
    /// The network it loaded.
    pub network: Option<String>,
    /// Why it loaded none.
    pub load_error: Option<String>,
}

/// The runtime's view, as far as there is one.
#[derive(Debug)]
pub enum View {
    /// Nobody asked, or too long ago.
    Unknown(String),
    /// What it says.
    Fresh(Runtime),
}

/// Whether pods start.
pub fn pods(seen: &Pods, lines: &mut Lines) {
    const ABOUT: &str = "pods";
    match seen {
        Pods::Asked(Ok(())) => lines.ok(ABOUT, "one without networks of its own can be started"),
        Pods::Asked(Err(error)) if error.code == Code::LIMITED => {
            lines.wrong(ABOUT, format!("the node is limited: {}", error.msg), "see what the line names");
        }
        Pods::Asked(Err(error)) => {
            lines.wrong(ABOUT, format!("none can be started: {}", error.msg), "see what the line names");
        }
        Pods::NoMaster => {
            let says = "none is given networks by meta-cni, because there is no master config that can be used";
            lines.wrong(ABOUT, says, "the next lines say what is in its place");
        }
    }
}

/// The master config at `path`; `removing`: a cleanup is under way or was ended halfway.
pub fn master(path: &Path, seen: &Master, removing: Option<&Path>, lines: &mut Lines) {
    const ABOUT: &str = "master config";
    if let Some(removing) = removing {
        let says = format!("nobody writes it, because a cleanup has begun and not ended ({})", removing.display());
        lines.wrong(ABOUT, says, "finish it with `meta-cni cleanup`, or undo it with `meta-cni install`");
    }
    let path = path.display();
    match seen {
        Master::Missing => lines.wrong(
            ABOUT,
            format!("{path} does not exist: the runtime starts pods without meta-cni, or not at all"),
            "start meta-cnid, or write it with `meta-cni install`; --config names another place",
        ),
        Master::Unread(why) => lines.wrong(ABOUT, why, "correct its owner and mode, or `meta-cni repair`"),
        Master::Read(findings) => {
            if !findings.iter().any(|finding| finding.severity == Severity::Error) {
                lines.ok(ABOUT, format!("{path} is valid"));
            }
            let told: Vec<&Finding> = findings.iter().filter(|finding| finding.severity != Severity::Note).collect();
            lines.each(ABOUT, &told, |lines, finding| match finding.severity {
                Severity::Error => lines.wrong(ABOUT, finding.to_string(), &finding.help),
                _ => lines.note(ABOUT, finding.to_string()),
            });
        }
    }
}

/// The daemon; `lives`: one shows that it runs; `culprit`: who renames our file, by what lies beside it.
pub fn daemon(seen: &Daemon, lives: bool, culprit: Option<&str>, told_in: &Path, lines: &mut Lines) {
    const ABOUT: &str = "daemon";
    match seen {
        Daemon::Untold if lives => {
            lines.ok(ABOUT, "meta-cnid runs and has not told where it serves health: what it finds is in its log");
        }
        Daemon::Untold => lines.note(ABOUT, "none: no meta-cnid runs, so nobody keeps the master config right"),
        Daemon::Unread(why) => lines.unseen(ABOUT, why),
        Daemon::Damaged(why) => {
            lines.wrong(ABOUT, why, "remove it and restart meta-cnid, which writes it anew, if it is to run");
        }
        Daemon::Silent { address, why } if lives => lines.wrong(
            ABOUT,
            format!("meta-cnid runs, but does not answer at {address}: {why}"),
            "see its log, which says whether it can serve there; restart it if it says nothing",
        ),
        Daemon::Silent { address, why } => lines.wrong(
            ABOUT,
            format!("nobody answers at {address}: {why}; the master config is not kept right"),
            &format!(
                "start meta-cnid (`systemctl status meta-cnid`), or remove {} if it is not to run",
                told_in.display()
            ),
        ),
        Daemon::Answered { address, ready: true, .. } => {
            lines.ok(ABOUT, format!("keeps the master config right ({address})"))
        }
        Daemon::Answered { address, lines: said, .. } => {
            let said: Vec<&String> = said.iter().filter(|line| !line.trim().is_empty()).collect();
            if said.is_empty() {
                lines.wrong(ABOUT, format!("is not ready and does not say why ({address})"), "see its log");
            }
            lines.each(ABOUT, &said, |lines, line| {
                lines.wrong(ABOUT, format!("says: {line}"), "see what the line names, and meta-cnid's log");
            });
        }
    }
    if let Daemon::Answered { fights: true, .. } = seen {
        let remedy = culprit.unwrap_or("find out who writes into the directory: meta-cnid's log names what it saw");
        lines.wrong(
            ABOUT,
            "restores the master config again and again, because somebody keeps taking or changing it",
            remedy,
        );
    }
}

/// The candidates, the choice and its reason, and the last good one.
pub fn primary(seen: &Primary, lines: &mut Lines) {
    match &seen.choice {
        None => {}
        Some(Err(why)) => lines.unseen("candidate", why),
        Some(Ok(choice)) => candidates(seen, choice, lines),
    }
    const ABOUT: &str = "primary";
    let of_kind =
        seen.profile.as_ref().map_or_else(|| "of no known kind".to_owned(), |name| format!("profile {name:?}"));
    match &seen.sighted {
        None => {}
        Some(Ok((network, None))) => lines.ok(ABOUT, format!("network {network:?} by {:?}, {of_kind}", seen.source)),
        Some(Ok((network, Some(why)))) => {
            let says =
                format!("{:?} cannot be used, so the last good one is (network {network:?}): {why}", seen.source);
            lines.wrong(ABOUT, says, "have the cluster's CNI write its file again");
        }
        Some(Err(error)) => lines.wrong(ABOUT, &*error.msg, "see whether the cluster's own CNI runs on this node"),
    }
    const KEPT: &str = "last good primary";
    match seen.kept_is_same {
        // It is in force, which is said above.
        _ if matches!(seen.sighted, Some(Ok((_, Some(_))))) => {}
        None => lines.note(KEPT, "none is kept yet"),
        Some(true) => lines.ok(KEPT, "is the current one"),
        Some(false) => lines.note(KEPT, "is not the current one, which the next pod or meta-cnid keeps"),
    }
}

fn candidates(seen: &Primary, choice: &Choice, lines: &mut Lines) {
    const ABOUT: &str = "candidate";
    let best = choice.primary.as_ref().map(|primary| primary.file_name.as_str());
    let chosen = seen.pinned.as_deref().or(best);
    let at = |name: &str| seen.dir.join(name).display().to_string();
    if let Some(name) =
        seen.pinned.as_deref().filter(|name| choice.verdicts.iter().all(|verdict| verdict.file_name != *name))
    {
        let says = format!("{}: not there, and \"clusterNetwork\" names it", at(name));
        lines.wrong(
            ABOUT,
            says,
            "the cluster's own CNI writes it when it is up; a running meta-cnid takes another if that is right",
        );
    }
    let verdicts: Vec<_> = choice
        .verdicts
        .iter()
        .filter(|verdict| is_config_name(&verdict.file_name) && verdict.file_name != FILE_NAME)
        .collect();
    lines.each(ABOUT, &verdicts, |lines, verdict| {
        let name = at(&verdict.file_name);
        match &verdict.rejected {
            Some(why) if Some(verdict.file_name.as_str()) == chosen && choice.unusable.contains(&verdict.file_name) => {
                lines.note(
                    ABOUT,
                    format!("{name}: chosen: \"clusterNetwork\" names it, but it cannot be used as it is: {why}"),
                );
            }
            why if Some(verdict.file_name.as_str()) == chosen => {
                let by = match (&seen.pinned, &why, &seen.profile) {
                    (Some(_), _, _) => "\"clusterNetwork\" names it",
                    (None, _, Some(_)) => "the first by name of a known kind",
                    (None, ..) => "the first by name",
                };
                let kind =
                    seen.profile.as_ref().map_or_else(|| "no profile".to_owned(), |name| format!("profile {name:?}"));
                lines.ok(ABOUT, format!("{name}: chosen: {by}; {kind}"));
            }
            None => lines
                .note(ABOUT, format!("{name}: candidate: comes first by itself, but the master config names another")),
            Some(why) if why == BEHIND => lines.note(ABOUT, format!("{name}: candidate: {why}")),
            Some(why) => lines.note(ABOUT, format!("{name}: refused: {why}")),
        }
    });
    if chosen.is_none() {
        let says = format!("no file of {} can be the primary", seen.dir.display());
        lines.wrong(ABOUT, says, "the cluster's own CNI writes its file when it is up; look there if it does not come");
    }
}

/// The node's own profiles that cannot be used, and why.
pub fn profiles(refused: &[String], lines: &mut Lines) {
    lines.each("profile", refused, |lines, why| {
        lines.wrong("profile", &**why, "correct it, or remove it: it is as if it were not there");
    });
}

/// The private conf dir, if there is one.
pub fn private(layout: &Result<Option<Layout>, String>, lines: &mut Lines) {
    const ABOUT: &str = "private conf dir";
    match layout {
        Ok(None) => {}
        Ok(Some(layout)) if layout.back => lines.note(
            ABOUT,
            format!(
                "{} is being left for {}: `meta-cni cleanup` goes on with it",
                layout.to.display(),
                layout.from.display()
            ),
        ),
        Ok(Some(layout)) => {
            lines.ok(ABOUT, format!("{}; the primary writes {}", layout.to.display(), layout.from.display()));
        }
        // It says what to do itself.
        Err(why) => lines.wrong(ABOUT, why, ""),
    }
}

/// The runtime's own view. `ours`: the directory of our file and the name of its network, if that file can be used.
pub fn runtime(view: &View, ours: Option<(&Path, &str)>, lines: &mut Lines) {
    const ABOUT: &str = "runtime";
    let seen = match view {
        View::Unknown(why) => return lines.unknown(ABOUT, format!("its view is unknown: {why}")),
        View::Fresh(seen) => seen,
    };
    let Runtime { name, age, ready, why, conf_dir, network, load_error } = seen;
    let loaded = network.as_ref().map_or_else(|| "none".to_owned(), |name| format!("{name:?}"));
    match ours {
        Some((dir, _)) if dir != conf_dir => lines.wrong(
            ABOUT,
            format!("{name} reads {}, and the master config is in {}", conf_dir.display(), dir.display()),
            &format!(
                "`meta-cni install --conf-dir {}`, or point the runtime at the other directory",
                conf_dir.display()
            ),
        ),
        Some((_, own)) if network.as_deref() != Some(own) => {
            let error = load_error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
            let says = format!("the master config is right, but {name} has loaded network {loaded}{error}");
            lines.wrong(ABOUT, says, "its watch of the directory is lost: restart it");
        }
        _ if !ready => {
            lines.wrong(ABOUT, format!("{name} says that the network is not ready: {why}"), "see what it names")
        }
        _ => lines.ok(ABOUT, format!("{name} has loaded network {loaded} from {} ({age} s ago)", conf_dir.display())),
    }
}
