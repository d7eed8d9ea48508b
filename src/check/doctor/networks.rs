//! What pods' networks need on the node: signs of readiness, executables, manifests.

use std::path::PathBuf;

use crate::profile::ready::Signs;

use super::Lines;

/// What must be there beside configurations.
#[derive(Debug, Default)]
pub struct Readiness {
    /// `readinessindicatorfile`, and whether it is there.
    pub indicator: Option<(PathBuf, bool)>,
    /// The signs of the networks of every pod.
    pub signs: Vec<Signs>,
    /// Those that are missing.
    pub missing: std::collections::BTreeSet<PathBuf>,
}

/// An executable that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The plugin's type.
    pub plugin: String,
    /// Networks that need it.
    pub networks: Vec<String>,
    /// Why, with what to do.
    pub why: String,
}

/// What `networkDirs` hold.
#[derive(Debug, Default)]
pub struct Manifests {
    /// Manifests that can be used.
    pub good: usize,
    /// Those that cannot, and why.
    pub bad: Vec<String>,
    /// Manifests behind one of the same name: which is taken, and which is not.
    pub hidden: Vec<(PathBuf, PathBuf)>,
    /// The snapshot, when one of the directories is it.
    pub snapshot: Option<Snapshot>,
}

/// The marker of the snapshot.
#[derive(Debug)]
pub enum Snapshot {
    /// There is none.
    Unsynced,
    /// It cannot be used.
    Unread(String),
    /// It is there.
    Synced {
        /// The API server's revision.
        revision: String,
        /// When, as it says itself.
        time: String,
        /// It was written since this node started.
        of_this_epoch: bool,
    },
}

/// Signs of readiness.
pub fn readiness(seen: &Readiness, lines: &mut Lines) {
    const ABOUT: &str = "ready";
    if let Some((path, there)) = &seen.indicator {
        match there {
            true => lines.ok(ABOUT, format!("\"readinessindicatorfile\" {} is there", path.display())),
            false => lines.wrong(
                ABOUT,
                format!("\"readinessindicatorfile\" {} is not there", path.display()),
                "the cluster's own CNI makes it when it is up; look there, or remove the key if nothing makes it",
            ),
        }
    }
    for signs in &seen.signs {
        let own = |path: &PathBuf| format!("{} of profile {:?}", path.display(), signs.profile);
        let needs = ("and the plugin refuses every pod without it", "see whether that software runs on this node");
        let agent =
            "see whether the agent runs on this node; a profile in \"delegateProfilesDir\" can name another path";
        for (paths, (so, remedy)) in [(&signs.needs, needs), (&signs.awaits, ("so its agent does not serve", agent))] {
            for path in paths {
                match seen.missing.contains(path) {
                    false => lines.ok(ABOUT, format!("{} is there", own(path))),
                    true => lines.wrong(ABOUT, format!("{} is not there, {so}", own(path)), remedy),
                }
            }
        }
    }
}

/// Executables: `found` of them are there, in the directories `searched`.
pub fn plugins(missing: &[Missing], found: usize, lines: &mut Lines) {
    const ABOUT: &str = "plugins";
    if missing.is_empty() {
        lines.ok(ABOUT, format!("{found} found, none missing"));
    }
    lines.each(ABOUT, missing, |lines, one| {
        let mut networks: Vec<&str> = one.networks.iter().take(3).map(String::as_str).collect();
        if one.networks.len() > 3 {
            networks.push("others");
        }
        let (why, remedy) = one.why.rsplit_once("; ").unwrap_or((&one.why, "install it"));
        lines.wrong(ABOUT, format!("{why} (needed by {})", networks.join(", ")), remedy);
    });
}

/// Manifests and the snapshot.
pub fn manifests(seen: &Manifests, lines: &mut Lines) {
    const ABOUT: &str = "networks";
    lines.ok(ABOUT, format!("{} manifests can be used", seen.good));
    lines.each(ABOUT, &seen.bad, |lines, why| {
        lines.wrong(ABOUT, &**why, "correct it: pods that ask for it are refused");
    });
    lines.each(ABOUT, &seen.hidden, |lines, (taken, hidden)| {
        lines.note(ABOUT, format!("{} is taken, and hides {}", taken.display(), hidden.display()));
    });
    match &seen.snapshot {
        None => lines.note("snapshot", "none in use: \"networkDirs\" does not name it"),
        Some(Snapshot::Unsynced) => lines.wrong(
            "snapshot",
            "not synced with the API server: pods that ask for networks of it wait",
            "see whether meta-cnid runs and reaches the API server",
        ),
        Some(Snapshot::Unread(why)) => lines.wrong("snapshot", &**why, "remove it: meta-cnid writes it anew"),
        Some(Snapshot::Synced { revision, time, of_this_epoch: true }) => {
            lines.ok("snapshot", format!("synced at {time}, revision {revision}"));
        }
        Some(Snapshot::Synced { revision, time, .. }) => lines.wrong(
            "snapshot",
            format!("from before this node started: {time}, revision {revision}"),
            "see whether meta-cnid runs and reaches the API server",
        ),
    }
}
