//! What a delegate is given besides the attachment: its configuration, capabilities, search path, descriptors; and where
//! its stderr goes.

use crate::harness::{Sandbox, install};
use crate::judge::refused;
use crate::world::{Subject, World, list, scripted};
use crate::{Check, Needs, check};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::time::Duration;

pub fn checks() -> Vec<Check> {
    vec![
        check("A35_list_name_and_version_reach_each_plugin", Needs::Nothing, name_and_version),
        check("A36_unknown_keys_reach_each_plugin", Needs::Nothing, unknown_keys),
        check("A37_protected_keys_are_not_the_users", Needs::Nothing, protected_keys),
        check("A38_runtime_config_is_what_both_sides_know", Needs::Nothing, capabilities),
        check("A38_without_capabilities_there_is_no_runtime_config", Needs::Nothing, no_capabilities),
        check("B33_runtime_config_of_the_runtime_is_the_primarys_alone", Needs::Nothing, primary_alone),
        check("A40_plugins_are_found_along_cni_path", Needs::Nothing, cni_path),
        check("A41_stderr_reaches_the_log", Needs::Nothing, stderr_is_logged),
        check("A41_last_line_of_stderr_is_in_the_details_of_a_failure", Needs::Nothing, stderr_in_details),
        check("F9_delegates_hold_nothing_of_the_runtimes", Needs::Nothing, descriptors),
        check("F10_each_delegate_has_a_process_group_of_its_own", Needs::OwnKeys, own_group),
        check("F9_a_daemon_left_behind_holds_nobody_up", Needs::Nothing, daemon_left_behind),
        check("A35_environment_is_complete", Needs::Nothing, environment),
    ]
}

fn name_and_version(subject: &Subject) {
    let world = World::new(subject);
    world.primary(&json!({ "cniVersion": "0.4.0", "name": "cluster", "plugins": [
        { "type": "a", "name": "wrong", "cniVersion": "0.1.0" }, { "type": "b" },
    ] }));
    for operation in ["ADD", "DEL"] {
        world.call(operation).run().success();
    }
    let calls = world.node.calls();
    assert_eq!(calls.len(), 4);
    for call in calls {
        let config = call.config();
        assert_eq!((&config["name"], &config["cniVersion"]), (&json!("cluster"), &json!("0.4.0")), "{}", call.brief());
    }
}

fn unknown_keys(subject: &Subject) {
    let world = World::new(subject);
    let unknown = json!({ "a": [1, { "b": null }], "n": 1.5 });
    let mut config = list("cluster", "main");
    config["plugins"][0]["x-unknown"] = unknown.clone();
    config["plugins"][0]["args"] = json!({ "cni": { "ips": ["10.0.0.9/24"] }, "labels": { "k": "v" } });
    world.primary(&config);
    for operation in ["ADD", "CHECK", "DEL"] {
        world.call(operation).run().success();
    }
    for call in world.node.calls() {
        assert_eq!(call.config()["x-unknown"], unknown, "{}", call.brief());
        assert_eq!(call.config()["args"], config["plugins"][0]["args"], "{}", call.brief());
    }
}

/// `capabilities` is for us, and the rest of these is the runtime's to say, never a file's.
fn protected_keys(subject: &Subject) {
    let world = World::new(subject);
    let mut config = list("cluster", "main");
    config["plugins"][0]["capabilities"] = json!({ "portMappings": true, "mac": false });
    config["plugins"][0]["runtimeConfig"] = json!({ "mac": "02:00:00:00:00:09", "portMappings": [{ "hostPort": 1 }] });
    config["plugins"][0]["prevResult"] = json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.66.6.6/24" }] });
    config["plugins"][0]["cni.dev/valid-attachments"] = json!([]);
    config["plugins"][0]["cni.dev/attachments"] = json!([]);
    world.primary(&config);
    world.extra(&list("net-a", "extra-a"));
    for operation in ["ADD", "CHECK", "DEL"] {
        world.call(operation).run().success();
    }
    for call in world.node.calls() {
        let given = call.config();
        for key in ["capabilities", "runtimeConfig", "cni.dev/valid-attachments", "cni.dev/attachments"] {
            assert!(given.get(key).is_none(), "{}: {key} is {}", call.brief(), given[key]);
        }
        assert!(!call.stdin.contains("10.66.6.6"), "{}: a prevResult that no plugin gave", call.brief());
    }
}

