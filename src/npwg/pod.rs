//! The parts of a pod's manifest that decide its networks: its name and its annotations.

use std::collections::BTreeMap;

use super::manifest::{Format, Manifest, ManifestError};
use super::names::{Namespace, ObjectName};

/// A pod, as far as networks are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace, when the manifest gives one.
    pub namespace: Option<Namespace>,
    /// Its name, when the manifest gives one: the API server makes one from `generateName`.
    pub name: Option<ObjectName>,
    /// Its annotations, those of others too: a runtime hands all of them over.
    pub annotations: BTreeMap<String, String>,
}

impl Pod {
    /// The pod in a manifest.
    ///
    /// # Errors
    /// [`ManifestError`] with the first thing that is wrong.
    pub fn parse(bytes: &[u8], format: Format) -> Result<Self, ManifestError> {
        let manifest = Manifest::parse(bytes, format, "v1", "Pod")?;
        Ok(Self { annotations: manifest.annotations()?, namespace: manifest.namespace, name: manifest.name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_the_networks_of_a_pod() {
        let manifest = r#"
apiVersion: v1
kind: Pod
metadata:
  name: web-0
  namespace: shop
  labels: {app: web, 8080: "yes", on: off}
  annotations:
    k8s.v1.cni.cncf.io/networks: |
      [{"name": "a"}]
    v1.multus-cni.io/default-network: ns/b
spec:
  containers:
  - name: web
    image: pause
    ports: [{containerPort: 8080}]
"#;
        let pod = Pod::parse(manifest.as_bytes(), Format::Yaml).unwrap();
        assert_eq!(pod.namespace, Some(Namespace::new("shop").unwrap()));
        assert_eq!(pod.name, Some(ObjectName::new("web-0").unwrap()));
        let annotations: Vec<_> = pod.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let expected =
            [("k8s.v1.cni.cncf.io/networks", "[{\"name\": \"a\"}]\n"), ("v1.multus-cni.io/default-network", "ns/b")];
        assert_eq!(annotations, expected);
        let bare = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"a-","annotations":null}}"#;
        let bare = Pod::parse(bare.as_bytes(), Format::Json).unwrap();
        assert_eq!(bare, Pod { namespace: None, name: None, annotations: BTreeMap::new() });
    }

    #[test]
    fn other_manifests_are_refused() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Pod::parse(text.as_bytes(), Format::Yaml).unwrap_err().to_string(), expected);
        };
        check("apiVersion: apps/v1\nkind: Deployment", "key \"apiVersion\" is \"apps/v1\", not \"v1\"");
        check("apiVersion: v1\nkind: List", "key \"kind\" is \"List\", not \"Pod\"");
        check(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {k8s.v1.cni.cncf.io/networks: [a]}}",
            "key \"k8s.v1.cni.cncf.io/networks\" is a list, not a string",
        );
    }
}
