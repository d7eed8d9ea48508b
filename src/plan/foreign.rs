//! What others kept of a pod that they added: libcni's cache and Multus' scratch file (F13). Pure: bytes in, attachments out.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cni::conf::pointer_to_type;
use crate::cni::{CniArgs, IfName, NetworkConfigList, Object};
use crate::config::master::PLUGIN_TYPE;

use super::Pod;
use super::del::Foreign;

/// An entry of libcni's cache, `<cache>/results/<network>-<container ID>-<ifname>`.
#[derive(Deserialize)]
struct CacheEntry {
    kind: String,
    #[serde(rename = "containerId")]
    container_id: String,
    /// The configuration, base64.
    config: String,
    #[serde(rename = "ifName")]
    ifname: String,
    #[serde(rename = "networkName")]
    network: String,
    #[serde(rename = "cniArgs", default)]
    cni_args: Option<Vec<(String, String)>>,
    #[serde(rename = "capabilityArgs", default)]
    capability_args: Option<Object>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
}

/// Whose an entry of libcni's cache is, and its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Cached {
    /// `CNI_CONTAINERID` of the ADD.
    #[serde(rename = "containerId")]
    pub container_id: String,
    /// `CNI_NETNS` of the ADD; empty when the entry does not say.
    #[serde(default)]
    pub netns: PathBuf,
    /// `CNI_IFNAME` of the ADD; empty when the entry does not say.
    #[serde(rename = "ifName", default)]
    pub ifname: String,
    /// The network's name; empty when the entry does not say.
    #[serde(rename = "networkName", default)]
    pub network: String,
    #[serde(default)]
    config: String,
    #[serde(rename = "cniArgs", default)]
    cni_args: Option<Vec<(String, String)>>,
}

impl Cached {
    /// True if it is an attachment that meta-cni made, whatever its network is called: by the configuration of the ADD.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let config = STANDARD.decode(&self.config).unwrap_or_default();
        pointer_to_type(&config, PLUGIN_TYPE).is_ok_and(|found| found.is_some())
    }

    /// Its pod, `<namespace>/<name>`, if the runtime said it.
    #[must_use]
    pub fn pod(&self) -> Option<String> {
        let pod = Pod::of(&args(self.cni_args.as_deref()?)?).filter(|pod| !pod.namespace.is_empty())?;
        Some(format!("{}/{}", pod.namespace, pod.name))
    }

    /// What `bytes`, an entry of libcni's cache, say; `None` when they are none.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// `CNI_ARGS` of the ADD, as an entry has them.
fn args(pairs: &[(String, String)]) -> Option<CniArgs> {
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    CniArgs::parse(&pairs.join(";")).ok()
}

/// What libcni's cache has of a container.
///
/// `None` when `bytes` are no such entry, are of another container, or are of our own network: that one is not foreign.
#[must_use]
pub fn from_cache(bytes: &[u8], container_id: &str) -> Option<Foreign> {
    let entry: CacheEntry = serde_json::from_slice(bytes).ok()?;
    if entry.kind != "cniCacheV1" || entry.container_id != container_id {
        return None;
    }
    let config = STANDARD.decode(entry.config).ok()?;
    let list = list_of(&config, Some(&entry.network))?;
    let foreign = Foreign {
        network: entry.network,
        list,
        ifname: IfName::new(entry.ifname).ok()?,
        arguments: entry.capability_args.unwrap_or_default(),
        args: args(&entry.cni_args.unwrap_or_default()),
        result: entry.result.filter(|result| result.get() != "null"),
    };
    Some(foreign)
}

/// What of an entry of libcni's cache tells where the container's namespace is, in every version.
#[derive(Deserialize)]
struct CachedPlace {
    #[serde(rename = "containerId")]
    container_id: String,
    #[serde(default)]
    netns: PathBuf,
    #[serde(default)]
    result: Option<CachedResult>,
}

#[derive(Deserialize)]
struct CachedResult {
    #[serde(default)]
    interfaces: Vec<CachedInterface>,
}

#[derive(Deserialize)]
struct CachedInterface {
    #[serde(default)]
    sandbox: PathBuf,
}

