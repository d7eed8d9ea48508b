//! CNI 1.1 towards the runtime: versions, variables, configuration, and what an error looks like.

use crate::judge::{refused, refused_untouched, refused_with};
use crate::world::{Subject, World, list, scripted};
use crate::{Check, Needs, check};
use serde_json::json;

pub const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

pub fn checks() -> Vec<Check> {
    let mut checks = vec![
        check("A1_version_lists_every_version_and_needs_no_config", Needs::Nothing, version_needs_no_config),
        check("A4_attachment_operations_and_status_need_no_cni_path", Needs::Nothing, no_cni_path),
        check("A10_stdout_holds_the_answer_alone_whatever_is_logged", Needs::Nothing, stdout_is_the_answer),
    ];
    for version in VERSIONS {
        checks
            .push(check(format!("A2_version_echoes::{version}"), Needs::Nothing, move |s| version_echoes(s, version)));
        checks.push(check(format!("A9_errors_carry_cni_version::{version}"), Needs::Nothing, move |s| {
            error_version(s, version);
        }));
    }
    for (operation, variable) in [
        ("ADD", "CNI_CONTAINERID"),
        ("ADD", "CNI_NETNS"),
        ("ADD", "CNI_IFNAME"),
        ("CHECK", "CNI_CONTAINERID"),
        ("CHECK", "CNI_NETNS"),
        ("CHECK", "CNI_IFNAME"),
        ("DEL", "CNI_CONTAINERID"),
        ("DEL", "CNI_IFNAME"),
        ("GC", "CNI_PATH"),
    ] {
        for (how, value) in [("missing", None), ("empty", Some(""))] {
            checks.push(check(format!("A3_variable_{how}::{operation}_{variable}"), Needs::Nothing, move |s| {
                variable_is_named(s, operation, variable, value);
            }));
        }
    }
    for (operation, too_old, served) in
        [("CHECK", "0.3.1", &["0.4.0", "1.1.0"][..]), ("GC", "1.0.0", &["1.1.0"]), ("STATUS", "1.0.0", &["1.1.0"])]
    {
        checks.push(check(format!("A6_operation_by_version::{operation}"), Needs::Nothing, move |s| {
            operation_by_version(s, operation, too_old, served);
        }));
    }
    checks.extend(delegate_codes());
    checks
}

fn version_needs_no_config(subject: &Subject) {
    let world = World::new(subject);
    for stdin in ["", "{}", r#"{"cniVersion":"1.0.0"}"#] {
        let answer = world.node_call("VERSION").stdin(stdin).run().success();
        assert_eq!(answer["supportedVersions"], json!(VERSIONS), "stdin {stdin:?}");
    }
}

fn version_echoes(subject: &Subject, version: &str) {
    let world = World::new(subject);
    let stdin = json!({ "cniVersion": version }).to_string();
    let answer = world.node_call("VERSION").stdin(stdin).run().success();
    assert_eq!(answer["cniVersion"], version);
}

fn variable_is_named(subject: &Subject, operation: &str, variable: &str, value: Option<&str>) {
    let world = World::new(subject);
    let version = if operation == "GC" { "1.1.0" } else { "1.0.0" };
    let call = world.call(operation).set("cniVersion", version.into());
    let call = match value {
        None => call.without(variable),
        Some(value) => call.env(variable, value),
    };
    refused_untouched(&world, &call.run(), 4).names(&[variable]);
}

fn no_cni_path(subject: &Subject) {
    let world = World::new(subject);
    world.node.master(&json!({ "binDir": world.node.plugins() }));
    for operation in ["ADD", "CHECK", "DEL"] {
        world.call(operation).without("CNI_PATH").run().success();
        assert_eq!(world.calls_of(operation).len(), 1, "{operation} ran its delegate once");
    }
    world.node_call("STATUS").without("CNI_PATH").run().success();
}

fn operation_by_version(subject: &Subject, operation: &str, too_old: &str, served: &[&str]) {
    let world = World::new(subject);
    world.add();
    let before = world.node.order().len();
    let call = |version: &str| {
        let call = if operation == "CHECK" { world.call(operation) } else { world.node_call(operation) };
        call.set("cniVersion", version.into()).set("cni.dev/valid-attachments", json!([])).run()
    };
    refused_with(&call(too_old), 1).tells(&[too_old]);
    assert_eq!(world.node.order().len(), before, "delegates ran");
    for version in served {
        call(version).success();
    }
}

fn error_version(subject: &Subject, version: &str) {
    let world = World::new(subject);
    let config = scripted("cluster", "main", &json!({ "ADD": { "error": { "code": 123, "msg": "no" } } }));
    world.primary(&config);
    let output = world.call("ADD").set("cniVersion", version.into()).run();
    assert_eq!(refused(&output).version, version);
}

fn stdout_is_the_answer(subject: &Subject) {
    let world = World::new(subject);
    world.node.master(&json!({ "logToStderr": true, "logLevel": "debug" }));
    let noisy = json!({ "stderr": "one\ntwo\n" });
    world.primary(&scripted("cluster", "main", &json!({ "ADD": noisy, "DEL": noisy, "CHECK": noisy })));
    for operation in ["ADD", "CHECK", "DEL"] {
        let output = world.call(operation).run();
        output.success();
        assert!(!output.stdout.contains("two"), "{operation}: {output:?}");
    }
    let failing = json!({ "ADD": { "stderr": "one\ntwo\n", "error": { "code": 123, "msg": "no" } } });
    world.primary(&scripted("cluster", "main", &failing));
    refused(&world.call("ADD").run());
}

/// A8: what the delegate said reaches the runtime; never code 3 on ADD (A7).
fn delegate_codes() -> Vec<Check> {
    [3_u64, 7, 11, 100, 999, 31337]
        .into_iter()
        .map(|code| {
            check(format!("A7_A8_delegate_error_reaches_the_runtime::{code}"), Needs::Nothing, move |s| {
                delegate_error(s, code);
            })
        })
        .collect()
}

fn delegate_error(subject: &Subject, code: u64) {
    let world = World::new(subject);
    let error = json!({ "code": code, "msg": "the lake is empty", "details": "dug for water" });
    world.extra(&list("net-a", "extra-a"));
    world.extra(&scripted("net-b", "extra-b", &json!({ "ADD": { "error": error } })));
    let refusal = refused(&world.call("ADD").run());
    if code == 3 {
        assert_ne!(refusal.code, 3, "code 3 on ADD: {refusal:?}");
    } else {
        assert_eq!(refusal.code, code, "{refusal:?}");
    }
    refusal.names(&["the lake is empty", "net-b", "extra-b", "net2", "ADD"]);
    assert!(refusal.says("dug for water"), "{refusal:?}");
    if code < 10 {
        return;
    }
    let del = json!({ "DEL": { "error": error } });
    let second = World::new(subject);
    second.primary(&scripted("cluster", "main", &del));
    second.add();
    let refusal = refused_with(&second.call("DEL").run(), code);
    refusal.names(&["the lake is empty", "main", "eth0", "DEL"]);
}
