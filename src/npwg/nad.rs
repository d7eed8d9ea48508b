//! The parts of a NetworkAttachmentDefinition manifest that we read (section 3): its name, its CNI configuration, the
//! device resource it draws from.
//!
//! What `spec.config` says is not looked at here: it stays the text that it is, so that plugins get its bytes.

use super::error::cut;
use super::manifest::{Manifest, ManifestError};
use super::names::{Namespace, ObjectName};
use super::{ANNOUNCE_ANNOTATION, RESOURCE_NAME_ANNOTATION};
use crate::cni::names::NameError;

pub use super::manifest::Format;

/// `apiVersion` of a NetworkAttachmentDefinition.
pub const API_VERSION: &str = "k8s.cni.cncf.io/v1";

/// `kind` of a NetworkAttachmentDefinition.
pub const KIND: &str = "NetworkAttachmentDefinition";

/// A network definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nad {
    /// Its namespace, when the manifest gives one.
    pub namespace: Option<Namespace>,
    /// Its name.
    pub name: ObjectName,
    /// CNI configuration or configuration list, as text. Without one the network is that of a file with this name (B3, B34).
    pub config: Option<String>,
    /// Device resource that attachments draw from, `k8s.v1.cni.cncf.io/resourceName`.
    pub resource_name: Option<String>,
    /// False when the addresses of attachments shall not be announced, `meta-cni.io/announce`.
    pub announce: bool,
}

impl Nad {
    /// The definition in a manifest.
    ///
    /// # Errors
    /// [`ManifestError`] with the first thing that is wrong.
    pub fn parse(bytes: &[u8], format: Format) -> Result<Self, ManifestError> {
        let manifest = Manifest::parse(bytes, format, API_VERSION, KIND)?;
        let config = manifest.text("spec.config")?.filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let resource_name =
            manifest.annotation(RESOURCE_NAME_ANNOTATION)?.map(str::trim).filter(|name| !name.is_empty());
        let resource_name = resource_name.map(resource).transpose()?;
        let announce = manifest.annotation(ANNOUNCE_ANNOTATION)?.map_or(Ok(true), announce)?;
        let name = manifest.name.ok_or(ManifestError::Missing { key: "metadata.name" })?;
        Ok(Self { namespace: manifest.namespace, name, config, resource_name, announce })
    }
}

fn announce(text: &str) -> Result<bool, ManifestError> {
    let rule = "is neither \"true\" nor \"false\"";
    text.parse().map_err(|_| {
        let error = NameError { what: "value", text: cut(text), rule };
        ManifestError::Name { key: ANNOUNCE_ANNOTATION, error }
    })
}

/// Longest name of a device resource: a domain, a slash and a label.
const MOST_RESOURCE_NAME: usize = 253 + 1 + 63;

