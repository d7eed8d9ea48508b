//! Addresses of sandboxes that have no record to tell of them, released by DEL of their networks (F4, F5). host-local's own files
//! are only read here; `unwritten` has the one exception.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use crate::cni::{AttachmentId, CniError, ContainerId, IfName, Object, Operation};
use crate::exec::Host;
use crate::gather::{Resolver, asked};
use crate::plan::add::Network;
use crate::plan::capability::arguments;
use crate::plan::del::Foreign;
use crate::plan::gc::recorded;
use crate::plan::leases::{Evidence, Place, Verdict, places, verdict};
use crate::store::foreign::{LIBCNI_CACHE, cached};
use crate::store::leases::{Leased, booted, leases};
use crate::store::lock::{Attempt, try_sandbox};

use super::foreign::{Lost, adopted, foreign_record};
use super::sandbox::note;
use super::{Acting, Context, live, unwritten};

/// The interface of a lease that does not name one, when no runtime's call does either.
const USUAL: &str = "eth0";

/// Releases every address that the sandbox of `id` has in a network which this node knows, but for those of its records and of
/// other calls. With damaged records the networks of other sandboxes' records are looked through too.
pub fn release(
    acting: &Acting<'_>,
    id: &AttachmentId,
    netns: Option<&Path>,
    deadline: Instant,
    lost: &Lost,
) -> Released {
    let networks = known(acting.context, lost.damaged);
    let mut released = Released { spared: lost.others.clone(), ..Released::default() };
    let places = places(&networks);
    for place in &places {
        release_in(acting, place, (id, netns), deadline, &mut released);
    }
    unwritten::release(&places);
    let Released { addresses, errors, .. } = &released;
    let damaged = lost.damaged;
    if damaged || *addresses > 0 || !errors.is_empty() {
        tracing::warn!(damaged, addresses, failed = errors.len(), "addresses released without a record");
    }
    released
}

/// What was released of one sandbox.
#[derive(Debug, Default)]
pub struct Released {
    /// How many addresses.
    pub addresses: usize,
    /// How many are reserved still.
    pub standing: usize,
    /// The interfaces whose addresses stay.
    pub spared: BTreeSet<String>,
    /// The interfaces of which DEL was run.
    pub interfaces: BTreeSet<IfName>,
    /// What failed; it is in the queue.
    pub errors: Vec<CniError>,
    /// Why not all could be looked at now; another call can.
    pub unseen: Vec<CniError>,
}

/// Releases the addresses of one sandbox in `place`.
fn release_in(
    acting: &Acting<'_>,
    place: &Place<'_>,
    call: (&AttachmentId, Option<&Path>),
    deadline: Instant,
    released: &mut Released,
) {
    let id = call.0;
    let mut held = match leases(&place.dir) {
        Ok(held) => held,
        Err(error) if error.passes() => return released.unseen.push(error.into()),
        // Nothing that a DEL could wait for.
        Err(error) => return tracing::warn!(error = error.story(), "leases cannot be looked through"),
    };
    let spared = |ifname: Option<&IfName>| ifname.is_some_and(|ifname| released.spared.contains(ifname.as_str()));
    held.retain(|one| one.lease.container == id.container_id && !spared(one.lease.ifname.as_ref()));
    // One attachment may have several.
    let names: BTreeSet<&IfName> = held.iter().map(|one| one.lease.ifname.as_ref().unwrap_or(&id.ifname)).collect();
    for ifname in names {
        for network in &place.networks {
            // What is on record is deleted by its record, or has just failed to be; that of another call of the runtime lives.
            match acting.context.records.of(&id.container_id) {
                Ok(found) if found.records.iter().all(|record| record.attachment.ifname != *ifname) => {}
                Ok(_) => break,
                // The address stands, and no record says so: whoever comes next has to see that something is lost.
                Err(error) => {
                    released.unseen.push(error.into());
                    break;
                }
            }
            released.errors.extend(delete(acting, network, ifname, call, deadline).err());
            released.interfaces.insert(ifname.clone());
        }
    }
    let (standing, gone): (Vec<_>, Vec<_>) = held.into_iter().partition(Leased::stands);
    let standing = standing
        .into_iter()
        .inspect(|one| {
            tracing::warn!(lease = %one.path.display(), "is still reserved");
        })
        .count();
    released.standing += standing;
    released.addresses += gone.len();
}

