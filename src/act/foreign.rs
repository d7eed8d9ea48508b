//! DEL of what has no record: added before meta-cni, under Multus, or the record was lost (F13).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use crate::cni::{AttachmentId, CniError, IfName, Operation};
use crate::config::MasterConfig;
use crate::gather::{Resolver, binaries};
use crate::plan::del::Foreign;
use crate::plan::foreign::Cached;
use crate::plan::made::{Made, Traces};
use crate::plan::record::{Record, State};
use crate::plan::{Pod, Sandbox};
use crate::store::foreign::{Kept, LIBCNI_CACHE, cached, libcni, multus};
use crate::store::records::{Damaged, EVERY, Sandboxed};

use super::Acting;
use super::leases::release;
use super::undo::{delete, finish, judge, namespace};

/// What is lost of a sandbox's records.
#[derive(Debug)]
pub struct Lost {
    /// There were some that could not be read; otherwise there is none.
    pub damaged: bool,
    /// That of the interface of the runtime's own call is among them.
    pub primary: bool,
    /// There was one of that interface: so something was begun there.
    pub begun: bool,
    /// Something tells that there was such an interface, or nothing that there is any other.
    pub guess: bool,
    /// Interfaces without a record that other calls of the runtime made: they are left alone.
    pub others: BTreeSet<String>,
}

impl Lost {
    /// What is lost beside `made`, which is what is known of the runtime's call for `request`: the records that were `damaged`,
    /// without those of `others`.
    #[must_use]
    pub fn of(made: &Made, request: &IfName, damaged: &[Damaged], others: BTreeSet<String>) -> Self {
        let mut known = made.records.iter().map(|record| &record.attachment.ifname).chain(&made.tombstones);
        let alone = made.others.is_empty() && others.is_empty();
        let traced = damaged.iter().any(|one| one.ifname == request.as_str() || one.ifname == EVERY);
        let primary = !known.any(|ifname| ifname == request);
        Self { damaged: !damaged.is_empty(), primary, begun: primary && traced, guess: alone || traced, others }
    }
}

/// The interfaces of a living sandbox that a call for `id` leaves alone, though nothing is on record of them. `links` are those of
/// its namespace, for a call that comes to make more there.
#[must_use]
pub fn of_others(
    config: &MasterConfig,
    found: &Sandboxed,
    id: &AttachmentId,
    links: BTreeSet<String>,
) -> BTreeSet<String> {
    // Runtimes have a loopback network too, of which there is an entry for every sandbox.
    let ours = |one: &Cached| one.container_id == id.container_id.as_str() && one.network == config.name.as_str();
    let cached = cached(LIBCNI_CACHE.as_ref()).into_iter().filter(ours).map(|one| one.ifname);
    let traces = Traces {
        damaged: found.damaged.iter().map(|one| (one.ifname.clone(), one.request.clone())).collect(),
        called: cached.chain(found.records.iter().map(|record| record.request.to_string())).collect(),
        links,
        missing: missing(found, &id.ifname),
    };
    traces.of_others(&id.ifname)
}

/// How many attachments of the call for `request` are not on record, by what those say that are.
fn missing(found: &Sandboxed, request: &IfName) -> usize {
    let mut own = found.records.iter().filter(|record| record.request == *request).peekable();
    let of = own.peek().map_or(0, |record| record.of);
    of.saturating_sub(own.count())
}

/// What came of a DEL without a record.
#[derive(Debug)]
pub struct Sought {
    /// What failed.
    pub errors: Vec<CniError>,
    /// All could be looked at. Else another call has to know that something is lost.
    pub complete: bool,
}

/// DEL of what we have no record of: added before meta-cni, under Multus, or its record was lost.
pub fn without_record(
    acting: &Acting<'_>,
    id: &AttachmentId,
    netns: Option<&Path>,
    deadline: Instant,
    lost: &Lost,
) -> Sought {
    let kept = if lost.primary { kept_of(acting, id) } else { Kept::default() };
    let names: Vec<&str> = kept.attachments.iter().map(|foreign| foreign.network.as_str()).collect();
    if !names.is_empty() {
        tracing::info!(networks = names.join(", "), "no record; deleted by what the runtime or Multus kept");
    }
    let mut errors = delete_foreign(acting, id, netns, deadline, &kept);
    if errors.is_empty() {
        kept.forget();
    }
    let released = release(acting, id, netns, deadline, lost);
    let complete = released.unseen.is_empty();
    errors.extend(released.errors.into_iter().chain(released.unseen));
    let traceless = kept.attachments.is_empty() && !released.interfaces.contains(&id.ifname);
    if lost.primary && lost.guess && complete && traceless {
        // Without a trace of an attachment, links of that name in the namespace may be anybody's: they are not touched.
        errors.extend(guess(acting, id, netns.filter(|_| lost.damaged), deadline, lost.begun).err());
    }
    Sought { errors, complete }
}

