//! Facts about the master config, its daemon, the primary and the runtime.

use std::path::Path;

use crate::check::doctor::Lines;
use crate::check::doctor::config::{self as judge, Master, Pods, Primary, Runtime, View};
use crate::clock::boot_seconds;
use crate::gather::Resolver;
use crate::gather::status::Judge;
use crate::plan::master::FILE_NAME;
use crate::plan::primary::choose;
use crate::store::confdir::candidates;
use crate::store::life::lives;
use crate::store::master::is_removing;
use crate::store::runtime::{self, RuntimeView};
use crate::store::{epoch, is_dir, list, private};

use super::super::validate::findings;
use super::{Node, daemon as asking};

/// Whether pods start: the judgement of STATUS itself.
pub(super) fn pods(node: &Node, lines: &mut Lines) {
    let seen = if node.usable {
        let (config, path) = (node.config.clone(), node.path.clone());
        Pods::Asked(Judge { config, path, keeps: false, started: node.started }.judge())
    } else {
        Pods::NoMaster
    };
    judge::pods(&seen, lines);
}

pub(super) fn master(node: &Node, lines: &mut Lines) {
    let seen = match findings(&node.file, &node.profiles) {
        Ok(None) => Master::Missing,
        Ok(Some(findings)) => Master::Read(findings),
        Err(why) => Master::Unread(why),
    };
    let removing = node.config.run_dir.join("removing");
    let removing = is_removing(&node.config.run_dir).then_some(removing.as_path());
    judge::master(&node.file, &seen, removing, lines);
    let layout = private::layout(&node.config.state_dir).map_err(|error| error.story());
    judge::private(&layout, lines);
}

pub(super) fn daemon(node: &Node, lines: &mut Lines) {
    let told_in = node.config.run_dir.join("meta-cnid.health");
    let names = list(dir_of(&node.file)).unwrap_or_default();
    let culprit = node.profiles.culprit(FILE_NAME, names.iter().map(String::as_str));
    // What cannot be looked at there is said of the address beside it.
    let lives = lives(&node.config.run_dir).unwrap_or_default();
    judge::daemon(&asking::ask(&told_in), lives, culprit.as_deref(), &told_in, lines);
}

pub(super) fn primary(node: &Node, lines: &mut Lines) {
    let resolver = Resolver::looking(&node.config);
    let kept = resolver.remembered();
    let sighted = resolver.sighted();
    let now = sighted.as_ref().ok().map(|(network, _)| network);
    let mut seen = Primary {
        source: node.config.cluster_network.clone().unwrap_or_else(|| "delegates".to_owned()),
        kept_is_same: kept.map(|kept| now.is_some_and(|now| now.list == kept.list)),
        profile: now.map(|network| network.signs.profile.clone()).filter(|name| !name.is_empty()),
        ..Primary::default()
    };
    seen.sighted = Some(sighted.map(|(network, last_good)| (network.list.name.to_string(), last_good)));
    if let Some(place) = node.config.cluster_network.as_deref().filter(|place| place.contains('/')) {
        let place = Path::new(place);
        // Without a master config it is the directory that one would be made from, be it there or not.
        if !node.usable || is_dir(place) {
            place.clone_into(&mut seen.dir);
        } else {
            dir_of(place).clone_into(&mut seen.dir);
            seen.pinned = place.file_name().map(|name| name.to_string_lossy().into_owned());
        }
        let choice = candidates(&seen.dir).map(|candidates| choose(candidates, &node.profiles));
        seen.choice = Some(choice.map_err(|error| error.story()));
    }
    judge::primary(&seen, lines);
    judge::profiles(&node.refused_profiles, lines);
}

pub(super) fn runtime(node: &Node, lines: &mut Lines) {
    let run_dir = &node.config.run_dir;
    let view = match runtime::read(run_dir) {
        Ok(None) => View::Unknown("no daemon has asked it".to_owned()),
        Err(error) => View::Unknown(error.story()),
        Ok(Some(view)) => fresh(view, &epoch::known(run_dir).unwrap_or_default(), boot_seconds()),
    };
    let ours = node.usable.then(|| (dir_of(&node.file), node.config.name.as_str()));
    judge::runtime(&view, ours, lines);
}

fn fresh(view: RuntimeView, epoch: &str, now: u64) -> View {
    let age = now.saturating_sub(view.boot);
    match () {
        () if view.epoch != epoch => View::Unknown("it was asked before this node started".to_owned()),
        () if !view.is_fresh(epoch, now) => View::Unknown(format!("it was last asked {age} s ago")),
        () => View::Fresh(Runtime {
            name: format!("{} {}", view.runtime, view.runtime_version).trim().to_owned(),
            age,
            ready: view.network_ready,
            why: [view.reason, view.message].join(" ").trim().to_owned(),
            conf_dir: view.conf_dir,
            network: view.network,
            load_error: view.load_error,
        }),
    }
}

/// The directory of a file.
pub(super) fn dir_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}