fn capabilities(subject: &Subject) {
    let world = World::new(subject);
    let known = [
        ("portMappings", json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }])),
        ("dns", json!({ "Servers": ["10.0.0.10"], "Searches": null, "Options": ["ndots:5"] })),
        ("ipRanges", json!([[{ "subnet": "10.1.2.0/24" }]])),
        ("aliases", json!(["web"])),
        ("cgroupPath", json!("/kubepods/pod1")),
        ("bandwidth", json!({ "ingressRate": 2048, "ingressBurst": 1600 })),
        ("x-future", json!({ "any": ["thing", 1.50] })),
    ];
    let mut config = list("cluster", "main");
    let mut declared = serde_json::Map::new();
    let mut call_config = Vec::new();
    for (key, value) in &known {
        declared.insert((*key).into(), true.into());
        call_config.push((*key, value.clone()));
    }
    declared.insert("deviceID".into(), true.into());
    declared.insert("mac".into(), false.into());
    config["plugins"][0]["capabilities"] = declared.into();
    config["plugins"].as_array_mut().unwrap().push(json!({ "type": "second", "capabilities": { "aliases": true } }));
    world.primary(&config);
    let mut call = world.call("ADD").runtime_config("mac", "02:00:00:00:00:01".into());
    for (key, value) in call_config {
        call = call.runtime_config(key, value);
    }
    call.run().success();
    let adds = world.calls_of("ADD");
    let expected: serde_json::Map<String, Value> = known.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    assert_eq!(adds[0].config()["runtimeConfig"], Value::Object(expected));
    assert_eq!(adds[1].config()["runtimeConfig"], json!({ "aliases": ["web"] }));
}

fn no_capabilities(subject: &Subject) {
    let world = World::new(subject);
    let mappings = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]);
    world.call("ADD").runtime_config("portMappings", mappings).run().success();
    let config = world.calls_of("ADD")[0].config();
    let runtime_config = config.get("runtimeConfig");
    assert!(runtime_config.is_none_or(|given| *given == json!({})), "{runtime_config:?}");
}

fn primary_alone(subject: &Subject) {
    let world = World::new(subject);
    let declared = json!({ "portMappings": true, "mac": true, "bandwidth": true, "dns": true });
    for (name, kind) in [("cluster", "main"), ("net-a", "extra-a")] {
        let mut config = list(name, kind);
        config["plugins"][0]["capabilities"] = declared.clone();
        if name == "cluster" {
            world.primary(&config);
        } else {
            world.extra(&config);
        }
    }
    let mappings = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]);
    let call = world.call("ADD").runtime_config("portMappings", mappings.clone());
    call.runtime_config("bandwidth", json!({ "ingressRate": 2048, "ingressBurst": 1600 })).run().success();
    let adds = world.calls_of("ADD");
    assert_eq!(adds[0].config()["runtimeConfig"]["portMappings"], mappings);
    let second = adds[1].config();
    for key in ["portMappings", "bandwidth"] {
        assert!(second["runtimeConfig"].get(key).is_none(), "net1 was given the primary's {key}: {second}");
    }
}

