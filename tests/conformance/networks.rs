//! Where networks come from: the source of a configuration, its name, isolation, names already taken in the pod.

use crate::judge::rejected;
use crate::world::{Subject, World, list};
use crate::{Check, Needs, check};
use serde_json::{Value, json};

pub fn checks() -> Vec<Check> {
    let mut checks = vec![
        check("B4_missing_name_is_the_networks", Needs::Nothing, missing_name),
        check("B10_a_generated_name_moves_on_when_taken", Needs::Nothing, generated_name_moves_on),
        check("B27_default_networks_come_after_the_primary", Needs::OwnKeys, default_networks),
        check("A7_unknown_network_names_the_nearest", Needs::OwnKeys, nearest),
    ];
    for (name, inline, files, kind) in [
        ("spec_config_first", Some("inline"), &["conflist", "conf"][..], "inline"),
        ("conflist_before_conf", None, &["conf", "conflist"][..], "conflist"),
        ("conf_when_no_conflist", None, &["conf"][..], "conf"),
    ] {
        checks.push(check(format!("B3_source_of_the_config::{name}"), Needs::Nothing, move |s| {
            source(s, inline, files, kind);
        }));
    }
    checks.push(check("B3_source_of_the_config::none_is_refused", Needs::Nothing, no_source));
    checks.push(check("B3_source_of_the_config::a_broken_neighbour_is_passed_over", Needs::Nothing, broken_neighbour));
    for (name, isolation, reference, globals, allowed) in [
        ("own_namespace", true, "net-a", None, true),
        ("foreign_namespace", true, "elsewhere/net-c", None, false),
        ("foreign_namespace_without_isolation", false, "elsewhere/net-c", None, true),
        ("default_is_global", true, "default/net-d", None, true),
        ("global_namespaces_replace_default", true, "default/net-d", Some("elsewhere"), false),
        ("global_namespace", true, "elsewhere/net-c", Some("foo, elsewhere"), true),
    ] {
        checks.push(check(format!("B32_isolation::{name}"), Needs::Nothing, move |s| {
            isolated(s, (isolation, globals), reference, allowed);
        }));
    }
    checks.push(check("B32_isolation::default_network_annotation", Needs::Nothing, isolated_default_network));
    checks
}

fn missing_name(subject: &Subject) {
    for config in [
        r#"{"cniVersion":"1.0.0","type":"extra-a"}"#,
        r#"{"cniVersion":"1.0.0","name":"","plugins":[{"type":"extra-a"}]}"#,
    ] {
        let world = World::new(subject);
        world.node.install_plugin("extra-a");
        world.node.nad_text("default", "net-a", config);
        for operation in ["ADD", "DEL"] {
            world.call(operation).networks("net-a").run().success();
        }
        let calls: Vec<_> = world.node.calls().into_iter().filter(|call| call.kind == "extra-a").collect();
        assert_eq!(calls.len(), 2);
        for call in calls {
            assert_eq!(call.network(), "net-a", "{}", call.brief());
        }
    }
}

fn generated_name_moves_on(subject: &Subject) {
    let world = World::with_extras(subject, 2);
    world.sandbox.netns.add_link("net1");
    world.add();
    let order = world.order_of("ADD");
    assert!(order.iter().all(|line| !line.starts_with("net1 ")), "{order:?}");
    assert_eq!(order.len(), 3, "{order:?}");
    world.del();
    assert_eq!(world.sandbox.netns.links(), ["net1"]);
}

fn default_networks(subject: &Subject) {
    let world = World::with_extras(subject, 1);
    world.node.nad("kube-system", "everywhere", &list("everywhere", "extra-e"));
    world.node.master(&json!({ "defaultNetworks": ["everywhere"] }));
    world.add();
    assert_eq!(world.order_of("ADD"), ["eth0 main", "net1 extra-e", "net2 extra-a"]);
    world.del();
    assert_eq!(world.order_of("DEL"), ["net2 extra-a", "net1 extra-e", "eth0 main"]);
}

fn nearest(subject: &Subject) {
    let world = World::new(subject);
    world.node.nad("default", "storage-fast", &list("storage-fast", "extra-a"));
    let output = world.call("ADD").networks("storage-fats").run();
    rejected(&world, &output, 7).names(&["storage-fats", "storage-fast"]);
}

/// The plugin that ran tells which source was used.
fn source(subject: &Subject, inline: Option<&str>, files: &[&str], kind: &str) {
    let world = World::new(subject);
    for kind in ["inline", "conf", "conflist"] {
        world.node.install_plugin(kind);
    }
    let mut spec = json!({});
    if let Some(kind) = inline {
        spec["config"] = list("net-a", kind).to_string().into();
    }
    manifest(&world, &spec);
    for file in files {
        let config = match *file {
            "conf" => json!({ "cniVersion": "1.0.0", "name": "net-a", "type": "conf" }),
            _ => list("net-a", "conflist"),
        };
        // The file's name says nothing; the `name` inside does. In directory order the .conf comes first.
        world.node.write(&format!("confs/{}-any.{file}", file.len()), &config.to_string());
    }
    world.call("ADD").networks("net-a").run().success();
    assert_eq!(world.order_of("ADD"), ["eth0 main".to_owned(), format!("net1 {kind}")]);
    world.del();
}

fn manifest(world: &World, spec: &Value) {
    let manifest = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": { "name": "net-a", "namespace": "default" }, "spec": spec,
    });
    world.node.manifest("default", "net-a.json", &manifest.to_string());
}

fn no_source(subject: &Subject) {
    let world = World::new(subject);
    manifest(&world, &json!({}));
    world.node.write("confs/other.conflist", &list("other", "main").to_string());
    rejected(&world, &world.call("ADD").networks("net-a").run(), 7).names(&["net-a"]);
}

fn broken_neighbour(subject: &Subject) {
    let world = World::new(subject);
    manifest(&world, &json!({}));
    world.node.install_plugin("conflist");
    world.node.write("confs/00-broken.conflist", "{");
    world.node.write("confs/01-broken.conf", "");
    world.node.write("confs/10-good.conflist", &list("net-a", "conflist").to_string());
    world.call("ADD").networks("net-a").run().success();
    assert_eq!(world.order_of("ADD"), ["eth0 main", "net1 conflist"]);
}

/// A pod in the namespace `tenant`.
fn tenant(subject: &Subject) -> World {
    let mut world = World::new(subject);
    world.sandbox.namespace = "tenant".into();
    world.node.nad("tenant", "net-a", &list("net-a", "extra-a"));
    world.node.nad("elsewhere", "net-c", &list("net-c", "extra-c"));
    world.node.nad("default", "net-d", &list("net-d", "extra-d"));
    world
}

fn isolated(subject: &Subject, (isolation, globals): (bool, Option<&str>), reference: &str, allowed: bool) {
    let world = tenant(subject);
    world.node.master(&json!({ "namespaceIsolation": isolation, "globalNamespaces": globals }));
    let output = world.call("ADD").networks(reference).run();
    if allowed {
        output.success();
        assert_eq!(world.order_of("ADD").len(), 2);
    } else {
        rejected(&world, &output, 7).tells(&[reference.split('/').next_back().unwrap(), "tenant"]);
    }
}

/// The annotation that replaces the primary is no way around isolation.
fn isolated_default_network(subject: &Subject) {
    let world = tenant(subject);
    world.node.master(&json!({ "namespaceIsolation": true }));
    let call = world.call("ADD").annotation("v1.multus-cni.io/default-network", "elsewhere/net-c");
    rejected(&world, &call.run(), 7);
}
