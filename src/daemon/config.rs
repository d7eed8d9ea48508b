//! The daemon's own config: one JSON object, with what the command line says over it (docs/daemon.md).
//!
//! Keys of the master config are handed on to it as they are. Names that Multus has for the same thing are taken; those that
//! would break something are taken too, have no effect, and that is said. Pure: the text comes in, values come out.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::cni::conf::pointer_to_type;
use crate::cni::{NetworkName, Object};
use crate::config::MasterConfig;
use crate::config::apart::{BIN, CONF, PRIMARY, not_apart};
use crate::config::duration::Span;
use crate::config::keys::is_setting;
use crate::config::master::PLUGIN_TYPE;
use crate::config::places::{BIN_DIR, CONF_DIR};
use crate::plan::master::Settings;
use crate::plan::private::Layout;

/// Where metrics and health are when nobody says.
const HEALTH: &str = "127.0.0.1:9913";

/// What a look may take.
const SHORTEST_TICK: Duration = Duration::from_millis(50);

/// Keys of Multus' daemon config without effect, and why.
const IGNORED: &[(&str, &str)] = &[
    ("chrootDir", "the daemon runs no delegate"),
    (
        "cleanup-config-on-exit",
        "without the file pods would start without their networks; `meta-cni cleanup` removes it",
    ),
    ("cni-bin-dir", "`meta-cni install` puts the plugin in place"),
    ("cni-version", "the versions written are those that every plugin of the list speaks"),
    ("cniVersion", "the versions written are those that every plugin of the list speaks"),
    ("connectionLimit", "no plugin call needs the daemon"),
    ("daemonSocketDir", "no plugin call needs the daemon"),
    ("enablePprof", "there is no such profiler"),
    ("force-cni-version", "the primary's file is never edited"),
    ("forceCNIVersion", "the primary's file is never edited"),
    ("logOptions", "the plugin's log is capped at 2 x 10 MB, the daemon's goes to stderr"),
    ("multus-bin-file", "`meta-cni install` puts the plugin in place"),
    ("multus-cni-conf-dir", "Multus does not read it either; the key is confDir"),
    ("multus-conf-file", "the file is always made from the primary"),
    ("multus-kubeconfig-file-host", "the plugin never talks to the API server"),
    ("multusConfigFile", "the file is always made from the primary"),
    ("override-network-name", "the runtime finds what it cached by the list's name"),
    ("overrideNetworkName", "the runtime finds what it cached by the list's name"),
    ("perNodeCertificate", "the plugin never talks to the API server"),
    ("rename-conf-file", "the primary's file is never touched"),
    ("skip-config-watch", "the file is always kept right"),
    ("skip-multus-binary-copy", "`meta-cni install` puts the plugin in place"),
    ("skip-tls-verify", "there is no connection to verify"),
    ("socketDir", "no plugin call needs the daemon"),
    ("type", "the plugin's type is meta-cni"),
];

/// How the daemon writes its own log to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line with its time and level.
    #[default]
    Text,
    /// A line with journald's level prefix and without a time.
    Journal,
    /// One JSON object a line.
    Json,
}

/// The daemon's config.
#[derive(Debug, Clone)]
pub struct Config {
    /// The runtime's conf dir, in which the master config is kept.
    pub conf_dir: PathBuf,
    /// What was decided of a private conf dir, by the last look.
    pub layout: Option<Layout>,
    /// Where the primary is.
    pub primary: PrimaryPlace,
    /// What goes into the master config.
    pub settings: Settings,
    /// The master config that comes of it, for the paths in it.
    pub master: MasterConfig,
    /// Where health and metrics are served; `None`: nowhere.
    pub health: Option<SocketAddr>,
    /// How often the question is asked without an event.
    pub tick: Duration,
    /// Where the runtime answers CRI, when it is none of the usual places.
    pub cri_socket: Option<PathBuf>,
    /// The program `meta-cni`, when it is not where plugins are.
    pub program: Option<PathBuf>,
    /// It is run in PID 1's mount namespace.
    pub on_host: bool,
    /// The level of the daemon's own log.
    pub log_level: Option<String>,
    /// How its own log is written.
    pub log_format: LogFormat,
    /// What a person should know: keys without effect.
    pub warnings: Vec<String>,
}

/// Where the primary is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrimaryPlace {
    /// The best candidate of a directory, and the master config names its file.
    BestOf(PathBuf),
    /// What `clusterNetwork` says: the path of a file or directory, or a name.
    Pinned(String),
}

