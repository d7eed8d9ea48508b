//! The master config as one value. Keys that Multus has keep their names and meaning.
//!
//! Lenient when serving a pod: an unknown key is a warning (`MasterConfig::warnings`); a key of the wrong type is an error,
//! because guessing what was meant could cost a pod a network.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::cni::conf::version_of;
use crate::cni::raw::WrongType;
use crate::cni::{CniError, CniVersion, Code, ConfError, NetworkName, Object};
use crate::kernel::Prefix;

use super::duration::Span;
use super::keys::{Warning, unused};
use super::places::{PROFILES_DIR, RUN_DIR, STATE_DIR};

/// The type of our plugin: what configurations call it.
pub const PLUGIN_TYPE: &str = "meta-cni";

/// What `logLevel` may say: our levels, and Multus' `panic` and `verbose`.
const LEVELS: &[&str] = &["error", "warn", "warning", "info", "debug", "trace", "panic", "verbose"];

/// Where the standard has files about devices (Device Information Specification 1.1.0).
const DEVICE_INFO: &str = "/var/run/k8s.cni.cncf.io/devinfo";

/// The key that names the chain which runs last.
const AUXILIARY: &str = "auxiliaryCNIChainName";

/// The keys of networks that every pod has.
const CLUSTER: &str = "clusterNetwork";
const DEFAULTS: &str = "defaultNetworks";

/// What a runtime says of the attachments that are in use (Section 2, "GC").
pub const VALID_ATTACHMENTS: &str = "cni.dev/valid-attachments";

/// How a request for which no plugin declares the capability is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CapabilityCheck {
    /// Refused.
    Strict,
    /// `ips` and `mac` are handed over in `CNI_ARGS` too, as Multus does; after ADD the kernel must show them. Others are
    /// refused.
    Verify,
}

/// What becomes of other attachments' default routes when a pod asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultRoutePolicy {
    /// They go.
    Replace,
    /// They stay, with a higher metric.
    Metric,
}

/// The master config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterConfig {
    /// `name`.
    pub name: NetworkName,
    /// The version in which we answer.
    pub cni_version: CniVersion,
    /// `clusterNetwork`: a path of a file or directory, or a name. Wins over `delegates`.
    pub cluster_network: Option<String>,
    /// `delegates`: the primary, then networks of every pod, inline.
    pub delegates: Vec<Object>,
    /// `defaultNetworks`: networks of every pod outside `systemNamespaces`.
    pub default_networks: Vec<String>,
    /// `appended`: types of plugins that run after ours in our own list, and so not in the primary's too.
    pub appended: Vec<String>,
    /// `auxiliaryCNIChainName`: the directory beside `clusterNetwork` whose plugins run last for every pod.
    pub auxiliary_chain: Option<NetworkName>,
    /// `systemNamespaces`, default `kube-system`.
    pub system_namespaces: Vec<String>,
    /// `multusNamespace`, default `kube-system`.
    pub multus_namespace: String,
    /// `namespaceIsolation`.
    pub namespace_isolation: bool,
    /// `globalNamespaces`, comma separated, default `default`.
    pub global_namespaces: Vec<String>,
    /// `networkDirs`: directories of manifests, searched in order.
    pub network_dirs: Vec<PathBuf>,
    /// `confDir`: configurations found by name.
    pub conf_dir: PathBuf,
    /// `binDir`: searched for plugins before `CNI_PATH`, as in Multus; without it `/opt/cni/bin` comes after.
    pub bin_dir: Option<PathBuf>,
    /// `cniDir`: where Multus kept its scratch files.
    pub cni_dir: PathBuf,
    /// `readinessindicatorfile`: ADD waits for it.
    pub readiness_indicator_file: Option<PathBuf>,
    /// `stateDir`.
    pub state_dir: PathBuf,
    /// `runDir`.
    pub run_dir: PathBuf,
    /// `delegateProfilesDir`.
    pub delegate_profiles_dir: PathBuf,
    /// `deviceInfoDir`: files about devices, those of plugins in `cni` below it.
    pub device_info_dir: PathBuf,
    /// `addBudget`: bounds the waits of an ADD.
    pub add_budget: Span,
    /// `delBudget`: bounds a DEL.
    pub del_budget: Span,
    /// `sweepInterval`: how long after one sweep the next is due.
    pub sweep_interval: Span,
    /// `logFile`.
    pub log_file: Option<PathBuf>,
    /// `logLevel`.
    pub log_level: Option<String>,
    /// `logToStderr`.
    pub log_to_stderr: bool,
    /// `capabilityCheck`.
    pub capability_check: CapabilityCheck,
    /// `defaultRoutePolicy`.
    pub default_route_policy: DefaultRoutePolicy,
    /// `primaryRoutes`: networks that stay on the primary when the default route moves.
    pub primary_routes: Vec<Prefix>,
    /// `runtimeConfig`, as the runtime set it.
    pub runtime_config: Object,
    /// `prevResult`, as text.
    pub prev_result: Option<String>,
    /// `cni.dev/valid-attachments` of a GC; `None` when the runtime gave none.
    pub valid_attachments: Option<Vec<ValidAttachment>>,
    /// What a person should know: keys that nothing reads.
    pub warnings: Vec<Warning>,
}

