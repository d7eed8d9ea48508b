//! Bad input from the runtime itself, each with its exact answer, and the odd input that must succeed instead.

use crate::judge::{nothing_left, refused_untouched};
use crate::world::{Subject, World};
use crate::{Check, Needs, check};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, variable, value) in [
        ("container_id_starts_with_dash", "CNI_CONTAINERID", "-x"),
        ("container_id_with_slash", "CNI_CONTAINERID", "a/b"),
        ("container_id_with_space", "CNI_CONTAINERID", "a b"),
        ("container_id_dots", "CNI_CONTAINERID", ".."),
        ("ifname_16_bytes", "CNI_IFNAME", "sixteen-bytes-ab"),
        ("ifname_with_slash", "CNI_IFNAME", "a/b"),
        ("ifname_with_colon", "CNI_IFNAME", "a:b"),
        ("ifname_with_space", "CNI_IFNAME", "a b"),
        ("ifname_dot", "CNI_IFNAME", "."),
        ("ifname_dots", "CNI_IFNAME", ".."),
        ("args_pair_without_equal_sign", "CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME"),
        ("args_without_key", "CNI_ARGS", "=1"),
    ] {
        for operation in ["ADD", "DEL"] {
            checks.push(check(format!("A5_bad_variable::{name}::{operation}"), Needs::Nothing, move |s| {
                bad_variable(s, operation, variable, value);
            }));
        }
    }
    checks.extend(bad_configs());
    checks.extend(odd_but_good());
    checks
}

