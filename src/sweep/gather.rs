//! The first step: what is on disk of every sandbox, and what the kernel says of its namespaces. Reads, and changes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::act::Context;
use crate::act::live::{Place, is_live, place};
use crate::cni::{CniError, ContainerId, IfName};
use crate::plan::record::Record;
use crate::plan::sweep::{Facts, Fate};
use crate::store::foreign::{LIBCNI_CACHE, namespaces};
use crate::store::leases::booted;
use crate::store::records::Damaged;
use crate::store::sweep::{stale_temporaries, written};
use crate::store::{is_untidy, lock, queue};

/// What is known of every sandbox of this node that left anything here.
pub(super) fn all(context: &Context) -> Result<Vec<Facts>, CniError> {
    let mut ids = BTreeSet::new();
    ids.extend(context.records.sandboxes()?);
    ids.extend(queue::sandboxes(&context.config.state_dir)?);
    let locked = lock::sandboxes(&context.config.run_dir)?;
    let without: Vec<ContainerId> = locked.into_iter().filter(|id| !ids.contains(id)).collect();
    let mut facts = Vec::new();
    for id in ids {
        match of(context, id) {
            Ok(one) => facts.push(one),
            // One that cannot be read keeps nobody from finishing the others.
            Err(error) => tracing::warn!("left alone: {}", error.msg),
        }
    }
    facts.extend(without.into_iter().map(|id| empty(id, true)));
    Ok(facts)
}

/// What is known of one sandbox.
pub(super) fn of(context: &Context, id: ContainerId) -> Result<Facts, CniError> {
    let found = context.records.of(&id)?;
    let queue_dir = context.config.state_dir.join("queue").join(&id);
    let records: Vec<(Record, bool)> = found
        .records
        .into_iter()
        .map(|record| {
            let live = is_live(&record);
            (record, live)
        })
        .collect();
    let damaged = request(&records, &found.damaged)
        .map(|request| (request, fate(&context.config.run_dir, &id, &records, &found.damaged)));
    Ok(Facts {
        records,
        damaged,
        queue: queue::of(&context.config.state_dir, &id)?,
        untidy: context.records.is_untidy(&id) || is_untidy(&queue_dir),
        ..empty(id, false)
    })
}

/// Temporary files of writers that died, outside the places of sandboxes.
pub(super) fn litter(context: &Context) -> Vec<PathBuf> {
    let config = &context.config;
    let (status, quarantine) = (config.run_dir.join("status"), config.state_dir.join("quarantine"));
    [&config.state_dir, &config.run_dir, &status, &quarantine]
        .into_iter()
        .flat_map(|dir| stale_temporaries(dir))
        .collect()
}

fn empty(id: ContainerId, untidy: bool) -> Facts {
    Facts { id, records: Vec::new(), damaged: None, queue: Vec::new(), untidy }
}

/// The interface name of the runtime's call that damaged records most likely belong to: that of their neighbours, else that of
/// the first.
fn request(records: &[(Record, bool)], damaged: &[Damaged]) -> Option<IfName> {
    let first = damaged.first()?;
    let known = records.first().map(|(record, _)| record.request.clone());
    let told = || first.request.iter().chain([&first.ifname]).find_map(|name| IfName::new(name.clone()).ok());
    known.or_else(told).or_else(|| IfName::new("eth0").ok())
}

/// What became of a sandbox with damaged records. What can be read tells; else libcni, which remembers every ADD that
/// succeeded until its DEL; else what is left of the damaged bytes; else, that nothing older than the boot lives.
fn fate(run_dir: &Path, id: &ContainerId, records: &[(Record, bool)], damaged: &[Damaged]) -> Fate {
    // One that others made says nothing of a namespace.
    let mut telling = records.iter().filter(|(record, _)| record.netns.is_some()).peekable();
    if telling.peek().is_some() {
        return if telling.any(|(_, live)| *live) { Fate::Live } else { Fate::Gone };
    }
    let gone = |paths: &[PathBuf]| paths.iter().all(|path| place(path) == Place::Gone);
    match namespaces(LIBCNI_CACHE.as_ref(), id) {
        Err(_) => return Fate::Unknown,
        Ok(cached) if !cached.is_empty() => return if gone(&cached) { Fate::Gone } else { Fate::Live },
        Ok(_) => {}
    }
    // Damaged bytes may name a living namespace; that there is none where they say proves nothing.
    let legible: Vec<PathBuf> = damaged.iter().filter_map(|one| one.netns.clone()).collect();
    if !gone(&legible) {
        return Fate::Live;
    }
    let booted = booted(run_dir);
    let older = |one: &Damaged| Some(written(&one.path)? + 1 < booted?);
    if damaged.iter().all(|one| older(one) == Some(true)) { Fate::Gone } else { Fate::Unknown }
}
