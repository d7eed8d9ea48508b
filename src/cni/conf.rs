//! Network configuration lists and plugin configurations: bytes kept, a few keys looked at (Section 1).
//!
//! A list is read once into [`NetworkConfigList`]; what a plugin is later given is its own object with keys set, never a
//! struct written back. A single plugin configuration (the form before 0.3.0, still common) is a list of one.

use super::error::{CniError, Code};
use super::names::{NameError, NetworkName, PLUGIN_TYPE, PluginType};
use super::raw::{Object, WrongType, value_of};
use super::version::{CniVersion, UnknownVersion};

/// The key of a list that takes no plugins from elsewhere.
const INLINED_ONLY: &str = "loadOnlyInlinedPlugins";

/// A network: a named list of plugin configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfigList {
    /// `name`.
    pub name: NetworkName,
    /// The newest of `cniVersions` that we speak, else `cniVersion`, else 0.1.0 (A33).
    pub cni_version: CniVersion,
    /// `disableCheck`: CHECK is not run on this list.
    pub disable_check: bool,
    /// `disableGC`: GC is not run on this list.
    pub disable_gc: bool,
    /// The plugins, in the order of ADD; never empty.
    pub plugins: Vec<PluginConfig>,
}

/// One element of a list: somebody else's document, with what we look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginConfig {
    /// `type`.
    pub plugin: PluginType,
    /// The names of `capabilities` that are true.
    pub capabilities: Vec<String>,
    /// The object as read.
    pub object: Object,
}

/// Why a text is not a network configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// There is nothing, or only white space or zeros.
    #[error("the configuration is empty")]
    Empty,
    /// Not JSON, or not an object.
    #[error("the configuration is not a JSON object")]
    NotJson(#[source] serde_json::Error),
    /// A key holds the wrong type.
    #[error("the configuration is refused")]
    Key(#[from] WrongType),
    /// Key `name` is missing.
    #[error("the configuration has no \"name\"")]
    NoName,
    /// Neither `plugins` nor `type`.
    #[error("the configuration has neither \"plugins\" nor \"type\"")]
    Neither,
    /// `plugins` is empty.
    #[error("the configuration lists no plugins")]
    NoPlugins,
    /// A plugin of the list has no `type`.
    #[error("plugin {0} of the configuration has no \"type\"")]
    NoType(usize),
    /// A name that is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A version that we do not speak.
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    /// Any of these in the plugin at index `at`.
    #[error("{source}")]
    InPlugin {
        /// Its index in the list; 0 for a configuration that is no list.
        at: usize,
        /// What is wrong with it.
        source: Box<Self>,
    },
}

/// Which key an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The index of the plugin; `None` for a key of the list itself.
    pub plugin: Option<usize>,
    /// The key, which may be the one that is missing; `None` for the whole.
    pub key: Option<&'a str>,
}

impl ConfError {
    /// Which key the error is about.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        let key = match self {
            Self::InPlugin { at, source } => return Place { plugin: Some(*at), key: source.place().key },
            Self::Empty | Self::NotJson(_) => None,
            Self::Key(wrong) => Some(wrong.key.as_str()),
            Self::NoName => Some("name"),
            Self::Neither | Self::NoPlugins => Some("plugins"),
            Self::NoType(_) => Some("type"),
            Self::Name(error) => Some(if error.what == PLUGIN_TYPE { "type" } else { "name" }),
            Self::Version(_) => Some("cniVersion"),
        };
        Place { plugin: None, key }
    }

    /// The error without the plugin that it is in.
    #[must_use]
    pub fn inner(&self) -> &Self {
        match self {
            Self::InPlugin { source, .. } => source.inner(),
            _ => self,
        }
    }

    /// The code for the runtime when this is the runtime's own configuration (A5).
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Empty | Self::NotJson(_) => Code::NOT_JSON,
            Self::Version(_) => Code::INCOMPATIBLE_VERSION,
            // A plugin's own object is no text and has no version of its own.
            _ => Code::INVALID_CONFIG,
        }
    }

    /// The chain of causes on one line.
    #[must_use]
    pub fn story(&self) -> String {
        match self {
            Self::NotJson(source) => format!("{self}: {source}"),
            Self::Key(wrong) => format!("{self}: {wrong}: {}", wrong.source),
            Self::InPlugin { source, .. } => source.story(),
            _ => self.to_string(),
        }
    }
}

