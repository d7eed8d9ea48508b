//! Delegates that misbehave, each with the exact answer: the code, and a message that names network, plugin, interface.

use crate::judge::{nothing_attached, refused_undone, refused_with};
use crate::world::{Subject, World, list, scripted};
use crate::{Check, Needs, check};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, script, code) in rows() {
        for position in ["primary", "additional"] {
            let script = script.clone();
            checks.push(check(format!("F11_A7_bad_delegate::{name}::{position}"), Needs::Nothing, move |s| {
                misbehaves(s, &script, code, position == "primary");
            }));
        }
    }
    for position in ["primary", "additional"] {
        let primary = position == "primary";
        checks.push(check(format!("A7_delegate_missing_is_701::{position}"), Needs::Nothing, move |s| {
            missing(s, primary)
        }));
        checks.push(check(format!("A7_delegate_not_executable_is_701::{position}"), Needs::Nothing, move |s| {
            not_executable(s, primary);
        }));
    }
    checks.extend([
        check("A7_delegate_is_no_program_is_701", Needs::Nothing, no_program),
        check("F10_deadline_ends_the_group_and_is_703", Needs::OwnKeys, deadline),
        check("F10_deadline_of_del", Needs::OwnKeys, deadline_of_del),
        check("F11_stderr_of_10_mb_is_harmless", Needs::Nothing, much_stderr),
        check("F11_stdout_of_del_is_ignored", Needs::Nothing, stdout_of_del),
        check("F11_a_big_but_honest_result_is_fine", Needs::Nothing, big_result),
    ]);
    checks
}

fn rows() -> Vec<(&'static str, Value, u64)> {
    let deep = "[".repeat(200_000);
    vec![
        ("exits_0_with_nothing", json!({ "stdout": "" }), 702),
        ("exits_0_with_white_space", json!({ "stdout": " \n\t" }), 702),
        ("writes_only_to_stderr", json!({ "stdout": "", "stderr": "all is well\n" }), 702),
        ("exits_1_with_nothing", json!({ "exit": 1 }), 705),
        ("exits_3_with_nothing", json!({ "exit": 3 }), 705),
        ("exits_1_with_only_stderr", json!({ "exit": 1, "stderr": "panic: at the lake\n" }), 705),
        ("exits_1_with_a_result", json!({ "exit": 1, "result": { "cniVersion": "1.0.0", "ips": [] } }), 702),
        ("exits_1_with_garbage", json!({ "exit": 1, "stdout": "panic: at the lake" }), 702),
        ("prints_10_mb", json!({ "stdout_bytes": 10_000_000 }), 702),
        ("prints_text", json!({ "stdout": "OK" }), 702),
        ("prints_a_torn_object", json!({ "stdout": "{\"cniVersion\":\"1.0.0\",\"ips\":[" }), 702),
        ("prints_an_array", json!({ "stdout": "[]" }), 702),
        ("prints_null", json!({ "stdout": "null" }), 702),
        ("prints_a_string", json!({ "stdout": "\"10.0.0.1\"" }), 702),
        ("prints_two_objects", json!({ "stdout": "{\"cniVersion\":\"1.0.0\"}{\"cniVersion\":\"1.0.0\"}" }), 702),
        ("prints_no_utf8", json!({ "stdout_hex": "fffe00c328a0a1" }), 702),
        ("prints_no_utf8_in_a_string", json!({ "stdout_hex": "7b22636e6956657273696f6e223a22312e302e30ff227d" }), 702),
        ("prints_deep_json", json!({ "stdout": deep }), 702),
        ("prints_zeros", json!({ "stdout_hex": "00".repeat(4096) }), 702),
        ("prints_an_unknown_version", json!({ "stdout": "{\"cniVersion\":\"9.9.9\",\"ips\":[]}" }), 702),
        ("prints_a_version_that_is_no_text", json!({ "stdout": "{\"cniVersion\":1.0,\"ips\":[]}" }), 702),
        ("prints_ips_that_are_no_list", json!({ "stdout": "{\"cniVersion\":\"1.0.0\",\"ips\":7}" }), 702),
        ("dies_by_kill", json!({ "signal": 9 }), 704),
        ("dies_by_abort", json!({ "signal": 6 }), 704),
        ("dies_by_a_signal_after_its_result", json!({ "signal": 15, "result": { "cniVersion": "1.0.0" } }), 704),
    ]
}