/// One of `cni.dev/valid-attachments` (Section 2, "GC").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ValidAttachment {
    /// `CNI_CONTAINERID` of the ADD.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `CNI_IFNAME` of the ADD.
    pub ifname: String,
}

/// Why a text is not a master config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not a network configuration.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// A key that is wrong for another reason than its type.
    #[error("key {key:?} {what}")]
    Key {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

impl From<WrongType> for ConfigError {
    fn from(wrong: WrongType) -> Self {
        Self::Conf(ConfError::Key(wrong))
    }
}

impl From<ConfigError> for CniError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Conf(conf) => Self::new(conf.code(), format!("master config: {}", conf.story())),
            ConfigError::Key { .. } => Self::new(Code::INVALID_CONFIG, format!("master config: {error}")),
        }
    }
}

impl MasterConfig {
    /// The master config that a runtime gave us on stdin: a single plugin configuration, not a list.
    ///
    /// # Errors
    /// [`ConfigError`] with code 6 when `stdin` is not JSON, 1 for a version we do not speak, else 7 (A5).
    pub fn from_stdin(stdin: &[u8]) -> Result<Self, ConfigError> {
        if stdin.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(ConfError::Empty.into());
        }
        Self::from_object(&Object::parse(stdin).map_err(ConfError::NotJson)?)
    }

    /// The master config in a file: our plugin's element of a list, with the list's name and version, or a single one.
    ///
    /// # Errors
    /// As [`Self::from_stdin`]; code 7 when no element is of our type.
    pub fn from_file(text: &[u8]) -> Result<Self, ConfigError> {
        let list = crate::cni::NetworkConfigList::parse(text, None)?;
        let ours = list.plugins.iter().position(|plugin| plugin.plugin.as_str() == PLUGIN_TYPE);
        let at = ours.ok_or_else(|| key("plugins", &format!("has no plugin of type {PLUGIN_TYPE:?}")))?;
        let mut object = list.plugins[at].object.clone();
        object.set_text("name", list.name.as_str());
        object.set_text("cniVersion", list.cni_version.as_str());
        Self::from_object(&object)
    }

    fn from_object(object: &Object) -> Result<Self, ConfigError> {
        let name = text(object, "name")?.ok_or(ConfError::NoName)?;
        let cni_version = version_of(object)?;
        let delegates: Vec<Object> = list(object, "delegates", "a list of objects")?;
        let mut warnings = unused(object.iter().map(|(key, _)| key));
        let capability_check = object.get("capabilityCheck", "\"strict\" or \"verify\"")?;
        let capability_check = capability_check.unwrap_or(CapabilityCheck::Strict);
        // The log is set up before anything is judged; here its keys are only held to their types.
        let log_level = text(object, "logLevel")?;
        if let Some(level) = log_level.as_ref().filter(|level| !LEVELS.contains(&level.to_lowercase().as_str())) {
            let text = format!("\"logLevel\" {level:?} is none of {}; taken as \"info\"", LEVELS.join(", "));
            warnings.push(Warning::ignored("logLevel", text));
        }
        let (cluster_network, default_networks) = network_names(object, &mut warnings)?;
        let runtime_config: Object = object.get("runtimeConfig", "an object")?.unwrap_or_default();
        Ok(Self {
            name: NetworkName::new(name).map_err(ConfError::Name)?,
            cni_version,
            cluster_network,
            delegates,
            default_networks,
            appended: list(object, "appended", "a list of strings")?,
            auxiliary_chain: auxiliary_chain(object)?,
            system_namespaces: object
                .get("systemNamespaces", "a list of strings")?
                .unwrap_or_else(|| vec!["kube-system".to_owned()]),
            multus_namespace: text(object, "multusNamespace")?.unwrap_or_else(|| "kube-system".to_owned()),
            namespace_isolation: object.get("namespaceIsolation", "true or false")?.unwrap_or(false),
            global_namespaces: global_namespaces(text(object, "globalNamespaces")?),
            network_dirs: object.get("networkDirs", "a list of paths")?.map_or_else(
                || Ok(vec!["/etc/cni/meta-cni/networks".into()]),
                |dirs| absolute_all("networkDirs", dirs),
            )?,
            conf_dir: path(object, "confDir")?.unwrap_or_else(|| "/etc/cni/multus/net.d".into()),
            bin_dir: path(object, "binDir")?,
            cni_dir: path(object, "cniDir")?.unwrap_or_else(|| "/var/lib/cni/multus".into()),
            readiness_indicator_file: path(object, "readinessindicatorfile")?,
            state_dir: path(object, "stateDir")?.unwrap_or_else(|| STATE_DIR.into()),
            run_dir: path(object, "runDir")?.unwrap_or_else(|| RUN_DIR.into()),
            delegate_profiles_dir: path(object, "delegateProfilesDir")?.unwrap_or_else(|| PROFILES_DIR.into()),
            device_info_dir: path(object, "deviceInfoDir")?.unwrap_or_else(|| DEVICE_INFO.into()),
            add_budget: span(object, "addBudget", 20)?,
            del_budget: span(object, "delBudget", 50)?,
            sweep_interval: span(object, "sweepInterval", 600)?,
            log_file: path(object, "logFile")?,
            log_level,
            log_to_stderr: object.get("logToStderr", "true or false")?.unwrap_or(false),
            capability_check,
            default_route_policy: object
                .get("defaultRoutePolicy", "\"replace\" or \"metric\"")?
                .unwrap_or(DefaultRoutePolicy::Replace),
            primary_routes: primary_routes(object)?,
            runtime_config,
            prev_result: object.raw("prevResult").filter(|raw| *raw != "null").map(str::to_owned),
            // A Go runtime writes an empty list as null: no pod is left. Without the key nothing is known.
            valid_attachments: match object.has(VALID_ATTACHMENTS) {
                true => Some(list(object, VALID_ATTACHMENTS, "a list of attachments")?),
                false => None,
            },
            warnings,
        })
    }
}

