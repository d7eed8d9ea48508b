//! Results in the formats of older versions: 0.1.0 and 0.2.0 have one address per family, 0.3.0 to 0.4.0 name the family
//! of each address, and 1.1.0 has keys that 1.0.0 does not know.

use serde::{Deserialize, Serialize};

use super::result::{CniResult, Dns, IpConfig, Route};
use super::version::CniVersion;

/// A result of 0.1.0 and 0.2.0.
#[derive(Serialize, Deserialize)]
struct Old {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<OldIp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<OldIp>,
    #[serde(default, skip_serializing_if = "Dns::is_empty")]
    dns: Dns,
}

#[derive(Serialize, Deserialize)]
struct OldIp {
    ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    routes: Option<Vec<Route>>,
}

/// A result of 0.3.0 and later, as it is written.
#[derive(Serialize)]
struct Written<'a, T> {
    #[serde(rename = "cniVersion")]
    cni_version: CniVersion,
    #[serde(flatten)]
    result: &'a T,
}

/// An address of 0.3.0 to 0.4.0.
#[derive(Serialize)]
struct VersionedIp<'a> {
    version: &'static str,
    #[serde(flatten)]
    ip: &'a IpConfig,
}

#[derive(Serialize)]
struct Versioned<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    interfaces: &'a [super::result::Interface],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<VersionedIp<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    routes: &'a [Route],
    #[serde(skip_serializing_if = "Dns::is_empty")]
    dns: &'a Dns,
}

/// The view of a result of 0.1.0 or 0.2.0.
pub(super) fn read_old(text: &[u8]) -> Result<CniResult, serde_json::Error> {
    let old: Old = serde_json::from_slice(text)?;
    let mut result = CniResult { dns: old.dns, ..CniResult::default() };
    for ip in [old.ip4, old.ip6].into_iter().flatten() {
        result.ips.push(IpConfig { interface: None, address: ip.ip, gateway: ip.gateway });
        result.routes.extend(ip.routes.unwrap_or_default());
    }
    Ok(result)
}

/// The text of `result` in `version`.
pub(super) fn write(result: &CniResult, version: CniVersion) -> String {
    let text = match version {
        CniVersion::V0_1_0 | CniVersion::V0_2_0 => {
            serde_json::to_string(&Written { cni_version: version, result: &old_view(result) })
        }
        CniVersion::V0_3_0 | CniVersion::V0_3_1 | CniVersion::V0_4_0 => {
            let result = without_new_keys(result);
            let ips =
                result.ips.iter().map(|ip| VersionedIp { version: if is_v6(&ip.address) { "6" } else { "4" }, ip });
            let view = Versioned {
                interfaces: &result.interfaces,
                ips: ips.collect(),
                routes: &result.routes,
                dns: &result.dns,
            };
            serde_json::to_string(&Written { cni_version: version, result: &view })
        }
        CniVersion::V1_0_0 => {
            serde_json::to_string(&Written { cni_version: version, result: &without_new_keys(result) })
        }
        CniVersion::V1_1_0 => serde_json::to_string(&Written { cni_version: version, result }),
    };
    // Texts, numbers and lists of them: there is nothing in a result that JSON cannot hold.
    text.unwrap_or_else(|_| format!("{{\"cniVersion\":\"{version}\"}}"))
}

fn old_view(result: &CniResult) -> Old {
    let of_family = |v6: bool| {
        let ip = result.ips.iter().find(|ip| is_v6(&ip.address) == v6)?;
        let routes: Vec<Route> = result.routes.iter().filter(|route| is_v6(&route.dst) == v6).map(old_route).collect();
        Some(OldIp {
            ip: ip.address.clone(),
            gateway: ip.gateway.clone(),
            routes: Some(routes).filter(|routes| !routes.is_empty()),
        })
    };
    Old { ip4: of_family(false), ip6: of_family(true), dns: result.dns.clone() }
}

fn without_new_keys(result: &CniResult) -> CniResult {
    let mut result = result.clone();
    for interface in &mut result.interfaces {
        (interface.mtu, interface.socket_path, interface.pci_id) = (None, None, None);
    }
    result.routes = result.routes.iter().map(old_route).collect();
    result
}

fn old_route(route: &Route) -> Route {
    Route { dst: route.dst.clone(), gw: route.gw.clone(), ..Route::default() }
}

fn is_v6(address: &str) -> bool {
    address.contains(':')
}
