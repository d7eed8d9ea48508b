//! One element of the network attachment selection annotation: a request for one attachment (section 4.1).
//!
//! From a reference `[namespace/]name[@interface]` or from a JSON object. All keys of version 1.3 are validated, those that
//! nothing acts on yet included, so that no request is lost in silence. What holds between elements is `selection`'s.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU64};

use serde::Serialize;
use serde_json::value::RawValue;

use super::error::{Kind, Notice, Place, Problem, cut};
use super::json::{Found, kind, values};
use super::names::{Namespace, ObjectName};
use super::values::{Bandwidth, DeviceId, Guid, HardwareAddress, IpRequest, Mac, PortMapping, Protocol};
use crate::cni::{IfName, Object};

/// A request for one attachment, valid in itself. Written out as an element of the annotation's JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// Namespace of the network, the pod's own when none was given.
    pub namespace: Namespace,
    /// Name of the network.
    pub name: ObjectName,
    /// Name that the interface shall have (B9).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<IfName>,
    /// Addresses that the interface shall have (B5).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpRequest>,
    /// Hardware address that the interface shall have (B7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// InfiniBand GUID that the interface shall have (B8).
    #[serde(rename = "infiniband-guid", skip_serializing_if = "Option::is_none")]
    pub infiniband_guid: Option<Guid>,
    /// Ports of the host that shall lead here (B13).
    #[serde(rename = "portMappings", skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMapping>,
    /// Limits of the interface (B14).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// Device to use. Multus' own, not of the standard.
    #[serde(rename = "deviceID", skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// What is merged into `args.cni` of the plugins' configurations (B12), values as written.
    #[serde(rename = "cni-args", skip_serializing_if = "Option::is_none")]
    pub cni_args: Option<Object>,
    /// Present when the default routes of the pod shall be those of this attachment (B15). Each gateway replaces the
    /// default route of its address family; an empty list keeps what the network itself gives.
    #[serde(rename = "default-route", skip_serializing_if = "Option::is_none")]
    pub default_route: Option<Vec<IpAddr>>,
    /// The claim, in the pod's namespace, that holds the addresses of this attachment (B17).
    #[serde(rename = "ipam-claim-reference", skip_serializing_if = "Option::is_none")]
    pub ipam_claim_reference: Option<ObjectName>,
}

/// Told of a key and what became of it.
pub(super) type Warn<'w> = &'w mut dyn FnMut(&str, Notice);

impl Selection {
    /// The request for a network and nothing else.
    #[must_use]
    pub fn of(namespace: Namespace, name: ObjectName) -> Self {
        Self {
            namespace,
            name,
            interface: None,
            ips: Vec::new(),
            mac: None,
            infiniband_guid: None,
            port_mappings: Vec::new(),
            bandwidth: None,
            device_id: None,
            cni_args: None,
            default_route: None,
            ipam_claim_reference: None,
        }
    }

    /// The request in a reference `[namespace/]name[@interface]`, for example from an item of the comma form.
    ///
    /// # Errors
    /// [`Problem`] with a name or separator that is wrong.
    pub fn of_reference(text: &str, default_namespace: &Namespace) -> Result<Self, Problem> {
        let text = text.trim();
        let separated = |text: &str, separator| match text.matches(separator).count() {
            0 | 1 => Ok(()),
            _ => Err(Problem::Separators { text: cut(text), separator }),
        };
        separated(text, "@")?;
        separated(text, "/")?;
        let (network, interface) = match text.split_once('@') {
            Some((network, interface)) => (network, Some(IfName::new(interface)?)),
            None => (text, None),
        };
        let (namespace, name) = match network.split_once('/') {
            Some((namespace, name)) => (Namespace::new(namespace)?, name),
            None => (default_namespace.clone(), network),
        };
        Ok(Self { interface, ..Self::of(namespace, ObjectName::new(name)?) })
    }

    /// The request in an element of the JSON form.
    pub(super) fn of_json(element: &RawValue, default: &Namespace, warn: Warn<'_>) -> Result<Self, Problem> {
        match kind(element) {
            Kind::Object => {}
            found => return Err(Problem::NotAnObject { found }),
        }
        let known = [
            "name",
            "namespace",
            "interface",
            "interfaceRequest",
            "ips",
            "mac",
            "infiniband-guid",
            "portMappings",
            "bandwidth",
            "deviceID",
            "cni-args",
            "default-route",
            "ipam-claim-reference",
        ];
        let [name, namespace, interface, old_interface, ips, mac, guid, ports, bandwidth, device, args, route, claim] =
            values(element, known.map(Place::key), warn)?;
        let name = name.ok_or(Problem::Rule { place: Place::key("name"), rule: "is missing" })?.text()?;
        let namespace = match namespace.map(|found| found.text()).transpose()? {
            Some(text) if !text.is_empty() => Namespace::new(text)?,
            _ => default.clone(),
        };
        if let (Some(_), Some(claim)) = (ips, claim) {
            return Err(Problem::Rule { place: claim.place, rule: "excludes key \"ips\"" });
        }
        Ok(Self {
            namespace,
            name: ObjectName::new(name)?,
            interface: interface_of(interface, old_interface, warn)?,
            ips: ips.map_or(Ok(Vec::new()), ips_of)?,
            mac: mac.map(|found| address_of(found, "is not 6 bytes like \"02:00:00:00:00:01\"")).transpose()?,
            infiniband_guid: guid
                .map(|found| address_of(found, "is not 8 bytes like \"24:8a:07:03:00:8d:ae:2e\""))
                .transpose()?,
            port_mappings: ports.map_or(Ok(Vec::new()), |found| ports_of(found, warn))?,
            bandwidth: bandwidth.map(|found| bandwidth_of(found, warn)).transpose()?,
            device_id: device.map(device_of).transpose()?,
            cni_args: args.map(args_of).transpose()?,
            default_route: route.map(route_of).transpose()?,
            ipam_claim_reference: claim.map(|found| Ok::<_, Problem>(ObjectName::new(found.text()?)?)).transpose()?,
        })
    }
}

