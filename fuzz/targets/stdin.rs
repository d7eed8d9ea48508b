//! The configuration that a runtime, or a file, gives us; and the answer to VERSION, which reads it whatever it is.
#![no_main]

mod promises;

use libfuzzer_sys::fuzz_target;
use meta_cni::cni::conf::pointer_to_type;
use meta_cni::cni::{CniArgs, NetworkConfigList, Object};
use meta_cni::config::MasterConfig;
use meta_cni::config::master::ConfigError;
use meta_cni::gather;
use meta_cni::plugin;

use promises::check_error;

fuzz_target!(|stdin: &[u8]| {
    let answer = plugin::run(&|key| (key == "CNI_COMMAND").then(|| "VERSION".to_owned()), Ok(stdin.to_vec()));
    assert!(Object::parse(answer.stdout.as_bytes()).is_ok(), "{}", answer.stdout);
    let args = CniArgs::parse("K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod").unwrap_or_default();
    for config in [MasterConfig::from_stdin(stdin), MasterConfig::from_file(stdin)] {
        match config {
            Ok(config) => drop(gather::asked(&config, &args).map_err(|error| check_error(&error))),
            Err(error) => check_error(&error.into()),
        }
    }
    match NetworkConfigList::parse(stdin, Some("net")) {
        Ok(list) => check_list(&list, stdin),
        Err(error) => check_error(&ConfigError::from(error).into()),
    }
});

fn check_list(list: &NetworkConfigList, bytes: &[u8]) {
    for (index, plugin) in list.plugins.iter().enumerate() {
        let Some(config) = list.execution_config(index) else { panic!("plugin {index} has no configuration") };
        match Object::parse(config.to_text().as_bytes()) {
            Ok(again) => assert_eq!(again, config),
            Err(error) => panic!("what a plugin is given is not JSON: {error}: {}", config.to_text()),
        }
        for (key, value) in plugin.object.iter() {
            let ours = matches!(key, "capabilities" | "runtimeConfig" | "prevResult" | "cniVersion" | "name");
            assert!(ours || key.starts_with("cni.dev/") || config.raw(key) == Some(value), "key {key:?} is lost");
        }
        let found = pointer_to_type(bytes, plugin.plugin.as_str());
        assert!(!matches!(found, Ok(None)), "type {} is not found", plugin.plugin);
    }
}
