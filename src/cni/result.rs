//! Results of ADD: a typed view, and their text in any version we speak (Section 5, "ADD Success", and the result
//! formats of earlier versions of the specification).
//!
//! The view is of 1.1.0; older results are read into it and written from it. What a delegate printed is kept as text by
//! whoever must give it back to that delegate: the view is for us, never for them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{CniError, Code, null_is_empty};
use super::raw::Object;
use super::result_convert::{read_old, write};
use super::version::CniVersion;

/// What a chain of plugins made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniResult {
    /// Interfaces, those on the host among them.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Addresses.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpConfig>,
    /// Routes.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Resolver settings.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Dns::is_empty")]
    pub dns: Dns,
}

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub name: String,
    /// Its hardware address. Opaque: AWS VPC CNI writes a route table's number here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its MTU in bytes (1.1.0).
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The namespace it is in; missing or empty for one on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// Path of a socket (1.1.0).
    #[serde(rename = "socketPath", default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub socket_path: Option<String>,
    /// PCI address (1.1.0).
    #[serde(rename = "pciID", default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
}

impl Interface {
    /// True for an interface in a sandbox rather than on the host.
    #[must_use]
    pub fn in_sandbox(&self) -> bool {
        self.sandbox.as_deref().is_some_and(|sandbox| !sandbox.is_empty())
    }
}

/// One address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpConfig {
    /// Index into the interfaces.
    #[serde(default, deserialize_with = "index", skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
    /// Address with prefix length, `10.0.0.2/24`.
    pub address: String,
    /// Default gateway of that subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
}

impl IpConfig {
    /// The address without its prefix length; `None` when it is no address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.split('/').next()?.parse().ok()
    }
}

/// One route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destination with prefix length.
    pub dst: String,
    /// Next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<String>,
    /// MTU in bytes (1.1.0, as are all below).
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Maximum segment size in bytes.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Metric; the lowest wins.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Routing table.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Scope, as the kernel numbers it.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

/// Resolver settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Name servers, by preference.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// Local domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Search domains, by preference.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// True if nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl CniResult {
    /// The result that a plugin printed, and the version it is in. Without `cniVersion` it is of `when_missing`.
    ///
    /// # Errors
    /// Code 702 when `text` is no result, or of a version that we do not speak.
    pub fn parse(text: &[u8], when_missing: CniVersion) -> Result<(Self, CniVersion), CniError> {
        let (result, stated) = Self::parse_as_stated(text, when_missing)?;
        Ok((result, stated.unwrap_or(when_missing)))
    }

    /// As [`parse`](Self::parse), with the version only if the text itself states it: `null` and `""` do not.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_as_stated(text: &[u8], when_missing: CniVersion) -> Result<(Self, Option<CniVersion>), CniError> {
        let bad = |what: String| CniError::new(Code::BAD_ANSWER, format!("the answer {what}"));
        let object = Object::parse(text).map_err(|error| bad(format!("is not a JSON object: {error}")))?;
        let stated = object
            .get::<String>("cniVersion", "a string")
            .map_err(|error| bad(format!("is refused: {error}")))?
            .filter(|text| !text.is_empty())
            .map(|text| CniVersion::parse(&text))
            .transpose()
            .map_err(|error| bad(format!("is refused: {error}")))?;
        let version = stated.unwrap_or(when_missing);
        let result = if version <= CniVersion::V0_2_0 {
            read_old(text).map_err(|error| bad(format!("is not a result of {version}: {error}")))?
        } else {
            serde_json::from_slice(text).map_err(|error| bad(format!("is not a result of {version}: {error}")))?
        };
        match result.fault() {
            Some(fault) => Err(bad(fault)),
            None => Ok((result, stated)),
        }
    }

    /// The result as a plugin of `version` prints it. What that version has no place for is left out.
    #[must_use]
    pub fn to_text(&self, version: CniVersion) -> String {
        write(self, version)
    }

    /// This result with what `earlier` made before it: the earlier interfaces come first (A14).
    #[must_use]
    pub fn after(mut self, earlier: Self) -> Self {
        let offset = earlier.interfaces.len();
        for ip in &mut self.ips {
            ip.interface = ip.interface.map(|index| index + offset);
        }
        let mut merged = earlier;
        merged.interfaces.append(&mut self.interfaces);
        merged.ips.append(&mut self.ips);
        merged.routes.append(&mut self.routes);
        if !self.dns.is_empty() {
            merged.dns = self.dns;
        }
        merged
    }

    /// What makes this no result at all, as the end of a sentence.
    fn fault(&self) -> Option<String> {
        let short = |text: &str| text.chars().take(64).collect::<String>();
        for route in &self.routes {
            if !is_cidr(&route.dst) {
                return Some(format!("holds a route to {:?}, which is no network", short(&route.dst)));
            }
        }
        for ip in &self.ips {
            if !is_cidr(&ip.address) {
                return Some(format!("holds {:?}, which is no address", short(&ip.address)));
            }
            if ip.interface.is_some_and(|index| index >= self.interfaces.len()) {
                return Some(format!("puts {} on an interface that it does not list", short(&ip.address)));
            }
        }
        None
    }
}

/// True for an address with a prefix length, or without one as some old plugins write it.
fn is_cidr(text: &str) -> bool {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest))
}

/// A number that only 1.1.0 has a place for. What is none, or is of an earlier version that has no such key, is for those who read it:
/// libcni takes a negative one and passes over the key in an older result.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_u64().and_then(|number| u32::try_from(number).ok()))
}