/// DEL of `network` for an interface of the sandbox, with what is known of it now.
fn delete(
    acting: &Acting<'_>,
    network: &Network,
    ifname: &IfName,
    (id, netns): (&AttachmentId, Option<&Path>),
    deadline: Instant,
) -> Result<(), CniError> {
    let of_request = *ifname == id.ifname;
    let arguments = if of_request {
        acting.context.config.runtime_config.clone()
    } else {
        asked_for(acting.context, network, ifname)
    };
    let foreign = Foreign {
        network: network.display.clone(),
        list: network.list.clone(),
        ifname: ifname.clone(),
        arguments,
        args: None,
        result: None,
    };
    let record = foreign_record(acting, id, netns, &foreign, (usize::from(!of_request), 1));
    tracing::info!(network = network.display, %ifname, sandbox = %id.container_id, "an address without a record is released");
    adopted(acting, record, netns, deadline)
}

/// What the pod asks of `network` for `ifname`, as far as the runtime says it again: some plugins (portmap) delete nothing
/// unless they are told of something.
fn asked_for(context: &Context, network: &Network, ifname: &IfName) -> Object {
    let mut selections = asked(&context.config, &context.args).map(|asked| asked.networks).unwrap_or_default();
    selections.retain(|selection| format!("{}/{}", selection.namespace, selection.name) == network.display);
    let named = selections.iter().find(|selection| selection.interface.as_ref() == Some(ifname));
    let selection = named.or_else(|| selections.iter().find(|selection| selection.interface.is_none()));
    arguments(None, selection)
}

/// Every network that this node knows, those of its records too if they are asked for.
fn known(context: &Context, of_records: bool) -> Vec<Network> {
    let mut networks = Resolver::looking(&context.config).known();
    if of_records {
        let sandboxes = context.records.sandboxes().unwrap_or_default();
        let records = sandboxes.iter().filter_map(|id| context.records.of(id).ok()).flat_map(|found| found.records);
        networks.extend(records.map(|record| recorded(&record)));
    }
    networks
}

/// Every network that this node knows, those of its records too.
#[must_use]
pub fn all_known(context: &Context) -> Vec<Network> {
    known(context, true)
}

/// What came of a look through the leases of earlier epochs.
#[derive(Debug, Default)]
pub struct Earlier {
    /// Addresses released.
    pub released: usize,
    /// Addresses kept although nobody knows their sandbox; each is in the log.
    pub unknown: usize,
    /// False when there is more to look at: the time ended first, a place could not be listed, an address not be released, or it
    /// cannot be told now when the kernel started.
    pub complete: bool,
    /// What could not be released; it is in the queue.
    pub errors: Vec<CniError>,
}