impl MasterConfig {
    /// The master config with the keys `settings`, list name and primary, and every default.
    ///
    /// # Errors
    /// [`ConfigError`] with code 7 when a key cannot be what it is.
    pub fn of(settings: &Object, name: &str, primary: &str) -> Result<Self, ConfigError> {
        let mut object = settings.clone();
        let ours = [("type", PLUGIN_TYPE), ("name", name), ("cniVersion", "1.0.0"), ("clusterNetwork", primary)];
        ours.iter().for_each(|(key, text)| object.set_text(key, text));
        Self::from_stdin(object.to_text().as_bytes()).and_then(Self::with_primary)
    }

    /// Sets `stateDir` and `runDir` to what somebody said instead.
    pub fn move_to(&mut self, state_dir: Option<&Path>, run_dir: Option<&Path>) {
        for (ours, given) in [(&mut self.state_dir, state_dir), (&mut self.run_dir, run_dir)] {
            *ours = given.map_or_else(|| std::mem::take(ours), Path::to_owned);
        }
    }

    /// Refuses a master config that names no primary network, or wants to find something beside one that is no path. DEL and
    /// GC work from records and do without.
    ///
    /// # Errors
    /// [`ConfigError`] with code 7.
    pub fn with_primary(self) -> Result<Self, ConfigError> {
        match (&self.cluster_network, self.delegates.is_empty()) {
            (None, true) => {
                Err(key("clusterNetwork", "is missing, and so is \"delegates\": there is no primary network"))
            }
            (place, _)
                if self.auxiliary_chain.is_some() && !place.as_ref().is_some_and(|place| place.contains('/')) =>
            {
                let what = "names a directory beside the file of \"clusterNetwork\", which has to be a path for that";
                Err(key(AUXILIARY, what))
            }
            _ => Ok(self),
        }
    }
}

