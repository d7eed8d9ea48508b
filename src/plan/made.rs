//! What is on record of a sandbox, seen from one call of the runtime: what its ADD made, in order, and what is not its own.
//!
//! CHECK runs it forwards, DEL backwards; neither decides anything about networks (A19-A24).

use std::collections::BTreeSet;

use crate::cni::IfName;

use super::record::{Record, State};

/// The records of a sandbox, as the runtime's call for one interface name sees them.
#[derive(Debug, Default)]
pub struct Made {
    /// Begun or attached by that call, first attached first.
    pub records: Vec<Record>,
    /// Tombstones of that call: they stand for nothing.
    pub tombstones: Vec<IfName>,
    /// Of calls for other interface names.
    pub others: Vec<Record>,
}

impl Made {
    /// Sorts the records of a sandbox by the runtime's call for `request`.
    #[must_use]
    pub fn of(records: Vec<Record>, request: &IfName) -> Self {
        let (mine, others): (Vec<Record>, Vec<Record>) =
            records.into_iter().partition(|record| record.request == *request);
        let (tombstones, mut records): (Vec<Record>, Vec<Record>) =
            mine.into_iter().partition(|record| record.state == State::Undone);
        records.sort_by_key(|record| record.attachment.ordinal);
        let tombstones = tombstones.into_iter().map(|record| record.attachment.ifname).collect();
        Self { records, tombstones, others }
    }

    /// True if that call attached everything it was to attach.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let wanted = self.records.first().map_or(0, |record| record.of);
        let attached = self.records.iter().filter(|record| record.state == State::Attached).count();
        wanted > 0 && attached == wanted && self.tombstones.is_empty()
    }

    /// Those to run CHECK of: neither with `disableCheck` nor of a version older than CHECK.
    pub fn checkable(&self) -> impl Iterator<Item = &Record> {
        let can = |record: &&Record| !record.attachment.disable_check && record.attachment.cni_version.has_check();
        self.records.iter().filter(can)
    }
}

/// What tells whose the interfaces of a living sandbox are of which nothing is on record.
#[derive(Debug, Default)]
pub struct Traces {
    /// Of its damaged records: the interface, and the runtime's call that it is of as far as that can be read.
    pub damaged: Vec<(String, Option<String>)>,
    /// Interfaces of the runtime's calls: of those on record, and those that its cache has an ADD of.
    pub called: BTreeSet<String>,
    /// The links of the namespace, for a call that comes to make more there.
    pub links: BTreeSet<String>,
    /// How many attachments of the call itself are not on record, by those that are.
    pub missing: usize,
}

impl Traces {
    /// The interfaces that a call for `request` leaves alone: those of other calls of the runtime, which may be alive.
    #[must_use]
    pub fn of_others(&self, request: &IfName) -> BTreeSet<String> {
        let Self { damaged, called, links, missing } = self;
        let lost = || damaged.iter().map(|(ifname, _)| ifname);
        // They are what the call itself lacks.
        let own = damaged.iter().filter(|(_, told)| told.is_none()).count() <= *missing;
        let another = called.iter().any(|ifname| *ifname != request.as_str());
        let is_others = |ifname: &String| {
            let told = damaged.iter().find(|(name, _)| name == ifname).and_then(|(_, told)| told.as_ref());
            // A name that no call has may be the damage.
            let known = |told: &&String| {
                *told == request.as_str() || called.contains(*told) || lost().any(|ifname| ifname == *told)
            };
            match told.filter(known) {
                Some(told) => told != request.as_str(),
                None => another || (links.contains(ifname) && !(own && lost().any(|name| name == ifname))),
            }
        };
        let all = lost().chain(called).chain(links).filter(|ifname| *ifname != request.as_str());
        all.filter(|ifname| is_others(ifname)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f4_an_interface_is_another_calls_if_something_tells_so_and_in_doubt_when_more_are_to_be_made() {
        let others = |damaged: &[(&str, Option<&str>)], called: &[&str], links: &[&str], request: &str| {
            let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
            let damaged = damaged.iter().map(|(name, told)| (name.to_string(), told.map(str::to_owned))).collect();
            let traces = Traces { damaged, called: set(called), links: set(links), missing: 0 };
            traces.of_others(&IfName::new(request).unwrap()).into_iter().collect::<Vec<_>>().join(" ")
        };
        let lost = [("eth0", Some("eth0")), ("net1", Some("eth0"))];
        assert_eq!(others(&lost, &[], &["eth0", "net1"], "eth0"), "");
        assert_eq!(others(&lost, &[], &[], "eth1"), "eth0 net1");
        // What cannot be read tells nothing; the runtime's cache does, and for who comes to make more the kernel.
        let illegible = [("eth0", None), ("net1", Some("etx0"))];
        assert_eq!(others(&illegible, &[], &[], "eth0"), "");
        assert_eq!(others(&illegible, &["eth0"], &[], "eth1"), "eth0 net1");
        assert_eq!(others(&illegible, &["eth0"], &[], "eth0"), "");
        assert_eq!(others(&illegible, &[], &["eth0", "net1"], "eth1"), "eth0 net1");
        // Of four that a call made three are on record, and one cannot be read.
        let lacking = |missing, called: &[&str]| {
            let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
            let damaged = vec![("net2".to_owned(), None)];
            let traces = Traces { damaged, called: names(called), links: names(&["eth0", "net2", "x"]), missing };
            traces.of_others(&IfName::new("eth0").unwrap()).into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!([lacking(1, &["eth0"]), lacking(0, &["eth0"])], ["x", "net2 x"]);
        assert_eq!(lacking(1, &["eth0", "eth1"]), "eth1 net2 x");
        // Nothing is there but an address.
        assert_eq!(others(&[], &["eth0", "eth1"], &[], "eth1"), "eth0");
    }
}
