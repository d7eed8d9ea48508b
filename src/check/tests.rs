//! Each rule finds its example, in a document and in a directory (G1, D4, D6, E7).

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::corpus_tests::agrees;
use super::rules::{TABLE, reference};
use super::*;
use crate::config::MasterConfig;

/// A document in a file of that name.
pub(super) fn file(name: &str, text: impl AsRef<[u8]>) -> Document {
    let path = PathBuf::from("/conf").join(name);
    Document { paths: vec![path], ..Document::of(name, text.as_ref()) }
}

pub(super) fn profiles() -> Profiles {
    Profiles::with_overrides(Vec::new())
}

/// A master config with `keys` beside those that one has to have.
pub(super) fn master(keys: &str) -> String {
    let annotations = r#""capabilities":{"io.kubernetes.cri.pod-annotations":true}"#;
    format!(r#"{{"cniVersion":"1.0.0","name":"meta-cni","plugins":[{{"type":"meta-cni",{annotations},{keys}}}]}}"#)
}

/// A master config of exactly `keys`.
fn bare_master(keys: &str) -> String {
    format!(r#"{{"cniVersion":"1.0.0","name":"meta-cni","plugins":[{{"type":"meta-cni"{keys}}}]}}"#)
}

pub(super) const CLUSTER: &str = r#""clusterNetwork":"/x""#;
const CALICO: &str = r#"{"cniVersion":"0.3.1","name":"k","plugins":[{"type":"calico"}]}"#;
const BRIDGE: &str = r#"{"cniVersion":"0.3.1","name":"b","type":"bridge"}"#;

/// A file, its text, and the findings: code and what of the text they mark.
type Example = (&'static str, String, Vec<Found>);
type Found = (&'static str, &'static str);

fn own(text: String, found: &[Found]) -> Example {
    ("00-meta-cni.conflist", text, found.to_vec())
}

fn list(text: &str, found: &[Found]) -> Example {
    ("10-x.conflist", text.to_owned(), found.to_vec())
}

fn conf(text: &str, found: &[Found]) -> Example {
    ("10-x.conf", text.to_owned(), found.to_vec())
}

fn examples() -> Vec<Example> {
    [texts(), networks(), masters(), nests()].concat()
}

fn texts() -> Vec<Example> {
    vec![
        conf("", &[("MC-001", "")]),
        conf("\n\0\0", &[("MC-001", "")]),
        list(r#"{"name":"n","plugins":[{"type":"#, &[("MC-002", "")]),
        list(r#"{"name":"n",}"#, &[("MC-003", "}")]),
        conf("{\"name\":\"a\u{1}b\"}", &[("MC-003", "\u{1}")]),
        conf("\u{feff}{}", &[("MC-003", "\u{feff}")]),
        conf(r#"{"cniVersion":"0.3.1","name":"b","type":"bridge"}us"}]}"#, &[("MC-004", r#"us"}]}"#)]),
        conf(" [{}]", &[("MC-005", "[")]),
        conf(r#"{"cniVersion":"0.3.1","name":"b","type":"x","x":{"a":1,"a":2}}"#, &[("MC-006", r#""a""#)]),
        conf(r#"{"cniVersion":1,"name":2,"type":3}"#, &[("MC-010", "1"), ("MC-010", "2"), ("MC-010", "3")]),
        list(
            r#"{"cniVersion":"0.3.1","name":"b","disableCheck":"maybe","plugins":[{"type":"a"},{"type":"b","capabilities":[]}]}"#,
            &[("MC-010", r#""maybe""#), ("MC-010", "[]")],
        ),
        list(r#"{"cniVersion":"0.3.1","name":"b","plugins":{}}"#, &[("MC-010", "{}")]),
    ]
}

fn networks() -> Vec<Example> {
    vec![
        conf(r#"{"cniVersion":"0.3.1","type":"a"}"#, &[("MC-011", "{")]),
        conf(r#"{"cniVersion":"0.3.1","name":"","type":"a"}"#, &[("MC-011", r#""""#)]),
        conf(r#"{"cniVersion":"0.3.1","name":"a/b","type":"a"}"#, &[("MC-012", r#""a/b""#)]),
        conf(r#"{"cniVersion":"9","name":"a","type":"a"}"#, &[("MC-013", r#""9""#)]),
        conf(r#"{"cniVersions":["9"],"name":"a","type":"a"}"#, &[("MC-013", r#""9""#)]),
        conf(r#"{"cniVersion":"0.3.1","name":"a"}"#, &[("MC-014", "{")]),
        list(r#"{"cniVersion":"0.3.1","name":"a","plugins":[]}"#, &[("MC-014", "[]")]),
        list(r#"{"cniVersion":"0.3.1","name":"a","plugins":[{"type":"b"},{"x":1}]}"#, &[("MC-015", "{")]),
        conf(r#"{"cniVersion":"0.3.1","name":"a","type":"../sh"}"#, &[("MC-016", r#""../sh""#)]),
        conf(r#"{"cniVersions":["0.3.1","2.0.0"],"name":"a","type":"b"}"#, &[("MC-017", r#""2.0.0""#)]),
        conf(r#"{"name":"a","type":"b"}"#, &[("MC-018", "{")]),
        conf(r#"{"cniVersion":"0.3.1","name":"a","type":"b","capabilities":{"ips":1}}"#, &[("MC-019", "1")]),
        list(
            r#"{"cniVersion":"0.3.1","name":"a","cni.dev/x":1,"plugins":[{"type":"b","runtimeConfig":{}}]}"#,
            &[("MC-020", r#""cni.dev/x""#), ("MC-020", r#""runtimeConfig""#)],
        ),
        list(
            r#"{"cniVersion":"0.3.1","name":"a","capabilities":{},"plugins":[{"type":"b"}]}"#,
            &[("MC-021", r#""capabilities""#)],
        ),
    ]
}

fn masters() -> Vec<Example> {
    vec![
        own(bare_master(""), &[("MC-030", "{"), ("MC-038", "{")]),
        own(master(r#""clusterNetwork":null"#), &[("MC-030", "null")]),
        own(master(r#""clusterNetwork":"net.d/x""#), &[("MC-031", r#""net.d/x""#)]),
        own(master(r#""clusterNetwork":"/x","networkDirs":["/a","b"]"#), &[("MC-031", r#""b""#)]),
        own(master(r#""clusterNetwork":"/x","defaultNetworks":["a","b/c"]"#), &[("MC-031", r#""b/c""#)]),
        own(master(r#""clusterNetwork":"/x","stateDir":"s""#), &[("MC-031", r#""s""#)]),
        own(master(r#""clusterNetwork":"/x","primaryRoutes":["10.0.0.0/8","::/0"]"#), &[("MC-032", r#""::/0""#)]),
        own(master(r#""clusterNetwork":"/x","auxiliaryCNIChainName":".""#), &[("MC-033", r#"".""#)]),
        own(master(r#""clusterNetwork":"x","auxiliaryCNIChainName":"y""#), &[("MC-033", r#""y""#)]),
        own(master(&format!(r#"{CLUSTER},"frob":1,"a/~":2"#)), &[("MC-035", r#""frob""#), ("MC-035", r#""a/~""#)]),
        own(master(&format!(r#"{CLUSTER},"kubeconfig":1"#)), &[("MC-036", r#""kubeconfig""#)]),
        own(master(&format!(r#"{CLUSTER},"logLevel":"loud""#)), &[("MC-037", r#""loud""#)]),
        own(master(&format!(r#"{CLUSTER},"delegates":[]"#)), &[("MC-037", r#""delegates""#)]),
        own(bare_master(&format!(",{CLUSTER}")), &[("MC-038", "{")]),
        own(
            bare_master(r#","capabilities":{"io.kubernetes.cri.pod-annotations":"true"},"clusterNetwork":"/x""#),
            &[("MC-038", r#"{"io.kubernetes.cri.pod-annotations":"true"}"#), ("MC-039", r#""true""#)],
        ),
        own(
            master(r#""clusterNetwork":"/conf/00-meta-cni.conflist""#),
            &[("MC-040", r#""/conf/00-meta-cni.conflist""#)],
        ),
        own(master(r#""clusterNetwork":"/x","stateDir":"/etc/cni/net.d/s""#), &[("MC-041", r#""/etc/cni/net.d/s""#)]),
        own(master(r#""clusterNetwork":"/x","stateDir":"/var/lib/cni""#), &[("MC-041", r#""/var/lib/cni""#)]),
        own(master(r#""clusterNetwork":"/x","runDir":"/etc/cni/net.d""#), &[("MC-041", r#""/etc/cni/net.d""#)]),
        own(master(r#""clusterNetwork":"/x","stateDir":"/x/s""#), &[("MC-041", r#""/x/s""#)]),
        own(master(r#""clusterNetwork":"/x","binDir":"/x/b","stateDir":"/x/b""#), &[("MC-041", r#""/x/b""#)]),
        own(
            master(r#""addBudget":"soon","delBudget":5,"clusterNetwork":[]"#),
            &[("MC-010", r#""soon""#), ("MC-010", "5"), ("MC-010", "[]")],
        ),
    ]
}

fn nests() -> Vec<Example> {
    vec![
        own(
            master(
                r#""delegates":[{"cniVersion":"0.3.1","name":"n","type":"a"},{"cniVersion":"0.3.1","name":"m","type":"meta-cni"}]"#,
            ),
            &[("MC-050", r#""meta-cni""#)],
        ),
        own(master(r#""delegates":[{"cniVersion":"0.3.1","type":"a/b"}]"#), &[("MC-011", "{"), ("MC-016", r#""a/b""#)]),
        own(master(&format!(r#"{CLUSTER},"dns":{{"type":"meta-cni"}}"#)), &[("MC-050", r#""meta-cni""#)]),
        list(
            r#"{"cniVersion":"0.3.1","name":"o","plugins":[{"type":"bridge","x":[{"type":"meta\u002dcni"}]}]}"#,
            &[("MC-050", r#""meta\u002dcni""#)],
        ),
        conf(r#"{"cniVersion":"0.3.1","name":"m","type":"x","delegates":[]}"#, &[("MC-051", r#""delegates""#)]),
        conf(r#"{"cniVersion":"0.3.1","name":"m","type":"multus-shim"}"#, &[("MC-052", r#""multus-shim""#)]),
        list(
            r#"{"cniVersion":"0.3.1","name":"m","plugins":[{"type":"bridge"},{"type":"genie"}]}"#,
            &[("MC-052", r#""genie""#)],
        ),
        conf(
            r#"{"cniVersion":"0.3.1","name":"m","type":"multus","delegates":[{"type":"multus"}]}"#,
            &[("MC-051", r#""delegates""#), ("MC-053", r#""multus""#)],
        ),
        conf(r#"{"cniVersion":"0.3.1","name":"l","type":"loopback"}"#, &[("MC-054", r#""loopback""#)]),
        own(
            format!(
                r#"{{"cniVersion":"1.0.0","name":"m","plugins":[{{"type":"meta-cni",{CLUSTER},"capabilities":{{"io.kubernetes.cri.pod-annotations":true}}}},{{"type":"meta-cni"}}]}}"#
            ),
            &[("MC-055", r#""meta-cni""#)],
        ),
        own(
            format!(
                r#"{{"cniVersion":"1.0.0","name":"m","plugins":[{{"type":"a"}},{{"type":"meta-cni",{CLUSTER},"capabilities":{{"io.kubernetes.cri.pod-annotations":true}}}}]}}"#
            ),
            &[("MC-056", r#""meta-cni""#)],
        ),
        list(BRIDGE, &[("MC-061", "")]),
        conf(CALICO, &[("MC-061", "")]),
        ("00-meta-cni.conf", master(CLUSTER), vec![("MC-062", "")]),
        ("10-x.conf.bak", BRIDGE.to_owned(), vec![("MC-063", "")]),
        list(CALICO, &[]),
        conf(BRIDGE, &[]),
        own(master(CLUSTER), &[]),
    ]
}

#[test]
fn g1_d4_d6_e7_each_rule_marks_what_is_wrong() {
    let mut seen = BTreeSet::from(["MC-034", "MC-060"]);
    for (name, text, expected) in examples() {
        let document = file(name, &text);
        let findings = check(&document, &profiles());
        let found: Vec<_> =
            findings.iter().map(|finding| (finding.code, &document.text[finding.span.clone()])).collect();
        let expected: Vec<_> = expected.iter().map(|(code, marked)| (*code, marked.as_bytes())).collect();
        assert_eq!(found, expected, "{text}\n{findings:#?}");
        seen.extend(findings.iter().map(|finding| finding.code));
        agrees(&document);
    }
    let whole = |code: &&str| code.starts_with("MC-07");
    let known: BTreeSet<&str> = TABLE.iter().map(|rule| rule.code).filter(|code| !whole(code)).collect();
    assert_eq!(seen, known);
}

#[test]
fn g1_what_is_to_be_a_master_config_and_is_none() {
    let findings = errors(Kind::Master, &Document::of("x", CALICO.as_bytes()), &profiles());
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["MC-034"]);
    assert!(MasterConfig::from_file(CALICO.as_bytes()).is_err());
    assert_eq!(errors(Kind::Master, &file("00-meta-cni.conflist", master(CLUSTER)), &profiles()), []);
}

#[test]
fn g1_a_file_that_is_not_used_is_a_finding_of_the_file() {
    let refused =
        Document { refused: Some("/conf/x is writable by others (mode 666)".to_owned()), ..file("x.conflist", CALICO) };
    let unread = Document { text: Vec::new(), ..refused.clone() };
    for document in [refused, unread] {
        let findings = check(&document, &profiles());
        assert_eq!(findings.iter().map(|f| (f.code, f.line, f.refused)).collect::<Vec<_>>(), [("MC-060", 0, true)]);
    }
}

#[test]
fn g1_plugins_beside_a_list_are_part_of_it() {
    let plugin = |text: &str| PluginConfig::parse(text.as_bytes()).unwrap();
    let text = r#"{"cniVersion":"1.0.0","name":"n"}"#;
    assert_eq!(check(&file("n.conflist", text), &profiles())[0].code, "MC-014");
    let with = |more: &str| Document { more: vec![plugin(more)], ..file("n.conflist", text) };
    assert_eq!(check(&with(r#"{"type":"bridge"}"#), &profiles()), []);
    let nested = check(&with(r#"{"type":"a","x":{"type":"meta-cni"}}"#), &profiles());
    assert_eq!((nested[0].code, nested[0].pointer.as_str(), nested[0].refused), ("MC-050", "/plugins/0/x/type", true));
}

#[test]
fn d4_a_directory_is_judged_as_a_whole() {
    let ours = |place: &str| master(&format!(r#""clusterNetwork":{place:?}"#));
    let portmap = r#"{"cniVersion":"1.0.0","name":"p","plugins":[{"type":"calico"},{"type":"portmap","capabilities":{"portMappings":true,"bandwidth":false}}]}"#;
    let check = |files: &[(&str, &str)], expected: &[(&str, &str, &str)]| {
        let documents: Vec<Document> = files.iter().map(|(name, text)| file(name, text)).collect();
        let findings = directory("/conf".as_ref(), &documents, &profiles());
        let found: Vec<_> = findings.iter().map(|f| (f.code, f.file.as_str())).collect();
        assert_eq!(found, expected.iter().map(|(code, file, _)| (*code, *file)).collect::<Vec<_>>(), "{findings:#?}");
        for (finding, (_, _, words)) in findings.iter().zip(expected) {
            assert!(finding.message.contains(words), "{words:?} is not in {finding:?}");
        }
    };
    let (here, there) = (ours("/conf"), ours("/primary"));
    let other = BRIDGE.replace(r#""b""#, r#""c""#);
    check(&[], &[("MC-075", "/conf", "holds no configuration")]);
    check(&[("10-x.conflist", "{")], &[("MC-075", "/conf", "EOF")]);
    check(&[("10-b.conf", BRIDGE)], &[("MC-074", "10-b.conf", "no known kind")]);
    check(
        &[("10-b.conf", BRIDGE), ("20-k.conflist", CALICO)],
        &[("MC-074", "20-k.conflist", "\"calico\"; not \"10-b.conf\": another file comes first")],
    );
    check(
        &[("10-b.conf", BRIDGE), ("20-c.conf", &other)],
        &[("MC-074", "10-b.conf", ""), ("MC-070", "20-c.conf", "\"10-b.conf\" comes first")],
    );
    check(
        &[("10-b.conf", BRIDGE), ("20-b.conflist", CALICO), ("30-b.conf", BRIDGE)],
        &[("MC-071", "30-b.conf", "\"10-b.conf\""), ("MC-074", "20-b.conflist", "")],
    );
    check(
        &[("00-meta-cni.conflist", &here), ("10-k.conflist", CALICO)],
        &[("MC-074", "10-k.conflist", "the primary network, of the kind \"calico\"")],
    );
    check(&[("00-meta-cni.conflist", &there)], &[("MC-074", "00-meta-cni.conflist", "\"/primary\"")]);
    check(
        &[("00-meta-cni.conflist", &ours("/conf/10-b.conf")), ("10-b.conf", BRIDGE), ("20-k.conflist", CALICO)],
        &[("MC-074", "10-b.conf", "names it")],
    );
    check(&[("00-meta-cni.conflist", &ours("/conf/10-b.conf"))], &[("MC-075", "/conf", "10-b.conf")]);
    check(
        &[("10-b.conf", BRIDGE), ("50-meta-cni.conflist", &there), ("60-meta-cni.conflist", &there)],
        &[
            ("MC-073", "50-meta-cni.conflist", "\"10-b.conf\""),
            ("MC-072", "60-meta-cni.conflist", "\"50-meta-cni.conflist\""),
            ("MC-071", "60-meta-cni.conflist", ""),
            ("MC-074", "50-meta-cni.conflist", ""),
        ],
    );
    check(
        &[("00-meta-cni.conflist", &here), ("10-p.conflist", portmap)],
        &[("MC-074", "10-p.conflist", ""), ("MC-076", "00-meta-cni.conflist", ": portMappings")],
    );
}

#[test]
fn g1_codes_are_unique_and_in_order() {
    let codes: Vec<&str> = TABLE.iter().map(|rule| rule.code).collect();
    assert!(codes.is_sorted() && codes.iter().collect::<BTreeSet<_>>().len() == codes.len(), "{codes:?}");
    for rule in TABLE {
        assert!(
            !rule.title.ends_with('.') && (rule.explanation.is_empty() || rule.explanation.ends_with('.')),
            "{rule:?}"
        );
    }
}

/// BLESS=1 rewrites the table.
#[test]
#[expect(clippy::disallowed_methods, reason = "compares the table with the document")]
fn g1_docs_have_every_rule() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (start, end) = ("<!-- rules: made of src/check/rules -->\n", "<!-- end of rules -->\n");
    let (before, rest) = text.split_once(start).expect("the start of the table");
    let (_, after) = rest.split_once(end).expect("the end of the table");
    let expected = format!("{before}{start}{}{end}{after}", reference());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap() == expected,
        "docs/config.md has another table (BLESS=1 rewrites it)"
    );
}