impl NetworkConfigList {
    /// The network that `bytes` describe: a list when there is a key `plugins`, else a single plugin configuration.
    /// `default_name` stands in for a `name` that is missing or empty (NPWG 4.1.2.1.1: the name of the manifest).
    ///
    /// # Errors
    /// [`ConfError`]; nothing of `bytes` is used then.
    pub fn parse(bytes: &[u8], default_name: Option<&str>) -> Result<Self, ConfError> {
        if bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(ConfError::Empty);
        }
        let object = Object::parse(bytes).map_err(ConfError::NotJson)?;
        let name = object.get::<String>("name", "a string")?.filter(|name| !name.is_empty());
        let name = name.as_deref().or(default_name).ok_or(ConfError::NoName)?;
        let plugins = inlined(&object)?;
        flag(&object, INLINED_ONLY)?;
        Ok(Self {
            name: NetworkName::new(name)?,
            cni_version: version_of(&object)?,
            disable_check: flag(&object, "disableCheck")?,
            disable_gc: flag(&object, "disableGC")?,
            plugins: plugins
                .into_iter()
                .enumerate()
                .map(|(at, plugin)| {
                    PluginConfig::from_object(plugin, at)
                        .map_err(|error| ConfError::InPlugin { at, source: Box::new(error) })
                })
                .collect::<Result<_, _>>()?,
        })
    }

    /// The configuration of the plugin at `index` as it is run: name and version of the list set, `capabilities` taken
    /// out, and so are the keys that only a runtime may set (Section 3, "Deriving execution configuration from plugin
    /// configuration"; A35, A37). `args` stays: manifests write it, and NPWG merges the pod's into it.
    #[must_use]
    pub fn execution_config(&self, index: usize) -> Option<Object> {
        let mut config = self.plugins.get(index)?.object.clone();
        config.retain(|key| {
            !matches!(key, "capabilities" | "runtimeConfig" | "prevResult") && !key.starts_with("cni.dev/")
        });
        config.set_text("cniVersion", self.cni_version.as_str());
        config.set_text("name", self.name.as_str());
        Some(config)
    }
}

impl PluginConfig {
    /// The plugin configuration that `bytes` are: one file of a list's directory.
    ///
    /// # Errors
    /// [`ConfError`]; nothing of `bytes` is used then.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfError> {
        if bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(ConfError::Empty);
        }
        Self::from_object(Object::parse(bytes).map_err(ConfError::NotJson)?, 0)
    }

    fn from_object(object: Object, at: usize) -> Result<Self, ConfError> {
        let plugin = object.get::<String>("type", "a string")?.ok_or(ConfError::NoType(at + 1))?;
        let capabilities = match object.get::<Object>("capabilities", "an object")? {
            None => Vec::new(),
            Some(map) => map.iter().filter(|(_, on)| *on == "true").map(|(key, _)| key.to_owned()).collect(),
        };
        Ok(Self { plugin: PluginType::new(plugin)?, capabilities, object })
    }
}

/// The network of the list in `bytes`, when more of its plugins may lie in the directory of that name beside its file: unless
/// it says `loadOnlyInlinedPlugins` (Section 1, "Configuration format"). `None` also for what cannot be read.
#[must_use]
pub fn takes_more(bytes: &[u8]) -> Option<NetworkName> {
    let object = Object::parse(bytes).ok()?;
    let name = object.get::<String>("name", "a string").ok()??;
    let inlined_only = flag(&object, INLINED_ONLY).ok()?;
    (!inlined_only).then(|| NetworkName::new(name).ok()).flatten()
}

