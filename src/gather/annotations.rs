//! What the pod asks for: its annotations, from the runtime itself.

use crate::cni::{CniArgs, CniError, Code, Object};
use crate::config::MasterConfig;
use crate::npwg::{self, DEFAULT_NETWORK_ANNOTATION, NETWORKS_ANNOTATION, Namespace, Selection};
use crate::plan::Pod;

/// The capability by which a runtime hands over a pod's annotations (containerd and CRI-O).
pub const CAPABILITY: &str = "io.kubernetes.cri.pod-annotations";

/// What a pod asks for.
#[derive(Debug, Default)]
pub struct Asked {
    /// The pod's namespace; `None` when the runtime named no pod, and so only the primary runs.
    pub namespace: Option<Namespace>,
    /// `v1.multus-cni.io/default-network`.
    pub default_network: Option<Selection>,
    /// `k8s.v1.cni.cncf.io/networks`.
    pub networks: Vec<Selection>,
}

/// What the pod of `args` asks for.
///
/// # Errors
/// Code 11 when the runtime named a pod and sent no annotations: they are unknown, not absent. Code 7 when one is refused.
pub fn asked(config: &MasterConfig, args: &CniArgs) -> Result<Asked, CniError> {
    let Some(pod) = Pod::of(args) else { return Ok(Asked::default()) };
    let refused = |what: String| CniError::new(Code::INVALID_CONFIG, what);
    let namespace = Namespace::new(pod.namespace.as_str())
        .map_err(|error| CniError::new(Code::ENVIRONMENT, format!("CNI_ARGS: K8S_POD_NAMESPACE: {error}")))?;
    let annotations = annotations(&config.runtime_config)?;
    let text = |key: &str| {
        let value = annotations.get::<String>(key, "a string");
        value.map_err(|error| refused(format!("runtimeConfig: {CAPABILITY:?}: {error}")))
    };
    let mut networks = Vec::new();
    if let Some(annotation) = text(NETWORKS_ANNOTATION)? {
        let parsed = npwg::parse(&annotation, &namespace)
            .map_err(|error| refused(format!("annotation {NETWORKS_ANNOTATION}: {error}")))?;
        warn(NETWORKS_ANNOTATION, &parsed.warnings);
        networks = parsed.selections;
    }
    let multus = Namespace::new(config.multus_namespace.as_str())
        .map_err(|error| refused(format!("master config: key \"multusNamespace\": {error}")))?;
    let mut default_network = None;
    if let Some((selection, warnings)) = npwg::default_network(text(DEFAULT_NETWORK_ANNOTATION)?.as_deref(), &multus)
        .map_err(|error| refused(format!("annotation {DEFAULT_NETWORK_ANNOTATION}: {error}")))?
    {
        warn(DEFAULT_NETWORK_ANNOTATION, &warnings);
        default_network = Some(selection);
    }
    Ok(Asked { namespace: Some(namespace), default_network, networks })
}

fn warn(annotation: &str, warnings: &[npwg::Warning]) {
    for warning in warnings {
        tracing::warn!("annotation {annotation}: {warning}");
    }
}

/// The annotations that the runtime sent; a `null` means that the pod has none.
fn annotations(runtime_config: &Object) -> Result<Object, CniError> {
    if !runtime_config.has(CAPABILITY) {
        let msg = format!(
            "the runtime sent no pod annotations: \"capabilities\" of the master config lacks {CAPABILITY:?}, \
             or the runtime is older than containerd 1.6 or CRI-O 1.28"
        );
        return Err(CniError::new(Code::TRY_AGAIN, msg));
    }
    let annotations = runtime_config.get::<Object>(CAPABILITY, "an object");
    let annotations = annotations
        .map_err(|error| CniError::new(Code::INVALID_CONFIG, format!("master config: runtimeConfig: {error}")))?;
    Ok(annotations.unwrap_or_default())
}
