//! Addresses that host-local has reserved, as data: whose each one is, where those of a network are, and what becomes of one
//! whose sandbox has no record here (F4, F5).
//!
//! host-local keeps a file for each address, `<dataDir>/<network>/<address>`: the container ID, CR LF, the interface name.
//! Nobody but host-local writes there: an address is released by DEL of its network.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cni::{ContainerId, IfName, NetworkConfigList, Object};

use super::add::Network;
use super::sweep::backoff;

/// Where host-local keeps its files unless it is told otherwise.
const DATA_DIR: &str = "/var/lib/cni/networks";

/// Whose an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// `CNI_CONTAINERID` of the ADD.
    pub container: ContainerId,
    /// `CNI_IFNAME` of the ADD; early versions of host-local did not write it.
    pub ifname: Option<IfName>,
}

impl Lease {
    /// The lease in a file of this name; `None` for host-local's other files, and for one that says nothing of its owner.
    #[must_use]
    pub fn read(file_name: &str, bytes: &[u8]) -> Option<Self> {
        let address = file_name.parse().ok()?;
        let mut lines = std::str::from_utf8(bytes).ok()?.lines().map(str::trim);
        let container = ContainerId::new(lines.next()?).ok()?;
        let ifname = match lines.next().filter(|line| !line.is_empty()) {
            Some(name) => Some(IfName::new(name).ok()?),
            None => None,
        };
        Some(Self { address, container, ifname })
    }
}

/// The leases of networks by one name: they are released by DEL of each of those networks.
#[derive(Debug)]
pub struct Place<'a> {
    /// The directory.
    pub dir: PathBuf,
    /// The networks, each once.
    pub networks: Vec<&'a Network>,
}

/// Where leases of `networks` may be: where their plugins say, and where host-local has them unless it is told otherwise,
/// because a plugin may run it without its configuration saying so (flannel does).
#[must_use]
pub fn places(networks: &[Network]) -> Vec<Place<'_>> {
    let mut places: Vec<Place<'_>> = Vec::new();
    for network in networks {
        for dir in dirs(&network.list) {
            match places.iter_mut().find(|place| place.dir == dir) {
                Some(place) if place.networks.iter().any(|other| same(&other.list, &network.list)) => {}
                Some(place) => place.networks.push(network),
                None => places.push(Place { dir, networks: vec![network] }),
            }
        }
    }
    places
}

/// True when DEL of one is DEL of the other.
fn same(one: &NetworkConfigList, other: &NetworkConfigList) -> bool {
    let configs = |list: &NetworkConfigList| {
        (0..list.plugins.len()).filter_map(|index| list.execution_config(index)).map(without_args).collect::<Vec<_>>()
    };
    configs(one) == configs(other)
}

/// A manifest's own `args` are in its configuration, and not in that of a record's network.
fn without_args(mut config: Object) -> Object {
    config.retain(|key| key != "args");
    config
}

fn dirs(list: &NetworkConfigList) -> Vec<PathBuf> {
    let told = list.plugins.iter().filter_map(|plugin| {
        let ipam = plugin.object.get::<Object>("ipam", "an object").ok()??;
        let text = |key: &str| ipam.get::<String>(key, "a string").ok().flatten();
        if text("type").as_deref() != Some("host-local") {
            return None;
        }
        text("dataDir").map(PathBuf::from).filter(|dir| dir.is_absolute())
    });
    let mut dirs: Vec<PathBuf> = Vec::new();
    for dir in told.chain([Path::new(DATA_DIR).to_owned()]).map(|dir| dir.join(&list.name)) {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    dirs
}

/// Which places have been looked through for addresses of earlier epochs, and when those are looked at again that could not be
/// (docs/state.md).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// In which epoch.
    epoch: String,
    /// The places, each by the CRC-32 of its path.
    places: BTreeSet<String>,
    /// How often in a row not all could be looked through.
    #[serde(default, skip_serializing_if = "is_zero")]
    attempts: u32,
    /// After that: not before that many seconds of `CLOCK_BOOTTIME`.
    #[serde(default, skip_serializing_if = "is_zero")]
    due: u64,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl Looked {
    /// What `bytes` say of `epoch`: nothing, if they are damaged or of another.
    #[must_use]
    pub fn read(bytes: &[u8], epoch: &str) -> Self {
        let read = serde_json::from_slice::<Self>(bytes).ok().filter(|looked| looked.epoch == epoch);
        read.unwrap_or_else(|| Self { epoch: epoch.to_owned(), ..Self::default() })
    }

    /// True if one of `places` has not been looked through, and it is time to. Another one comes with a network, or with another
    /// configuration of meta-cni on the same node.
    #[must_use]
    pub fn is_due(&self, places: &[PathBuf], now: u64) -> bool {
        now >= self.due && places.iter().any(|place| !self.places.contains(&digest(place)))
    }

    /// As it is after a look at `places`. One that was not `complete` is repeated, at the intervals of a DEL that fails: what is
    /// in its way may go, or stay for good.
    #[must_use]
    pub fn after(mut self, places: &[PathBuf], complete: bool, now: u64) -> Self {
        if complete {
            self.places.extend(places.iter().map(|place| digest(place)));
            Self { attempts: 0, due: 0, ..self }
        } else {
            let attempts = self.attempts.saturating_add(1);
            Self { attempts, due: now.saturating_add(backoff(attempts)), ..self }
        }
    }
}

fn digest(place: &Path) -> String {
    format!("{:08x}", crc32fast::hash(place.as_os_str().as_encoded_bytes()))
}

/// What is known of a lease's sandbox.
#[derive(Debug, Clone, Copy)]
pub struct Evidence {
    /// It has records here, whatever they say.
    pub on_record: bool,
    /// The runtime's cache, or Multus', has it in a namespace that is there.
    pub alive: bool,
    /// When the lease was written, in seconds since 1970 by the clock of then.
    pub written: i64,
    /// The earliest time that the clock can have shown since the kernel started; `None` when that is not known.
    pub booted: Option<i64>,
}

/// What becomes of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Its records decide.
    Ours,
    /// Kept: it lives.
    Alive,
    /// To be released: its sandbox was on a kernel that is no more.
    Stale,
    /// Kept, and reported: nobody knows of it.
    Unknown,
}

