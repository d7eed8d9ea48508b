//! The parts of a pod's manifest that decide its networks: its name and the annotations that ask for them.

use super::manifest::{Format, Manifest, ManifestError};
use super::names::{Namespace, ObjectName};
use super::{DEFAULT_NETWORK_ANNOTATION, NETWORKS_ANNOTATION};

/// A pod, as far as networks are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace, when the manifest gives one.
    pub namespace: Option<Namespace>,
    /// Its name.
    pub name: ObjectName,
    /// Its annotation [`NETWORKS_ANNOTATION`], not parsed.
    pub networks: Option<String>,
    /// Its annotation [`DEFAULT_NETWORK_ANNOTATION`], not parsed.
    pub default_network: Option<String>,
}

impl Pod {
    /// The pod in a manifest.
    ///
    /// # Errors
    /// [`ManifestError`] with the first thing that is wrong.
    pub fn parse(bytes: &[u8], format: Format) -> Result<Self, ManifestError> {
        let manifest = Manifest::parse(bytes, format, "v1", "Pod")?;
        let annotation = |name| Ok(manifest.annotation(name)?.map(str::to_owned));
        Ok(Self {
            networks: annotation(NETWORKS_ANNOTATION)?,
            default_network: annotation(DEFAULT_NETWORK_ANNOTATION)?,
            namespace: manifest.namespace,
            name: manifest.name,
        })
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
        let pod = Pod {
            namespace: Some(Namespace::new("shop").unwrap()),
            name: ObjectName::new("web-0").unwrap(),
            networks: Some("[{\"name\": \"a\"}]\n".to_owned()),
            default_network: Some("ns/b".to_owned()),
        };
        assert_eq!(Pod::parse(manifest.as_bytes(), Format::Yaml).unwrap(), pod);
        let bare = Pod::parse(br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#, Format::Json).unwrap();
        assert_eq!((bare.namespace, bare.networks, bare.default_network), (None, None, None));
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
