//! Values that a selection may carry: addresses, hardware addresses, port mappings, bandwidth, device IDs.
//!
//! Each exists only if it is valid. Written out again they have one form, the one that plugins are given: hardware
//! addresses in lower case with colons, protocols in lower case.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU64};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One address asked for, with or without the length of its prefix (section 4.1.2.1.3, B5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRequest {
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix, when one was given.
    pub prefix: Option<u8>,
}

impl IpRequest {
    /// The request in `text`: an address, or an address, `/` and the length of a prefix.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address: IpAddr =
            address.parse().map_err(|_| "is not an IP address, with or without \"/\" and a prefix")?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let Some(prefix) = prefix else { return Ok(Self { address, prefix: None }) };
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
        match prefix.parse() {
            Ok(length) if digits && length <= longest => Ok(Self { address, prefix: Some(length) }),
            _ if longest == 32 => Err("has a prefix that is not 0 to 32"),
            _ => Err("has a prefix that is not 0 to 128"),
        }
    }
}

impl fmt::Display for IpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            None => write!(f, "{}", self.address),
            Some(prefix) => write!(f, "{}/{prefix}", self.address),
        }
    }
}

impl Serialize for IpRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IpRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A hardware address of `N` bytes: 6 for Ethernet (B7), 8 for an InfiniBand GUID (B8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HardwareAddress<const N: usize>([u8; N]);

/// An Ethernet address (section 4.1.2.1.4).
pub type Mac = HardwareAddress<6>;

/// An InfiniBand GUID.
pub type Guid = HardwareAddress<8>;

impl<const N: usize> HardwareAddress<N> {
    /// The address in `text`: two hexadecimal digits for each byte, all separated by `:` or all by `-`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; N];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }

    /// The bytes, in the order they are written.
    #[must_use]
    pub const fn bytes(&self) -> [u8; N] {
        self.0
    }
}

impl<const N: usize> fmt::Display for HardwareAddress<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, byte)| match at {
            0 => write!(f, "{byte:02x}"),
            _ => write!(f, ":{byte:02x}"),
        })
    }
}

impl<const N: usize> Serialize for HardwareAddress<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for HardwareAddress<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("is no hardware address"))
    }
}

/// Protocol of a port mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is the protocol in its name")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// The protocol named by `text`, in upper or lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let known = [("tcp", Self::Tcp), ("udp", Self::Udp), ("sctp", Self::Sctp)];
        known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, protocol)| protocol)
    }
}

/// One port of the host that leads to one of the pod (B13). Written out as the capability `portMappings` wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Port of the host.
    pub host_port: NonZeroU16,
    /// Port of the pod.
    pub container_port: NonZeroU16,
    /// Protocol, TCP when none was given.
    pub protocol: Protocol,
    /// Address of the host, all of them when none was given.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}

/// Limits in bits and bits per second (B14). At least one rate; a burst only beside its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bandwidth {
    /// Bits per second into the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_rate: Option<NonZeroU64>,
    /// Bits that may come in at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_burst: Option<NonZeroU64>,
    /// Bits per second out of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_rate: Option<NonZeroU64>,
    /// Bits that may go out at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_burst: Option<NonZeroU64>,
}

/// A device that a device plugin knows by this name, for example a PCI address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct DeviceId(String);

impl DeviceId {
    /// The device named by `text`.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "" => Err("is empty"),
            "." | ".." => Err("is a directory, not a device"),
            _ if text.len() > 253 => Err("is longer than 253 bytes"),
            _ if text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
                Err("has white space or a control character")
            }
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b5_addresses_with_and_without_prefix() {
        for (text, written) in [
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1/24", "10.0.0.1/24"),
            ("10.0.0.1/0", "10.0.0.1/0"),
            ("2001:DB8::1/64", "2001:db8::1/64"),
            ("fe80::1", "fe80::1"),
            ("::/128", "::/128"),
        ] {
            assert_eq!(IpRequest::parse(text).unwrap().to_string(), written);
        }
        for bad in [
            "",
            "/",
            "/24",
            "10.0.0",
            "10.0.0.256",
            "010.0.0.1",
            "10.0.0.1/",
            "10.0.0.1/33",
            "10.0.0.1/-1",
            "10.0.0.1/+8",
            "10.0.0.1/08",
            "10.0.0.1/8/8",
            " 10.0.0.1",
            "10.0.0.1 ",
            "::1/129",
            "fe80::1%eth0",
            "host",
            "10.0.0.1/256",
        ] {
            assert!(IpRequest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn b7_b8_hardware_addresses_have_exactly_their_bytes() {
        for text in ["02:00:5E:10:00:ff", "02-00-5e-10-00-FF"] {
            assert_eq!(Mac::parse(text).unwrap().to_string(), "02:00:5e:10:00:ff");
        }
        assert_eq!(Guid::parse("24:8A:07:03:00:8d:ae:2e").unwrap().to_string(), "24:8a:07:03:00:8d:ae:2e");
        for bad in [
            "",
            "02",
            "02:00:5e:10:00",
            "02:00:5e:10:00:ff:",
            ":02:00:5e:10:00:ff",
            "02:00:5e:10:00:ff:01:02",
            "02:00:5e-10:00:ff",
            "02005e1000ff",
            "0200.5e10.00ff",
            "2:0:5e:10:0:ff",
            "+2:00:5e:10:00:ff",
            "02:00:5e:10:00:fg",
            "02:00:5e:10:00:f\u{e9}",
            "02 00 5e 10 00 ff",
        ] {
            assert!(Mac::parse(bad).is_none(), "{bad}");
        }
        assert!(Guid::parse("02:00:5e:10:00:ff").is_none());
        assert!(Mac::parse("24:8a:07:03:00:8d:ae:2e").is_none());
    }

    #[test]
    fn b13_protocols_in_any_case() {
        assert_eq!(Protocol::parse("tcp"), Some(Protocol::Tcp));
        assert_eq!(Protocol::parse("Udp"), Some(Protocol::Udp));
        assert_eq!(Protocol::parse("SCTP"), Some(Protocol::Sctp));
        for bad in ["", "icmp", "tcp ", "tcp4"] {
            assert_eq!(Protocol::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn values_are_written_as_plugins_want_them() {
        let mapping = PortMapping {
            host_port: NonZeroU16::MIN,
            container_port: NonZeroU16::MAX,
            protocol: Protocol::Sctp,
            host_ip: None,
        };
        let text = serde_json::to_string(&mapping).unwrap();
        assert_eq!(text, r#"{"hostPort":1,"containerPort":65535,"protocol":"sctp"}"#);
        let bandwidth = Bandwidth { egress_rate: NonZeroU64::new(1000), ..Bandwidth::default() };
        assert_eq!(serde_json::to_string(&bandwidth).unwrap(), r#"{"egressRate":1000}"#);
    }

    #[test]
    fn device_ids_are_names() {
        for good in ["0000:03:02.0", "mlx5_core.sf.4", "vendor/0"] {
            assert!(DeviceId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a\n", &"a".repeat(254)] {
            assert!(DeviceId::parse(bad).is_err(), "{bad}");
        }
    }
}
