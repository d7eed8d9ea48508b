//! Master config, primary file and manifests that are wrong, each with its exact answer; and D8, where a last good
//! primary stands in.

use crate::judge::{Refusal, refused_untouched};
use crate::world::{Subject, World, list};
use crate::{Check, Needs, check};
use serde_json::{Value, json};

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, overrides, code, words) in master_rows() {
        checks.push(check(format!("A7_bad_master_config::{name}"), Needs::OwnKeys, move |s| {
            bad_master(s, &overrides, code, words);
        }));
    }
    for (name, text, code) in primary_rows() {
        let good = text.clone();
        checks.push(check(format!("A7_bad_primary_file::{name}"), Needs::OwnKeys, move |s| {
            bad_primary(s, text.as_deref(), code);
        }));
        checks.push(check(format!("D8_bad_primary_file_and_a_last_good_one::{name}"), Needs::OwnKeys, move |s| {
            last_good(s, good.as_deref());
        }));
    }
    for (name, file, text) in manifest_rows() {
        checks.push(check(format!("A7_bad_manifest::{name}"), Needs::OwnKeys, move |s| bad_manifest(s, file, &text)));
    }
    for (name, file, text) in good_manifest_rows() {
        checks.push(check(format!("A7_good_manifest::{name}"), Needs::OwnKeys, move |s| good_manifest(s, file, &text)));
    }
    checks.push(check("A7_primary_that_comes_within_the_budget_is_waited_for", Needs::OwnKeys, primary_comes));
    checks
}

