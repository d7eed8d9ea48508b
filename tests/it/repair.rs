//! E7, D4, D5: `meta-cni repair`. What Multus' entrypoint nests is taken apart, what is left of ours goes, and whatever is changed is
//! kept.

use crate::harness::{Node, files_below};
use crate::install::command;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/corrupt");
const OWN: &str = "00-meta-cni.conflist";
const CBR0: &str = r#"{"cniVersion":"0.3.1","name":"cbr0","type":"bridge"}"#;

/// The files of the node's conf dir with their texts; what was put aside by its name without the time.
fn files(node: &Node) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for path in files_below(&node.conf()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let name = match name.strip_suffix(".meta-cni.bak").and_then(|rest| rest.rsplit_once('.')) {
            Some((name, time)) if time.parse::<u64>().is_ok() => format!("{name} (kept)"),
            _ => name,
        };
        assert!(files.insert(name, std::fs::read_to_string(path).unwrap()).is_none());
    }
    files
}

fn repair(node: &Node, more: &[&str]) -> (i32, String, String) {
    command(node, &[&["repair", node.conf().to_str().unwrap()], more].concat())
}

/// What a node is left with, that had this text as Multus' file; what a dry run says changes nothing.
#[track_caller]
fn mended(text: &str) -> BTreeMap<String, String> {
    let node = Node::new();
    node.write("conf/00-multus.conf", text);
    let before = files(&node);
    let (exit, said, errors) = repair(&node, &["--dry-run"]);
    assert!(exit == 1 && said.contains("would be put aside"), "{exit} {said}{errors}");
    assert_eq!(files(&node), before);
    let (exit, said, errors) = repair(&node, &[]);
    assert_eq!(exit, 0, "{said}{errors}");
    let mut after = files(&node);
    assert_eq!(after.remove("00-multus.conf (kept)").as_deref(), Some(text), "what is changed is kept: {said}");
    assert_eq!(repair(&node, &[]), (0, "nothing to mend\n".to_owned(), String::new()));
    after
}

#[track_caller]
fn one(after: BTreeMap<String, String>) -> (String, Value) {
    let (name, text) = after.into_iter().next().expect("a file");
    (name, serde_json::from_str(&text).unwrap())
}

#[test]
fn e7_the_real_network_of_every_nested_file_of_the_corpus_gets_a_file_of_its_own() {
    let bridge: Value = serde_json::from_str(CBR0).unwrap();
    let flannel = json!({ "cniVersion": "0.3.1", "name": "cbr0", "plugins": [
        { "type": "flannel", "delegate": { "hairpinMode": true, "isDefaultGateway": true } },
        { "type": "portmap", "capabilities": { "portMappings": true } },
    ] });
    let primary = json!({ "cniVersion": "1.0.0", "name": "primary", "plugins": [{ "type": "bridge" }] });
    let mut seen = 0;
    for path in files_below(Path::new(CORPUS)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        seen += 1;
        match name {
            "nested-four-times.conf" => assert_eq!(one(mended(&text)), ("10-cbr0.conf".to_owned(), bridge.clone())),
            "nested-thin.conf" => assert_eq!(one(mended(&text)), ("10-cbr0.conflist".to_owned(), flannel.clone())),
            "nested-thin.conflist" => {
                assert_eq!(one(mended(&text)), ("10-primary.conflist".to_owned(), primary.clone()))
            }
            "stale-tail.conf" => assert_eq!(one(mended(&text)), ("10-cbr0.conf".to_owned(), bridge.clone())),
            // There is no network in them.
            "nested-meta-cni.conflist" | "truncated-by-a-failed-regeneration.conf" => {
                assert_eq!(mended(&text), BTreeMap::new(), "{name}");
            }
            // Nothing is wrong with them while Multus is the node's network.
            "plain-multus.conf" | "shim.conf" => {
                let node = Node::new();
                node.write("conf/00-multus.conf", &text);
                assert_eq!(repair(&node, &[]), (0, "nothing to mend\n".to_owned(), String::new()), "{name}");
            }
            other => panic!("no expectation for {other}"),
        }
    }
    assert_eq!(seen, 8);
}

