//! A Pod manifest, as far as its networks go: name, namespace, annotations.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Exit, Problem};

/// The parts of a pod that say which networks it wants.
#[derive(Debug, Deserialize)]
pub(super) struct Pod {
    kind: Option<String>,
    pub metadata: Metadata,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub name: Option<String>,
    pub namespace: Option<String>,
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Pod {
    /// The pod in `text`, YAML or JSON, one document.
    pub fn parse(text: &[u8]) -> Result<Self, Problem> {
        let refused = |what: String| Problem { exit: Exit::Findings, what };
        let text =
            std::str::from_utf8(text).map_err(|error| refused(format!("the pod manifest is not text: {error}")))?;
        let pod: Self = serde_saphyr::from_str(text).map_err(|error| {
            let error = crate::cni::error::one_line(&error.to_string(), 300);
            refused(format!("the pod manifest cannot be read: {error}"))
        })?;
        match pod.kind.as_deref() {
            Some("Pod") | None => Ok(pod),
            Some(other) => Err(refused(format!("the manifest is of kind {other:?}, not Pod"))),
        }
    }
}
