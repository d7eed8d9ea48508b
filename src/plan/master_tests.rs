use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn profiles() -> Profiles {
    Profiles::with_overrides(Vec::new())
}

fn settings(keys: &Value) -> Settings {
    Settings {
        name: NetworkName::new("meta-cni").unwrap(),
        keys: Object::parse(keys.to_string().as_bytes()).unwrap(),
        capabilities: Vec::new(),
    }
}

fn found(text: &str) -> Found {
    let reference = "/etc/cni/net.d/10-a.conflist".to_owned();
    let list = NetworkConfigList::parse(text.as_bytes(), None).unwrap();
    Found { from: reference.clone(), reference, text: text.to_owned(), list }
}

const PRIMARY: &str = r#"{"name":"p","plugins":[{"type":"bridge","capabilities":{"ips":false,"portMappings":true}},
    {"type":"tuning","capabilities":{"mac":true,"new-one":true}}]}"#;

/// What stands in a file after `text` was the one that is there.
fn after(text: &str, spoken: &Spoken) -> (Value, Master) {
    let (appended, notes) = appended(text.as_bytes(), &profiles()).expect("a master config");
    let mut made = master(&settings(&json!({})), &found(PRIMARY), &appended, spoken);
    made.notes.extend(notes);
    (serde_json::from_str(&made.text).unwrap(), made)
}

fn types(value: &Value) -> Vec<&str> {
    value["plugins"].as_array().unwrap().iter().map(|plugin| plugin["type"].as_str().unwrap()).collect()
}

const OURS: &str = r#"{"type":"meta-cni","clusterNetwork":"/x","somebodys":"key"}"#;