/// `auxiliaryCNIChainName`: the name of a directory and of a network.
fn auxiliary_chain(object: &Object) -> Result<Option<NetworkName>, ConfigError> {
    let name = text(object, AUXILIARY)?.map(NetworkName::new).transpose();
    name.map_err(|error| key(AUXILIARY, &format!("is refused: {error}")))
}

/// `clusterNetwork` and `defaultNetworks`: names, or absolute paths.
fn network_names(object: &Object, warnings: &mut Vec<Warning>) -> Result<(Option<String>, Vec<String>), ConfigError> {
    let cluster_network = text(object, CLUSTER)?.map(|name| name.trim().to_owned());
    let default_networks: Vec<String> = list(object, DEFAULTS, "a list of strings")?;
    if cluster_network.is_none() && !default_networks.is_empty() {
        let text = "\"defaultNetworks\" has no effect beside \"delegates\", as in Multus";
        warnings.push(Warning::ignored(DEFAULTS, text.to_owned()));
    }
    let cluster = cluster_network.iter().map(|name| (CLUSTER, name));
    let mut all = cluster.chain(default_networks.iter().map(|name| (DEFAULTS, name)));
    match all.find(|(_, name)| name.contains('/') && !name.starts_with('/')) {
        None => Ok((cluster_network, default_networks)),
        Some((place, path)) => {
            Err(key(place, &format!("names {path:?}, which is neither a name nor an absolute path")))
        }
    }
}

fn key(key: &'static str, what: &str) -> ConfigError {
    ConfigError::Key { key, what: what.to_owned() }
}

fn text(object: &Object, key: &str) -> Result<Option<String>, ConfigError> {
    Ok(object.get::<String>(key, "a string")?.filter(|text| !text.is_empty()))
}

fn list<T: DeserializeOwned>(object: &Object, key: &str, expected: &'static str) -> Result<Vec<T>, ConfigError> {
    Ok(object.get(key, expected)?.unwrap_or_default())
}

fn path(object: &Object, name: &'static str) -> Result<Option<PathBuf>, ConfigError> {
    text(object, name)?.map(PathBuf::from).map(|path| absolute(name, path)).transpose()
}

fn absolute(name: &'static str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.is_absolute() { Ok(path) } else { Err(key(name, "is not an absolute path")) }
}

fn absolute_all(name: &'static str, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, ConfigError> {
    match paths.iter().find(|path| !path.is_absolute()) {
        None => Ok(paths),
        Some(path) => Err(key(name, &format!("has {path:?}, which is not an absolute path"))),
    }
}

/// `primaryRoutes`, each once. The default route is none of them: it is what moves.
fn primary_routes(object: &Object) -> Result<Vec<Prefix>, ConfigError> {
    let texts: Vec<String> = list(object, "primaryRoutes", "a list of networks")?;
    let mut networks = Vec::with_capacity(texts.len());
    for text in texts {
        let can_be = |network: &Prefix| network.length > 0 && has_gateways(&network.address);
        let Some(network) = Prefix::parse(&text).filter(can_be) else {
            return Err(key("primaryRoutes", &format!("has {text:?}, which is no network such as 10.96.0.0/12")));
        };
        if !networks.contains(&network) {
            networks.push(network);
        }
    }
    Ok(networks)
}

/// Whether hosts of a network can be reached by a gateway.
fn has_gateways(address: &IpAddr) -> bool {
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    !(address.is_loopback() || address.is_multicast() || mapped)
}

fn span(object: &Object, key: &str, default_seconds: u64) -> Result<Span, ConfigError> {
    Ok(object.get(key, "a duration")?.unwrap_or(Span::seconds(default_seconds)))
}