fn master_rows() -> Vec<(&'static str, Value, u64, &'static [&'static str])> {
    vec![
        ("cluster_network_is_a_number", json!({ "clusterNetwork": 5 }), 7, &["clusterNetwork"]),
        ("network_dirs_is_a_string", json!({ "networkDirs": "/x" }), 7, &["networkDirs"]),
        ("budget_is_nonsense", json!({ "addBudget": "soon" }), 7, &["addBudget"]),
        ("budget_is_a_number", json!({ "addBudget": 20 }), 7, &["addBudget"]),
        ("delegates_is_an_object", json!({ "clusterNetwork": null, "delegates": {} }), 7, &["delegates"]),
        ("delegates_is_empty", json!({ "clusterNetwork": null, "delegates": [] }), 7, &["delegates"]),
        ("delegates_hold_null", json!({ "clusterNetwork": null, "delegates": [null] }), 7, &["delegates"]),
        ("no_primary_at_all", json!({ "clusterNetwork": null }), 7, &["clusterNetwork"]),
        ("default_networks_is_a_string", json!({ "defaultNetworks": "a" }), 7, &["defaultNetworks"]),
        ("isolation_is_a_string", json!({ "namespaceIsolation": "yes" }), 7, &["namespaceIsolation"]),
        ("runtime_config_is_a_string", json!({ "runtimeConfig": "x" }), 7, &["runtimeConfig"]),
        ("annotations_are_a_list", json!({ "runtimeConfig": { "io.kubernetes.cri.pod-annotations": [] } }), 7, &[]),
        (
            "annotation_is_a_number",
            json!({ "runtimeConfig": { "io.kubernetes.cri.pod-annotations": { "k8s.v1.cni.cncf.io/networks": 5 } } }),
            7,
            &[],
        ),
        ("name_is_a_number", json!({ "name": 5 }), 7, &["name"]),
        ("cni_version_is_a_number", json!({ "cniVersion": 1.0 }), 7, &["cniVersion"]),
    ]
}

fn bad_master(subject: &Subject, overrides: &Value, code: u64, words: &[&str]) {
    let world = World::new(subject);
    let mut call = world.call("ADD");
    for (key, value) in overrides.as_object().unwrap() {
        call = call.set(key, value.clone());
    }
    refused_untouched(&world, &call.run(), code).names(words);
}

/// `None` is a file that is missing.
fn primary_rows() -> Vec<(&'static str, Option<String>, u64)> {
    let text = |text: &str| Some(text.to_owned());
    let whole = list("cluster", "main").to_string();
    vec![
        ("missing", None, 11),
        ("empty", text(""), 11),
        ("half_written", Some(whole[..whole.len() / 2].to_owned()), 11),
        ("2_mb_of_zeros", Some("\0".repeat(2 << 20)), 11),
        ("without_plugins", text(r#"{"cniVersion":"1.0.0","name":"cluster"}"#), 11),
        ("with_an_empty_list", text(r#"{"cniVersion":"1.0.0","name":"cluster","plugins":[]}"#), 11),
        ("a_list_at_the_top", text("[]"), 11),
        ("plugin_without_type", text(r#"{"cniVersion":"1.0.0","name":"cluster","plugins":[{}]}"#), 11),
        ("without_name", text(r#"{"cniVersion":"1.0.0","plugins":[{"type":"main"}]}"#), 11),
    ]
}

fn put(world: &World, text: Option<&str>) {
    match text {
        Some(text) => drop(world.node.write("conf/10-primary.conflist", text)),
        None => std::fs::remove_file(world.node.conf().join("10-primary.conflist")).unwrap(),
    }
}

fn bad_primary(subject: &Subject, text: Option<&str>, code: u64) {
    let world = World::with_extras(subject, 1);
    world.node.master(&json!({ "addBudget": "500ms" }));
    put(&world, text);
    refused_untouched(&world, &world.call("ADD").run(), code).names(&["10-primary.conflist"]);
}

/// A file that is missing is an answer of its own; one that is broken is somebody writing it.
fn last_good(subject: &Subject, text: Option<&str>) {
    let world = World::with_extras(subject, 1);
    world.node.master(&json!({ "addBudget": "500ms" }));
    world.add();
    world.del();
    put(&world, text);
    let output = world.call("ADD").run();
    if text.is_none() {
        crate::judge::refused_with(&output, 11);
        return;
    }
    output.success();
    let order = world.order_of("ADD");
    assert_eq!(order[2..], ["eth0 main", "net1 extra-a"]);
    world.del();
}

fn primary_comes(subject: &Subject) {
    let world = World::new(subject);
    world.node.master(&json!({ "addBudget": "240s" }));
    put(&world, None);
    let running = world.call("ADD").start();
    std::thread::sleep(std::time::Duration::from_millis(300));
    put(&world, Some("{"));
    std::thread::sleep(std::time::Duration::from_millis(100));
    put(&world, Some(&list("cluster", "main").to_string()));
    let output = running.wait();
    output.success();
    assert!(output.elapsed < std::time::Duration::from_secs(30), "noticed only after {:?}", output.elapsed);
}

fn manifest(spec: &str) -> String {
    format!(
        r#"{{"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinition","metadata":{{"name":"net-a","namespace":"default"}},"spec":{spec}}}"#
    )
}

fn with_config(config: &str) -> String {
    manifest(&json!({ "config": config }).to_string())
}

fn manifest_rows() -> Vec<(&'static str, &'static str, String)> {
    let kind = with_config(r#"{"type":"extra-a"}"#).replace("NetworkAttachmentDefinition", "Pod");
    vec![
        ("empty", "net-a.json", String::new()),
        ("not_json", "net-a.json", "nonsense".into()),
        ("not_yaml", "net-a.yaml", "\t- : [\n{".into()),
        ("wrong_kind", "net-a.json", kind),
        ("spec_is_a_list", "net-a.json", manifest("[]")),
        ("config_is_a_number", "net-a.json", manifest(r#"{"config":7}"#)),
        ("config_is_not_json", "net-a.json", with_config("nonsense")),
        ("config_is_a_list", "net-a.json", with_config("[]")),
        ("no_plugins", "net-a.json", with_config(r#"{"cniVersion":"1.0.0","name":"x","plugins":[]}"#)),
        ("plugins_is_an_object", "net-a.json", with_config(r#"{"cniVersion":"1.0.0","name":"x","plugins":{}}"#)),
        ("plugin_is_null", "net-a.json", with_config(r#"{"cniVersion":"1.0.0","name":"x","plugins":[null]}"#)),
        ("neither_type_nor_plugins", "net-a.json", with_config(r#"{"cniVersion":"1.0.0","name":"x"}"#)),
        (
            "type_with_path_separator",
            "net-a.json",
            with_config(r#"{"cniVersion":"1.0.0","name":"x","type":"../main"}"#),
        ),
        ("type_is_absolute", "net-a.json", with_config(r#"{"cniVersion":"1.0.0","name":"x","type":"/bin/sh"}"#)),
        ("type_is_empty", "net-a.json", with_config(r#"{"cniVersion":"1.0.0","name":"x","type":""}"#)),
        (
            "second_type_with_path",
            "net-a.json",
            with_config(r#"{"name":"x","plugins":[{"type":"extra-a"},{"type":"a/b"}]}"#),
        ),
        ("name_is_illegal", "net-a.json", with_config(r#"{"cniVersion":"1.0.0","name":"a/b","type":"extra-a"}"#)),
        (
            "args_is_a_list",
            "net-a.json",
            with_config(r#"{"cniVersion":"1.0.0","name":"x","type":"extra-a","args":[]}"#),
        ),
        (
            "args_is_a_string",
            "net-a.json",
            with_config(r#"{"cniVersion":"1.0.0","name":"x","type":"extra-a","args":"a=b"}"#),
        ),
        (
            "args_cni_is_a_list",
            "net-a.json",
            with_config(r#"{"cniVersion":"1.0.0","name":"x","type":"extra-a","args":{"cni":[]}}"#),
        ),
        ("unknown_version", "net-a.json", with_config(r#"{"cniVersion":"9.9.9","name":"x","type":"extra-a"}"#)),
    ]
}

fn good_manifest_rows() -> Vec<(&'static str, &'static str, String)> {
    let yaml = "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata:\n  name: net-a\nspec:\n  config: |\n    {\"cniVersion\":\"1.0.0\",\"name\":\"x\",\"type\":\"extra-a\"}\n";
    vec![
        ("yaml", "net-a.yaml", yaml.into()),
        ("single_plugin", "net-a.json", with_config(r#"{"cniVersion":"1.0.0","name":"x","type":"extra-a"}"#)),
        ("list", "net-a.json", with_config(r#"{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"extra-a"}]}"#)),
        ("B4_without_name", "net-a.json", with_config(r#"{"cniVersion":"1.0.0","type":"extra-a"}"#)),
        ("args", "net-a.json", with_config(r#"{"cniVersion":"1.0.0","type":"extra-a","args":{"cni":{"a":1}}}"#)),
    ]
}

fn attach(subject: &Subject, file: &str, text: &str) -> (World, crate::harness::Output) {
    let world = World::new(subject);
    world.node.install_plugin("extra-a");
    world.node.manifest("default", file, text);
    let annotation = r#"[{"name":"net-a","cni-args":{"k":"v"}}]"#;
    let output = world.call("ADD").networks(annotation).run();
    (world, output)
}

fn bad_manifest(subject: &Subject, file: &str, text: &str) {
    let (world, output) = attach(subject, file, text);
    let refusal: Refusal = refused_untouched(&world, &output, 7);
    refusal.names(&["net-a"]);
}

fn good_manifest(subject: &Subject, file: &str, text: &str) {
    let (world, output) = attach(subject, file, text);
    output.success();
    assert_eq!(world.order_of("ADD"), ["eth0 main", "net1 extra-a"]);
    world.del();
}
