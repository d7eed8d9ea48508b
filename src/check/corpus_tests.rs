//! What the run time refuses is exactly what is found to be refused, over every truncation and every flipped bit of real
//! configurations and over hostile ones (G1, D4, D8).

use super::tests::{CLUSTER, file, master, profiles};
use super::*;
use crate::cni::NetworkConfigList;
use crate::config::MasterConfig;
use crate::plan::primary::{Candidate, choose, guard};

/// Errors that only somebody who writes a file is told: the run time goes on, or does not see them in this one file.
const STRICT: [&str; 11] =
    ["MC-035", "MC-039", "MC-040", "MC-041", "MC-050", "MC-051", "MC-052", "MC-053", "MC-055", "MC-056", "MC-062"];

/// True if the run time makes nothing of the document: the plugin of a master config, the choice of the primary of another.
fn refused_at_run_time(document: &Document) -> bool {
    let text = &document.text;
    let candidate = Candidate { file_name: document.name().to_owned(), content: Ok(text.clone()) };
    let chosen = choose(vec![candidate], &profiles()).primary;
    if kind_of(text) == Kind::Network {
        return chosen.is_none();
    }
    assert!(chosen.is_none(), "our own file was chosen as the primary: {}", String::from_utf8_lossy(text));
    let inline = |object: &crate::cni::Object| {
        let text = object.to_text();
        NetworkConfigList::parse(text.as_bytes(), None).is_err() || guard(text.as_bytes()).is_err()
    };
    match MasterConfig::from_file(text).and_then(MasterConfig::with_primary) {
        Ok(config) => config.cluster_network.is_none() && config.delegates.iter().any(inline),
        Err(_) => true,
    }
}

/// What is refused at run time is an error with a place, and nothing else is said to be refused. True if it is refused.
pub(super) fn agrees(document: &Document) -> bool {
    if !crate::plan::primary::is_config_name(document.name()) {
        return false;
    }
    let findings = check(document, &profiles());
    let refused = refused_at_run_time(document);
    let text = || String::from_utf8_lossy(&document.text).into_owned();
    assert_eq!(findings.iter().any(|finding| finding.refused), refused, "{}\n{findings:#?}", text());
    for finding in &findings {
        let Finding { code, severity, span, line, column, .. } = finding;
        assert!(span.start <= span.end && span.end <= document.text.len(), "{finding:?}");
        assert!(finding.message.chars().count() <= 512 && !finding.message.contains(char::is_control), "{finding:?}");
        if finding.refused {
            assert!(*line > 0 && *column > 0, "{finding:?}: no place");
            assert!(*severity == Severity::Error || *code == "MC-054", "{finding:?}: {}", text());
        } else {
            assert!(*severity != Severity::Error || STRICT.contains(code), "{finding:?}: {}", text());
        }
    }
    refused
}

/// What Calico's installer writes, shortened.
const REAL: &str = r#"{
  "name": "k8s-pod-network",
  "cniVersion": "0.3.1",
  "plugins": [
    {
      "type": "calico",
      "log_level": "info",
      "log_file_path": "/var/log/calico/cni/cni.log",
      "datastore_type": "kubernetes",
      "nodename": "node-1",
      "mtu": 0,
      "ipam": { "type": "calico-ipam" },
      "policy": { "type": "k8s" },
      "kubernetes": { "kubeconfig": "/etc/cni/net.d/calico-kubeconfig" }
    },
    { "type": "portmap", "snat": true, "capabilities": { "portMappings": true } },
    { "type": "bandwidth", "capabilities": { "bandwidth": true } }
  ]
}
"#;

#[test]
fn g1_d4_d8_every_truncation_of_a_conflist_is_refused_and_explained() {
    let ours = master(r#""clusterNetwork":"/etc/cni/net.d","addBudget":"20s""#);
    for (name, whole) in [("10-calico.conflist", REAL), ("00-meta-cni.conflist", &ours)] {
        let whole_length = whole.trim_end().len();
        assert!(!agrees(&file(name, whole)));
        for length in 0..whole_length {
            assert!(agrees(&file(name, &whole[..length])), "{length} bytes are taken: {}", &whole[..length]);
            // Zeros where the text should be are what a power cut leaves.
            let zeros = [&whole.as_bytes()[..length], &vec![0; whole_length - length]].concat();
            assert!(agrees(&file(name, zeros)), "{length} bytes and zeros are taken");
        }
    }
}

#[test]
fn g1_d4_d8_every_flipped_byte_is_harmless_or_refused_and_explained() {
    let lists = [
        (
            "10-x.conflist",
            r#"{"cniVersion":"0.4.0","name":"n-1","plugins":[{"type":"ptp","mtu":1500,"ipam":{"type":"dhcp"}}]}"#
                .to_owned(),
        ),
        ("00-meta-cni.conflist", master(r#""clusterNetwork":"/etc/cni/net.d","addBudget":"20s""#)),
    ];
    for (name, text) in lists {
        let (mut refused, mut taken) = (0, 0);
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let document = file(name, &bytes);
                if agrees(&document) {
                    refused += 1;
                } else {
                    taken += 1;
                    assert!(valid(&bytes), "taken at run time: {}", String::from_utf8_lossy(&bytes));
                }
            }
        }
        assert!(refused > 400 && taken > 100, "{refused} refused, {taken} taken");
    }
}

/// Whether a text is a configuration, judged by a decoder that knows nothing of ours.
fn valid(bytes: &[u8]) -> bool {
    let name = |text: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fine)
    };
    let kind = |plugin: &serde_json::Value| {
        plugin["type"]
            .as_str()
            .is_some_and(|kind| !kind.is_empty() && !kind.contains('/') && !kind.contains(char::is_control))
    };
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { return false };
    let version = value["cniVersion"].as_str().unwrap_or("0.1.0");
    let plugins = value["plugins"].as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"].contains(&version)
        && value["name"].as_str().is_some_and(name)
        && !plugins.is_empty()
        && plugins.iter().all(kind)
}

#[test]
fn g1_hostile_documents_are_judged_within_bounds() {
    let deep =
        |depth: usize| format!(r#"{{"name":"n","type":"a","x":{}"meta-cni"{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let keys: String = (0..5000).map(|key| format!(r#""k{key}":1,"#)).collect();
    let plugins =
        |plugin: &str, count: usize| format!(r#"{{"name":"n","plugins":[{}]}}"#, vec![plugin; count].join(","));
    for text in [
        deep(100),
        deep(200),
        deep(200_000),
        format!(r#"{{{keys}"name":"n","type":"a"}}"#),
        plugins("{}", 10_000),
        plugins(r#"{"type":"meta-cni"}"#, 10_000),
        plugins(r#"{"type":"multus","delegates":[{"type":"multus"}]}"#, 5_000),
        format!(r#"{{"name":"n","type":"a",{}"#, r#""a":1,"#.repeat(20_000)) + r#""b":1}"#,
        format!(r#"{{"name":"n","type":"{}"}}"#, "/".repeat(1 << 20)),
        master(&format!(r#"{CLUSTER},"{}":1"#, "x".repeat(1 << 19))),
        format!(r#"{{"{}":{{"type":"a","type":"b"}}}}"#, "k".repeat(1 << 19)),
    ] {
        let findings = check(&file("10-x.conflist", &text), &profiles());
        assert!(findings.len() <= 100);
        assert!(findings.iter().all(|finding| finding.message.len() <= 2048 && finding.pointer.len() <= 1024));
        agrees(&file("10-x.conflist", &text));
    }
}
