//! The auxiliary chain: what lies in `auxiliaryCNIChainName` beside the primary runs last for every pod, and is taken back as
//! any other attachment is.

use crate::harness::{Node, Sandbox};
use crate::kernel::isolated;
use crate::scene::*;
use serde_json::{Value, json};
use std::path::Path;

/// A node with the network `default/net-a` and an auxiliary chain of the plugins `first` and `last`.
fn node() -> Node {
    let node = node_with(&json!({}));
    node.nad("default", "net-a", &scripted("net-a", "extra", &json!({})));
    node.master(&json!({ "auxiliaryCNIChainName": "aux" }));
    for (file, kind) in [("20-last.conf", "last"), ("10-first.conf", "first")] {
        node.install_plugin(kind);
        node.write(&format!("conf/aux/{file}"), &json!({ "type": kind, "k": kind }).to_string());
    }
    node
}

#[test]
fn the_auxiliary_chain_runs_after_the_pods_networks_and_goes_before_them() {
    let node = node();
    let sandbox = Sandbox::new();
    let add = node.call("ADD", &sandbox).networks("net-a").run();
    assert_eq!(add.success()["interfaces"].as_array().unwrap().len(), 1, "the answer is the primary's: {add:?}");
    // A plugin that nobody made anything before is still given a result, as by the plugin `passthru` of Multus.
    let calls = node.calls_of("ADD");
    let first = calls.iter().find(|call| call.kind == "first").unwrap();
    assert_eq!(first.network(), "aux");
    assert_eq!(first.prev_result(), Some(json!({ "cniVersion": "1.0.0" })));
    assert_eq!(record(&record_path(&node, &sandbox, "net2"))["attachment"]["prevResult"]["cniVersion"], "1.0.0");
    succeeded(&node.call("CHECK", &sandbox).run());
    // Its record is enough for the rest.
    std::fs::remove_dir_all(node.conf().join("aux")).unwrap();
    node.master(&json!({ "auxiliaryCNIChainName": null }));
    succeeded(&node.call("DEL", &sandbox).run());
    let all = ["eth0 main", "net1 extra", "net2 first", "net2 last"];
    let mut expected: Vec<String> = all.iter().map(|call| format!("ADD {call}")).collect();
    // There is no link net2 that a CHECK could find.
    expected.extend(all[..2].iter().map(|call| format!("CHECK {call}")));
    expected.extend(all.iter().rev().map(|call| format!("DEL {call}")));
    assert_eq!(node.order(), expected);
    for call in node.calls().iter().filter(|call| call.kind == "last") {
        assert_eq!(call.config()["k"], "last", "{}", call.brief());
        assert_eq!(call.prev_result(), Some(json!({ "cniVersion": "1.0.0" })), "{}", call.brief());
    }
    nothing_left(&node, &sandbox);
}

