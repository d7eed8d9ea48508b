//! The answer to ADD: its version, its conversion, and what a prevResult adds to it.

use crate::judge::refused_undone;
use crate::protocol::VERSIONS;
use crate::world::{Subject, World, list};
use crate::{Check, Needs, check};
use serde_json::{Value, json};

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for ours in VERSIONS {
        for theirs in ["0.2.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            checks.push(check(format!("A13_result_version::{ours}_from_{theirs}"), Needs::Nothing, move |s| {
                result_version(s, ours, theirs);
            }));
        }
    }
    for (name, version) in
        [("without_version", None), ("older", Some("0.3.1")), ("much_older", Some("0.2.0")), ("newer", Some("1.1.0"))]
    {
        checks.push(check(format!("A13_F11_result_of_another_version::{name}"), Needs::Nothing, move |s| {
            another_version(s, version);
        }));
    }
    checks.push(check("F11_result_of_unknown_version_is_702", Needs::Nothing, unknown_version));
    checks.push(check("A14_prev_result_is_merged_and_not_given_to_the_primary", Needs::Nothing, prev_result));
    checks.push(check("A13_result_is_the_primarys", Needs::Nothing, result_is_the_primarys));
    for (name, versions, version, chosen) in [
        ("newest_of_three", json!(["0.4.0", "1.0.0", "1.1.0"]), None, "1.1.0"),
        ("beside_an_older_cni_version", json!(["0.3.1", "1.0.0"]), Some("0.3.1"), "1.0.0"),
        ("unknown_future_left_out", json!(["0.4.0", "9.9.9"]), None, "0.4.0"),
        ("order_does_not_matter", json!(["1.0.0", "0.4.0"]), None, "1.0.0"),
    ] {
        checks.push(check(format!("A33_highest_mutual_version::{name}"), Needs::Nothing, move |s| {
            mutual_version(s, &versions, version, chosen);
        }));
    }
    checks
}

/// The shape that a result of this version has.
fn has_shape(result: &Value, version: &str) {
    assert_eq!(result["cniVersion"], version, "{result}");
    match version {
        "0.1.0" | "0.2.0" => {
            assert!(result["ip4"]["ip"].is_string() && result.get("ips").is_none(), "{result}");
        }
        "0.3.0" | "0.3.1" | "0.4.0" => assert_eq!(result["ips"][0]["version"], "4", "{result}"),
        _ => {
            assert!(result["ips"][0]["address"].is_string(), "{result}");
            assert!(result["ips"][0].get("version").is_none(), "{result}");
        }
    }
}

fn result_version(subject: &Subject, ours: &str, theirs: &str) {
    let world = World::new(subject);
    world.primary(&json!({ "cniVersion": theirs, "name": "cluster", "plugins": [{ "type": "main" }] }));
    let result = world.call("ADD").set("cniVersion", ours.into()).run().success();
    has_shape(&result, ours);
    let call = &world.calls_of("ADD")[0];
    assert_eq!(call.config()["cniVersion"], theirs, "the delegate is spoken to in its own version");
    world.call("DEL").set("cniVersion", ours.into()).run().success();
}

fn answer_of(version: Option<&str>) -> Value {
    let mut result = match version {
        Some("0.2.0") => json!({ "ip4": { "ip": "10.9.8.7/24" } }),
        Some("0.3.1") => json!({ "ips": [{ "version": "4", "address": "10.9.8.7/24" }] }),
        _ => json!({ "ips": [{ "address": "10.9.8.7/24" }] }),
    };
    if let Some(version) = version {
        result["cniVersion"] = version.into();
    }
    result
}

fn another_version(subject: &Subject, version: Option<&str>) {
    let world = World::new(subject);
    let script = json!({ "ADD": { "result": answer_of(version) } });
    world.primary(&crate::world::scripted("cluster", "main", &script));
    let result = world.add();
    has_shape(&result, "1.0.0");
    assert_eq!(result["ips"][0]["address"], "10.9.8.7/24");
    world.del();
}

fn unknown_version(subject: &Subject) {
    for version in ["1.2.0", "7.0.0", "nonsense"] {
        let world = World::new(subject);
        let script = json!({ "ADD": { "result": answer_of(Some(version)) } });
        world.primary(&crate::world::scripted("cluster", "main", &script));
        refused_undone(&world, &world.call("ADD").run(), 702).names(&["main", "eth0"]);
    }
}

/// A plugin before ours in the runtime's list made an interface; the runtime must hear of both.
fn prev_result(subject: &Subject) {
    let world = World::with_extras(subject, 1);
    let previous = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{ "name": "before0", "sandbox": "/x" }],
        "ips": [{ "address": "192.0.2.9/24", "interface": 0 }],
        "routes": [{ "dst": "198.51.100.0/24" }],
    });
    let result = world.call("ADD").set("prevResult", previous).run().success();
    let names: Vec<_> = result["interfaces"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"before0") && names.contains(&"eth0"), "{result}");
    let of = |address: &str| {
        let ips = result["ips"].as_array().unwrap();
        let ip = ips.iter().find(|ip| ip["address"].as_str().unwrap().starts_with(address));
        let ip = ip.unwrap_or_else(|| panic!("no {address} in {result}"));
        names[usize::try_from(ip["interface"].as_u64().unwrap()).unwrap()].to_owned()
    };
    assert_eq!(of("192.0.2.9"), "before0", "{result}");
    assert_eq!(of("10.88."), "eth0", "{result}");
    assert!(result["routes"].as_array().unwrap().iter().any(|r| r["dst"] == "198.51.100.0/24"), "{result}");
    for call in world.calls_of("ADD") {
        assert_eq!(call.prev_result(), None, "{} was given the runtime's prevResult", call.brief());
    }
}

fn result_is_the_primarys(subject: &Subject) {
    let world = World::with_extras(subject, 2);
    let result = world.add();
    let names: Vec<_> = result["interfaces"].as_array().unwrap().iter().map(|i| i["name"].clone()).collect();
    assert_eq!(names, ["eth0"], "{result}");
    assert_eq!(result["interfaces"][0]["sandbox"], world.sandbox.netns.path().display().to_string());
}

fn mutual_version(subject: &Subject, versions: &Value, version: Option<&str>, chosen: &str) {
    let world = World::new(subject);
    let mut config = list("cluster", "main");
    config["cniVersions"] = versions.clone();
    config.as_object_mut().unwrap().remove("cniVersion");
    if let Some(version) = version {
        config["cniVersion"] = version.into();
    }
    world.primary(&config);
    world.add();
    world.del();
    for call in world.node.calls() {
        assert_eq!(call.config()["cniVersion"], chosen, "{}", call.brief());
    }
}