/// The list in `bytes` with the plugins `more` after its own, if it has any; the new list says that it is whole.
///
/// # Errors
/// [`ConfError`] when `bytes` are no list, or one whose `plugins` is there and empty.
pub fn with_plugins<'a>(bytes: &[u8], more: impl Iterator<Item = &'a PluginConfig>) -> Result<Vec<u8>, ConfError> {
    let mut object = Object::parse(bytes).map_err(ConfError::NotJson)?;
    let mut plugins = match inlined(&object) {
        Err(ConfError::Neither) => Vec::new(),
        plugins => plugins?,
    };
    plugins.extend(more.map(|plugin| plugin.object.clone()));
    object.set("plugins", value_of(&plugins));
    object.set(INLINED_ONLY, value_of(&true));
    Ok(object.to_text().into_bytes())
}

/// The plugins that are in the configuration itself.
fn inlined(object: &Object) -> Result<Vec<Object>, ConfError> {
    match object.get::<Vec<Object>>("plugins", "a list of objects")? {
        Some(plugins) if plugins.is_empty() => Err(ConfError::NoPlugins),
        Some(plugins) => Ok(plugins),
        None if object.has("type") => Ok(vec![object.clone()]),
        None => Err(ConfError::Neither),
    }
}

/// The version of a configuration: the newest of `cniVersions` that we speak, else `cniVersion`, else 0.1.0.
///
/// # Errors
/// When a key is no text, or none of the versions is spoken.
pub fn version_of(object: &Object) -> Result<CniVersion, ConfError> {
    let listed = object.get::<Vec<String>>("cniVersions", "a list of strings")?.unwrap_or_default();
    let newest = listed.iter().filter_map(|text| CniVersion::parse(text).ok()).max();
    let single = object.get::<String>("cniVersion", "a string")?.filter(|text| !text.is_empty());
    match (newest, single) {
        (Some(version), _) => Ok(version),
        (None, Some(text)) => Ok(CniVersion::parse(&text)?),
        (None, None) if listed.is_empty() => Ok(CniVersion::WHEN_MISSING),
        (None, None) => Err(UnknownVersion(listed.join(", ")).into()),
    }
}

/// A flag that is written as a boolean or as the text of one, as libcni takes it.
fn flag(object: &Object, key: &str) -> Result<bool, ConfError> {
    match object.raw(key).map(|raw| raw.trim_matches('"')) {
        Some("true" | "True" | "TRUE" | "t" | "T" | "1") => Ok(true),
        None | Some("false" | "False" | "FALSE" | "f" | "F" | "0" | "null" | "") => Ok(false),
        Some(_) => Ok(object.get::<bool>(key, "true or false")?.unwrap_or(false)),
    }
}

/// Where in `bytes` a plugin configuration has the type `plugin`, at any depth, as a JSON pointer (D6).
///
/// # Errors
/// Code 7 when `bytes` cannot be looked through: not JSON, or nested deeper than any configuration is.
pub fn pointer_to_type(bytes: &[u8], plugin: &str) -> Result<Option<String>, CniError> {
    let suspicious = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    if !suspicious(plugin.as_bytes()) && !suspicious(b"\\u") {
        return Ok(None);
    }
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| CniError::new(Code::INVALID_CONFIG, format!("cannot be looked through: {error}")))?;
    Ok(find_type(&value, plugin))
}

