//! The network attachment selection annotation: which attachments a pod asks for (section 4).
//!
//! Two forms: references separated by commas, or a list of JSON objects. The rules that hold between elements are here,
//! those of one element in `element`. An annotation with anything wrong is refused as a whole; the standard would ignore
//! it, and the pod would start without its networks.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::error::{Kind, Notice, Problem, SelectionError, Warning, cut};
use super::json::{kind, too_deep};
use super::names::Namespace;

pub use super::element::Selection;
pub use super::error::{MOST_BYTES, MOST_ELEMENTS};

/// What an annotation asks for, in its order, and what its author should know about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// One for each attachment; the same network twice is two attachments (B18).
    pub selections: Vec<Selection>,
    /// At most [`MOST_WARNINGS`].
    pub warnings: Vec<Warning>,
}

/// More warnings than this tell nobody more.
pub const MOST_WARNINGS: usize = 32;

/// What the annotation `k8s.v1.cni.cncf.io/networks` of a pod in `pod_namespace` asks for (B1). White space asks for
/// nothing.
///
/// # Errors
/// [`SelectionError`] with the first thing that is wrong.
pub fn parse(annotation: &str, pod_namespace: &Namespace) -> Result<Parsed, SelectionError> {
    if annotation.len() > MOST_BYTES {
        return Err(SelectionError::TooLarge);
    }
    if annotation.trim().is_empty() {
        return Ok(Parsed::default());
    }
    let parsed = if annotation.contains(['[', '{', '"']) {
        of_json(annotation, pod_namespace)?
    } else {
        of_references(annotation, pod_namespace)?
    };
    distinct_interfaces(&parsed.selections)?;
    one_default_route(&parsed.selections)?;
    Ok(parsed)
}

/// The network that the annotation `v1.multus-cni.io/default-network` puts in the place of the primary, and warnings about
/// the element. `None` without an annotation, or when it is white space.
///
/// # Errors
/// [`SelectionError`]: anything that [`parse`] refuses, and any number of elements but one.
pub fn default_network(
    annotation: Option<&str>,
    multus_namespace: &Namespace,
) -> Result<Option<(Selection, Vec<Warning>)>, SelectionError> {
    let Some(annotation) = annotation.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    let Parsed { mut selections, warnings } = parse(annotation, multus_namespace)?;
    match (selections.pop(), selections.len()) {
        (Some(selection), 0) => Ok(Some((selection, warnings))),
        (None, _) => Err(SelectionError::NotOne { count: 0 }),
        (Some(_), others) => Err(SelectionError::NotOne { count: others + 1 }),
    }
}

fn of_references(annotation: &str, namespace: &Namespace) -> Result<Parsed, SelectionError> {
    let count = annotation.split(',').count();
    if count > MOST_ELEMENTS {
        return Err(SelectionError::TooMany { count });
    }
    let reference = |(at, text)| Selection::of_reference(text, namespace).map_err(|problem| element(at, problem));
    let selections = annotation.split(',').enumerate().map(reference).collect::<Result<_, _>>()?;
    Ok(Parsed { selections, warnings: Vec::new() })
}

fn of_json(annotation: &str, namespace: &Namespace) -> Result<Parsed, SelectionError> {
    if too_deep(annotation) {
        return Err(SelectionError::TooDeep);
    }
    let whole: &RawValue = serde_json::from_str(annotation).map_err(SelectionError::NotJson)?;
    match kind(whole) {
        Kind::List => {}
        found => return Err(SelectionError::NotAList { found }),
    }
    let elements: Vec<&RawValue> = serde_json::from_str(whole.get()).map_err(SelectionError::NotJson)?;
    if elements.len() > MOST_ELEMENTS {
        return Err(SelectionError::TooMany { count: elements.len() });
    }
    let mut parsed = Parsed::default();
    for (at, value) in elements.into_iter().enumerate() {
        let mut warn = |key: &str, notice: Notice| {
            if parsed.warnings.len() < MOST_WARNINGS {
                parsed.warnings.push(Warning { element: at + 1, key: cut(key), notice });
            }
        };
        let selection = Selection::of_json(value, namespace, &mut warn).map_err(|problem| element(at, problem))?;
        parsed.selections.push(selection);
    }
    Ok(parsed)
}