/// The namespaces that an entry of libcni's cache names as the container's. None when `bytes` are no such entry.
#[must_use]
pub fn namespaces_of(bytes: &[u8], container_id: &str) -> Vec<PathBuf> {
    let entry = serde_json::from_slice::<CachedPlace>(bytes).ok().filter(|entry| entry.container_id == container_id);
    let Some(entry) = entry else { return Vec::new() };
    let results = entry.result.map_or_else(Vec::new, |result| result.interfaces);
    let mut paths = vec![entry.netns];
    paths.extend(results.into_iter().map(|interface| interface.sandbox));
    paths.retain(|path| path.is_absolute());
    paths
}

/// An element of Multus' scratch file.
#[derive(Deserialize)]
struct Delegate {
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "ifnameRequest", default)]
    ifname: String,
    /// The configuration, base64; of a list given by path it has lost keys.
    #[serde(rename = "Bytes", default)]
    bytes: Option<String>,
    #[serde(rename = "CNINetworkConfigList", default)]
    list: Option<LibcniList>,
}

#[derive(Deserialize)]
struct LibcniList {
    #[serde(rename = "Bytes", default)]
    bytes: Option<String>,
}

/// The attachments in Multus' scratch file `<cniDir>/<containerID>`, in order of ADD; the first has the name `primary`.
#[must_use]
pub fn from_multus(bytes: &[u8], primary: &IfName) -> Vec<Foreign> {
    let delegates: Vec<Delegate> = serde_json::from_slice(bytes).unwrap_or_default();
    let decode = |text: &String| STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty());
    let mut all = Vec::new();
    for (position, delegate) in delegates.into_iter().enumerate() {
        let exact = delegate.list.and_then(|list| list.bytes).as_ref().and_then(decode);
        let Some(config) = exact.or_else(|| delegate.bytes.as_ref().and_then(decode)) else { continue };
        let name = Some(delegate.name.rsplit('/').next().unwrap_or_default()).filter(|name| !name.is_empty());
        let Some(list) = list_of(&config, name) else { continue };
        let ifname = match (position, delegate.ifname.as_str()) {
            (0, _) => Some(primary.clone()),
            (_, "") => IfName::new(format!("net{position}")).ok(),
            (_, name) => IfName::new(name).ok(),
        };
        let Some(ifname) = ifname else { continue };
        let network = if delegate.name.is_empty() { list.name.to_string() } else { delegate.name };
        all.push(Foreign { network, list, ifname, arguments: Object::default(), args: None, result: None });
    }
    all
}