#[test]
fn e7_beside_a_master_config_a_file_of_multus_goes_and_its_network_stays() {
    let node = Node::new();
    node.write("conf/10-calico.conflist", r#"{"cniVersion":"1.0.0","name":"k8s","plugins":[{"type":"calico"}]}"#);
    assert_eq!(
        command(
            &node,
            &["install", "--bin-dir", node.plugins().to_str().unwrap(), "--conf-dir", node.conf().to_str().unwrap()]
        )
        .0,
        0
    );
    let own = files(&node).remove(OWN).unwrap();
    node.write("conf/70-multus.conf", &std::fs::read_to_string(format!("{CORPUS}/plain-multus.conf")).unwrap());
    let (exit, said, errors) = repair(&node, &[]);
    assert_eq!(exit, 0, "{said}{errors}");
    let after = files(&node);
    assert_eq!(after.keys().collect::<Vec<_>>(), [OWN, "10-calico.conflist", "10-cbr0.conf", "70-multus.conf (kept)"]);
    assert_eq!((after[OWN].as_str(), after["10-cbr0.conf"].trim()), (own.as_str(), CBR0));
}

#[test]
fn d5_a_master_config_that_was_cut_emptied_or_renamed_is_what_it_was() {
    let node = Node::new();
    let primary = r#"{"cniVersion":"1.0.0","name":"k8s","plugins":[{"type":"calico"}]}"#;
    node.write("conf/10-calico.conflist", primary);
    let places = [node.plugins(), node.conf()].map(|dir| dir.to_str().unwrap().to_owned());
    assert_eq!(command(&node, &["install", "--bin-dir", &places[0], "--conf-dir", &places[1]]).0, 0);
    let own = files(&node).remove(OWN).unwrap();
    // As it was when the last one is remembered; else by the primary, which gives the same.
    for remembered in [true, false] {
        for text in [Some(""), Some(&own[..own.len() / 2]), Some(&own[..own.len() - 4]), None] {
            match text {
                Some(text) => drop(node.write(&format!("conf/{OWN}"), text)),
                None => std::fs::rename(node.conf().join(OWN), node.conf().join(format!("{OWN}.cilium_bak"))).unwrap(),
            }
            node.write(&format!("conf/.{OWN}.dead.tmp"), "{");
            if !remembered {
                std::fs::remove_file(node.state().join("master.json")).unwrap();
            }
            let (exit, said, errors) = repair(&node, &[]);
            assert_eq!(exit, 0, "{said}{errors}");
            let mut after = files(&node);
            assert_eq!(after.remove(OWN).as_deref(), Some(own.as_str()), "{said}");
            assert_eq!(after.remove("10-calico.conflist").as_deref(), Some(primary));
            let kept = after.into_iter().next().expect("what was changed is kept");
            let name = if text.is_some() { format!("{OWN} (kept)") } else { format!("{OWN}.cilium_bak (kept)") };
            assert_eq!(kept, (name, text.unwrap_or(&own).to_owned()));
            for path in files_below(&node.conf()).iter().filter(|path| path.to_str().unwrap().ends_with(".bak")) {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn d4_what_is_not_ours_is_left_and_named_and_nothing_is_written_in_a_cleanup() {
    let node = Node::new();
    node.write("conf/10-calico.conflist", "{\"name\":\"k8s\",\"plug");
    let before = files(&node);
    for args in [&["--dry-run"][..], &[]] {
        let (exit, said, _) = repair(&node, args);
        assert!(exit == 4 && said.starts_with("left: 10-calico.conflist: "), "{exit} {said}");
    }
    assert_eq!(files(&node), before);
    node.write(&format!("conf/{OWN}"), "");
    let (exit, said, _) = repair(&node, &[]);
    assert!(exit == 4 && said.contains("it stays, because there is no primary network"), "{exit} {said}");
    node.write("run/removing", "");
    let (exit, said, _) = repair(&node, &[]);
    assert!(exit == 4 && said.contains("a cleanup is under way"), "{exit} {said}");
    assert_eq!(files(&node).len(), 2, "the damaged file is still there, and was not copied each time");
    let (exit, _, errors) = command(&node, &["repair", "/nowhere"]);
    assert!(exit == 3 && errors.contains("is no directory"), "{exit} {errors}");
}
