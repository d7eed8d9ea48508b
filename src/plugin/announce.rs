//! Tells neighbours of a pod's new addresses, when all of it is attached. Nothing here fails an ADD.

use crate::cni::CniResult;
use crate::netns::Netns;
use crate::plan::announce::announcement;
use crate::plan::record::Record;

/// Announces the addresses of those attachments that are ours to announce.
pub(super) fn announce(netns: &Netns, records: &[Record]) {
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
        let ifname = record.attachment.ifname.as_str();
        let Some(announcement) = announcement(&interfaces, &result, ifname) else { continue };
        match netns.announce(&announcement) {
            Ok(()) => tracing::debug!(interface = announcement.link.name, "addresses announced"),
            Err(error) => warn(&error, &record.attachment.network),
        }
    }
}

/// The result of an attachment with addresses that are ours to announce.
fn ours(record: &Record) -> Option<CniResult> {
    let text = record.result.as_ref().filter(|_| record.attachment.announce)?;
    let (result, _) = CniResult::parse(text.get().as_bytes(), record.attachment.cni_version).ok()?;
    (!result.ips.is_empty()).then_some(result)
}

fn warn(error: &dyn std::error::Error, network: &str) {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    tracing::warn!(network, "neighbours may know its addresses by an earlier owner for a while: {error}{source}");
}