/// A configuration that is not ours.
fn list_of(config: &[u8], name: Option<&str>) -> Option<NetworkConfigList> {
    let list = NetworkConfigList::parse(config, name).ok()?;
    matches!(pointer_to_type(config, PLUGIN_TYPE), Ok(None)).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(config: &str, container: &str) -> String {
        format!(
            r#"{{"kind":"cniCacheV1","containerId":"{container}","config":"{}","ifName":"eth0","networkName":"cbr0","netns":"/run/netns/x","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAME","p"]],"capabilityArgs":{{"mac":"02:00:00:00:00:01"}},"result":{{"cniVersion":"1.0.0"}}}}"#,
            STANDARD.encode(config)
        )
    }

    #[test]
    fn f13_libcnis_cache_gives_configuration_arguments_and_result() {
        let text = cache(r#"{"cniVersion":"1.0.0","name":"cbr0","plugins":[{"type":"bridge","x":1.0}]}"#, "c1");
        let foreign = from_cache(text.as_bytes(), "c1").unwrap();
        assert_eq!(foreign.list.plugins[0].object.to_text(), r#"{"type":"bridge","x":1.0}"#);
        assert_eq!(foreign.args.unwrap().as_str(), "IgnoreUnknown=1;K8S_POD_NAME=p");
        assert_eq!(foreign.arguments.to_text(), r#"{"mac":"02:00:00:00:00:01"}"#);
        assert_eq!(foreign.result.unwrap().get(), r#"{"cniVersion":"1.0.0"}"#);
    }

    #[test]
    fn f5_an_entry_says_whose_namespace_it_is() {
        let ours = r#"{"cniVersion":"1.0.0","name":"meta-cni","plugins":[{"type":"meta-cni"}]}"#;
        let read = |config| Cached::read(cache(config, "c1").as_bytes()).unwrap();
        let entry = read(ours);
        let who = (entry.container_id.as_str(), entry.ifname.as_str(), entry.network.as_str());
        assert_eq!((who, entry.netns.as_path()), (("c1", "eth0", "cbr0"), std::path::Path::new("/run/netns/x")));
        // By its configuration, whatever its network is called.
        assert!(entry.is_ours() && !read(&ours.replace("\"type\":\"meta-cni\"", "\"type\":\"bridge\"")).is_ours());
        assert_eq!(entry.pod(), None);
        let named = cache(ours, "c1").replace("\"IgnoreUnknown\",\"1\"", "\"K8S_POD_NAMESPACE\",\"n\"");
        assert_eq!(Cached::read(named.as_bytes()).unwrap().pod().as_deref(), Some("n/p"));
        assert_eq!(Cached::read(b"{}"), None);
    }

    #[test]
    fn a17_libcnis_cache_tells_where_a_containers_namespace_is() {
        let newer =
            r#"{"kind":"cniCacheV1","containerId":"c1","netns":"/run/netns/a","result":{"cniVersion":"1.0.0"}}"#;
        let older = r#"{"kind":"cniCacheV1","containerId":"c1","result":{"interfaces":[{"name":"veth0"},
            {"name":"eth0","sandbox":"/run/netns/b"}]}}"#;
        assert_eq!(namespaces_of(newer.as_bytes(), "c1"), [PathBuf::from("/run/netns/a")]);
        assert_eq!(namespaces_of(older.as_bytes(), "c1"), [PathBuf::from("/run/netns/b")]);
        for (text, id) in
            [(newer, "c2"), ("", "c1"), ("{}", "c1"), (r#"{"containerId":"c1","netns":"relative"}"#, "c1")]
        {
            assert_eq!(namespaces_of(text.as_bytes(), id), Vec::<PathBuf>::new(), "{text}");
        }
    }

    #[test]
    fn f13_entries_of_others_or_of_our_own_network_are_none() {
        let ours = r#"{"cniVersion":"1.0.0","name":"meta-cni","plugins":[{"type":"meta-cni"}]}"#;
        assert!(from_cache(cache(ours, "c1").as_bytes(), "c1").is_none());
        assert!(from_cache(cache(r#"{"name":"n","type":"bridge"}"#, "c2").as_bytes(), "c1").is_none());
        for broken in ["", "{}", "null", "[]", "{\"kind\":\"cniCacheV1\"}"] {
            assert!(from_cache(broken.as_bytes(), "c1").is_none());
        }
    }

    #[test]
    fn f13_multus_scratch_file_gives_every_delegate_with_its_exact_bytes() {
        let exact = STANDARD
            .encode(r#"{"cniVersion":"0.3.1","name":"cbr0","plugins":[{"type":"bridge","ipam":{"ranges":[]}}]}"#);
        let lossy = STANDARD.encode(r#"{"cniVersion":"0.3.1","name":"cbr0","plugins":[{"type":"bridge"}]}"#);
        let single = STANDARD.encode(r#"{"cniVersion":"0.3.1","name":"mv","type":"macvlan"}"#);
        let text = format!(
            r#"[{{"Name":"","Bytes":"{lossy}","CNINetworkConfigList":{{"Bytes":"{exact}"}}}},{{"Name":"default/mv","Bytes":"{single}"}},{{"Name":"default/mv","Bytes":"{single}","ifnameRequest":"fast0"}}]"#
        );
        let all = from_multus(text.as_bytes(), &IfName::new("eth0").unwrap());
        let seen: Vec<_> = all.iter().map(|foreign| (foreign.network.as_str(), foreign.ifname.as_str())).collect();
        assert_eq!(seen, [("cbr0", "eth0"), ("default/mv", "net1"), ("default/mv", "fast0")]);
        assert!(all[0].list.plugins[0].object.has("ipam"));
        for broken in ["", "null", "[]", "[null]", "{}"] {
            assert!(from_multus(broken.as_bytes(), &IfName::new("eth0").unwrap()).is_empty());
        }
    }
}
