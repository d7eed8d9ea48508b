//! What a second user did whom everything goes wrong for, to the multi-network standard: one test for each defect.

use crate::harness::{Node, Sandbox};
use crate::scene::*;
use serde_json::{Value, json};

/// A node whose network `default/net-a` is of the plugin `extra` with this script.
fn with_network(script: &Value) -> Node {
    let node = node_with(&json!({}));
    node.nad("default", "net-a", &scripted("net-a", "extra", script));
    node
}

#[test]
fn c1_a_directory_for_device_information_that_cannot_be_made_is_an_error_and_no_crash() {
    let node = node_with(&json!({}));
    let plugin = json!({ "type": "extra", "capabilities": { "CNIDeviceInfoFile": true } });
    node.nad("default", "net-a", &json!({ "cniVersion": "1.0.0", "name": "net-a", "plugins": [plugin] }));
    node.master(&json!({ "deviceInfoDir": "/proc/device-information" }));
    let sandbox = Sandbox::new();
    let error = refused(&node.call("ADD", &sandbox).networks("net-a").run(), 5);
    let msg = error["msg"].as_str().unwrap();
    assert!(msg.contains("cannot make directory /proc/device-information/cni"), "{msg}");
    assert_eq!(node.order(), ["ADD eth0 main", "DEL eth0 main"]);
    succeeded(&node.call("DEL", &sandbox).networks("net-a").run());
    nothing_left(&node, &sandbox);
}

#[test]
fn f6_a_plugin_that_does_not_know_the_version_keeps_no_pod() {
    let error = json!({ "error": { "code": 1, "msg": "incompatible CNI versions" } });
    let node = with_network(&json!({ "ADD": error, "DEL": error }));
    let sandbox = Sandbox::new();
    let answer = refused(&node.call("ADD", &sandbox).networks("net-a").run(), 1);
    assert_eq!(answer["msg"], "network \"default/net-a\" (extra) net1: ADD: incompatible CNI versions");
    assert_eq!(node.order(), ["ADD eth0 main", "ADD net1 extra", "DEL net1 extra", "DEL eth0 main"]);
    succeeded(&node.call("DEL", &sandbox).networks("net-a").run());
    nothing_left(&node, &sandbox);
    // One that attached is another matter: the earlier version of it can come back and take away what it made.
    let node = with_network(&json!({ "DEL": error }));
    succeeded(&node.call("ADD", &sandbox).networks("net-a").run());
    refused(&node.call("DEL", &sandbox).networks("net-a").run(), 1);
    assert!(record_path(&node, &sandbox, "net1").exists());
}

#[test]
fn g4_an_error_without_a_message_says_that() {
    let node = with_network(&json!({ "ADD": { "error": { "code": 999, "msg": "" } } }));
    let error = refused(&node.call("ADD", &Sandbox::new()).networks("net-a").run(), 999);
    assert_eq!(error["msg"], "network \"default/net-a\" (extra) net1: ADD: it failed and gave no reason");
}
