//! Networks as data: what the rows ask for, written in the form and version of a combination.

use crate::combination::{Combination, Form, Parts};
use serde_json::{Value, json};

/// Where a network's configuration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `spec.config` of its manifest.
    Inline,
    /// A file of `confDir` that has its name; the manifest has none.
    OnDisk,
}

/// A network: its manifest and the plugins of its configuration.
#[derive(Debug, Clone)]
pub struct Network {
    pub namespace: &'static str,
    pub name: String,
    pub plugins: Vec<Value>,
    pub source: Source,
    /// False when its configuration has no `name`.
    pub named: bool,
    /// Whose plugins fail a CHECK of what they made themselves: then its list says `disableCheck`.
    pub unchecked: Vec<Parts>,
}

impl Network {
    pub fn of(name: &str, plugins: impl Into<Vec<Value>>) -> Self {
        Self {
            namespace: "default",
            name: name.into(),
            plugins: plugins.into(),
            source: Source::Inline,
            named: true,
            unchecked: Vec::new(),
        }
    }

    pub fn namespace(mut self, namespace: &'static str) -> Self {
        self.namespace = namespace;
        self
    }

    pub fn on_disk(mut self) -> Self {
        self.source = Source::OnDisk;
        self
    }

    pub fn nameless(mut self) -> Self {
        self.named = false;
        self
    }

    pub fn unchecked_by(mut self, parts: &[Parts]) -> Self {
        self.unchecked = parts.to_vec();
        self
    }

    /// The configuration.
    pub fn config(&self, combination: Combination) -> Value {
        let mut config = match combination.form {
            Form::Conflist => json!({ "plugins": self.plugins }),
            Form::Conf => self.plugins[0].clone(),
        };
        config["cniVersion"] = combination.version.into();
        if self.unchecked.contains(&combination.parts) {
            config["disableCheck"] = true.into();
        }
        if self.named {
            config["name"] = self.name.clone().into();
        }
        config
    }
}

/// host-local with an IPv4 and an IPv6 range; each number its own. It gives `.2` and `::2` first; `.1` and `::1` are the
/// gateways.
pub fn host_local(number: u8) -> Value {
    json!({ "type": "host-local", "ranges": [
        [{ "subnet": format!("10.{number}.0.0/24") }], [{ "subnet": format!("fd00:{number}::/64") }],
    ] })
}

/// The real bridge with host-local; the node has the gateways on `br<number>`.
pub fn bridge(number: u8) -> Value {
    json!({ "type": "bridge", "bridge": format!("br{number}"), "isGateway": true, "ipam": host_local(number) })
}

/// A network of nothing but that.
pub fn bridge_network(name: &str, number: u8) -> Network {
    Network::of(name, [bridge(number)])
}

/// The real macvlan on the link to the world outside, which has 10.99.0.1/24 and fd00:99::1/64 there. Addresses are those
/// that the pod asks for.
pub fn macvlan() -> Value {
    json!({ "type": "macvlan", "master": "uplink0", "mode": "bridge", "capabilities": { "ips": true },
        "ipam": { "type": "static" } })
}

/// The scripted plugin under a type name, in place of a plugin whose device is not to be had here.
pub fn scripted(kind: &str, script: &Value) -> Value {
    json!({ "type": kind, "script": script })
}

/// A plugin with more keys.
pub fn with(mut plugin: Value, keys: &Value) -> Value {
    for (key, value) in keys.as_object().expect("an object of keys") {
        plugin[key] = value.clone();
    }
    plugin
}
