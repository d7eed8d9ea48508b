//! One ADD, left to right: gather → plan → act → report. This file alone knows the order.

use std::collections::BTreeSet;
use std::path::Path;

use crate::act::announce::announce;
use crate::act::attach::attach_all;
use crate::act::routes::route;
use crate::act::sandbox::{adding, lock, note};
use crate::act::undo::undone;
use crate::act::{Acting, Context, PATIENCE};
use crate::cni::{AttachmentId, CniError, CniResult, Code, Operation};
use crate::config::MasterConfig;
use crate::exec::Host;
use crate::gather::{Asked, Resolver, asked, binaries, can_serve, wanted_networks};
use crate::netns::{self, Netns, NetnsError};
use crate::plan::add::{Inputs, plan};
use crate::plan::outcome::answer;
use crate::plan::record::Record;
use crate::plan::{Pod, Sandbox};
use crate::store::lock::{Adding, SandboxLock};
use crate::store::removal;

use super::leftovers::clear;

/// Attaches the sandbox to the primary network and to every one that its pod asks for; gives the result as text.
pub(super) fn add(context: &Context, id: &AttachmentId, netns: &Path) -> Result<String, CniError> {
    let netns = netns::open(netns).map_err(no_namespace)?;
    let asked = asked(&context.config, &context.args)?;
    let lock = lock(context, &id.container_id, Operation::Add, context.add_deadline())?;
    let answer = locked(context, id, &netns, asked, &lock);
    if answer.is_err() {
        lock.unlink_unless_needed(&context.records, &id.container_id);
    }
    answer
}

fn locked(
    context: &Context,
    id: &AttachmentId,
    netns: &Netns,
    asked: Asked,
    lock: &SandboxLock,
) -> Result<String, CniError> {
    let config = &context.config;
    let deadline = context.add_deadline();

    // gather
    if let Some(text) = &config.prev_result {
        CniResult::parse(text.as_bytes(), config.cni_version)
            .map_err(|error| CniError::new(Code::INVALID_CONFIG, format!("prevResult: {}", error.msg)))?;
    }
    let _adding = adding(context, Adding::One, deadline)?.ok_or_else(|| {
        CniError::new(Code::TRY_AGAIN, "the networks' plugins are clearing up (GC) and must not miss an ADD")
    })?;
    if removal::is_done(&config.run_dir) {
        let msg = "meta-cni is being taken off this node, and its plugin goes last; the runtime's next try is the bare primary's";
        return Err(CniError::new(Code::TRY_AGAIN, msg));
    }
    let marks = note(Some(lock), true);
    let host = Host { marks: Some(&marks) };
    let acting = Acting { context, host: &host, lock: Some(lock), epoch: context.epoch()?, patience: 0 };
    let cleared = clear(&acting, id, netns)?;
    // What this ADD makes and cannot take back waits for the sweep.
    let acting = Acting { patience: PATIENCE, ..acting };
    let resolver = Resolver::new(config);
    resolver.ready(deadline)?;
    let networks = wanted_networks(&resolver, asked, deadline)?;
    networks.iter().try_for_each(|wanted| can_serve(&wanted.network, deadline))?;
    let binaries = binaries(networks.iter().map(|wanted| &wanted.network.list), &context.path);
    let mut taken = links(netns)?;
    taken.extend(cleared.taken);

    // plan
    let plan = plan(Inputs {
        sandbox: Sandbox {
            container_id: id.container_id.clone(),
            netns: netns.path().to_owned(),
            pod: Pod::of(&context.args),
        },
        request: id.ifname.clone(),
        args: &context.args,
        path: &context.path,
        runtime_config: &config.runtime_config,
        device_info_dir: &config.device_info_dir,
        networks,
        taken: &taken,
        capability_check: config.capability_check,
        binaries: &binaries,
    })?;

    // act
    for tombstone in &cleared.tombstones {
        context.records.remove(&id.container_id, tombstone)?;
    }
    let mut records = attach_all(&acting, plan, netns)?;
    let answer = route(&acting, netns, &mut records).and_then(|()| report(config, &records));
    match answer {
        Ok(answer) => {
            announce(netns, &records);
            Ok(answer)
        }
        Err(error) => Err(undone(&acting, records, error)),
    }
}

/// The answer for the runtime: the primary's result, with the routes as they are.
fn report(config: &MasterConfig, records: &[Record]) -> Result<String, CniError> {
    let primary = records.first().and_then(Record::standing);
    let primary = primary.ok_or_else(|| CniError::new(Code::INTERNAL, "the primary left no result"))?;
    answer(primary, config.prev_result.as_deref(), config.cni_version)
}

/// The names of the links in the namespace.
pub(super) fn links(netns: &Netns) -> Result<BTreeSet<String>, CniError> {
    Ok(netns.links().map_err(no_namespace)?.into_iter().map(|link| link.name).collect())
}

/// Code 8: there is no usable namespace (A43).
pub(super) fn no_namespace(error: NetnsError) -> CniError {
    CniError::new(Code::NETNS, format!("CNI_NETNS: {}", error.story()))
}