/// Setting the key replaces the implicit `default`, as in Multus.
fn global_namespaces(text: Option<String>) -> Vec<String> {
    text.as_deref()
        .unwrap_or("default")
        .split(',')
        .map(|name| name.trim().to_owned())
        .filter(|n| !n.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (u32, String) {
        let config = MasterConfig::from_stdin(text.as_bytes()).and_then(MasterConfig::with_primary);
        let error = CniError::from(config.unwrap_err());
        (error.code.0, error.msg)
    }

    #[test]
    fn a5_a_bad_master_config_is_named_by_key() {
        for (text, code, msg) in [
            ("", 6, "master config: the configuration is empty"),
            (
                "{",
                6,
                "master config: the configuration is not a JSON object: EOF while parsing an object at line 1 column 1",
            ),
            ("{}", 7, "master config: the configuration has no \"name\""),
            (
                r#"{"name":"a/b","clusterNetwork":"x"}"#,
                7,
                "master config: network name \"a/b\" has a character other than letters, digits, \"_\", \".\" and \"-\"",
            ),
            (
                r#"{"name":"n"}"#,
                7,
                "master config: key \"clusterNetwork\" is missing, and so is \"delegates\": there is no primary network",
            ),
            (
                r#"{"name":"n","clusterNetwork":"x","stateDir":"var"}"#,
                7,
                "master config: key \"stateDir\" is not an absolute path",
            ),
            (
                r#"{"name":"n","clusterNetwork":"/x","auxiliaryCNIChainName":"../y"}"#,
                7,
                "master config: key \"auxiliaryCNIChainName\" is refused: network name \"../y\" does not start with a letter or digit",
            ),
            (
                r#"{"name":"n","clusterNetwork":"x","auxiliaryCNIChainName":"y"}"#,
                7,
                "master config: key \"auxiliaryCNIChainName\" names a directory beside the file of \"clusterNetwork\", which has to be a path for that",
            ),
            (
                r#"{"name":"n","clusterNetwork":"x","cniVersion":"7.0.0"}"#,
                1,
                "master config: CNI version \"7.0.0\" is not one of 0.1.0 to 1.1.0",
            ),
            (
                r#"{"name":"n","clusterNetwork":"x","primaryRoutes":["10.96.0.0/12","::/0"]}"#,
                7,
                "master config: key \"primaryRoutes\" has \"::/0\", which is no network such as 10.96.0.0/12",
            ),
            (
                r#"{"name":"n","clusterNetwork":"x","primaryRoutes":["::ffff:10.0.0.0/104"]}"#,
                7,
                "master config: key \"primaryRoutes\" has \"::ffff:10.0.0.0/104\", which is no network such as 10.96.0.0/12",
            ),
            (
                r#"{"name":"n","clusterNetwork":"x","addBudget":"soon"}"#,
                7,
                "master config: the configuration is refused: key \"addBudget\" is not a duration: \"soon\" is no duration: write a whole number and ms, s or m, at most 60m",
            ),
        ] {
            assert_eq!(error(text), (code, msg.to_owned()), "{text}");
        }
    }

    #[test]
    fn defaults_are_those_of_multus_where_multus_has_the_key() {
        let config = MasterConfig::from_stdin(br#"{"name":"n","clusterNetwork":"x"}"#).unwrap();
        assert_eq!(config.conf_dir, PathBuf::from("/etc/cni/multus/net.d"));
        assert_eq!(config.system_namespaces, ["kube-system"]);
        assert_eq!(config.global_namespaces, ["default"]);
        assert_eq!(config.add_budget, Span::seconds(20));
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn the_file_form_is_the_element_of_our_type() {
        let text = br#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"meta-cni","clusterNetwork":"x","logLevel":"debug","frob":1},{"type":"other"}]}"#;
        let config = MasterConfig::from_file(text).unwrap();
        assert_eq!((config.name.as_str(), config.cni_version), ("n", CniVersion::V1_0_0));
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, ["unknown key \"frob\" in the master config"]);
        assert!(MasterConfig::from_file(br#"{"name":"n","type":"bridge"}"#).is_err());
    }
}