/// A node where one attachment is as given, and the words its error must have.
fn with(subject: &Subject, config: &Value, primary: bool) -> (World, [&'static str; 3]) {
    let world = World::new(subject);
    if primary {
        world.primary(config);
        (world, ["net-x", "bad", "eth0"])
    } else {
        world.extra(config);
        (world, ["net-x", "bad", "net1"])
    }
}

fn misbehaves(subject: &Subject, script: &Value, code: u64, primary: bool) {
    let (world, words) = with(subject, &scripted("net-x", "bad", &json!({ "ADD": script })), primary);
    refused_undone(&world, &world.call("ADD").run(), code).names(&words);
}

fn missing(subject: &Subject, primary: bool) {
    let (world, words) = with(subject, &list("net-x", "bad"), primary);
    std::fs::remove_file(world.node.plugins().join("bad")).unwrap();
    let output = world.call("ADD").run();
    refused_with(&output, 701).names(&words);
    nothing_attached(&world);
}

/// Put in the plugin's place: a file that cannot be run.
fn replace(world: &World, mode: u32) {
    let path = world.node.plugins().join("bad");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "not a program").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn not_executable(subject: &Subject, primary: bool) {
    let (world, words) = with(subject, &list("net-x", "bad"), primary);
    replace(&world, 0o644);
    refused_with(&world.call("ADD").run(), 701).names(&words);
    nothing_attached(&world);
}

fn no_program(subject: &Subject) {
    let (world, words) = with(subject, &list("net-x", "bad"), true);
    replace(&world, 0o755);
    refused_undone(&world, &world.call("ADD").run(), 701).names(&words);
}

/// The deadline of a plugin type is a matter of its profile.
fn profile(world: &World) {
    let profile = json!({
        "name": "slow",
        "match": { "plugin_type_any": ["bad"] },
        "deadline": { "add_attempt_s": 1, "del_attempt_s": 1 },
    });
    world.node.write("delegates/slow.json", &profile.to_string());
}

fn is_alive(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn deadline(subject: &Subject) {
    let script = json!({ "sleep_ms": 300_000, "spawn_grandchild": { "ms": 300_000 } });
    let (world, words) = with(subject, &scripted("net-x", "bad", &json!({ "ADD": script })), false);
    profile(&world);
    let output = world.call("ADD").run();
    assert!(output.elapsed < Duration::from_secs(60), "took {:?}", output.elapsed);
    let refusal = refused_undone(&world, &output, 703);
    refusal.names(&words);
    assert!(["1 s", "1s", "1.0 s"].iter().any(|text| refusal.msg.contains(text)), "which deadline? {refusal:?}");
    let add = world.calls_of("ADD").into_iter().find(|call| call.kind == "bad").expect("the delegate ran");
    assert!(!is_alive(add.pid), "the delegate still runs");
    assert!(!is_alive(add.grandchild.expect("a grandchild")), "its child still runs");
}

fn deadline_of_del(subject: &Subject) {
    let config = scripted("net-x", "bad", &json!({ "DEL": { "sleep_ms": 300_000 } }));
    let (world, words) = with(subject, &config, false);
    profile(&world);
    world.add();
    let output = world.call("DEL").run();
    assert!(output.elapsed < Duration::from_secs(60), "took {:?}", output.elapsed);
    refused_with(&output, 703).names(&words);
    assert_eq!(world.order_of("DEL"), ["net1 bad", "eth0 main"], "the other attachments are deleted all the same");
}

fn much_stderr(subject: &Subject) {
    let world = World::new(subject);
    let noisy = json!({ "stderr": 10_000_000 });
    world.primary(&scripted("cluster", "main", &json!({ "ADD": noisy, "DEL": noisy })));
    world.add();
    world.del();
    let failing = json!({ "stderr": 10_000_000, "exit": 1 });
    world.primary(&scripted("cluster", "main", &json!({ "ADD": failing })));
    refused_undone(&world, &world.call("ADD").run(), 705);
}

fn stdout_of_del(subject: &Subject) {
    let world = World::new(subject);
    world.primary(&scripted("cluster", "main", &json!({ "DEL": { "stdout": "bye" }, "CHECK": { "stdout": "OK" } })));
    world.add();
    for operation in ["CHECK", "DEL"] {
        let output = world.call(operation).run();
        output.success();
        assert_eq!(output.stdout, "", "{operation}");
    }
}

/// 1 000 routes are much, but not a fault.
fn big_result(subject: &Subject) {
    let world = World::new(subject);
    let routes: Vec<_> = (0..1000).map(|n| json!({ "dst": format!("10.{}.{}.0/24", n / 250, n % 250) })).collect();
    let result = json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.9.9.9/24" }], "routes": routes });
    world.primary(&scripted("cluster", "main", &json!({ "ADD": { "result": result } })));
    assert_eq!(world.add()["routes"].as_array().unwrap().len(), 1000);
    world.del();
}