/// What others kept of the sandbox.
fn kept_of(acting: &Acting<'_>, id: &AttachmentId) -> Kept {
    let config = &acting.context.config;
    let kept = [
        multus(&config.cni_dir, &id.container_id, &id.ifname),
        libcni(LIBCNI_CACHE.as_ref(), &id.container_id, &id.ifname),
    ];
    kept.into_iter().find(|kept| !kept.attachments.is_empty()).unwrap_or_default()
}

fn delete_foreign(
    acting: &Acting<'_>,
    id: &AttachmentId,
    netns: Option<&Path>,
    deadline: Instant,
    kept: &Kept,
) -> Vec<CniError> {
    let mut errors = Vec::new();
    for (ordinal, foreign) in kept.attachments.iter().enumerate().rev() {
        let record = foreign_record(acting, id, netns, foreign, (ordinal, kept.attachments.len()));
        errors.extend(adopted(acting, record, netns, deadline).err());
    }
    errors
}

/// Deletes an attachment that others made as one of ours: on record from here on, so that its DEL can be tried again.
pub(super) fn adopted(
    acting: &Acting<'_>,
    record: Record,
    netns: Option<&Path>,
    deadline: Instant,
) -> Result<(), CniError> {
    if let Err(error) = acting.context.records.put(&record) {
        tracing::warn!(error = error.story(), "not recorded");
    }
    finish(acting, record, netns, deadline).map(drop)
}

/// An attachment that others made, as a record.
pub(super) fn foreign_record(
    acting: &Acting<'_>,
    id: &AttachmentId,
    netns: Option<&Path>,
    foreign: &Foreign,
    (ordinal, of): (usize, usize),
) -> Record {
    let context = acting.context;
    let mut binaries = binaries(std::iter::once(&foreign.list), &context.path);
    if let Some(dir) = context.path.dirs().first().filter(|_| acting.patience > 0) {
        // One that is nowhere may be on its way there: each DEL looks for it again.
        let missing = binaries.iter_mut().filter(|(_, found)| found.is_err());
        missing.for_each(|(plugin, found)| *found = Ok(dir.join(plugin.as_str())));
    }
    let (attachment, missing) = foreign.attachment(ordinal, &context.args, &context.path, &binaries);
    for (plugin, why) in missing {
        tracing::warn!("given up, because it can never heal: {}", why.error(&plugin).msg);
    }
    Record {
        sandbox: Sandbox {
            container_id: id.container_id.clone(),
            netns: netns.map(Path::to_owned).unwrap_or_default(),
            pod: Pod::of(&context.args),
        },
        netns: None,
        epoch: acting.epoch.clone(),
        request: id.ifname.clone(),
        of,
        attachment,
        call: context.call,
        state: State::Begun,
        result: foreign.result.clone(),
        left: None,
        routed: None,
    }
}

/// DEL of the current primary, because nothing is known. Best effort, for there may never have been anything; but where
/// something was `begun`, what was cut short is on record from then on, and done again.
fn guess(
    acting: &Acting<'_>,
    id: &AttachmentId,
    netns: Option<&Path>,
    deadline: Instant,
    begun: bool,
) -> Result<(), CniError> {
    let network = match Resolver::new(&acting.context.config).primary_now() {
        Ok(network) => network,
        Err(error) => {
            tracing::info!("no record and no primary, so there is nothing to delete: {}", error.msg);
            return Ok(());
        }
    };
    let foreign = Foreign {
        network: network.display,
        list: network.list,
        ifname: id.ifname.clone(),
        arguments: acting.context.config.runtime_config.clone(),
        args: None,
        result: None,
    };
    let mut record = foreign_record(acting, id, netns, &foreign, (0, 1));
    record.sandbox.netns = namespace(&record, netns);
    let (again, vain): (Vec<_>, Vec<_>) =
        delete(acting, &record, deadline).into_iter().partition(|failure| begun && failure.was_cut_short());
    for failure in vain {
        let error = failure.error(&record.attachment, Operation::Del);
        tracing::warn!("no record, so the current primary was asked, in vain: {}", error.msg);
    }
    if again.is_empty() {
        return Ok(());
    }
    if let Err(error) = acting.context.records.put(&record) {
        tracing::warn!(error = error.story(), "not recorded");
    }
    judge(acting, &record, again).map(drop)
}
