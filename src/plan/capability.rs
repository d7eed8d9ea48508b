//! What a plugin is told beyond its configuration: `runtimeConfig` from the runtime or from the pod's own element, and
//! `args.cni` (CNI conventions, "Dynamic plugin specific fields"; NPWG 4.1.2.1).

use crate::cni::raw::value_of;
use crate::cni::{Object, PluginConfig};
use crate::npwg::Selection;

/// What a selection element asks for by capability: `(key of the element, capability, value)`.
fn asked(selection: &Selection) -> Vec<(&'static str, &'static str, Box<serde_json::value::RawValue>)> {
    let mut asked = Vec::new();
    if !selection.ips.is_empty() {
        asked.push(("ips", "ips", value_of(&selection.ips)));
    }
    if let Some(mac) = &selection.mac {
        asked.push(("mac", "mac", value_of(mac)));
    }
    if let Some(guid) = &selection.infiniband_guid {
        asked.push(("infiniband-guid", "infinibandGUID", value_of(guid)));
    }
    if !selection.port_mappings.is_empty() {
        asked.push(("portMappings", "portMappings", value_of(&selection.port_mappings)));
    }
    if let Some(bandwidth) = &selection.bandwidth {
        asked.push(("bandwidth", "bandwidth", value_of(bandwidth)));
    }
    if let Some(device) = &selection.device_id {
        asked.push(("deviceID", "deviceID", value_of(device)));
    }
    asked
}

/// The capability arguments of an attachment: the runtime's for the primary (`from_runtime`), those of the pod's element
/// over them. An additional network never sees the runtime's (B33).
#[must_use]
pub fn arguments(from_runtime: Option<&Object>, selection: Option<&Selection>) -> Object {
    let mut arguments = from_runtime.cloned().unwrap_or_default();
    for (_, capability, value) in selection.map(asked).unwrap_or_default() {
        arguments.set(capability, value);
    }
    arguments
}

/// The keys of `selection` whose capability no plugin of the chain declares (B6), with that capability. `deviceID` is Multus'
/// own key and needs none.
pub fn undeclared<'a>(
    selection: &'a Selection,
    plugins: &'a [PluginConfig],
) -> impl Iterator<Item = (&'static str, &'static str)> + 'a {
    let declared = |name: &str| plugins.iter().any(|plugin| plugin.capabilities.iter().any(|known| known == name));
    asked(selection)
        .into_iter()
        .filter(move |(key, capability, _)| *key != "deviceID" && !declared(capability))
        .map(|(key, capability, _)| (key, capability))
}

/// `runtimeConfig` of one plugin: those of `arguments` whose capability it declares (A38). `None` when there are none.
#[must_use]
pub fn runtime_config(plugin: &PluginConfig, arguments: &Object) -> Option<Object> {
    let mut config = arguments.clone();
    config.retain(|key| plugin.capabilities.iter().any(|capability| capability == key));
    (!config.is_empty()).then_some(config)
}

/// Merges the pod's `cni-args` into `args.cni` of a plugin's configuration, the pod's over the manifest's (B12).
///
/// # Errors
/// The key that is no object.
pub fn merge_args(config: &mut Object, cni_args: Option<&Object>) -> Result<(), &'static str> {
    let mut args = config.get::<Object>("args", "an object").map_err(|_| "args")?.unwrap_or_default();
    let mut cni = args.get::<Object>("cni", "an object").map_err(|_| "args.cni")?.unwrap_or_default();
    let Some(cni_args) = cni_args.filter(|args| !args.is_empty()) else { return Ok(()) };
    cni.copy(cni_args, |_| true);
    args.set_object("cni", &cni);
    config.set_object("args", &args);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::NetworkConfigList;

    fn plugin(text: &str) -> PluginConfig {
        NetworkConfigList::parse(text.as_bytes(), Some("n")).unwrap().plugins.remove(0)
    }

    #[test]
    fn a38_a_plugin_sees_the_capabilities_it_declares_whatever_they_are() {
        let runtime = Object::parse(br#"{"dns":{"Servers":null},"mac":"02:00:00:00:00:01","future":[1.0]}"#).unwrap();
        let plugin = plugin(r#"{"type":"a","capabilities":{"future":true,"dns":true,"mac":false}}"#);
        let config = runtime_config(&plugin, &arguments(Some(&runtime), None)).unwrap();
        assert_eq!(config.to_text(), r#"{"dns":{"Servers":null},"future":[1.0]}"#);
        assert_eq!(runtime_config(&plugin, &arguments(None, None)), None);
    }

    #[test]
    fn b12_the_pods_arguments_win_over_the_manifests() {
        let cni_args = Object::parse(br#"{"b":3,"c":{"d":1}}"#).unwrap();
        for (before, after) in [
            (r#"{"type":"a"}"#, Ok(r#"{"type":"a","args":{"cni":{"b":3,"c":{"d":1}}}}"#)),
            (
                r#"{"args":{"x":1,"cni":{"a":1,"b":2}},"type":"a"}"#,
                Ok(r#"{"args":{"x":1,"cni":{"a":1,"b":3,"c":{"d":1}}},"type":"a"}"#),
            ),
            (r#"{"args":[]}"#, Err("args")),
            (r#"{"args":{"cni":"x"}}"#, Err("args.cni")),
        ] {
            let mut config = Object::parse(before.as_bytes()).unwrap();
            let merged = merge_args(&mut config, Some(&cni_args)).map(|()| config.to_text());
            assert_eq!(merged, after.map(str::to_owned));
        }
    }
}
