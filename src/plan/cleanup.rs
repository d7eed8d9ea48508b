//! What stands against taking meta-cni off a node, and what its pods' primary network needs to be deleted without it (D13).
//!
//! libcni deletes a network by its cache: what `meta-cni cleanup` exports is an entry of the primary as if libcni had added it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cni::raw::{text_value, value_of};
use crate::cni::{Object, PluginType};

use super::Role;
use super::record::{Record, State};

/// The attachments of sandboxes that are alive.
#[derive(Debug, Default)]
pub struct Alive {
    /// Those of primary networks: exported.
    pub primary: Vec<Record>,
    /// Others: nobody but meta-cni knows of them. In the order in which they are taken back.
    pub additional: Vec<Record>,
}

impl Alive {
    /// The attachments among `records`. A primary that was not wholly attached cannot be exported, and counts as another.
    #[must_use]
    pub fn of(records: Vec<Record>) -> Self {
        let standing = records.into_iter().filter(|record| record.state != State::Undone);
        let whole = |record: &Record| record.attachment.role == Role::Primary && record.state == State::Attached;
        let (primary, mut additional): (Vec<Record>, Vec<Record>) = standing.partition(whole);
        additional.sort_by_key(|record| std::cmp::Reverse(record.attachment.ordinal));
        Self { primary, additional }
    }

    /// Each attachment that stands against it, one line each.
    #[must_use]
    pub fn named(&self) -> Vec<String> {
        let name = |record: &Record| {
            let sandbox = &record.sandbox;
            let pod = sandbox.pod.as_ref().map(|pod| format!("pod {}/{}, ", pod.namespace, pod.name));
            let Record { attachment, .. } = record;
            format!(
                "{}sandbox {}: {} ({})",
                pod.unwrap_or_default(),
                sandbox.container_id,
                attachment.ifname,
                attachment.network
            )
        };
        self.additional.iter().map(name).collect()
    }
}

/// An entry of libcni's cache, as libcni writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    kind: &'static str,
    container_id: &'a str,
    config: String,
    if_name: &'a str,
    network_name: &'a str,
    netns: &'a str,
    cni_args: Vec<(&'a str, &'a str)>,
    #[serde(skip_serializing_if = "Object::is_empty")]
    capability_args: Object,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
}

/// The entry of libcni's cache for the attachment: its file name and its text.
#[must_use]
pub fn entry(record: &Record) -> (String, String) {
    let attachment = &record.attachment;
    let (id, ifname, name) =
        (record.sandbox.container_id.as_str(), attachment.ifname.as_str(), attachment.name.as_str());
    let mut arguments = Object::default();
    let plugins: Vec<Object> =
        attachment.calls.iter().map(|call| bare(&call.plugin, &call.config, &mut arguments)).collect();
    let mut list = Object::default();
    list.set("cniVersion", value_of(&attachment.cni_version));
    list.set("name", text_value(name));
    list.set("plugins", value_of(&plugins));
    let netns = record.sandbox.netns.to_string_lossy();
    let entry = Entry {
        kind: "cniCacheV1",
        container_id: id,
        config: STANDARD.encode(list.to_text()),
        if_name: ifname,
        network_name: name,
        netns: &netns,
        cni_args: attachment.args.as_str().split(';').filter_map(|pair| pair.split_once('=')).collect(),
        capability_args: arguments,
        result: record.result.as_deref(),
    };
    (format!("{name}-{id}-{ifname}"), serde_json::to_string(&entry).unwrap_or_default())
}

/// A plugin as it stands in a list: what libcni sets when it runs it is taken out, what it sets by capability goes to `arguments`.
fn bare(plugin: &PluginType, config: &Object, arguments: &mut Object) -> Object {
    let mut bare = config.clone();
    bare.set_text("type", plugin.as_str());
    let told: Object = config.get("runtimeConfig", "an object").ok().flatten().unwrap_or_default();
    bare.retain(|key| !matches!(key, "cniVersion" | "name" | "runtimeConfig" | "prevResult"));
    let mut capabilities = Object::default();
    for (key, _) in told.iter() {
        capabilities.set(key, value_of(&true));
    }
    arguments.copy(&told, |_| true);
    if !capabilities.is_empty() {
        bare.set_object("capabilities", &capabilities);
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::super::foreign::from_cache;
    use super::*;

    fn record(role: &str, state: &str) -> Record {
        let text = format!(
            r#"{{"sandbox":{{"containerID":"c1","netns":"/run/netns/x","pod":{{"namespace":"a","name":"p","uid":""}}}},
            "epoch":"e","request":"eth0","of":2,"attachment":{{"ordinal":0,"role":"{role}","network":"a/n","name":"cbr0",
            "cniVersion":"1.0.0","ifname":"eth0","disableCheck":false,"disableGC":false,"args":"IgnoreUnknown=1;K8S_POD_NAME=p",
            "path":["/p"],"deadline":{{"add":1,"del":1}},"calls":[
            {{"plugin":"bridge","binary":"/p/bridge","config":{{"cniVersion":"1.0.0","name":"cbr0","type":"bridge","mtu":1.0e3}}}},
            {{"plugin":"portmap","binary":"/p/portmap","config":{{"cniVersion":"1.0.0","name":"cbr0","type":"portmap","runtimeConfig":{{"portMappings":[]}}}}}}]}},
            "call":{{"pid":2,"seen":1}},"state":"{state}","result":{{"cniVersion":"1.0.0"}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn d13_what_is_exported_reads_back_as_what_libcni_would_have_kept() {
        let (name, text) = entry(&record("primary", "attached"));
        assert_eq!(name, "cbr0-c1-eth0");
        let foreign = from_cache(text.as_bytes(), "c1").unwrap();
        let plugins: Vec<String> = foreign.list.plugins.iter().map(|plugin| plugin.object.to_text()).collect();
        assert_eq!(
            plugins,
            [r#"{"type":"bridge","mtu":1.0e3}"#, r#"{"type":"portmap","capabilities":{"portMappings":true}}"#]
        );
        assert_eq!((foreign.network.as_str(), foreign.list.name.as_str()), ("cbr0", "cbr0"));
        assert_eq!(foreign.arguments.to_text(), r#"{"portMappings":[]}"#);
        assert_eq!(foreign.args.unwrap().as_str(), "IgnoreUnknown=1;K8S_POD_NAME=p");
        assert_eq!(foreign.result.unwrap().get(), r#"{"cniVersion":"1.0.0"}"#);
    }

    #[test]
    fn d13_what_nobody_else_knows_of_stands_against_it_and_is_named() {
        let alive = Alive::of(vec![
            record("primary", "attached"),
            record("additional", "attached"),
            record("primary", "begun"),
            record("additional", "undone"),
        ]);
        assert_eq!((alive.primary.len(), alive.additional.len()), (1, 2));
        assert_eq!(alive.named()[0], "pod a/p, sandbox c1: eth0 (a/n)");
    }
}