fn resource(name: &str) -> Result<String, ManifestError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    let rule = match name {
        _ if name.len() > MOST_RESOURCE_NAME => "is too long",
        _ if !name.bytes().all(allowed) => "has a character other than letters, digits, \"-\", \".\", \"_\" and \"/\"",
        _ => return Ok(name.to_owned()),
    };
    let error = NameError { what: "device resource", text: cut(name), rule };
    Err(ManifestError::Name { key: RESOURCE_NAME_ANNOTATION, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::npwg::manifest::MOST_BYTES;

    const HEAD: &str = "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\n";

    fn answer(manifest: &[u8], format: Format) -> String {
        match Nad::parse(manifest, format) {
            Ok(nad) => format!("{nad:?}"),
            Err(error) => error.to_string(),
        }
    }

    /// `rest` follows `apiVersion` and `kind`; `expected` is the error, or how the definition's debug form ends.
    #[track_caller]
    fn check(rest: &str, expected: &str) {
        let text = format!("{HEAD}{rest}");
        let answer = answer(text.as_bytes(), Format::Yaml);
        assert!(answer == expected || answer.starts_with("Nad") && answer.ends_with(expected), "{answer}\n{text}");
    }

    #[track_caller]
    fn check_json(text: &str, expected: &str) {
        assert_eq!(answer(text.as_bytes(), Format::Json), expected, "{text}");
    }

    #[test]
    fn b34_without_config() {
        let expected =
            r#"Nad { namespace: None, name: ObjectName("a"), config: None, resource_name: None, announce: true }"#;
        for rest in ["", "spec:\n", "spec: {}\n", "spec: {config: ''}\n", "spec: {config: }\n", "spec: {config: ' '}\n"]
        {
            check(&format!("metadata: {{name: a}}\n{rest}"), expected);
        }
        check_json(
            r#"{"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinition","metadata":{"name":"a"}}"#,
            expected,
        );
    }

    #[test]
    fn all_that_is_read() {
        let yaml = r#"
apiVersion: "k8s.cni.cncf.io/v1"
kind: NetworkAttachmentDefinition
metadata:
  name: sriov.a
  namespace: net-ns
  generation: 12345678901234567890123
  annotations:
    k8s.v1.cni.cncf.io/resourceName: example.com/sriov_a
    meta-cni.io/announce: "false"
  managedFields:
  - manager: kubectl
spec:
  config: '{ "cniVersion": "1.0.0", "type": "sriov" }'
"#;
        let json = r#"{"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinition","metadata":{"name":"sriov.a",
            "namespace":"net-ns","generation":12345678901234567890123,"annotations":
            {"k8s.v1.cni.cncf.io/resourceName":"example.com/sriov_a","meta-cni.io/announce":"false"},"managedFields":[{"manager":"kubectl"}]},
            "spec":{"config":"{ \"cniVersion\": \"1.0.0\", \"type\": \"sriov\" }"}}"#;
        let nad = Nad {
            namespace: Some(Namespace::new("net-ns").unwrap()),
            name: ObjectName::new("sriov.a").unwrap(),
            config: Some(r#"{ "cniVersion": "1.0.0", "type": "sriov" }"#.to_owned()),
            resource_name: Some("example.com/sriov_a".to_owned()),
            announce: false,
        };
        assert_eq!(Nad::parse(yaml.as_bytes(), Format::Yaml).unwrap(), nad);
        assert_eq!(Nad::parse(json.as_bytes(), Format::Json).unwrap(), nad);
        assert_eq!(Nad::parse(json.as_bytes(), Format::Yaml).unwrap(), nad, "JSON is YAML");
    }

    #[test]
    fn config_keeps_its_bytes() {
        let config = "{\n  \"type\": \"bridge\",\t\"n\": 1.50,\n\n  \"u\": \"\\u00e4\"\n}\n";
        let block: String = config.lines().map(|line| format!("    {line}\n")).collect();
        let rest = format!("metadata: {{name: a}}\nspec:\n  config: |\n{block}");
        let nad = Nad::parse(format!("{HEAD}{rest}").as_bytes(), Format::Yaml).unwrap();
        assert_eq!(nad.config.unwrap(), config);
    }

    #[test]
    fn formats_of_files() {
        assert_eq!(Format::of_extension("json"), Some(Format::Json));
        assert_eq!(Format::of_extension("yaml"), Some(Format::Yaml));
        assert_eq!(Format::of_extension("yml"), Some(Format::Yaml));
        assert_eq!(Format::of_extension("conf"), None);
    }

    #[test]
    fn wrong_manifests_name_the_key() {
        let of = |text: &str, expected: &str| assert_eq!(answer(text.as_bytes(), Format::Yaml), expected, "{text}");
        of("", "the manifest is null, not an object");
        of("plain text", "the manifest is a string, not an object");
        of("- a", "the manifest is a list, not an object");
        of("kind: Pod", "key \"apiVersion\" is missing");
        of("apiVersion: v1\nkind: Pod", "key \"apiVersion\" is \"v1\", not \"k8s.cni.cncf.io/v1\"");
        of("apiVersion: 1", "key \"apiVersion\" is a number, not a string");
        of(
            "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinitionList",
            "key \"kind\" is \"NetworkAttachmentDefinitionList\", not \"NetworkAttachmentDefinition\"",
        );
        check("", "key \"metadata.name\" is missing");
        check("metadata: a", "key \"metadata\" is a string, not an object");
        check("metadata: {name: 1}", "key \"metadata.name\" is a number, not a string");
        check(
            "metadata: {name: A}",
            "key \"metadata.name\": name \"A\" has a character other than lower-case letters, digits and \"-\"",
        );
        check("metadata: {name: ''}", "key \"metadata.name\": name \"\" is empty");
        check(
            "metadata: {name: ../a}",
            "key \"metadata.name\": name \"../a\" has an empty part before, after or between its dots",
        );
        check(
            "metadata: {name: a, namespace: a.b}",
            "key \"metadata.namespace\": namespace \"a.b\" has a character other than lower-case letters, digits and \"-\"",
        );
        check("metadata: {name: a, annotations: []}", "key \"metadata.annotations\" is a list, not an object");
        check(
            "metadata: {name: a, annotations: {k8s.v1.cni.cncf.io/resourceName: 7}}",
            "key \"k8s.v1.cni.cncf.io/resourceName\" is a number, not a string",
        );
        check(
            "metadata: {name: a, annotations: {k8s.v1.cni.cncf.io/resourceName: 'a b'}}",
            "key \"k8s.v1.cni.cncf.io/resourceName\": device resource \"a b\" has a character other than letters, digits, \"-\", \".\", \"_\" and \"/\"",
        );
        check(
            "metadata: {name: a, annotations: {meta-cni.io/announce: 'no'}}",
            "key \"meta-cni.io/announce\": value \"no\" is neither \"true\" nor \"false\"",
        );
        check(
            "metadata: {name: a, annotations: {meta-cni.io/announce: false}}",
            "key \"meta-cni.io/announce\" is a boolean, not a string",
        );
        check("metadata: {name: a}\nspec: {config: {type: bridge}}", "key \"spec.config\" is an object, not a string");
        check("metadata: {name: a}\nspec: [1]", "key \"spec\" is a list, not an object");
        check("metadata: {name: a}\nspec: {config: 1}", "key \"spec.config\" is a number, not a string");
    }

    #[test]
    fn what_is_neither_json_nor_yaml_says_where() {
        check_json("", "not a JSON manifest: EOF while parsing a value at line 1 column 0");
        check_json("{\n\"a\": }", "not a JSON manifest: expected value at line 2 column 6");
        check_json(r#"{"a":1,"a":2}"#, "not a JSON manifest: key \"a\" is given twice at line 1 column 13");
        for (bad, place) in [
            ("a: b: c", "line 1"),
            ("a: [1", "line"),
            ("a: 1\na: 2", "line 2"),
            ("a: *b", "line 1"),
            ("{}\n---\n{}", "line"),
        ] {
            let answer = answer(bad.as_bytes(), Format::Yaml);
            assert!(answer.starts_with("not a YAML manifest: ") && answer.contains(place), "{bad}: {answer}");
            assert!(answer.len() < 300 && !answer.contains('\n'), "{answer}");
        }
        assert!(answer(b"\xff\xfe", Format::Yaml).starts_with("not a YAML manifest: "));
        assert!(answer(b"\xff\xfe", Format::Json).starts_with("not a JSON manifest: "));
    }

    #[test]
    fn hostile_manifests_are_bounded() {
        let zeros = vec![0; 2 * 1024 * 1024];
        assert_eq!(answer(&zeros, Format::Yaml), "larger than 1048576 bytes");
        assert_eq!(answer(&zeros, Format::Json), "larger than 1048576 bytes");
        let bomb: String = (1..30).fold("a0: &a0 [x]\n".to_owned(), |text, at| {
            text + &format!("a{at}: &a{at} [{}]\n", vec![format!("*a{}", at - 1); 9].join(","))
        });
        let deep_flow = "[".repeat(MOST_BYTES);
        let deep_map = "{a: ".repeat(MOST_BYTES / 4);
        let deep_block: String = (0..700).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let dashes = "- ".repeat(MOST_BYTES / 2);
        let anchors: String = (0..50_000).map(|at| format!("a{at}: &b{at} 1\n")).collect();
        let many = "a,".repeat(MOST_BYTES / 2);
        let quotes = format!("a: \"{}", "\\".repeat(MOST_BYTES - 10));
        let question = "? ".repeat(MOST_BYTES / 2);
        for text in [bomb, deep_flow, deep_map, deep_block, dashes, anchors, format!("[{many}"), quotes, question] {
            let start = &text[..20];
            assert!(Nad::parse(text.as_bytes(), Format::Yaml).is_err(), "{start}");
            let answer = answer(text.as_bytes(), Format::Yaml);
            assert!(answer.len() < 300, "{start}: {answer}");
            assert!(Nad::parse(text.as_bytes(), Format::Json).is_err(), "{start}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(text in "[-\\[\\]{}:,&*?|>'\"#%@!a-c \\n\\t]{0,60}") {
            let _ = Nad::parse(text.as_bytes(), Format::Yaml);
            let _ = Nad::parse(text.as_bytes(), Format::Json);
            let _ = Nad::parse(format!("{HEAD}{text}").as_bytes(), Format::Yaml);
        }
    }
}