/// Why a text is not the daemon's config.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Config {
    /// The config in `text` (empty: nothing but defaults), with the keys of `over` instead of its own.
    ///
    /// # Errors
    /// [`Refused`] when the text is no JSON object, a key holds the wrong type, or no master config could come of it.
    pub fn parse(text: &[u8], over: &Object) -> Result<Self, Refused> {
        let mut object = match text.trim_ascii() {
            b"" => Object::default(),
            text => Object::parse(text).map_err(|error| Refused(format!("is not a JSON object: {error}")))?,
        };
        object.copy(over, |_| true);
        Self::of(&object)
    }

    fn of(object: &Object) -> Result<Self, Refused> {
        let mut warnings = Vec::new();
        let settings = settings(object, &mut warnings)?;
        let conf_dir = path(object, "cniConfigDir")?.unwrap_or_else(|| CONF_DIR.into());
        let dir = path(object, "multusAutoconfigDir")?.unwrap_or_else(|| conf_dir.clone());
        let primary = match (text(object, "clusterNetwork")?, text(object, "multusMasterCNI")?) {
            (Some(name), _) => PrimaryPlace::Pinned(name),
            (None, Some(name)) => PrimaryPlace::Pinned(utf8(&dir.join(name))?),
            (None, None) => PrimaryPlace::BestOf(dir),
        };
        let example = match &primary {
            PrimaryPlace::BestOf(dir) => utf8(dir)?,
            PrimaryPlace::Pinned(name) => name.clone(),
        };
        let master = master(&settings, &example)?;
        let conf_dir = absolute(conf_dir)?;
        apart(&master, &conf_dir, &primary)?;
        Ok(Self {
            health: health(object, &mut warnings)?,
            tick: tick(object)?,
            cri_socket: text(object, "criSocket")?.map(|said| absolute(socket(&said).into())).transpose()?,
            program: path(object, "program")?,
            on_host: get(object, "enterHost", "true or false")?.unwrap_or(false),
            log_level: text(object, "logLevel")?,
            log_format: get(object, "logFormat", "\"text\", \"journal\" or \"json\"")?.unwrap_or_default(),
            conf_dir,
            layout: None,
            primary,
            settings,
            master,
            warnings,
        })
    }
}

/// Keys of the daemon itself.
const OURS: &[&str] = &[
    "capabilities",
    "clusterNetwork",
    "cniConfigDir",
    "criSocket",
    "enterHost",
    "health",
    "logFormat",
    "metricsPort",
    "multusAutoconfigDir",
    "multusMasterCNI",
    "name",
    "program",
    "tick",
];

fn settings(object: &Object, warnings: &mut Vec<String>) -> Result<Settings, Refused> {
    let mut keys = Object::default();
    keys.copy(object, is_setting);
    for (key, _) in object.iter().filter(|(key, _)| !is_setting(key)) {
        if let Some((_, why)) = IGNORED.iter().find(|(name, _)| *name == key) {
            warnings.push(format!("{key:?} of Multus has no effect: {why}"));
        } else if !OURS.contains(&key) {
            warnings.push(format!("unknown key {key:?} in the daemon's config"));
        }
    }
    match pointer_to_type(keys.to_text().as_bytes(), PLUGIN_TYPE) {
        Ok(None) => {}
        Ok(Some(pointer)) => return Err(Refused(format!("would run {PLUGIN_TYPE} from {PLUGIN_TYPE}: {pointer}"))),
        Err(error) => return Err(Refused(error.msg)),
    }
    let name = text(object, "name")?.unwrap_or_else(|| PLUGIN_TYPE.to_owned());
    // What Multus' own configuration calls its network says nothing here.
    let name = if name == "multus-cni-network" { PLUGIN_TYPE.to_owned() } else { name };
    let capabilities = get::<Object>(object, "capabilities", "an object")?.unwrap_or_default();
    Ok(Settings {
        name: NetworkName::new(name).map_err(|error| Refused(format!("key \"name\": {error}")))?,
        keys,
        capabilities: capabilities.iter().filter(|(_, on)| *on == "true").map(|(key, _)| key.to_owned()).collect(),
    })
}

/// What the plugin would read; its paths are the daemon's too.
fn master(settings: &Settings, reference: &str) -> Result<MasterConfig, Refused> {
    let config = MasterConfig::of(&settings.keys, settings.name.as_str(), reference);
    config.map_err(|error| Refused(crate::cni::CniError::from(error).msg))
}

/// Refuses directories of ours that are others' too.
fn apart(master: &MasterConfig, conf_dir: &Path, primary: &PrimaryPlace) -> Result<(), Refused> {
    let mut others = vec![(CONF, conf_dir), (BIN, master.bin_dir.as_deref().unwrap_or(Path::new(BIN_DIR)))];
    if let PrimaryPlace::BestOf(dir) = primary {
        others.push((PRIMARY, dir));
    }
    not_apart(&master.state_dir, &master.run_dir, &others).map_or(Ok(()), |(_, why)| Err(Refused(why)))
}

fn tick(object: &Object) -> Result<Duration, Refused> {
    let tick = get::<Span>(object, "tick", "a duration")?.map_or(Duration::from_secs(10), |span| span.0);
    // The question would be asked, and the runtime, without end.
    if tick < SHORTEST_TICK { Err(Refused("key \"tick\" is less than 50ms".to_owned())) } else { Ok(tick) }
}

