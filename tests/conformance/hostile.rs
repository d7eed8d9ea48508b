//! Input made to hurt: deep, endless, enormous, or not a file at all. The answer is an error, soon, and never a crash.

use crate::judge::{refused, refused_untouched, refused_with};
use crate::world::{Subject, World, list, scripted};
use crate::{Check, Needs, check};
use serde_json::{Value, json};
use std::time::Duration;

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, stdin, code) in stdin_rows() {
        checks.push(check(format!("A10_hostile_stdin::{name}"), Needs::Nothing, move |s| {
            let world = World::new(s);
            refused_untouched(&world, &world.call("ADD").stdin(stdin.clone()).run(), code);
        }));
    }
    for (name, text) in annotation_rows() {
        checks.push(check(format!("B1_hostile_annotation::{name}"), Needs::Nothing, move |s| {
            let world = World::new(s);
            crate::judge::rejected(&world, &world.call("ADD").networks(&text).run(), 7);
        }));
    }
    for (name, text) in manifest_rows() {
        checks.push(check(format!("A7_hostile_manifest::{name}"), Needs::OwnKeys, move |s| manifest(s, &text)));
    }
    for (name, kind, code) in [
        ("fifo_as_manifest", "manifest", 7),
        ("directory_as_manifest", "manifest", 7),
        ("fifo_as_primary", "primary", 11),
        ("file_as_directory_of_a_namespace", "namespace", 5),
    ] {
        checks.push(check(format!("A7_hostile_file::{name}"), Needs::OwnKeys, move |s| file(s, name, kind, code)));
    }
    for (name, error) in [
        ("code_is_text", json!({ "code": "11", "msg": "odd" })),
        ("code_is_negative", json!({ "code": -1, "msg": "odd" })),
        ("code_is_enormous", json!({ "code": 99_999_999_999_u64, "msg": "odd" })),
        ("code_is_zero", json!({ "code": 0, "msg": "odd" })),
        ("no_msg", json!({ "code": 123 })),
        ("msg_is_a_number", json!({ "code": 123, "msg": 5 })),
        ("details_are_an_object", json!({ "code": 123, "msg": "odd", "details": { "a": 1 } })),
    ] {
        checks.push(check(format!("F11_odd_error::{name}"), Needs::Nothing, move |s| odd_error(s, &error)));
    }
    checks.extend([
        check("G4_message_of_a_delegate_is_cut_to_one_line", Needs::Nothing, long_message),
        check("F11_a_delegate_that_does_not_read_its_config", Needs::Nothing, deaf),
        check("A10_a_big_config_is_served", Needs::Nothing, big_config),
    ]);
    checks
}

fn stdin_rows() -> Vec<(&'static str, Vec<u8>, u64)> {
    let nested = format!(r#"{{"cniVersion":"1.0.0","name":"x","type":"t","a":{}"#, "[".repeat(200_000));
    vec![
        ("deep_list", "[".repeat(500_000).into_bytes(), 6),
        ("deep_value", nested.into_bytes(), 6),
        ("not_utf8", b"{\"cniVersion\":\"1.0.0\",\"name\":\"\xff\xfe\",\"type\":\"t\"}".to_vec(), 6),
        ("zeros", vec![0; 1 << 20], 6),
        ("text_of_10_mb", vec![b'x'; 10 << 20], 6),
    ]
}

fn annotation_rows() -> Vec<(&'static str, String)> {
    vec![
        ("deep_list", "[".repeat(200_000)),
        ("1_mb_of_commas", ",".repeat(1 << 20)),
        ("1_mb_of_text", "a".repeat(1 << 20)),
        ("control_characters", "net-a\u{0}\u{1b}[2J".into()),
        ("right_to_left", "net-\u{202e}a".into()),
        ("100_000_networks", vec!["a"; 100_000].join(",")),
    ]
}

fn manifest_rows() -> Vec<(&'static str, String)> {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 9].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    vec![("yaml_bomb", bomb), ("deep_yaml", "[".repeat(100_000)), ("20_mb", " ".repeat(20 << 20))]
}

/// What takes more than time that grows with the length of its input takes minutes for these.
fn soon(output: &crate::harness::Output) {
    assert!(output.elapsed < Duration::from_secs(30), "took {:?}", output.elapsed);
}

fn manifest(subject: &Subject, text: &str) {
    let world = World::new(subject);
    world.node.manifest("default", "net-a.yaml", text);
    let output = world.call("ADD").networks("net-a").run();
    soon(&output);
    refused_untouched(&world, &output, 7).names(&["net-a"]);
}

/// Something stands where a file should be; opening a FIFO would wait for ever.
fn file(subject: &Subject, name: &str, kind: &str, code: u64) {
    let world = World::new(subject);
    world.node.master(&json!({ "addBudget": "500ms" }));
    let path = match kind {
        "primary" => world.node.conf().join("10-primary.conflist"),
        "namespace" => world.node.networks().join("default"),
        _ => world.node.networks().join("default/net-a.json"),
    };
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = std::fs::remove_file(&path);
    if name.starts_with("fifo") {
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    } else if kind == "namespace" {
        std::fs::write(&path, "").unwrap();
    } else {
        std::fs::create_dir(&path).unwrap();
    }
    let output = world.call("ADD").networks(if kind == "primary" { "" } else { "net-a" }).run();
    soon(&output);
    refused_untouched(&world, &output, code);
}

fn odd_error(subject: &Subject, error: &Value) {
    let world = World::new(subject);
    let script = json!({ "ADD": { "exit": 1, "stdout": error.to_string() } });
    world.extra(&scripted("net-x", "bad", &script));
    refused(&world.call("ADD").run()).tells(&["net-x", "bad", "net1"]);
    crate::judge::undone(&world);
}

fn long_message(subject: &Subject) {
    let world = World::new(subject);
    let msg = format!("first line\nsecond line\r\n{}", "é".repeat(5000));
    let error = json!({ "code": 123, "msg": msg, "details": "d".repeat(512 << 10) });
    world.primary(&scripted("cluster", "main", &json!({ "ADD": { "error": error } })));
    let output = world.call("ADD").run();
    refused_with(&output, 123).names(&["first line", "main"]);
    assert!(output.stdout.len() < 64 << 10, "an error of {} bytes", output.stdout.len());
}

/// The pipe breaks while 900 KB of config is written to it: that is no reason of its own to fail.
fn deaf(subject: &Subject) {
    let world = World::new(subject);
    let mut config = list("cluster", "deaf");
    config["plugins"][0]["padding"] = "x".repeat(900 << 10).into();
    world.primary(&config);
    std::fs::remove_file(world.node.plugins().join("deaf")).unwrap();
    std::os::unix::fs::symlink("/bin/true", world.node.plugins().join("deaf")).unwrap();
    let refusal = refused(&world.call("ADD").run());
    refusal.tells(&["deaf", "eth0", "empty"]);
}

fn big_config(subject: &Subject) {
    let world = World::new(subject);
    let mut config = list("cluster", "main");
    config["plugins"][0]["padding"] = "x".repeat(512 << 10).into();
    world.primary(&config);
    for operation in ["ADD", "DEL"] {
        world.call(operation).run().success();
        assert_eq!(world.calls_of(operation)[0].config()["padding"], config["plugins"][0]["padding"], "{operation}");
    }
}