fn element(at: usize, problem: Problem) -> SelectionError {
    SelectionError::Element { position: at + 1, problem }
}

fn distinct_interfaces(selections: &[Selection]) -> Result<(), SelectionError> {
    let mut asked = BTreeMap::new();
    for (at, selection) in selections.iter().enumerate() {
        let Some(name) = &selection.interface else { continue };
        if let Some(first) = asked.insert(name, at) {
            return Err(SelectionError::SameInterface { first: first + 1, second: at + 1, name: name.clone() });
        }
    }
    Ok(())
}

fn one_default_route(selections: &[Selection]) -> Result<(), SelectionError> {
    let mut with_route = selections.iter().zip(1..).filter(|(selection, _)| selection.default_route.is_some());
    match (with_route.next(), with_route.next()) {
        (Some((_, first)), Some((_, second))) => Err(SelectionError::TwoDefaultRoutes { first, second }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod() -> Namespace {
        Namespace::new("pod-ns").unwrap()
    }

    /// `expected` is the selections as JSON, or the error.
    #[track_caller]
    fn check(annotation: &str, expected: &str) {
        let answer = match parse(annotation, &pod()) {
            Ok(parsed) => serde_json::to_string(&parsed.selections).unwrap(),
            Err(error) => error.to_string(),
        };
        assert_eq!(answer, expected, "{annotation}");
        assert!(answer.len() < 512 || !answer.starts_with('e'), "too long for a message: {answer}");
    }

    #[track_caller]
    fn check_element(members: &str, expected: &str) {
        let annotation = format!(r#"[{{"name":"a",{members}}}]"#);
        match expected.strip_prefix('+') {
            Some(written) => check(&annotation, &format!(r#"[{{"namespace":"pod-ns","name":"a"{written}}}]"#)),
            None => check(&annotation, &format!("element 1: {expected}")),
        }
    }

    #[test]
    fn b1_nothing_asked_for() {
        for nothing in ["", " ", "\n\t ", "[]", " [ ]\n"] {
            check(nothing, "[]");
        }
    }

    #[test]
    fn b1_comma_form() {
        check("net-a", r#"[{"namespace":"pod-ns","name":"net-a"}]"#);
        check("other/net.a@eth1", r#"[{"namespace":"other","name":"net.a","interface":"eth1"}]"#);
        check(" a ,\n b/c ", r#"[{"namespace":"pod-ns","name":"a"},{"namespace":"b","name":"c"}]"#);
        check("null", r#"[{"namespace":"pod-ns","name":"null"}]"#);
    }

    #[test]
    fn b2_comma_form_names() {
        check("a,", "element 2: name \"\" is empty");
        check(",a", "element 1: name \"\" is empty");
        check("a,,b", "element 2: name \"\" is empty");
        check(",", "element 1: name \"\" is empty");
        check("@net1", "element 1: name \"\" is empty");
        check("ns/", "element 1: name \"\" is empty");
        check("/a", "element 1: namespace \"\" is empty");
        check("a/b/c", "element 1: \"a/b/c\" has more than one \"/\"");
        check("a@b@c", "element 1: \"a@b@c\" has more than one \"@\"");
        check("A", "element 1: name \"A\" has a character other than lower-case letters, digits and \"-\"");
        check("a b", "element 1: name \"a b\" has a character other than lower-case letters, digits and \"-\"");
        check("a,-b", "element 2: name \"-b\" does not start and end with a lower-case letter or digit");
        check("a.b/c", "element 1: namespace \"a.b\" has a character other than lower-case letters, digits and \"-\"");
        check(&"a".repeat(300), &format!("element 1: name \"{}\" is longer than 253 bytes", "a".repeat(64)));
    }

    #[test]
    fn b9_comma_form_interfaces() {
        check("a@", "element 1: interface name \"\" is empty");
        check("a@net 1", "element 1: interface name \"net 1\" has white space or a control character");
        check("a@x/y", "element 1: interface name \"x/y\" has a \"/\" or \":\"");
        check("a@sixteen-bytes-ab", "element 1: interface name \"sixteen-bytes-ab\" is longer than 15 bytes");
        check("a,b@lo", "element 2: interface name \"lo\" is the loopback interface");
    }

    #[test]
    fn b1_json_that_is_no_list_of_objects() {
        check("{}", "an object instead of a list of objects");
        check(r#"{"name":"a"}"#, "an object instead of a list of objects");
        check(r#""a@b@c""#, "a string instead of a list of objects");
        check("[null]", "element 1: null instead of an object");
        check(r#"[{"name":"a"},null]"#, "element 2: null instead of an object");
        check(r#"["a"]"#, "element 1: a string instead of an object");
        check("[[]]", "element 1: a list instead of an object");
        check("[1]", "element 1: a number instead of an object");
        check("[true]", "element 1: a boolean instead of an object");
        check("[", "not JSON: EOF while parsing a list at line 1 column 1");
        check("[{},]", "not JSON: expected value at line 1 column 5");
        check("[] []", "not JSON: trailing characters at line 1 column 4");
        check(r#"net-a,{"name":"b"}"#, "not JSON: expected ident at line 1 column 2");
        check("\u{feff}[]", "not JSON: expected value at line 1 column 1");
        check("[{name:\"a\"}]", "not JSON: key must be a string at line 1 column 3");
    }

    #[test]
    fn b2_json_names() {
        check(r#"[{"name":"a","namespace":"b"}]"#, r#"[{"namespace":"b","name":"a"}]"#);
        check(r#"[{"name":"a","namespace":""}]"#, r#"[{"namespace":"pod-ns","name":"a"}]"#);
        check(r#"[{"name":"a","namespace":null}]"#, r#"[{"namespace":"pod-ns","name":"a"}]"#);
        check("[{}]", "element 1: key \"name\" is missing");
        check(r#"[{"name":null}]"#, "element 1: key \"name\" is missing");
        check(r#"[{"name":""}]"#, "element 1: name \"\" is empty");
        check(r#"[{"name":1}]"#, "element 1: key \"name\" is a number, not a string");
        check(r#"[{"name":"a","name":"b"}]"#, "element 1: key \"name\" is given twice");
        check(r#"[{"name":"\ud800"}]"#, "element 1: key \"name\" has an escape that stands for no character");
        check(r#"[{"\ud800":1}]"#, "element 1: a key has an escape that stands for no character");
        check(
            r#"[{"name":"b/a"}]"#,
            "element 1: name \"b/a\" has a character other than lower-case letters, digits and \"-\"",
        );
        check_element(r#""namespace":["b"]"#, "key \"namespace\" is a list, not a string");
        check_element(
            r#""namespace":"B""#,
            "namespace \"B\" has a character other than lower-case letters, digits and \"-\"",
        );
    }

    #[test]
    fn b5_ips() {
        check_element(r#""ips":["10.0.0.1","2001:db8::1/64"]"#, r#"+,"ips":["10.0.0.1","2001:db8::1/64"]"#);
        check_element(r#""ips":null"#, "+");
        check_element(r#""ips":[]"#, "key \"ips\" is an empty list");
        check_element(r#""ips":"10.0.0.1""#, "key \"ips\" is a string, not a list");
        check_element(r#""ips":[null]"#, "key \"ips\" item 1 is null, not a string");
        check_element(
            r#""ips":["10.0.0.1","10.0.0"]"#,
            "key \"ips\" item 2: \"10.0.0\" is not an IP address, with or without \"/\" and a prefix",
        );
        check_element(r#""ips":["::1/200"]"#, "key \"ips\" item 1: \"::1/200\" has a prefix that is not 0 to 128");
    }

    #[test]
    fn b7_b8_hardware_addresses() {
        check_element(r#""mac":"02-00-00-00-00-AB""#, r#"+,"mac":"02:00:00:00:00:ab""#);
        check_element(r#""mac":"zz""#, "key \"mac\": \"zz\" is not 6 bytes like \"02:00:00:00:00:01\"");
        check_element(r#""mac":"""#, "key \"mac\": \"\" is not 6 bytes like \"02:00:00:00:00:01\"");
        check_element(r#""mac":2"#, "key \"mac\" is a number, not a string");
        let guid = "24:8a:07:03:00:8d:ae:2e";
        check_element(&format!(r#""infiniband-guid":"{guid}""#), &format!(r#"+,"infiniband-guid":"{guid}""#));
        check_element(
            &format!(r#""mac":"{guid}""#),
            &format!("key \"mac\": \"{guid}\" is not 6 bytes like \"02:00:00:00:00:01\""),
        );
        check_element(
            r#""infiniband-guid":"02:00:00:00:00:01""#,
            &format!("key \"infiniband-guid\": \"02:00:00:00:00:01\" is not 8 bytes like \"{guid}\""),
        );
    }

    #[test]
    fn b9_interfaces() {
        check_element(r#""interface":"eth1""#, r#"+,"interface":"eth1""#);
        check_element(r#""interfaceRequest":"eth1""#, r#"+,"interface":"eth1""#);
        check_element(r#""interface":"eth1","interfaceRequest":"eth1""#, r#"+,"interface":"eth1""#);
        check_element(
            r#""interface":"eth1","interfaceRequest":"eth2""#,
            "key \"interfaceRequest\" differs from key \"interface\"",
        );
        check_element(r#""interface":"""#, "interface name \"\" is empty");
        check_element(r#""interface":"a/b""#, "interface name \"a/b\" has a \"/\" or \":\"");
        check_element(r#""interface":"a\nb""#, "interface name \"a\\nb\" has white space or a control character");
        check_element(r#""interface":7"#, "key \"interface\" is a number, not a string");
    }

    #[test]
    fn b10_interfaces_asked_for_twice() {
        check("a@net1,b,c@net1", "element 3: interface name \"net1\" is asked for by element 1 too");
        check(
            r#"[{"name":"a","interface":"x"},{"name":"a","interfaceRequest":"x"}]"#,
            "element 2: interface name \"x\" is asked for by element 1 too",
        );
    }

    #[test]
    fn b12_cni_args_keep_their_text() {
        check_element(r#""cni-args":{"b":1.50,"a":"\u00e4"}"#, r#"+,"cni-args":{"b":1.50,"a":"\u00e4"}"#);
        check_element(r#""cni-args":null"#, "+");
        check_element(r#""cni-args":[1]"#, "key \"cni-args\" is a list, not an object");
        check_element(r#""cni-args":"a=b""#, "key \"cni-args\" is a string, not an object");
    }

    #[test]
    fn b13_port_mappings() {
        let mapping = |members: &str| format!(r#""portMappings":[{{"hostPort":80,"containerPort":8080{members}}}]"#);
        let written = |rest: &str| format!(r#"+,"portMappings":[{{"hostPort":80,"containerPort":8080,{rest}}}]"#);
        check_element(&mapping(""), &written(r#""protocol":"tcp""#));
        check_element(&mapping(r#","protocol":"Udp""#), &written(r#""protocol":"udp""#));
        check_element(&mapping(r#","hostIP":"::1""#), &written(r#""protocol":"tcp","hostIP":"::1""#));
        check_element(r#""portMappings":[]"#, "+");
        let item = "key \"portMappings\" item 1";
        check_element(
            &mapping(r#","protocol":"icmp""#),
            &format!("{item} key \"protocol\": \"icmp\" is not \"TCP\", \"UDP\" or \"SCTP\""),
        );
        check_element(&mapping(r#","hostIP":"h""#), &format!("{item} key \"hostIP\": \"h\" is not an IP address"));
        check_element(&mapping(r#","hostPort":81"#), &format!("{item} key \"hostPort\" is given twice"));
        check_element(r#""portMappings":{}"#, "key \"portMappings\" is an object, not a list");
        check_element(r#""portMappings":[null]"#, &format!("{item} is null, not an object"));
        check_element(r#""portMappings":[{"containerPort":1}]"#, &format!("{item} key \"hostPort\" is missing"));
        check_element(r#""portMappings":[{"hostPort":1}]"#, &format!("{item} key \"containerPort\" is missing"));
        for port in ["0", "65536", "99999"] {
            let rule = format!("{item} key \"hostPort\": {port} is not 1 to 65535");
            check_element(&format!(r#""portMappings":[{{"hostPort":{port},"containerPort":1}}]"#), &rule);
        }
        for port in ["-1", "1.5", "1e3"] {
            let rule = format!("{item} key \"hostPort\": {port} is not a whole number from 0 to 2^64-1");
            check_element(&format!(r#""portMappings":[{{"hostPort":{port},"containerPort":1}}]"#), &rule);
        }
        check_element(
            r#""portMappings":[{"hostPort":"80","containerPort":1}]"#,
            &format!("{item} key \"hostPort\" is a string, not a number"),
        );
    }

    #[test]
    fn b14_bandwidth() {
        let all = r#""bandwidth":{"ingressRate":1,"ingressBurst":2,"egressRate":3,"egressBurst":4}"#;
        check_element(all, &format!("+,{all}"));
        check_element(r#""bandwidth":{"egressRate":3}"#, r#"+,"bandwidth":{"egressRate":3}"#);
        check_element(r#""bandwidth":{}"#, "key \"bandwidth\" has no rate");
        check_element(r#""bandwidth":{"ingressRate":null}"#, "key \"bandwidth\" has no rate");
        check_element(r#""bandwidth":[]"#, "key \"bandwidth\" is a list, not an object");
        check_element(
            r#""bandwidth":{"ingressRate":0}"#,
            "key \"bandwidth\" key \"ingressRate\": 0 must be more than 0",
        );
        check_element(
            r#""bandwidth":{"ingressRate":1,"egressBurst":1}"#,
            "key \"bandwidth\" key \"egressBurst\" needs its rate beside it",
        );
        check_element(
            r#""bandwidth":{"ingressRate":-1}"#,
            "key \"bandwidth\" key \"ingressRate\": -1 is not a whole number from 0 to 2^64-1",
        );
    }

    #[test]
    fn b15_default_route() {
        check_element(r#""default-route":["10.0.0.1","::1"]"#, r#"+,"default-route":["10.0.0.1","::1"]"#);
        check_element(r#""default-route":[]"#, r#"+,"default-route":[]"#);
        check_element(r#""default-route":null"#, "+");
        check_element(r#""default-route":"10.0.0.1""#, "key \"default-route\" is a string, not a list");
        check_element(
            r#""default-route":["10.0.0.1/24"]"#,
            "key \"default-route\" item 1: \"10.0.0.1/24\" is not an IP address",
        );
        check_element(
            r#""default-route":["10.0.0.1","10.0.0.2"]"#,
            "key \"default-route\" has more than one IPv4 address",
        );
        check_element(r#""default-route":["::1","::2"]"#, "key \"default-route\" has more than one IPv6 address");
        check(
            r#"[{"name":"a","default-route":["10.0.0.1"]},{"name":"b"},{"name":"c","default-route":["::1"]}]"#,
            "element 3: key \"default-route\" is set on element 1 too, only one may have it",
        );
    }

    #[test]
    fn b17_ipam_claim_reference() {
        check_element(r#""ipam-claim-reference":"claim.a""#, r#"+,"ipam-claim-reference":"claim.a""#);
        check_element(r#""ipam-claim-reference":"""#, "name \"\" is empty");
        check_element(
            r#""ipam-claim-reference":"c","ips":["10.0.0.1"]"#,
            "key \"ipam-claim-reference\" excludes key \"ips\"",
        );
    }

    #[test]
    fn device_ids() {
        check_element(r#""deviceID":"0000:03:02.0""#, r#"+,"deviceID":"0000:03:02.0""#);
        check_element(r#""deviceID":"a b""#, "key \"deviceID\": \"a b\" has white space or a control character");
    }

    #[test]
    fn b18_the_same_network_twice_is_two_attachments() {
        check("a,a", r#"[{"namespace":"pod-ns","name":"a"},{"namespace":"pod-ns","name":"a"}]"#);
        assert_eq!(parse(r#"[{"name":"a"},{"name":"a"}]"#, &pod()).unwrap().selections.len(), 2);
    }

    #[test]
    fn at_most_64_elements() {
        let comma = |count| vec!["a"; count].join(",");
        let json = |count| format!("[{}]", vec![r#"{"name":"a"}"#; count].join(","));
        assert_eq!(parse(&comma(64), &pod()).unwrap().selections.len(), 64);
        assert_eq!(parse(&json(64), &pod()).unwrap().selections.len(), 64);
        check(&comma(65), "65 elements, the most is 64");
        check(&json(65), "65 elements, the most is 64");
    }

    #[test]
    fn hostile_annotations_are_bounded() {
        check(&"a".repeat(MOST_BYTES + 1), "longer than 262144 bytes");
        check(&" ".repeat(MOST_BYTES + 1), "longer than 262144 bytes");
        check(&"[".repeat(MOST_BYTES), "lists and objects nested deeper than 64 levels");
        let nested = format!(r#"[{{"name":"a","cni-args":{}1{}}}]"#, r#"{"a":"#.repeat(100), "}".repeat(100));
        check(&nested, "lists and objects nested deeper than 64 levels");
        let keys: String = (0..70).map(|at| format!(r#","k{at}":1"#)).collect();
        check_element(&keys[1..], "an object with more than 64 keys");
        let args: String = (0..5000).map(|at| format!(r#","k{at}":1"#)).collect();
        let members = format!(r#""cni-args":{{{}}}"#, &args[1..]);
        check_element(&members, "key \"cni-args\" has too many keys, or one that is no text");
        check(&format!("[{}1]", "1,".repeat(100_000)), "100001 elements, the most is 64");
        let spaces = format!(r#"[{{"name":"a","interface":"{}"}}]"#, "\\u0000".repeat(40_000));
        assert!(parse(&spaces, &pod()).unwrap_err().to_string().len() < 512);
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let check = |members: &str, expected: &[&str]| {
            let annotation = format!(r#"[{{"name":"a"}},{{"name":"b",{members}}}]"#);
            let warnings: Vec<String> =
                parse(&annotation, &pod()).unwrap().warnings.iter().map(ToString::to_string).collect();
            assert_eq!(warnings, expected);
        };
        check(r#""ip":["10.0.0.1"]"#, &["element 2: key \"ip\" is not known and has no effect"]);
        check(r#""org.example.key":1"#, &[]);
        check(r#""IPs":["10.0.0.1"]"#, &["element 2: key \"IPs\" is taken as \"ips\""]);
        check(r#""interfaceRequest":"x""#, &["element 2: key \"interfaceRequest\" is deprecated, write \"interface\""]);
        check(
            r#""portMappings":[{"hostPort":1,"containerport":1,"name":"x"}]"#,
            &[
                "element 2: key \"containerport\" is taken as \"containerPort\"",
                "element 2: key \"name\" is not known and has no effect",
            ],
        );
        let many: String = (0..60).map(|at| format!(r#","k{at}":1"#)).collect();
        let annotation = format!(r#"[{{"name":"a"{many}}}]"#);
        assert_eq!(parse(&annotation, &pod()).unwrap().warnings.len(), MOST_WARNINGS);
    }

    #[test]
    fn keys_that_differ_in_case_only_are_one_key() {
        check(r#"[{"name":"a","ips":["::1"],"IPS":["::2"]}]"#, "element 1: key \"ips\" is given twice");
    }

    #[test]
    fn the_default_network_is_one() {
        let check = |annotation: Option<&str>, expected: &str| {
            let multus = Namespace::new("kube-system").unwrap();
            let answer = match default_network(annotation, &multus) {
                Ok(None) => "none".to_owned(),
                Ok(Some((selection, _))) => format!("{}/{}", selection.namespace, selection.name),
                Err(error) => error.to_string(),
            };
            assert_eq!(answer, expected, "{annotation:?}");
        };
        check(None, "none");
        check(Some(""), "none");
        check(Some(" \n"), "none");
        check(Some("a"), "kube-system/a");
        check(Some("ns/a"), "ns/a");
        check(Some(r#"[{"name":"a"}]"#), "kube-system/a");
        check(Some("[]"), "0 elements, must be exactly one");
        check(Some("a,b"), "2 elements, must be exactly one");
        check(Some("[null]"), "element 1: null instead of an object");
    }

    /// What is true of everything that is accepted.
    fn lint(parsed: &Parsed) {
        let selections = &parsed.selections;
        assert!(selections.len() <= MOST_ELEMENTS && parsed.warnings.len() <= MOST_WARNINGS);
        let mut names: Vec<_> = selections.iter().filter_map(|selection| selection.interface.as_ref()).collect();
        let asked = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), asked, "interface names are distinct");
        assert!(selections.iter().filter(|selection| selection.default_route.is_some()).count() <= 1);
        for selection in selections {
            assert!(selection.ips.is_empty() || selection.ipam_claim_reference.is_none());
            if let Some(gateways) = &selection.default_route {
                assert!(gateways.len() <= 2);
            }
        }
        let written = serde_json::to_string(selections).unwrap();
        let again = parse(&written, &Namespace::new("elsewhere").unwrap()).unwrap();
        assert_eq!(&again.selections, selections, "what is written is read again as the same");
    }

    fn any_json() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "null",
            "true",
            "1",
            "0",
            "65536",
            "-1",
            "1e3",
            "\"\"",
            "\"a\"",
            "\"eth1\"",
            "\"net1\"",
            "\"10.0.0.1\"",
            "\"10.0.0.1/24\"",
            "\"::1\"",
            "\"02:00:00:00:00:01\"",
            "\"24:8a:07:03:00:8d:ae:2e\"",
            "\"tcp\"",
            "\"\\ud800\"",
        ]);
        let key = prop::sample::select(vec![
            "name",
            "namespace",
            "interface",
            "interfaceRequest",
            "ips",
            "IPS",
            "mac",
            "infiniband-guid",
            "portMappings",
            "bandwidth",
            "deviceID",
            "cni-args",
            "default-route",
            "ipam-claim-reference",
            "hostPort",
            "containerPort",
            "protocol",
            "hostIP",
            "ingressRate",
            "ingressBurst",
            "egressRate",
            "other",
            "a.b",
        ]);
        let value = word.prop_map(str::to_owned).prop_recursive(3, 32, 6, move |inner| {
            let members = prop::collection::vec((key.clone(), inner.clone()), 0..6);
            let object = members.prop_map(|members| {
                let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            });
            let list = prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(",")));
            prop_oneof![object, list]
        });
        prop::collection::vec(value, 0..4).prop_map(|elements| {
            let named: Vec<_> = elements.iter().map(|element| element.replacen('{', "{\"name\":\"n\",", 1)).collect();
            format!("[{}]", named.join(",")).replace(",}", "}")
        })
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            if let Ok(parsed) = parse(&text, &pod()) {
                lint(&parsed);
            }
        }

        #[test]
        fn arbitrary_references_never_panic(text in "[a-c@/., -]{0,40}") {
            if let Ok(parsed) = parse(&text, &pod()) {
                lint(&parsed);
            }
        }

        #[test]
        fn arbitrary_json_never_panics(text in any_json()) {
            match parse(&text, &pod()) {
                Ok(parsed) => lint(&parsed),
                Err(error) => prop_assert!(!error.to_string().contains('\n') && error.to_string().len() < 512),
            }
        }
    }
}