fn file(plugins: &[&str]) -> String {
    format!(r#"{{"cniVersion":"1.0.0","name":"meta-cni","more":1,"plugins":[{}]}}"#, plugins.join(","))
}

#[test]
fn d12_capabilities_are_the_primarys_and_the_annotations() {
    let made = master(&settings(&json!({ "runDir": "/r", "addBudget": "5s" })), &found(PRIMARY), &[], &Spoken::new());
    let ours = serde_json::from_str::<Value>(&made.text).unwrap()["plugins"][0].clone();
    assert_eq!(
        ours,
        json!({
            "type": "meta-cni", "clusterNetwork": "/etc/cni/net.d/10-a.conflist", "runDir": "/r", "addBudget": "5s",
            "capabilities": { ANNOTATIONS: true, "portMappings": true, "mac": true, "new-one": true },
        })
    );
    assert_eq!(made.notes, Vec::<String>::new());
}

#[test]
fn d11_plugins_appended_by_others_stay_in_order_byte_for_byte_and_once() {
    let istio = r#"{ "type" : "istio-cni",  "x": 1.50 }"#;
    let newer = r#"{"type":"istio-cni","x":2}"#;
    let tuning = r#"{"type":"tuning","sysctl":{"a":"1"}}"#;
    let spaced = r#"{ "sysctl": {"a": "1"}, "type":"tuning" }"#;
    let other = r#"{"type":"tuning","sysctl":{"a":"2"}}"#;
    for (before, kept) in [
        (vec![OURS, istio, tuning], vec![istio, tuning]),
        (vec![OURS, istio, istio], vec![istio]),
        // An installer that wants it otherwise now; a plugin that may well run twice.
        (vec![OURS, istio, newer], vec![newer]),
        (vec![OURS, tuning, other], vec![tuning, other]),
        (vec![OURS, tuning, spaced], vec![spaced]),
        (vec![tuning, OURS, istio], vec![istio]),
        (vec![OURS, OURS, istio], vec![istio]),
        (vec![OURS, r#"{"type":"x","delegates":[{"type":"meta-cni"}]}"#, istio], vec![istio]),
        (vec![OURS], vec![]),
    ] {
        let (value, made) = after(&file(&before), &Spoken::new());
        assert_eq!(value["plugins"].as_array().unwrap().len(), kept.len() + 1, "{before:?}: {}", made.text);
        for plugin in &kept {
            assert!(made.text.contains(plugin), "{plugin} in {}", made.text);
        }
        assert_eq!(types(&value)[0], "meta-cni");
        assert!(!made.text.contains("somebodys") && !made.text.contains("more"), "the file is ours: {}", made.text);
        lint(made.text.as_bytes()).unwrap();
    }
    for none in ["", "{", "[]", r#"{"name":"p","plugins":[{"type":"bridge"}]}"#, r#"{"name":"p","type":"meta-cni"}"#] {
        assert!(appended(none.as_bytes(), &profiles()).is_none(), "{none}");
    }
}

#[test]
fn a33_versions_are_those_that_every_plugin_of_our_list_speaks() {
    let speaks = |plugin: &str, versions: &[&str]| {
        let versions = versions.iter().map(|text| CniVersion::parse(text).unwrap()).collect();
        (PluginType::new(plugin).unwrap(), Some(versions))
    };
    let nothing = |plugin: &str| (PluginType::new(plugin).unwrap(), None);
    let both = file(&[OURS, r#"{"type":"a"}"#, r#"{"type":"b"}"#]);
    for (spoken, version, versions, notes) in [
        (
            vec![speaks("a", &["0.4.0", "1.0.0", "1.1.0"]), speaks("b", &["0.3.1", "1.0.0"])],
            "1.0.0",
            json!(["1.0.0"]),
            0,
        ),
        (
            vec![speaks("a", &["0.4.0", "1.1.0"]), speaks("b", &["0.4.0", "1.1.0"])],
            "0.4.0",
            json!(["0.4.0", "1.1.0"]),
            0,
        ),
        (vec![speaks("a", &["1.1.0"]), speaks("b", &["1.1.0"])], "1.1.0", json!(["1.1.0"]), 0),
        (vec![speaks("a", &["0.4.0", "1.0.0"]), nothing("b")], "1.0.0", json!(["1.0.0"]), 1),
        (vec![speaks("a", &["0.1.0"]), speaks("b", &["0.2.0"])], "1.0.0", json!(["1.0.0"]), 1),
        (vec![], "1.0.0", json!(["1.0.0"]), 2),
    ] {
        let (value, made) = after(&both, &spoken.into_iter().collect());
        assert_eq!((&value["cniVersion"], &value["cniVersions"]), (&json!(version), &versions));
        assert_eq!(made.notes.len(), notes, "{:?}", made.notes);
    }
    let (value, _) = after(&file(&[OURS]), &Spoken::new());
    let all: Vec<_> = CniVersion::ALL.iter().map(|version| version.as_str()).collect();
    assert_eq!((&value["cniVersion"], &value["cniVersions"]), (&json!("1.0.0"), &json!(all)));
}

#[test]
fn d6_what_must_not_be_written_is_refused_with_its_place() {
    for (text, why) in [
        (file(&[OURS]), None),
        (file(&[OURS, r#"{"type":"x","a":{"b":[{"type":"meta-cni"}]}}"#]), Some("/plugins/1/a/b/0/type")),
        (file(&[OURS, OURS]), Some("/plugins/1/type")),
        (
            file(&[r#"{"type":"meta-cni","clusterNetwork":"/x","ipam":{"type":"meta-cni"}}"#]),
            Some("/plugins/0/ipam/type"),
        ),
        (file(&[r#"{"type":"meta-cni","delegates":[{"name":"a","type":"bridge"}]}"#]), Some("embeds its primary")),
        (file(&[r#"{"type":"meta-cni"}"#]), Some("there is no primary network")),
        (file(&[r#"{"type":"meta-cni","clusterNetwork":"a/b"}"#]), Some("neither a name nor an absolute path")),
        (file(&[r#"{"type":"bridge"}"#, OURS]), Some("its first plugin is not")),
        (String::new(), Some("empty")),
    ] {
        match (lint(text.as_bytes()), why) {
            (Ok(_), None) => {}
            (Err(error), Some(why)) => assert!(error.contains(why), "{text}: {error}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }
}

#[test]
fn d6_no_truncation_of_a_master_config_and_no_flipped_byte_is_taken_for_another_one() {
    let made = master(&settings(&json!({ "runDir": "/r" })), &found(PRIMARY), &[], &Spoken::new());
    let text = made.text.trim_end().as_bytes();
    for end in 0..text.len() {
        assert!(lint(&text[..end]).is_err(), "cut at {end}");
    }
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut flipped = text.to_vec();
            flipped[at] ^= 1 << bit;
            let same = says_the_same(&flipped, text);
            // White space for white space; anything else says something else, or nothing.
            assert!(!same || text[at].is_ascii_whitespace(), "byte {at}, bit {bit}");
        }
    }
}

/// Any JSON, with types that matter at any depth.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![Just("meta-cni"), Just("bridge"), Just("istio-cni"), Just("type"), Just("delegates")];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![Just("type".to_owned()), Just("plugins".to_owned()), "[a-z]{1,4}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_file() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![Just("meta-cni"), Just("istio-cni"), Just("tuning"), Just("x")];
    let plugin = (kind, any_json()).prop_map(|(kind, more)| json!({ "type": kind, "more": more }));
    (prop::collection::vec(plugin, 0..6), any_json()).prop_map(|(mut plugins, more)| {
        plugins.insert(plugins.len().min(1), json!({ "type": "meta-cni", "clusterNetwork": "/x" }));
        json!({ "name": "meta-cni", "cniVersion": "1.0.0", "plugins": plugins, "more": more })
    })
}

proptest! {
    /// D5, D6: whatever stands in our file, what is written from it does not nest, says the same when it is fed back, and is
    /// the same for the same inputs.
    #[test]
    fn d5_d6_the_output_never_nests_and_is_its_own_input(there in any_file(), pretty in any::<bool>()) {
        let there = if pretty { serde_json::to_string_pretty(&there).unwrap() } else { there.to_string() };
        let make = |there: &str| {
            let kept = appended(there.as_bytes(), &profiles()).unwrap_or_default().0;
            master(&settings(&json!({ "stateDir": "/s" })), &found(PRIMARY), &kept, &Spoken::new()).text
        };
        let text = make(&there);
        prop_assert_eq!(lint(text.as_bytes()), Ok("/etc/cni/net.d/10-a.conflist".to_owned()));
        prop_assert_eq!(text.matches("\"type\":\"meta-cni\"").count() + text.matches("\"type\": \"meta-cni\"").count(), 1);
        prop_assert_eq!(&make(&text), &text);
        prop_assert_eq!(&make(&there), &text);
    }
}

#[test]
fn d11_a_plugin_that_does_not_answer_once_speaks_what_it_spoke() {
    let plugin = |name: &str| PluginType::new(name).unwrap();
    let all = |versions: &[CniVersion]| Some(versions.iter().copied().collect::<BTreeSet<_>>());
    let mut spoken = Spoken::from([(plugin("a"), all(&[CniVersion::V1_0_0])), (plugin("b"), None)]);
    let said = [(plugin("a"), None), (plugin("b"), all(&[CniVersion::V1_1_0])), (plugin("c"), None)];
    renew(&mut spoken, said.into());
    let now =
        [(plugin("a"), all(&[CniVersion::V1_0_0])), (plugin("b"), all(&[CniVersion::V1_1_0])), (plugin("c"), None)];
    assert_eq!(spoken, now.into());
    renew(&mut spoken, [(plugin("a"), all(&[CniVersion::V0_4_0]))].into());
    assert_eq!(spoken[&plugin("a")], all(&[CniVersion::V0_4_0]));
}
