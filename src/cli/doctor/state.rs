//! Facts about what meta-cni keeps: records, the queue, the quarantine, the sweep, calls under way, left-overs.

use std::collections::BTreeSet;
use std::path::Path;

use crate::act::live::is_live;
use crate::check::doctor::Lines;
use crate::check::doctor::state::{self as judge, Queued, Sweep};
use crate::clock::boot_seconds;
use crate::exec::cancel::{holders, since};
use crate::install::master::Dirs;
use crate::plan::record::State;
use crate::store::records::{Records, quarantined};
use crate::store::{epoch, identity, is_dir, queue, sweep};

use super::super::repair::foreseen;
use super::Node;
use super::config::dir_of;

pub(super) fn all(node: &Node, lines: &mut Lines) {
    judge::records(&records(&node.config.state_dir), lines);
    let (queued, unseen) = queue(node);
    judge::queue(&queued, &unseen, lines);
    let aside = quarantined(&node.config.state_dir).map_err(|error| error.story());
    let aside = aside.map(|all| all.into_iter().map(|(path, reason)| (path.display().to_string(), reason)).collect());
    judge::quarantine(&aside, lines);
    judge::sweep(&sweep_of(node), lines);
    judge::adds(&who_has(&node.config.run_dir.join("adding")), lines);
    leftovers(node, lines);
}

fn records(state_dir: &Path) -> judge::Records {
    let records = Records::new(state_dir);
    let mut seen = judge::Records::default();
    let ids = records.sandboxes().unwrap_or_else(|error| {
        seen.unseen.push(error.story());
        Vec::new()
    });
    for id in ids {
        let found = match records.of(&id) {
            Ok(found) => found,
            Err(error) => {
                seen.unseen.push(error.story());
                continue;
            }
        };
        // A tombstone stands for nothing.
        for record in found.records.iter().filter(|record| record.state != State::Undone) {
            match is_live(record) {
                true => seen.live += 1,
                false => {
                    seen.stale
                        .push(format!("{id} {} (network {:?})", record.attachment.ifname, record.attachment.network));
                }
            }
        }
        seen.damaged.extend(found.damaged.iter().map(|one| format!("{} {}", one.path.display(), one.why)));
    }
    seen
}

fn queue(node: &Node) -> (Vec<Queued>, Vec<String>) {
    let (mut queued, mut unseen) = (Vec::new(), Vec::new());
    let (now, epoch) = (boot_seconds(), epoch::known(&node.config.run_dir));
    let state_dir = &node.config.state_dir;
    let ids = queue::sandboxes(state_dir).unwrap_or_else(|error| {
        unseen.push(error.story());
        Vec::new()
    });
    for id in ids {
        match queue::of(state_dir, &id) {
            Ok(entries) => queued.extend(entries.into_iter().map(|(ifname, due)| Queued {
                what: format!("{id} {ifname}"),
                attempts: due.attempts,
                due_in: if epoch.as_ref() == Some(&due.epoch) { due.due.saturating_sub(now) } else { 0 },
                error: due.error,
            })),
            Err(error) => unseen.push(error.story()),
        }
    }
    (queued, unseen)
}

fn sweep_of(node: &Node) -> Sweep {
    let run_dir = &node.config.run_dir;
    let now = boot_seconds();
    let said = sweep::said(run_dir, now);
    let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    Sweep {
        due_in: said.map(|(at, _)| signed(at) - signed(now)),
        said_ago: said.and_then(|(_, ago)| ago).map(|ago| ago.as_secs()),
        under_way: who_has(&run_dir.join("sweeping")).into_iter().max_by_key(|(_, age)| *age),
        interval: node.config.sweep_interval.0.as_secs(),
    }
}

/// The processes that have the file open, and for how many seconds they have run.
fn who_has(path: &Path) -> Vec<(i32, u64)> {
    let Some((dev, ino)) = identity(path) else { return Vec::new() };
    holders(dev, ino).into_iter().map(|one| (one.pid, since(one.start).as_secs())).collect()
}

/// What `meta-cni repair` would do in the runtime's directory and in the primary's.
fn leftovers(node: &Node, lines: &mut Lines) {
    let dirs = Dirs::of(Some(&node.config.state_dir), Some(&node.config.run_dir));
    let place = node.config.cluster_network.as_deref().filter(|place| place.contains('/')).map(Path::new);
    let of_primary = place.map(|place| if is_dir(place) { place } else { dir_of(place) });
    let places: BTreeSet<&Path> = [dir_of(&node.file)].into_iter().chain(of_primary).collect();
    let found: Result<Vec<Vec<String>>, String> = places
        .into_iter()
        .map(|dir| {
            let found = foreseen(dir, &dirs, &node.profiles)?;
            Ok(found.into_iter().map(|what| format!("{}: {what}", dir.display())).collect())
        })
        .collect();
    judge::leftovers(&found.map(|found| found.concat()), lines);
}
