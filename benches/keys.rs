//! What each key of a selection element costs: an ADD of one extra network with the key beside one without, in turn.
//!
//! Keys that are only handed over are measured on the delegate that does nothing; what changes the kernel is measured on ptp,
//! beside the same network without it.

use serde_json::{Value, json};

use crate::rig::parts::Parts;
use crate::rig::sandbox::Sandbox;
use crate::rig::scene::{Delegate, Pod, Scene, Subject};
use crate::rig::{Error, Result};
use crate::timed::Samples;

/// Every capability that an element can ask for.
const CAPABILITIES: [&str; 6] = ["ips", "mac", "infinibandGUID", "portMappings", "bandwidth", "deviceID"];

/// Keys that are handed over, each with a value as people write it.
fn handed_over() -> Vec<(&'static str, Value)> {
    vec![
        ("interface", json!("lan0")),
        ("ips", json!(["10.244.0.9/24", "fd00::9/64"])),
        ("mac", json!("02:00:00:00:00:09")),
        ("infiniband-guid", json!("c2:11:22:33:44:55:66:77")),
        ("portMappings", json!([{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}])),
        ("bandwidth", json!({"ingressRate": 1_000_000, "ingressBurst": 100_000})),
        ("deviceID", json!("0000:18:02.5")),
        ("cni-args", json!({"vlan": 7, "tag": "a"})),
        ("ipam-claim-reference", json!("vm-a.lan")),
    ]
}

/// The table. A row is the median of `rounds` ADDs each.
pub fn part(sandbox: &Sandbox, parts: &Parts, rounds: usize) -> Result<()> {
    println!("\nwhat a key of an element costs (one extra network, ADD, p50 of {rounds})");
    println!("  {:<34}{:>14}{:>14}{:>10}", "", "without ms", "with ms", "+us");
    let element = |key: &str, value: &Value| json!([{"name": "net-1", key: value}]);
    let capabilities = |manifest: &mut Value| {
        let declared: Value = CAPABILITIES.iter().map(|name| ((*name).to_owned(), json!(true))).collect();
        set_in_config(manifest, "capabilities", declared);
    };
    let noop = |name: &str, networks: Value, edit: &dyn Fn(&mut Value)| {
        Scene::new(sandbox, parts, Delegate::Noop, 1)?.variant(name, &networks, edit)
    };
    row(
        sandbox,
        "JSON instead of comma form",
        rounds,
        &noop("comma", json!("net-1"), &capabilities)?,
        &noop("json", json!([{"name": "net-1"}]), &capabilities)?,
    )?;
    let plain = noop("plain", json!([{"name": "net-1"}]), &capabilities)?;
    for (key, value) in handed_over() {
        row(sandbox, key, rounds, &plain, &noop(key, element(key, &value), &capabilities)?)?;
    }
    let device_info =
        |manifest: &mut Value| set_in_config(manifest, "capabilities", json!({"CNIDeviceInfoFile": true}));
    row(sandbox, "CNIDeviceInfoFile of a plugin", rounds, &plain, &noop("devinfo", json!("net-1"), &device_info)?)?;

    parts.require_reference()?;
    let ptp = |name: &str, networks: Value, edit: &dyn Fn(&mut Value)| {
        Scene::new(sandbox, parts, Delegate::Ptp, 1)?.variant(name, &networks, edit)
    };
    let quiet = |manifest: &mut Value| manifest["metadata"]["annotations"] = json!({"meta-cni.io/announce": "false"});
    let silent = ptp("quiet", json!("net-1"), &quiet)?;
    let rounds = rounds.div_ceil(2);
    row(sandbox, "ptp: announced", rounds, &silent, &ptp("announced", json!("net-1"), &|_| ())?)?;
    let routed = element("default-route", &json!(["10.201.0.1"]));
    row(sandbox, "ptp: default-route", rounds, &silent, &ptp("routed", routed, &quiet)?)
}

/// Sets a key of the configuration in a manifest.
fn set_in_config(manifest: &mut Value, key: &str, value: Value) {
    let text = manifest["spec"]["config"].as_str().unwrap_or_default();
    let mut config: Value = serde_json::from_str(text).unwrap_or_default();
    config[key] = value;
    manifest["spec"]["config"] = json!(config.to_string());
}

/// ADD and DEL by both variants in turn.
fn row(sandbox: &Sandbox, name: &str, rounds: usize, without: &Scene, with: &Scene) -> Result<()> {
    let mut times = [Samples::default(), Samples::default()];
    for round in 0..rounds + 1 {
        for turn in [round % 2, (round + 1) % 2] {
            let scene = [without, with][turn];
            let pod = Pod::new(sandbox, Subject::Plugin, 0);
            let added = scene.add(Subject::Plugin, &pod)?;
            scene.del(Subject::Plugin, &pod, &added)?;
            if round > 0 {
                times[turn].push(added.took);
            }
        }
    }
    let [without_ms, with_ms] = times.map(|samples| samples.percentile(0.5));
    println!("  {name:<34}{without_ms:>14.2}{with_ms:>14.2}{:>+10.0}", (with_ms - without_ms) * 1e3);
    match without.left_over() + with.left_over() {
        0 => Ok(()),
        left => Err(Error::Unfit(format!("{name}: {left} records or queued DELs are left"))),
    }
}
