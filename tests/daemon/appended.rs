//! D11: plugins that other installers append to our list.

use serde_json::{Value, json};

use crate::place::{Place, eventually};

/// What an installer does: reads the list, adds its plugin unless it is there, writes it in its own way.
fn install(place: &Place, plugin: &Value) {
    let mut list = place.own_value();
    let plugins = list["plugins"].as_array_mut().unwrap();
    plugins.retain(|other| other["type"] != plugin["type"]);
    plugins.push(plugin.clone());
    place.put("00-meta-cni.conflist", &serde_json::to_string_pretty(&list).unwrap());
}

fn types(place: &Place) -> Vec<String> {
    let value = place.own_value();
    let plugins = value["plugins"].as_array().unwrap().iter();
    plugins.map(|plugin| plugin["type"].as_str().unwrap().to_owned()).collect()
}

fn speaks(place: &Place, plugin: &str, versions: &Value) {
    crate::harness::install(&place.at("plugins"), plugin);
    let answer = json!({ "cniVersion": "1.0.0", "supportedVersions": versions });
    let script = json!({ "log": "", "VERSION": { "stdout": answer.to_string() } });
    std::fs::write(place.at(&format!("plugins/{plugin}.script.json")), script.to_string()).unwrap();
}

#[test]
fn d11_appended_plugins_survive_every_rewrite_and_stand_once() {
    let place = Place::new();
    speaks(&place, "istio-cni", &json!(["0.4.0", "1.0.0"]));
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    place.keeps("10-calico.conflist", "mac");
    let istio = json!({ "type": "istio-cni", "kubernetes": { "kubeconfig": "/x" }, "log_level": "info" });
    install(&place, &istio);
    // It was asked what it speaks, and the list says no more than that.
    eventually("the versions of both", || {
        (place.own_value()["cniVersions"] == json!(["0.4.0", "1.0.0"])).then_some(())
    });
    let tuning = json!({ "type": "tuning", "sysctl": { "net.core.somaxconn": "500" } });
    install(&place, &tuning);
    // One that does not answer is taken for what every runtime and plugin of today speaks.
    daemon.says("appended plugin \"tuning\" does not say which CNI versions");
    eventually("the common version", || (place.own_value()["cniVersions"] == json!(["1.0.0"])).then_some(()));

    place.primary("10-calico.conflist", "ips");
    place.keeps("10-calico.conflist", "ips");
    let all = ["meta-cni", "istio-cni", "tuning"];
    assert_eq!(types(&place), all);
    std::fs::remove_file(place.own()).unwrap();
    eventually("the file again", || place.own_text());
    assert_eq!(types(&place), all);
    std::fs::write(place.own(), "{").unwrap();
    eventually("the file again", || place.own_text().filter(|text| text.len() > 2));
    assert_eq!(types(&place), all);
    daemon.kill();
    // Its file is gone while nobody looks.
    std::fs::remove_file(place.own()).unwrap();
    let daemon = place.start();
    place.keeps("10-calico.conflist", "ips");
    assert_eq!(types(&place), all);
    assert_eq!(place.own_value()["plugins"][1], istio);

    // Twice is once, the later one; what its installer takes away is gone.
    let mut list = place.own_value();
    let newer = json!({ "type": "istio-cni", "log_level": "debug" });
    list["plugins"].as_array_mut().unwrap().push(newer.clone());
    place.put("00-meta-cni.conflist", &list.to_string());
    eventually("one istio-cni", || (types(&place) == all && place.own_value()["plugins"][1] == newer).then_some(()));
    list["plugins"] = json!([place.own_value()["plugins"][0]]);
    place.put("00-meta-cni.conflist", &list.to_string());
    eventually("ours alone", || (place.own_value()["cniVersions"].as_array().unwrap().len() == 7).then_some(()));
    assert_eq!(types(&place), ["meta-cni"]);
    daemon.ready();
}

#[test]
fn d11_a_plugin_whose_answer_hangs_does_not_hold_up_a_restoration() {
    let place = Place::new();
    crate::harness::install(&place.at("plugins"), "slow");
    std::fs::write(place.at("plugins/slow.script.json"), r#"{"log":"","VERSION":{"sleep_ms":60000}}"#).unwrap();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    place.keeps("10-calico.conflist", "mac");
    install(&place, &json!({ "type": "slow" }));
    daemon.says("does not say which CNI versions");
    let writes = daemon.metric("master_config_restorations_total");
    std::fs::remove_file(place.own()).unwrap();
    eventually("the file again", || place.own_text());
    assert_eq!(types(&place), ["meta-cni", "slow"]);
    eventually("a restoration", || (daemon.metric("master_config_restorations_total") > writes).then_some(()));
}

#[test]
fn d11_a_plugin_that_is_in_the_primarys_list_too_runs_once() {
    use crate::harness::{Node, Sandbox};
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    place.keeps("10-calico.conflist", "mac");
    install(&place, &json!({ "type": "istio-cni" }));
    let ours = eventually("the key of the plugin", || {
        let ours = place.own_value()["plugins"][0].clone();
        (ours["appended"] == json!(["istio-cni"])).then_some(ours)
    });
    drop(daemon);
    // The plugin with what the daemon wrote: of the primary's two it runs one.
    let node = Node::new();
    let script = |cidr: &str| json!({ "ADD": { "stdout": json!({ "cniVersion": "1.0.0", "ips": [{ "address": cidr }] }).to_string() } });
    node.primary(&json!({ "cniVersion": "1.0.0", "name": "pods", "plugins": [
        { "type": "main", "script": script("10.0.0.2/24") },
        { "type": "istio-cni", "script": script("10.0.0.2/24") },
    ] }));
    let sandbox = Sandbox::new();
    for (appended, order) in [
        (ours["appended"].clone(), vec!["ADD eth0 main", "DEL eth0 main"]),
        (json!(null), vec!["ADD eth0 main", "ADD eth0 istio-cni", "DEL eth0 istio-cni", "DEL eth0 main"]),
        (
            json!(["istio-cni", "main"]),
            vec!["ADD eth0 main", "ADD eth0 istio-cni", "DEL eth0 istio-cni", "DEL eth0 main"],
        ),
    ] {
        let before = node.order().len();
        node.master(&json!({ "appended": appended }));
        for operation in ["ADD", "DEL"] {
            let output = node.call(operation, &sandbox).run();
            assert_eq!(output.exit, Some(0), "{output:?}");
        }
        assert_eq!(node.order()[before..], order, "{appended}");
    }
}