/// Releases the addresses that sandboxes of an earlier kernel left, of which there is no record: reserved before this kernel
/// started, and their namespace is not one that libcni's cache knows and that is there. Others without a record are kept and
/// named in the log. For the sweep, once an epoch; it takes the sandboxes' locks itself.
#[must_use]
pub fn of_earlier_epochs(context: &Context, epoch: &str, places: &[Place<'_>], deadline: Instant) -> Earlier {
    unwritten::release(places);
    let mut earlier = Earlier { complete: true, ..Earlier::default() };
    let mut sandboxes: BTreeMap<ContainerId, Vec<(&Place<'_>, Leased)>> = BTreeMap::new();
    for place in places {
        let held = leases(&place.dir).unwrap_or_else(|error| {
            earlier.complete = false;
            earlier.errors.push(error.into());
            Vec::new()
        });
        for one in held {
            sandboxes.entry(one.lease.container.clone()).or_default().push((place, one));
        }
    }
    let living = living(context);
    let booted = booted(&context.config.run_dir);
    for (id, held) in sandboxes {
        if Context::remaining(deadline).is_zero() {
            earlier.complete = false;
            break;
        }
        let (on_record, alive) = (is_on_record(context, &id), living.contains(id.as_str()));
        let judged = |on_record| {
            let of = |one: &Leased| verdict(Evidence { on_record, alive, written: one.written, booted });
            held.iter().map(|(_, one)| of(one)).collect::<BTreeSet<Verdict>>()
        };
        let verdicts = judged(on_record);
        // What its records do not tell of can be released when they are gone.
        earlier.complete &= !(on_record && judged(false).contains(&Verdict::Stale) && is_dead(context, &id));
        // All of a sandbox's or none: it was one pod.
        if verdicts.contains(&Verdict::Unknown) {
            earlier.complete &= booted.is_some();
            earlier.unknown += held.len();
            held.iter().for_each(|(_, one)| report(one));
        } else if verdicts.contains(&Verdict::Stale) {
            let mut places: Vec<&Place<'_>> = held.into_iter().map(|(place, _)| place).collect();
            places.dedup_by(|one, other| one.dir == other.dir);
            release_earlier(context, epoch, (&id, &places), deadline, &mut earlier);
        }
    }
    earlier
}

/// Says that an address is kept although nobody knows of its sandbox.
fn report(kept: &Leased) {
    tracing::warn!(
        lease = %kept.path.display(),
        sandbox = %kept.lease.container,
        "nobody knows this sandbox, and its address may be in use: it is kept"
    );
}

/// Releases the addresses of one sandbox, under its lock, and only if it has no record then.
fn release_earlier(
    context: &Context,
    epoch: &str,
    (id, places): (&ContainerId, &[&Place<'_>]),
    deadline: Instant,
    earlier: &mut Earlier,
) {
    let lock = match try_sandbox(&context.config.run_dir, id, context.call, Operation::Gc) {
        Ok(Attempt::Held(lock)) => lock,
        // Somebody is at work on it: it is none of an earlier epoch.
        Ok(Attempt::Busy(..)) => return,
        Err(error) => {
            earlier.complete = false;
            return earlier.errors.push(error.into());
        }
    };
    let Ok(ifname) = IfName::new(USUAL) else { return };
    if !is_on_record(context, id) {
        let marks = note(Some(&lock), false);
        let host = Host { marks: Some(&marks) };
        let acting = Acting { context, host: &host, lock: Some(&lock), epoch: epoch.to_owned(), patience: 0 };
        let call = AttachmentId { container_id: id.clone(), ifname };
        let mut released = Released::default();
        places.iter().for_each(|place| release_in(&acting, place, (&call, None), deadline, &mut released));
        // A plugin that is not there yet, perhaps: it is looked at again.
        earlier.complete &= released.standing == 0 && released.unseen.is_empty();
        earlier.released += released.addresses;
        earlier.errors.extend(released.errors.into_iter().chain(released.unseen));
    }
    lock.unlink_unless_needed(&context.records, id);
}

/// True if there is anything on record of the sandbox, or that cannot be told.
fn is_on_record(context: &Context, id: &ContainerId) -> bool {
    context.records.of(id).map_or(true, |found| !found.records.is_empty() || !found.damaged.is_empty())
}

/// True if nothing on record of the sandbox is alive.
fn is_dead(context: &Context, id: &ContainerId) -> bool {
    context.records.of(id).map_or(true, |found| !found.records.iter().any(live::is_live))
}

/// The containers that libcni's cache, or Multus', has in a namespace that is there.
fn living(context: &Context) -> BTreeSet<String> {
    let caches = [LIBCNI_CACHE.as_ref(), context.config.cni_dir.as_path()];
    let entries = caches.into_iter().flat_map(cached);
    entries.filter(|entry| live::place(&entry.netns) != live::Place::Gone).map(|entry| entry.container_id).collect()
}