fn interface_of(new: Option<Found<'_>>, old: Option<Found<'_>>, warn: Warn<'_>) -> Result<Option<IfName>, Problem> {
    let named = |found: Option<Found<'_>>| found.map(|found| Ok::<_, Problem>(IfName::new(found.text()?)?)).transpose();
    let Some(old_found) = old else { return named(new) };
    warn(old_found.place.key, Notice::Deprecated("interface"));
    match (named(new)?, named(old)?) {
        (Some(new), Some(old)) if new != old => {
            Err(Problem::Rule { place: old_found.place, rule: "differs from key \"interface\"" })
        }
        (new, old) => Ok(new.or(old)),
    }
}

fn ips_of(found: Found<'_>) -> Result<Vec<IpRequest>, Problem> {
    let items = found.items()?;
    if items.is_empty() {
        return Err(Problem::Rule { place: found.place, rule: "is an empty list" });
    }
    items.iter().map(|item| IpRequest::parse(&item.text()?).map_err(|rule| item.breaks(rule))).collect()
}

fn address_of<const N: usize>(found: Found<'_>, rule: &'static str) -> Result<HardwareAddress<N>, Problem> {
    HardwareAddress::parse(&found.text()?).ok_or_else(|| found.breaks(rule))
}

fn ports_of(found: Found<'_>, warn: Warn<'_>) -> Result<Vec<PortMapping>, Problem> {
    found.items()?.into_iter().map(|item| port_of(item, warn)).collect()
}

fn port_of(item: Found<'_>, warn: Warn<'_>) -> Result<PortMapping, Problem> {
    item.expect(Kind::Object)?;
    let keys = ["hostPort", "containerPort", "protocol", "hostIP"].map(|key| item.place.inner(key));
    let [host_port, container_port, protocol, host_ip] = values(item.value, keys, warn)?;
    let port = |found: Option<Found<'_>>, place| {
        let found = found.ok_or(Problem::Rule { place, rule: "is missing" })?;
        let number = u16::try_from(found.whole_number()?).ok().and_then(NonZeroU16::new);
        number.ok_or_else(|| found.breaks("is not 1 to 65535"))
    };
    let known = |found: Found<'_>| {
        Protocol::parse(&found.text()?).ok_or_else(|| found.breaks("is not \"TCP\", \"UDP\" or \"SCTP\""))
    };
    Ok(PortMapping {
        host_port: port(host_port, keys[0])?,
        container_port: port(container_port, keys[1])?,
        protocol: protocol.map_or(Ok(Protocol::default()), known)?,
        host_ip: host_ip.map(ip_of).transpose()?,
    })
}

fn ip_of(found: Found<'_>) -> Result<IpAddr, Problem> {
    found.text()?.parse().map_err(|_| found.breaks("is not an IP address"))
}

fn bandwidth_of(found: Found<'_>, warn: Warn<'_>) -> Result<Bandwidth, Problem> {
    found.expect(Kind::Object)?;
    let keys = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"].map(|key| found.place.inner(key));
    let values = values(found.value, keys, warn)?;
    if values.iter().all(Option::is_none) {
        return Err(Problem::Rule { place: found.place, rule: "has no rate" });
    }
    let mut limits = [None; 4];
    for (limit, found) in limits.iter_mut().zip(values) {
        let Some(found) = found else { continue };
        let number = NonZeroU64::new(found.whole_number()?);
        *limit = Some(number.ok_or_else(|| found.breaks("must be more than 0"))?);
    }
    let [ingress_rate, ingress_burst, egress_rate, egress_burst] = limits;
    for (rate, burst, place) in [(ingress_rate, ingress_burst, keys[1]), (egress_rate, egress_burst, keys[3])] {
        if rate.is_none() && burst.is_some() {
            return Err(Problem::Rule { place, rule: "needs its rate beside it" });
        }
    }
    Ok(Bandwidth { ingress_rate, ingress_burst, egress_rate, egress_burst })
}

fn device_of(found: Found<'_>) -> Result<DeviceId, Problem> {
    DeviceId::parse(&found.text()?).map_err(|rule| found.breaks(rule))
}

fn args_of(found: Found<'_>) -> Result<Object, Problem> {
    found.expect(Kind::Object)?;
    Object::parse(found.value.get().as_bytes())
        .map_err(|_| Problem::Rule { place: found.place, rule: "has too many keys, or one that is no text" })
}

fn route_of(found: Found<'_>) -> Result<Vec<IpAddr>, Problem> {
    let gateways = found.items()?.into_iter().map(ip_of).collect::<Result<Vec<_>, _>>()?;
    for (family, rule) in [(true, "has more than one IPv4 address"), (false, "has more than one IPv6 address")] {
        if gateways.iter().filter(|gateway| gateway.is_ipv4() == family).count() > 1 {
            return Err(Problem::Rule { place: found.place, rule });
        }
    }
    Ok(gateways)
}