fn find_type(value: &serde_json::Value, plugin: &str) -> Option<String> {
    match value {
        serde_json::Value::Object(map) => map.iter().find_map(|(key, inner)| match inner {
            serde_json::Value::String(text) if key == "type" && text == plugin => Some("/type".to_owned()),
            _ => find_type(inner, plugin).map(|rest| format!("/{}{rest}", key.replace('~', "~0").replace('/', "~1"))),
        }),
        serde_json::Value::Array(list) => {
            list.iter().enumerate().find_map(|(at, inner)| find_type(inner, plugin).map(|rest| format!("/{at}{rest}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NetworkConfigList, String> {
        NetworkConfigList::parse(text.as_bytes(), None).map_err(|error| error.story())
    }

    #[test]
    fn a35_execution_config_has_name_and_version_and_keeps_the_rest() {
        let list = parse(
            r#"{"cniVersion":"0.4.0","name":"n","plugins":[{"x":1.0e2,"type":"bridge","capabilities":{"mac":true,"ips":false},"ipam":{"b":1,"a":2}}]}"#,
        )
        .unwrap();
        assert_eq!(list.plugins[0].capabilities, ["mac"]);
        assert_eq!(
            list.execution_config(0).unwrap().to_text(),
            r#"{"x":1.0e2,"type":"bridge","ipam":{"b":1,"a":2},"cniVersion":"0.4.0","name":"n"}"#
        );
    }

    #[test]
    fn a33_the_newest_version_that_both_speak() {
        for (text, version) in [
            (r#"{"cniVersions":["0.4.0","1.1.0","2.0.0"],"cniVersion":"0.3.1"}"#, Ok("1.1.0")),
            (r#"{"cniVersion":"0.3.1"}"#, Ok("0.3.1")),
            (r#"{"cniVersions":[],"cniVersion":"0.3.1"}"#, Ok("0.3.1")),
            ("{}", Ok("0.1.0")),
            (r#"{"cniVersion":"9.9.9"}"#, Err("CNI version \"9.9.9\" is not one of 0.1.0 to 1.1.0")),
            (r#"{"cniVersions":["2.0.0"]}"#, Err("CNI version \"2.0.0\" is not one of 0.1.0 to 1.1.0")),
        ] {
            let got = version_of(&Object::parse(text.as_bytes()).unwrap());
            assert_eq!(got.map(CniVersion::as_str).map_err(|error| error.to_string()), version.map_err(str::to_owned));
        }
    }

    #[test]
    fn bad_configurations_say_what_is_wrong() {
        for (text, story) in [
            ("", "the configuration is empty"),
            ("\0\0 ", "the configuration is empty"),
            (
                "[]",
                "the configuration is not a JSON object: invalid type: sequence, expected a JSON object at line 1 column 0",
            ),
            ("{\"name\":", "the configuration is not a JSON object: EOF while parsing a value at line 1 column 8"),
            ("{}", "the configuration has no \"name\""),
            (
                r#"{"name":1}"#,
                "the configuration is refused: key \"name\" is not a string: invalid type: integer `1`, expected a string at line 1 column 1",
            ),
            (r#"{"name":"n"}"#, "the configuration has neither \"plugins\" nor \"type\""),
            (r#"{"name":"n","plugins":[]}"#, "the configuration lists no plugins"),
            (r#"{"name":"n","plugins":[{}]}"#, "plugin 1 of the configuration has no \"type\""),
            (r#"{"name":"n","type":"../sh"}"#, "plugin type \"../sh\" has a path separator"),
            (r#"{"name":"-","type":"a"}"#, "network name \"-\" does not start with a letter or digit"),
        ] {
            assert_eq!(parse(text).unwrap_err(), story, "{text}");
        }
    }

    #[test]
    fn g1_an_error_names_its_plugin_and_key() {
        for (text, plugin, key) in [
            ("", None, None),
            (r#"{"name":1}"#, None, Some("name")),
            (r#"{"name":"n","type":"../sh"}"#, Some(0), Some("type")),
            (r#"{"name":"-","type":"a"}"#, None, Some("name")),
            (r#"{"name":"n","plugins":[{"type":"a"},{}]}"#, Some(1), Some("type")),
            (r#"{"name":"n","plugins":[{"type":"a"},{"type":"b","capabilities":1}]}"#, Some(1), Some("capabilities")),
            (r#"{"name":"n","type":"a","cniVersion":"9"}"#, None, Some("cniVersion")),
            (r#"{"name":"n","plugins":[]}"#, None, Some("plugins")),
        ] {
            let error = NetworkConfigList::parse(text.as_bytes(), None).unwrap_err();
            assert_eq!(error.place(), Place { plugin, key }, "{text}");
            assert!(!matches!(error.inner(), ConfError::InPlugin { .. }));
        }
    }

    #[test]
    fn b4_a_missing_name_is_that_of_the_manifest() {
        for text in [r#"{"type":"a"}"#, r#"{"name":"","type":"a"}"#, r#"{"name":null,"type":"a"}"#] {
            assert_eq!(NetworkConfigList::parse(text.as_bytes(), Some("nad")).unwrap().name.as_str(), "nad");
        }
    }

    #[test]
    fn a23_flags_are_booleans_or_their_texts() {
        let list = parse(r#"{"name":"n","type":"a","disableCheck":"true","disableGC":true}"#).unwrap();
        assert!(list.disable_check && list.disable_gc);
        assert!(parse(r#"{"name":"n","type":"a","disableCheck":"maybe"}"#).is_err());
    }

    #[test]
    fn a34_a_list_takes_more_plugins_unless_it_says_no() {
        for (text, name) in [
            (r#"{"name":"n"}"#, Some("n")),
            (r#"{"name":"n","plugins":[{"type":"a"}],"loadOnlyInlinedPlugins":false}"#, Some("n")),
            (r#"{"name":"n","loadOnlyInlinedPlugins":true}"#, None),
            (r#"{"name":"n","loadOnlyInlinedPlugins":"true"}"#, None),
            (r#"{"name":"n","loadOnlyInlinedPlugins":"maybe"}"#, None),
            (r#"{"name":".."}"#, None),
            (r#"{"name":"."}"#, None),
            (r#"{"name":"a/b"}"#, None),
            ("{}", None),
            ("{", None),
        ] {
            assert_eq!(takes_more(text.as_bytes()).as_ref().map(NetworkName::as_str), name, "{text}");
        }
        assert!(parse(r#"{"name":"n","type":"a","loadOnlyInlinedPlugins":"maybe"}"#).is_err());
        let none = "the configuration has neither \"plugins\" nor \"type\"";
        assert_eq!(parse(r#"{"name":"n","loadOnlyInlinedPlugins":true}"#).unwrap_err(), none);
    }

    #[test]
    fn a34_plugins_of_the_directory_come_after_the_lists_own_as_they_were_read() {
        let more = [r#"{"type":"x","n":1.0e2}"#, r#"{"type":"y","name":"z"}"#]
            .map(|text| PluginConfig::parse(text.as_bytes()).unwrap());
        for (before, after) in [
            (
                r#"{"name":"n","plugins":[{"type":"a","k":1.50}],"x":1}"#,
                r#"{"name":"n","plugins":[{"type":"a","k":1.50},{"type":"x","n":1.0e2},{"type":"y","name":"z"}],"x":1,"loadOnlyInlinedPlugins":true}"#,
            ),
            (
                r#"{"name":"n"}"#,
                r#"{"name":"n","plugins":[{"type":"x","n":1.0e2},{"type":"y","name":"z"}],"loadOnlyInlinedPlugins":true}"#,
            ),
        ] {
            let merged = with_plugins(before.as_bytes(), more.iter()).unwrap();
            assert_eq!(String::from_utf8(merged.clone()).unwrap(), after);
            assert!(NetworkConfigList::parse(&merged, None).is_ok());
        }
        assert!(matches!(with_plugins(br#"{"name":"n","plugins":[]}"#, more.iter()), Err(ConfError::NoPlugins)));
        for bad in ["", "[]", "{}", r#"{"type":"../sh"}"#, r#"{"plugins":[{"type":"a"}]}"#] {
            assert!(PluginConfig::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn d6_a_type_is_found_at_any_depth() {
        for (text, pointer) in [
            (
                r#"{"plugins":[{"type":"bridge"},{"delegates":[{"type":"meta-cni"}]}]}"#,
                Some("/plugins/1/delegates/0/type"),
            ),
            (r#"{"type":"meta\u002dcni"}"#, Some("/type")),
            (r#"{"type":"bridge","bridge":"meta-cni"}"#, None),
            (r#"{"type":"bridge"}"#, None),
        ] {
            assert_eq!(pointer_to_type(text.as_bytes(), "meta-cni").unwrap().as_deref(), pointer);
        }
    }
}
