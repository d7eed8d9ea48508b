//! Tells neighbours of a pod's new addresses, when all of it is attached. Nothing here fails an ADD.

use crate::cni::CniResult;
use crate::netns::{Netns, NetnsError};
use crate::plan::announce::{announcement, any};
use crate::plan::record::Record;

/// Announces the addresses of those attachments that are ours to announce.
pub fn announce(netns: &Netns, records: &[Record]) {
    let results: Vec<(&Record, CniResult)> =
        records.iter().filter_map(|record| Some((record, ours(record)?))).collect();
    if results.is_empty() {
        return;
    }
    let interfaces = match netns.interfaces() {
        Ok(interfaces) => interfaces,
        Err(error) => return warn(&error, "every network"),
    };
    for (record, result) in results {
        let attachment = &record.attachment;
        let found = announcement(&interfaces, &result, attachment.ifname.as_str(), &attachment.announce);
        let Some(announcement) = found else { continue };
        match netns.announce(&announcement) {
            Ok(()) => tracing::debug!(interface = announcement.link.name, "addresses announced"),
            Err(error) => warn(&error, &attachment.network),
        }
    }
}

/// The result of an attachment with addresses that are ours to announce.
fn ours(record: &Record) -> Option<CniResult> {
    let families = &record.attachment.announce;
    if families.is_empty() {
        return None;
    }
    record.view().ok().filter(|result| any(families, result))
}

fn warn(error: &NetnsError, network: &str) {
    tracing::warn!(network, "neighbours may know its addresses by an earlier owner for a while: {}", error.story());
}
