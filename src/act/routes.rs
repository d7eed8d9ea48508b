//! The pod's default routes, moved after the last attachment to the one that asked for them: gather → plan → act, and then
//! the kernel is asked whether it is so (B16).

use crate::cni::{CniError, Code};
use crate::netns::{self, Netns, NetnsError};
use crate::plan::left::{Whose, left};
use crate::plan::record::Record;
use crate::plan::routes::{Moved, View, Wish, holds, plan};

use super::Acting;

/// Gives the pod of `records` the default routes that one of its attachments asked for, if one did.
///
/// # Errors
/// Code 7 for what cannot be, 5 for a refusal of the kernel's or of the disk. What was changed is on record then.
pub fn route(acting: &Acting<'_>, netns: &Netns, records: &mut [Record]) -> Result<(), CniError> {
    let Some(chosen) = records.iter().position(|record| record.attachment.default_route.is_some()) else {
        return Ok(());
    };
    let context = context(&records[chosen]);
    let refused = |what: String| CniError::new(Code::INVALID_CONFIG, what).in_context(&context);
    let unreadable = |error: NetnsError| of_kernel(&error).in_context(&context);

    // gather, plan
    let view = view(netns).map_err(unreadable)?;
    let moved = wanted(acting, records, chosen, &view).map_err(refused)?;

    // act: on record first, that of the attachment which takes it back last
    for at in (0..records.len()).filter(|at| *at != chosen).chain([chosen]) {
        let whose = match at {
            _ if at == chosen => Whose::Chosen,
            0 => Whose::Primary,
            _ => Whose::Other,
        };
        let record = &mut records[at];
        let version = record.attachment.cni_version;
        record.left = record.result.as_deref().and_then(|result| left(result, version, whose, &moved));
        record.routed = (at == chosen).then(|| moved.routed.clone());
        if record.left.is_some() || record.routed.is_some() {
            acting.context.records.end(record).map_err(|error| CniError::from(error).in_context(&context))?;
        }
    }
    netns.make(&moved.routed.changes).map_err(unreadable)?;
    let gateways = moved.routed.gateways.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    tracing::info!(gateways, "{context}: has the pod's default route now");
    routed(netns, &records[chosen])
}

/// What `records[chosen]` asks for, as data.
fn wanted(acting: &Acting<'_>, records: &[Record], chosen: usize, view: &View) -> Result<Moved, String> {
    let config = &acting.context.config;
    let asking = &records[chosen];
    plan(
        &Wish {
            ifname: asking.attachment.ifname.as_str(),
            gateways: asking.attachment.default_route.as_deref().unwrap_or_default(),
            result: &asking.view().map_err(|error| error.msg)?,
            primary: asking.request.as_str(),
            policy: config.default_route_policy,
            primary_routes: &config.primary_routes,
        },
        view,
    )
}

fn view(netns: &Netns) -> Result<View, NetnsError> {
    let links = netns.links()?;
    Ok(View {
        addresses: netns.addresses()?,
        entries: netns.entries()?,
        heeds_routers: netns.heeds_routers(links.iter().map(|link| link.name.as_str()))?,
        links,
    })
}

/// Whether the pod's default routes are as `record` left them; so they are when it never asked.
///
/// # Errors
/// Code 706, or 5 when the kernel cannot be asked.
pub fn routed(netns: &Netns, record: &Record) -> Result<(), CniError> {
    if record.attachment.default_route.is_none() {
        return Ok(());
    }
    let wrong = |what: String| CniError::new(Code::NOT_SHOWN, what).in_context(&context(record));
    let Some(routed) = &record.routed else {
        return Err(wrong("the default route that the pod asked for was never made".to_owned()));
    };
    let unreadable = |error: NetnsError| of_kernel(&error).in_context(&context(record));
    let links = netns.links().map_err(unreadable)?;
    let entries = netns.entries().map_err(unreadable)?;
    holds(routed, record.attachment.ifname.as_str(), &links, &entries).map_err(wrong)?;
    // What keeps the primary's own way.
    match netns.lacks(&routed.changes).map_err(unreadable)? {
        Some(lost) => Err(wrong(format!("the pod has lost {lost}"))),
        None => Ok(()),
    }
}

/// Puts the routes back as they were before `record`'s attachment changed them, if its namespace is still there. What cannot
/// be put back goes with the namespace: it keeps no DEL from going on.
pub fn restore(record: &Record) {
    let Some(routed) = record.routed.as_ref().filter(|routed| !routed.changes.is_empty()) else { return };
    let Ok(netns) = netns::open(&record.sandbox.netns) else { return };
    if record.netns.is_some_and(|then| then != netns.identity()) {
        return;
    }
    if let Err(error) = netns.unmake(&routed.changes) {
        tracing::warn!("{}: {}", context(record), error.story());
    }
}

fn context(record: &Record) -> String {
    format!("network {:?} {}: default-route", record.attachment.network, record.attachment.ifname)
}

/// Code 5: the kernel refused, or cannot be asked.
pub fn of_kernel(error: &NetnsError) -> CniError {
    CniError::new(Code::IO, error.story())
}