fn bad_configs() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, stdin, code) in [
        ("empty", "", 6),
        ("torn", r#"{"cniVersion":"1.0.0","name":"x""#, 6),
        ("not_json", "cniVersion: 1.0.0", 6),
        ("two_objects", r#"{"cniVersion":"1.0.0","name":"x","type":"t"}{}"#, 6),
        ("name_missing", r#"{"cniVersion":"1.0.0","type":"t"}"#, 7),
        ("name_empty", r#"{"cniVersion":"1.0.0","name":"","type":"t"}"#, 7),
        ("name_illegal", r#"{"cniVersion":"1.0.0","name":"a/b","type":"t"}"#, 7),
        ("name_starts_with_dash", r#"{"cniVersion":"1.0.0","name":"-a","type":"t"}"#, 7),
        ("version_unknown", r#"{"cniVersion":"2.0.0","name":"x","type":"t"}"#, 1),
        ("version_nonsense", r#"{"cniVersion":"latest","name":"x","type":"t"}"#, 1),
    ] {
        checks.push(check(format!("A5_bad_config::{name}"), Needs::Nothing, move |s| bad_stdin(s, stdin, code)));
    }
    for version in ["2.0.0", "1.2.0", "latest", "0.5.0"] {
        checks.push(check(format!("A5_version_not_spoken_is_code_1::{version}"), Needs::Nothing, move |s| {
            let world = World::new(s);
            let output = world.call("ADD").set("cniVersion", version.into()).run();
            refused_untouched(&world, &output, 1).tells(&[version]);
        }));
    }
    checks
}

fn odd_but_good() -> Vec<Check> {
    let mut checks = vec![
        check("A5_bad_variable::command_unknown", Needs::Nothing, command_unknown),
        check("A7_netns_gone_is_code_8::never_existed", Needs::Nothing, netns_never_existed),
        check("A7_netns_gone_is_code_8::vanished", Needs::Nothing, netns_vanished),
        check("A7_netns_gone_is_code_8::a_file_that_is_none", Needs::Nothing, netns_is_a_file),
        check("A43_own_netns_is_code_8_before_acting::self", Needs::Nothing, |s| own_netns(s, "/proc/self/ns/net")),
        check("A43_own_netns_is_code_8_before_acting::by_pid", Needs::Nothing, |s| {
            own_netns(s, &format!("/proc/{}/ns/net", std::process::id()));
        }),
        check("A39_delegates_get_the_callers_args_once", Needs::Nothing, args_once),
    ];
    for (name, args) in [
        ("value_with_equal_sign", "X=a=b"),
        ("trailing_semicolon", "X=1;"),
        ("empty_pair", "X=1;;Y=2"),
        ("empty_value", "X="),
        ("base64_value", "TOKEN=dGhlIGxha2U=="),
    ] {
        checks.push(check(format!("A45_args::{name}"), Needs::Nothing, move |s| odd_args(s, args)));
    }
    for (name, value, code) in [
        ("no_annotations_key", None, Some(11)),
        ("null_annotations", Some(Value::Null), None),
        ("no_annotations", Some(json!({})), None),
    ] {
        checks.push(check(format!("B29_runtime_sends::{name}"), Needs::OwnKeys, move |s| {
            runtime_sends(s, value.clone(), code);
        }));
    }
    checks.push(check("B27_without_pod_arguments_the_primary_alone_runs", Needs::OwnKeys, no_pod_arguments));
    checks
}

fn bad_variable(subject: &Subject, operation: &str, variable: &str, value: &str) {
    let world = World::new(subject);
    let output = world.call(operation).env(variable, value).run();
    refused_untouched(&world, &output, 4).tells(&[variable]);
}

fn bad_stdin(subject: &Subject, stdin: &str, code: u64) {
    let world = World::new(subject);
    refused_untouched(&world, &world.call("ADD").stdin(stdin).run(), code);
}

fn command_unknown(subject: &Subject) {
    let world = World::new(subject);
    for command in ["add", "FROBNICATE", "ADD "] {
        let output = world.call("ADD").env("CNI_COMMAND", command).run();
        refused_untouched(&world, &output, 4).tells(&["CNI_COMMAND"]);
    }
}

fn netns_never_existed(subject: &Subject) {
    let world = World::with_extras(subject, 1);
    let path = world.node.root().join("nowhere");
    let output = world.call("ADD").env("CNI_NETNS", &path.display().to_string()).run();
    refused_untouched(&world, &output, 8);
}

fn netns_vanished(subject: &Subject) {
    let mut world = World::with_extras(subject, 1);
    world.sandbox.netns.vanish();
    refused_untouched(&world, &world.call("ADD").run(), 8);
}

fn netns_is_a_file(subject: &Subject) {
    let world = World::new(subject);
    let path = world.node.write("netns", "");
    let output = world.call("ADD").env("CNI_NETNS", &path.display().to_string()).run();
    refused_untouched(&world, &output, 8);
}

fn own_netns(subject: &Subject, path: &str) {
    let world = World::new(subject);
    refused_untouched(&world, &world.call("ADD").env("CNI_NETNS", path).run(), 8);
}

fn pairs(args: &str) -> Vec<&str> {
    args.split(';').filter(|pair| !pair.is_empty()).collect()
}

fn args_once(subject: &Subject) {
    let world = World::with_extras(subject, 1);
    let call = world.call("ADD").more_args("ORIGIN=runtime;LAKE=Erie");
    let given = format!("{};ORIGIN=runtime;LAKE=Erie", world.sandbox.args());
    call.run().success();
    world.call("DEL").more_args("ORIGIN=runtime;LAKE=Erie").run().success();
    for call in world.node.calls() {
        let args = &call.env["CNI_ARGS"];
        let mut keys = BTreeMap::new();
        for pair in pairs(args) {
            *keys.entry(pair.split_once('=').unwrap_or((pair, "")).0).or_insert(0) += 1;
        }
        assert!(keys.values().all(|count| *count == 1), "{}: a key stands twice in {args}", call.brief());
        for pair in pairs(&given) {
            assert!(pairs(args).contains(&pair), "{}: {pair} is missing in {args}", call.brief());
        }
    }
}

fn odd_args(subject: &Subject, args: &str) {
    let world = World::with_extras(subject, 1);
    for operation in ["ADD", "CHECK", "DEL"] {
        world.call(operation).more_args(args).run().success();
        let calls = world.calls_of(operation);
        assert_eq!(calls.len(), 2, "{operation}");
        for call in calls {
            for pair in pairs(args) {
                assert!(pairs(&call.env["CNI_ARGS"]).contains(&pair), "{}: {pair} is missing", call.brief());
            }
        }
    }
}

/// A pod whose annotations nobody can know must not start without its networks.
fn runtime_sends(subject: &Subject, value: Option<Value>, code: Option<u64>) {
    let world = World::new(subject);
    let key = "io.kubernetes.cri.pod-annotations";
    let call = world.call("ADD").set("runtimeConfig", Value::Null);
    let call = match value {
        Some(value) => call.runtime_config(key, value),
        None => call,
    };
    match code {
        Some(code) => refused_untouched(&world, &call.run(), code).names(&[key]),
        None => {
            call.run().success();
            assert_eq!(world.order_of("ADD"), ["eth0 main"]);
        }
    }
}

fn no_pod_arguments(subject: &Subject) {
    let world = World::with_extras(subject, 1);
    for operation in ["ADD", "CHECK", "DEL"] {
        let call = world.call(operation).without("CNI_ARGS").set("runtimeConfig", Value::Null);
        call.run().success();
        assert_eq!(world.order_of(operation), ["eth0 main"]);
    }
    nothing_left(&world);
}