/// A text, likewise.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_str().map(str::to_owned))
}

/// An index, or nothing when it is negative: some plugins write -1 for "no interface".
fn index<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    Ok(Option::<i64>::deserialize(deserializer)?.and_then(|index| usize::try_from(index).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"cniVersion":"1.1.0","interfaces":[{"name":"veth1"},{"name":"eth0","mac":"02:00:00:00:00:01","mtu":1500,"sandbox":"/run/netns/x"}],"ips":[{"interface":1,"address":"10.0.0.2/24","gateway":"10.0.0.1"},{"interface":1,"address":"fd00::2/64"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1","priority":5}],"dns":{"nameservers":["10.0.0.10"]}}"#;

    fn check(version: CniVersion, expected: &str) {
        let (result, _) = CniResult::parse(FULL.as_bytes(), CniVersion::NEWEST).unwrap();
        let text = result.to_text(version);
        assert_eq!(text, expected);
        let (again, read) = CniResult::parse(text.as_bytes(), CniVersion::NEWEST).unwrap();
        assert_eq!(read, version);
        assert_eq!(again.to_text(version), text, "a second conversion changes nothing");
    }

    #[test]
    fn a13_results_in_every_version() {
        check(CniVersion::V1_1_0, FULL);
        let v1 = FULL.replace("1.1.0", "1.0.0").replace(",\"mtu\":1500", "").replace(",\"priority\":5", "");
        check(CniVersion::V1_0_0, &v1);
        let ips = |text: &str| {
            text.replace(r#"{"interface":1,"address":"10"#, r#"{"version":"4","interface":1,"address":"10"#)
                .replace(r#"{"interface":1,"address":"fd"#, r#"{"version":"6","interface":1,"address":"fd"#)
        };
        for version in [CniVersion::V0_3_0, CniVersion::V0_3_1, CniVersion::V0_4_0] {
            check(version, &ips(&v1).replace("1.0.0", version.as_str()));
        }
        for version in [CniVersion::V0_1_0, CniVersion::V0_2_0] {
            let expected = r#"{"cniVersion":"VERSION","ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]},"ip6":{"ip":"fd00::2/64"},"dns":{"nameservers":["10.0.0.10"]}}"#;
            check(version, &expected.replace("VERSION", version.as_str()));
        }
    }

    #[test]
    fn a_result_without_version_is_of_the_version_we_sent() {
        let (_, version) = CniResult::parse(b"{\"ips\":[{\"address\":\"10.0.0.2/24\"}]}", CniVersion::V0_4_0).unwrap();
        assert_eq!(version, CniVersion::V0_4_0);
    }

    #[test]
    fn nulls_and_negative_indices_are_nothing() {
        let text = br#"{"interfaces":null,"ips":[{"interface":-1,"address":"10.0.0.2/24","gateway":null}],"dns":{"search":null},"routes":null}"#;
        let (result, _) = CniResult::parse(text, CniVersion::V1_0_0).unwrap();
        assert_eq!(result.ips[0].interface, None);
    }

    #[test]
    fn keys_of_1_1_0_refuse_no_result_whatever_they_hold() {
        let text = br#"{"interfaces":[{"name":null,"mtu":"1500","socketPath":7,"pciID":[]},{"name":"a","mtu":-1}],"routes":[{"dst":"0.0.0.0/0","mtu":{},"advmss":"x","priority":-1,"table":"main","scope":1.5}]}"#;
        for version in [CniVersion::V0_3_1, CniVersion::V1_0_0, CniVersion::V1_1_0] {
            let (result, _) = CniResult::parse(text, version).unwrap();
            assert_eq!((result.interfaces[0].mtu, result.interfaces[1].name.as_str()), (None, "a"));
            assert_eq!(result.routes, [Route { dst: "0.0.0.0/0".to_owned(), ..Route::default() }]);
        }
    }

    #[test]
    fn f11_what_is_no_result_says_why() {
        for (text, msg) in [
            ("", "the answer is not a JSON object: EOF while parsing a value at line 1 column 0"),
            ("{\"cniVersion\":\"9.0.0\"}", "the answer is refused: CNI version \"9.0.0\" is not one of 0.1.0 to 1.1.0"),
            ("{\"ips\":[{\"address\":\"x\"}]}", "the answer holds \"x\", which is no address"),
            (
                "{\"ips\":[{\"address\":\"10.0.0.1/8\",\"interface\":0}]}",
                "the answer puts 10.0.0.1/8 on an interface that it does not list",
            ),
        ] {
            let error = CniResult::parse(text.as_bytes(), CniVersion::V1_0_0).unwrap_err();
            assert_eq!((error.code, error.msg.as_str()), (Code::BAD_ANSWER, msg));
        }
    }

    #[test]
    fn a14_what_came_before_stays_first() {
        let parse = |text: &str| CniResult::parse(text.as_bytes(), CniVersion::V1_0_0).unwrap().0;
        let earlier = parse(r#"{"interfaces":[{"name":"a"}],"dns":{"domain":"x"}}"#);
        let ours = parse(r#"{"interfaces":[{"name":"b"}],"ips":[{"interface":0,"address":"10.0.0.2/24"}]}"#);
        assert_eq!(
            ours.after(earlier).to_text(CniVersion::V1_0_0),
            r#"{"cniVersion":"1.0.0","interfaces":[{"name":"a"},{"name":"b"}],"ips":[{"interface":1,"address":"10.0.0.2/24"}],"dns":{"domain":"x"}}"#
        );
    }
}
