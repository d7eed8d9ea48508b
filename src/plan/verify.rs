//! `capabilityCheck: "verify"` (B6): addresses and MAC that a pod asks for go out in `CNI_ARGS` too, as under Multus, for
//! plugins that declare no capability; whether they were heeded, the kernel says.

use serde::{Deserialize, Serialize};

use crate::cni::{CniArgs, CniResult};
use crate::kernel::{Address, Interfaces};
use crate::npwg::Selection;
use crate::npwg::status::link;
use crate::npwg::values::{IpRequest, Mac};

/// The keys of a selection element that the kernel can show simply.
pub const KEYS: [&str; 2] = ["ips", "mac"];

/// What the kernel must show of an attachment after its ADD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// Addresses of its interface, with the length of the prefix where one was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpRequest>,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The plugins declare the capabilities for all of it: they are believed where the kernel has no such interface, as with a
    /// device that is the pod's own.
    #[serde(default)]
    pub declared: bool,
}

impl Verify {
    /// What `selection` asks for and the kernel can show; `None` when that is nothing.
    #[must_use]
    pub fn of(selection: &Selection, declared: bool) -> Option<Self> {
        let asked = Self { ips: selection.ips.clone(), mac: selection.mac, declared };
        (!asked.ips.is_empty() || asked.mac.is_some()).then_some(asked)
    }

    /// The runtime's arguments with ours behind them.
    #[must_use]
    pub fn arguments(&self, args: &CniArgs) -> CniArgs {
        let mut args = args.clone();
        if !self.ips.is_empty() {
            let ips: Vec<String> = self.ips.iter().map(ToString::to_string).collect();
            args = args.and("IP", &ips.join(","));
        }
        match self.mac {
            Some(mac) => args.and("MAC", &mac.to_string()),
            None => args,
        }
    }

    /// Whether the kernel shows it.
    ///
    /// # Errors
    /// What was asked for and what is there instead, as a sentence.
    pub fn shown(&self, interfaces: &Interfaces, result: &CniResult, ifname: &str) -> Result<(), String> {
        let Some(link) = link(interfaces, result, ifname) else {
            let why =
                || format!("{} was asked for, and the pod has no interface {ifname} that could have it", self.asked());
            return if self.declared { Ok(()) } else { Err(why()) };
        };
        let has = || interfaces.of(link.index);
        if let Some(ip) = self.ips.iter().find(|ip| !has().any(|address| is(address, ip))) {
            let found: Vec<String> = has().filter(|address| !address.is_local()).map(told).collect();
            let found = if found.is_empty() { "no address".to_owned() } else { found.join(", ") };
            return Err(format!(
                "\"ips\" asks for {ip}, and interface {} has {found}; {}",
                link.name,
                hint("ips", "IP=")
            ));
        }
        match self.mac.map(|mac| mac.to_string()) {
            Some(mac) if link.mac.as_ref() != Some(&mac) => {
                let found = link.mac.as_deref().unwrap_or("none");
                let hint = hint("mac", "MAC=");
                Err(format!("\"mac\" asks for {mac}, and that of interface {} is {found}; {hint}", link.name))
            }
            _ => Ok(()),
        }
    }

    fn asked(&self) -> String {
        let ips = self.ips.iter().map(ToString::to_string);
        ips.chain(self.mac.map(|mac| mac.to_string())).collect::<Vec<_>>().join(", ")
    }
}

fn is(address: &Address, asked: &IpRequest) -> bool {
    let prefix = asked.prefix.is_none_or(|prefix| prefix == address.prefix);
    address.address == asked.address && prefix && !address.dad_failed
}

fn told(address: &Address) -> String {
    let failed = if address.dad_failed { " (but another host has it)" } else { "" };
    format!("{}/{}{failed}", address.address, address.prefix)
}

fn hint(key: &str, argument: &str) -> String {
    format!(
        "no plugin of its chain heeds {argument} in CNI_ARGS or the capability {key:?}: add one that does, or drop the key"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Link, Scope};
    use crate::npwg::{Namespace, parse};

    fn verify(keys: &str) -> Option<Verify> {
        let text = format!(r#"[{{"name":"a"{keys}}}]"#);
        let selection = parse(&text, &Namespace::new("default").unwrap()).unwrap().selections.remove(0);
        Verify::of(&selection, false)
    }

    #[test]
    fn b6_what_is_asked_for_stands_behind_the_runtimes_own_arguments() {
        for (before, keys, after) in [
            ("A=1", r#","ips":["10.0.0.7/24","fd00::7"]"#, "A=1;IP=10.0.0.7/24,fd00::7"),
            ("A=1;", r#","mac":"02-00-00-00-00-0A""#, "A=1;MAC=02:00:00:00:00:0a"),
            ("", r#","ips":["10.0.0.7"],"mac":"02:00:00:00:00:0a""#, "IP=10.0.0.7;MAC=02:00:00:00:00:0a"),
        ] {
            let args = verify(keys).unwrap().arguments(&CniArgs::parse(before).unwrap());
            assert_eq!(args.as_str(), after);
        }
        assert_eq!(verify(r#","bandwidth":{"ingressRate":1000}"#), None);
    }

    #[test]
    fn b6_the_kernel_is_asked_for_each_value() {
        let address = |text: &str, prefix, dad_failed| {
            let address = text.parse().unwrap();
            Address { index: 2, address, prefix, scope: Scope::Global, tentative: false, dad_failed }
        };
        let mac = Some("02:00:00:00:00:01".to_owned());
        let link = Link { index: 2, name: "net1".to_owned(), mac, mtu: 1500, up: true, resolves: true, kind: None };
        let addresses =
            vec![address("10.0.0.7", 24, false), address("fd00::7", 64, true), address("fe80::7", 64, false)];
        let interfaces = Interfaces { links: vec![link], addresses };
        for (keys, found) in [
            (r#","ips":["10.0.0.7"]"#, None),
            (r#","ips":["10.0.0.7/24"],"mac":"02:00:00:00:00:01""#, None),
            (
                r#","ips":["10.0.0.7/16"]"#,
                Some(
                    "\"ips\" asks for 10.0.0.7/16, and interface net1 has 10.0.0.7/24, fd00::7/64 (but another host has it)",
                ),
            ),
            (r#","ips":["10.0.0.7","10.0.0.8"]"#, Some("\"ips\" asks for 10.0.0.8, and interface net1 has")),
            (r#","ips":["fd00::7"]"#, Some("\"ips\" asks for fd00::7, and")),
            (
                r#","mac":"02:00:00:00:00:02""#,
                Some("\"mac\" asks for 02:00:00:00:00:02, and that of interface net1 is 02:00:00:00:00:01"),
            ),
        ] {
            let shown = verify(keys).unwrap().shown(&interfaces, &CniResult::default(), "net1");
            match (shown, found) {
                (Ok(()), None) => {}
                (Err(error), Some(found)) if error.starts_with(found) => {}
                (shown, _) => panic!("{keys}: {shown:?}"),
            }
        }
        let asked = verify(r#","mac":"02:00:00:00:00:02""#).unwrap();
        let nowhere = asked.shown(&interfaces, &CniResult::default(), "net2").unwrap_err();
        assert_eq!(nowhere, "02:00:00:00:00:02 was asked for, and the pod has no interface net2 that could have it");
        let declared = Verify { declared: true, ..asked };
        assert_eq!(declared.shown(&interfaces, &CniResult::default(), "net2"), Ok(()));
        assert!(declared.shown(&interfaces, &CniResult::default(), "net1").is_err());
    }
}