fn cni_path(subject: &Subject) {
    let world = World::new(subject);
    let dirs = ["bin-one", "bin-two"].map(|name| world.node.root().join(name));
    for dir in &dirs {
        std::fs::create_dir(dir).unwrap();
        install(dir, "everywhere");
    }
    install(&dirs[1], "only-second");
    world.primary(&json!({ "cniVersion": "1.0.0", "name": "cluster", "plugins": [
        { "type": "everywhere" }, { "type": "only-second" },
    ] }));
    std::fs::remove_dir_all(world.node.plugins()).unwrap();
    let path = format!("{}:{}:/nowhere", dirs[0].display(), dirs[1].display());
    world.call("ADD").env("CNI_PATH", &path).run().success();
    let remembered = |dir: &std::path::Path| std::fs::read_to_string(dir.join("calls.jsonl")).unwrap_or_default();
    assert!(remembered(&dirs[0]).contains("everywhere"), "the first directory comes first");
    assert!(!remembered(&dirs[1]).contains(r#""type":"everywhere""#), "found in the second directory, too");
    assert!(remembered(&dirs[1]).contains(r#""type":"only-second""#));
    let line: Value = serde_json::from_str(remembered(&dirs[0]).lines().next().unwrap()).unwrap();
    let given = line["env"]["CNI_PATH"].as_str().unwrap();
    let at = |dir: &std::path::Path| given.find(&dir.display().to_string()).expect("the delegate's own CNI_PATH");
    assert!(at(&dirs[0]) < at(&dirs[1]), "{given}");
}

fn stderr_is_logged(subject: &Subject) {
    let world = World::new(subject);
    let script = json!({ "ADD": { "stderr": "a word about the lake\n" } });
    world.extra(&scripted("net-a", "extra-a", &script));
    let output = world.call("ADD").run();
    output.success();
    let log = world.node.log() + &output.stderr;
    let line = log.lines().find(|line| line.contains("a word about the lake"));
    let line = line.unwrap_or_else(|| panic!("not in the log: {log:?}"));
    assert!(line.contains("extra-a"), "whose word was it? {line}");
}

fn stderr_in_details(subject: &Subject) {
    for script in [
        json!({ "exit": 1, "stderr": "first line\nlast line\n" }),
        json!({ "stderr": "first line\nlast line", "error": { "code": 123, "msg": "no" } }),
    ] {
        let world = World::new(subject);
        world.primary(&scripted("cluster", "main", &json!({ "ADD": script })));
        let refusal = refused(&world.call("ADD").run());
        assert!(refusal.details.contains("last line"), "{refusal:?}");
        assert!(world.node.log().contains("first line"), "{}", world.node.log());
    }
}

/// A delegate that holds our stdout or stderr hangs a runtime that waits for their end.
fn descriptors(subject: &Subject) {
    let world = World::with_extras(subject, 1);
    for operation in ["ADD", "CHECK", "DEL"] {
        let output = world.call(operation).run();
        output.success();
        for call in world.calls_of(operation) {
            for held in call.stdio.iter().flatten().chain(call.fds.values()) {
                assert!(!output.pipes.contains(held), "{} holds {held} of the runtime", call.brief());
            }
        }
    }
    assert_eq!(world.calls_of("ADD").len() + world.calls_of("DEL").len(), 4);
}

fn own_group(subject: &Subject) {
    let world = World::with_extras(subject, 1);
    world.add();
    let calls = world.node.calls();
    for call in &calls {
        assert_eq!(call.pgid, call.pid, "{} is in the group of another process", call.brief());
    }
}

/// A plugin starts a daemon that keeps the plugin's stdout and stderr open: the runtime must not wait for it.
fn daemon_left_behind(subject: &Subject) {
    let world = World::new(subject);
    let script = json!({ "ADD": { "spawn_grandchild": { "ms": 120_000, "setsid": true } } });
    world.primary(&scripted("cluster", "main", &script));
    let output = world.call("ADD").run();
    output.success();
    assert!(output.elapsed < Duration::from_secs(60), "waited {:?} for a daemon that a plugin left", output.elapsed);
    let output = world.call("DEL").run();
    let daemon = world.calls_of("ADD")[0].grandchild.expect("a daemon");
    // Subjects may end it.
    let _ = kill(Pid::from_raw(i32::try_from(daemon).unwrap()), Signal::SIGKILL);
    output.success();
    assert!(output.elapsed < Duration::from_secs(60), "DEL waited {:?} for it", output.elapsed);
}

fn environment(subject: &Subject) {
    let world = World::with_extras(subject, 1);
    let other = Sandbox::new();
    world.add();
    world.call_for("ADD", &other).run().success();
    for call in world.node.calls() {
        let sandbox = if call.container() == other.id { &other } else { &world.sandbox };
        assert_eq!(call.container(), sandbox.id);
        assert_eq!(call.env["CNI_NETNS"], sandbox.netns.path().display().to_string());
        assert_eq!(call.env["CNI_COMMAND"], "ADD");
        assert!(call.variables.contains(&"PATH".to_owned()), "a plugin that runs iptables needs PATH");
    }
}