/// The verdict on a lease. In doubt it is kept: an address that is given twice costs more than one that is given to nobody.
#[must_use]
pub fn verdict(evidence: Evidence) -> Verdict {
    match evidence {
        Evidence { on_record: true, .. } => Verdict::Ours,
        Evidence { alive: true, .. } => Verdict::Alive,
        // Both are whole seconds, and a kernel takes longer than that until a pod can be started.
        Evidence { written, booted: Some(booted), .. } if written.saturating_add(1) < booted => Verdict::Stale,
        Evidence { .. } => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f4_a_lease_says_whose_it_is() {
        let lease = |address: &str, container: &str, ifname: Option<&str>| {
            let ifname = ifname.map(|name| IfName::new(name).unwrap());
            let container = ContainerId::new(container).unwrap();
            Some(Lease { address: address.parse().unwrap(), container, ifname })
        };
        for (file, text, expected) in [
            ("10.0.0.2", "c1\r\nnet1", lease("10.0.0.2", "c1", Some("net1"))),
            ("10.0.0.2", "c1\neth0\n", lease("10.0.0.2", "c1", Some("eth0"))),
            ("fd00::2", "c1", lease("fd00::2", "c1", None)),
            ("fd00::2", " c1 \r\n", lease("fd00::2", "c1", None)),
            ("lock", "", None),
            ("last_reserved_ip.0", "10.0.0.2", None),
            ("10.0.0.2", "", None),
            ("10.0.0.2", "../x\r\neth0", None),
            ("10.0.0.2", "c1\r\na/b", None),
            ("10.0.0.2", "\u{0}\u{0}", None),
        ] {
            assert_eq!(Lease::read(file, text.as_bytes()), expected, "{file} {text:?}");
        }
        assert_eq!(Lease::read("10.0.0.2", b"\xff\xff"), None);
    }

    fn network(text: &str) -> Network {
        Network::of_text(text)
    }

    #[test]
    fn f4_leases_are_where_the_plugins_say_and_where_they_are_by_default() {
        let networks = [
            r#"{"name":"a","plugins":[{"type":"tuning"},{"type":"x","ipam":{"type":"host-local","dataDir":"/run/ipam"}}]}"#,
            r#"{"name":"b","type":"flannel"}"#,
            r#"{"name":"b","type":"bridge","ipam":{"type":"host-local"},"capabilities":{"ips":true}}"#,
            r#"{"name":"b","type":"bridge","ipam":{"type":"host-local"},"args":{"cni":{}}}"#,
            r#"{"name":"c","type":"bridge","ipam":{"type":"static","dataDir":"/run/ipam"}}"#,
            r#"{"name":"c","type":"bridge","ipam":{"type":"host-local","dataDir":"ipam"}}"#,
        ]
        .map(network);
        let seen: Vec<_> =
            places(&networks).iter().map(|place| (place.dir.display().to_string(), place.networks.len())).collect();
        let expected = [
            ("/run/ipam/a", 1),
            ("/var/lib/cni/networks/a", 1),
            ("/var/lib/cni/networks/b", 2),
            ("/var/lib/cni/networks/c", 2),
        ];
        assert_eq!(seen, expected.map(|(dir, count)| (dir.to_owned(), count)));
    }

    #[test]
    fn f5_each_place_is_looked_through_once_in_an_epoch() {
        let places = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let (one, more) = (places(&["/a"]), places(&["/a", "/b"]));
        let first = Looked::read(b"leases e\n", "e");
        assert!(first.is_due(&one, 0) && !first.is_due(&[], 0));
        let done = first.after(&one, true, 100);
        assert!(!done.is_due(&one, 100) && done.is_due(&more, 100), "a network that came since");
        let text = serde_json::to_vec(&done).unwrap();
        assert_eq!(Looked::read(&text, "e"), done);
        assert!(Looked::read(&text, "f").is_due(&one, 100), "of another epoch");
        // What cannot be looked through is tried again, later each time, and what was looked through stays so.
        let once = done.after(&more, false, 100);
        assert!(!once.is_due(&one, 1000) && !once.is_due(&more, 100) && once.is_due(&more, 101));
        let often = (0..20).fold(once, |looked, _| looked.after(&more, false, 1000));
        assert!(!often.is_due(&more, 1599) && often.is_due(&more, 1600));
        assert!(!often.after(&more, true, 1600).is_due(&more, 1600));
    }

    #[test]
    fn f5_only_what_is_surely_of_an_earlier_kernel_is_released() {
        use Verdict::{Alive, Ours, Stale, Unknown};
        for (on_record, alive, written, booted, expected) in [
            (true, false, 0, Some(1000), Ours),
            (true, true, 0, Some(1000), Ours),
            (false, true, 0, Some(1000), Alive),
            (false, false, 998, Some(1000), Stale),
            (false, false, 999, Some(1000), Unknown),
            (false, false, 1000, Some(1000), Unknown),
            (false, false, 2000, Some(1000), Unknown),
            (false, false, 0, None, Unknown),
            (false, false, i64::MAX, Some(1000), Unknown),
        ] {
            let evidence = Evidence { on_record, alive, written, booted };
            assert_eq!(verdict(evidence), expected, "{evidence:?}");
        }
    }
}