fn health(object: &Object, warnings: &mut Vec<String>) -> Result<Option<SocketAddr>, Refused> {
    let port = get::<u16>(object, "metricsPort", "a port")?;
    let given = match (text(object, "health")?, port) {
        (Some(given), _) => given,
        (None, Some(port)) => {
            warnings.push(format!("\"metricsPort\" of Multus: served at 127.0.0.1:{port}, on no other address"));
            format!("127.0.0.1:{port}")
        }
        (None, None) => HEALTH.to_owned(),
    };
    if given == "off" {
        return Ok(None);
    }
    given
        .parse()
        .map(Some)
        .map_err(|error| Refused(format!("key \"health\" {given:?} is no address with a port: {error}")))
}

fn get<T: DeserializeOwned>(object: &Object, key: &str, expected: &'static str) -> Result<Option<T>, Refused> {
    object.get(key, expected).map_err(|error| Refused(format!("{error}: {}", error.source)))
}

fn text(object: &Object, key: &str) -> Result<Option<String>, Refused> {
    Ok(get::<String>(object, key, "a string")?.filter(|text| !text.is_empty()))
}

fn path(object: &Object, key: &str) -> Result<Option<PathBuf>, Refused> {
    text(object, key)?.map(|path| absolute(path.into())).transpose()
}

/// The path of a socket that is said as the kubelet and `crictl` have it said.
pub(super) fn socket(said: &str) -> &Path {
    Path::new(said.strip_prefix("unix://").unwrap_or(said))
}

fn absolute(path: PathBuf) -> Result<PathBuf, Refused> {
    if path.is_absolute() { Ok(path) } else { Err(Refused(format!("{} is not an absolute path", path.display()))) }
}

fn utf8(path: &Path) -> Result<String, Refused> {
    path.to_str().map(str::to_owned).ok_or_else(|| Refused(format!("{} is no text", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text.as_bytes(), &Object::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_socket_is_a_path_or_what_the_kubelet_calls_it() {
        for said in ["/run/x.sock", "unix:///run/x.sock"] {
            let config = parse(&format!(r#"{{"criSocket":{said:?}}}"#)).unwrap();
            assert_eq!(config.cri_socket.as_deref(), Some(Path::new("/run/x.sock")));
        }
        for said in ["unix://run/x.sock", "tcp://127.0.0.1:1", "x.sock"] {
            assert!(parse(&format!(r#"{{"criSocket":{said:?}}}"#)).is_err(), "{said}");
        }
    }

    #[test]
    fn nothing_said_is_the_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.conf_dir, Path::new(CONF_DIR));
        assert_eq!(config.primary, PrimaryPlace::BestOf(CONF_DIR.into()));
        assert_eq!(config.health, Some(HEALTH.parse().unwrap()));
        assert!(config.settings.keys.is_empty() && config.warnings.is_empty());
    }

    #[test]
    fn names_of_multus_mean_the_same_and_what_would_break_something_is_said() {
        let config = parse(
            r#"{"cniVersion":"0.3.1","multusAutoconfigDir":"/a","multusMasterCNI":"10-x.conflist","metricsPort":9,
                "namespaceIsolation":true,"cleanup-config-on-exit":true,"capabilities":{"dns":true,"mac":false},"binDir":"/b"}"#,
        )
        .unwrap();
        assert_eq!(config.primary, PrimaryPlace::Pinned("/a/10-x.conflist".to_owned()));
        assert_eq!(config.health, Some("127.0.0.1:9".parse().unwrap()));
        assert_eq!(config.settings.keys.to_text(), r#"{"namespaceIsolation":true,"binDir":"/b"}"#);
        assert_eq!(config.settings.capabilities, ["dns"]);
        assert_eq!(config.warnings.len(), 3, "{:?}", config.warnings);
    }

    #[test]
    fn a_config_that_no_master_config_could_come_of_is_refused() {
        for (text, why) in [
            ("[]", "is not a JSON object"),
            ("{\"tick\": 5}", "tick"),
            (r#"{"tick":"0s"}"#, "less than 50ms"),
            (r#"{"health":"localhost"}"#, "no address with a port"),
            (r#"{"stateDir":"state"}"#, "stateDir"),
            (r#"{"addBudget":"x"}"#, "addBudget"),
            (r#"{"cniConfigDir":"net.d"}"#, "net.d is not an absolute path"),
            (
                r#"{"stateDir":"/etc/cni/net.d/state"}"#,
                "\"stateDir\" /etc/cni/net.d/state lies in the runtime's conf dir",
            ),
            (r#"{"runDir":"/c","cniConfigDir":"/c"}"#, "\"runDir\" /c is the runtime's conf dir; say"),
            (r#"{"stateDir":"/b","binDir":"/b"}"#, "is the plugin directory"),
            (r#"{"stateDir":"/opt/cni/bin/state"}"#, "lies in the plugin directory, /opt/cni/bin"),
            (r#"{"stateDir":"/p/s","multusAutoconfigDir":"/p"}"#, "lies in the primary's directory, /p"),
            (r#"{"name":"a/b"}"#, "name"),
            (r#"{"defaultNetworks":[{"type":"meta-cni"}]}"#, "would run meta-cni from meta-cni"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!(
            parse(r#"{"clusterNetwrk":"x"}"#).unwrap().warnings,
            ["unknown key \"clusterNetwrk\" in the daemon's config"]
        );
    }
}