type Place = (&'static str, fn(&Node) -> Value);

#[test]
fn the_auxiliary_chain_is_beside_the_primary_wherever_that_is() {
    let places: [Place; 2] = [
        ("a file", |node| json!(node.conf().join("10-primary.conflist"))),
        ("a directory", |node| json!(format!("{}/", node.conf().display()))),
    ];
    for (what, place) in places {
        let node = node();
        node.master(&json!({ "clusterNetwork": place(&node) }));
        // A pod of a system namespace has it too, and a sandbox that is no pod.
        for more in ["K8S_POD_NAMESPACE=kube-system", "K8S_POD_NAME="] {
            let sandbox = Sandbox::new();
            succeeded(&node.call("ADD", &sandbox).more_args(more).run());
            assert_eq!(node.calls_of("ADD").last().unwrap().brief(), "ADD net1 last", "{what}");
            succeeded(&node.call("DEL", &sandbox).run());
        }
    }
}

#[test]
fn an_auxiliary_chain_without_a_plugin_is_none() {
    let node = node();
    std::fs::remove_file(node.conf().join("aux/10-first.conf")).unwrap();
    std::fs::rename(node.conf().join("aux/20-last.conf"), node.conf().join("aux/20-last.conf.off")).unwrap();
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    assert_eq!(node.order(), ["ADD eth0 main"]);
    std::fs::remove_dir_all(node.conf().join("aux")).unwrap();
    succeeded(&node.call("ADD", &Sandbox::new()).run());
}

#[test]
fn an_auxiliary_chain_that_cannot_be_used_is_an_error_with_its_file() {
    let nested = r#"{"type":"first","x":{"type":"meta-cni"}}"#;
    for (content, code, words) in [
        ("{", 7, ["aux/10-first.conf", "not a JSON object"]),
        ("", 7, ["aux/10-first.conf", "is empty"]),
        (r#"{"name":"x"}"#, 7, ["aux/10-first.conf", "no \"type\""]),
        (r#"{"type":"first","cniVersion":"7.0.0"}"#, 7, ["aux/10-first.conf", "7.0.0"]),
        (nested, 7, ["aux/10-first.conf", "would run meta-cni from meta-cni"]),
        (r#"{"type":"nowhere"}"#, 701, ["network \"aux\" (nowhere) net1", "install it"]),
    ] {
        let node = node();
        node.write("conf/aux/10-first.conf", content);
        let error = refused(&node.call("ADD", &Sandbox::new()).run(), code);
        let msg = error["msg"].as_str().unwrap();
        assert!(words.iter().all(|word| msg.contains(word)), "{error}");
        assert_eq!(node.order(), Vec::<String>::new(), "{content}");
        let status = refused(&node.node_call("STATUS").set("cniVersion", json!("1.1.0")).run(), 50);
        assert!(status["msg"].as_str().unwrap().contains(words[1]), "STATUS: no pod can start: {status}");
    }
}

#[test]
fn an_auxiliary_chain_beside_nothing_is_refused_and_del_still_works() {
    let node = node();
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    node.write("confs/a.conflist", &scripted("cluster", "main", &json!({})).to_string());
    node.master(&json!({ "clusterNetwork": "cluster" }));
    let error = refused(&node.call("ADD", &Sandbox::new()).run(), 7);
    assert!(error["msg"].as_str().unwrap().contains("\"auxiliaryCNIChainName\""), "{error}");
    succeeded(&node.call("DEL", &sandbox).run());
    nothing_left(&node, &sandbox);
    for name in ["a/b", ".", "..", "../aux", "-"] {
        node.master(
            &json!({ "clusterNetwork": node.conf().join("10-primary.conflist"), "auxiliaryCNIChainName": name }),
        );
        refused(&node.call("ADD", &Sandbox::new()).run(), 7);
    }
}

#[test]
fn an_auxiliary_chain_that_fails_takes_the_pod_with_it() {
    let node = node();
    let script = json!({ "type": "last", "script": { "ADD": { "error": { "code": 123, "msg": "no" } } } });
    node.write("conf/aux/20-last.conf", &script.to_string());
    let sandbox = Sandbox::new();
    refused(&node.call("ADD", &sandbox).run(), 123);
    assert_eq!(node.calls_of("DEL").len(), 3, "{:?}", node.order());
    succeeded(&node.call("DEL", &sandbox).run());
    nothing_left(&node, &sandbox);
}

#[test]
fn the_version_of_an_auxiliary_chain_is_the_lowest_that_its_files_name() {
    for (first, last, version) in [
        (json!(null), json!(null), "1.1.0"),
        (json!("0.4.0"), json!(null), "0.4.0"),
        (json!("1.0.0"), json!("0.3.1"), "0.3.1"),
    ] {
        let node = node();
        for (file, kind, named) in [("10-first", "first", &first), ("20-last", "last", &last)] {
            let config = json!({ "type": kind, "cniVersion": named });
            let text = config.to_string().replace(r#""cniVersion":null,"#, "");
            node.write(&format!("conf/aux/{file}.conf"), &text);
        }
        succeeded(&node.call("ADD", &Sandbox::new()).set("cniVersion", json!("1.1.0")).run());
        assert_eq!(node.calls_of("ADD").last().unwrap().config()["cniVersion"], version);
    }
}

#[test]
fn plan_shows_the_auxiliary_chain_with_the_result_that_it_is_given() {
    let node = node();
    let pod = node.write("pod.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: default}}");
    let config = node.write("master.conf", &node.master_config().to_string());
    let mut plan = std::process::Command::new(crate::harness::plugin_under_test());
    plan.arg("plan").arg("--pod").arg(pod).arg("--config").arg(config).arg("--bin-dir").arg(node.plugins());
    let output = plan.output().unwrap();
    let human = String::from_utf8(output.stdout).unwrap();
    let chain = human.split_once("net1: network \"aux\" (additional), CNI 1.0.0\n").expect("the chain").1;
    let given: Vec<&str> = chain.lines().filter_map(|line| line.trim().strip_prefix("stdin ")).collect();
    assert_eq!(given.len(), 2, "{human}");
    assert!(given[0].ends_with(r#""prevResult":{"cniVersion":"1.0.0"}}"#), "{human}");
}

/// What users of Multus have in such a directory: a setting for the pod's `eth0`.
fn real_tuning(node: &Node, pod: &Path) {
    let sandbox = Sandbox::new();
    let call = |operation: &str| node.call(operation, &sandbox).env("CNI_NETNS", pod.to_str().unwrap());
    succeeded(&call("ADD").run());
    assert_eq!(sysctl(pod, "net/ipv4/conf/eth0/arp_filter"), "1");
    succeeded(&call("CHECK").run());
    succeeded(&call("DEL").run());
    nothing_left(node, &sandbox);
    assert_eq!((leases(), host_veths()), (Vec::new(), Vec::new()));
}

#[test]
fn a_real_tuning_plugin_in_the_auxiliary_chain_sets_what_it_says_on_eth0() {
    isolated(|kernel| {
        let node = real_node();
        install_real(&node, &["tuning"]);
        node.master(&json!({ "auxiliaryCNIChainName": "aux" }));
        node.write("conf/aux/10-tuning.conf", r#"{"type":"tuning","sysctl":{"net.ipv4.conf.eth0.arp_filter":"1"}}"#);
        real_tuning(&node, &kernel.netns("pod"));
    });
}
