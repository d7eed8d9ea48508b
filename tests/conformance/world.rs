//! One node, one sandbox and the networks its pod wants, in whatever form the subject is told of them. Knows how subjects
//! are configured, and nothing of what they should do.

use crate::apiserver::ApiServer;
use crate::harness::{Call, Node, Recorded, Sandbox};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::PathBuf;

/// The plugin being judged.
pub struct Subject {
    pub plugin: PathBuf,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    MetaCni,
    Multus,
}

impl Kind {
    pub fn named(name: &str) -> Self {
        match name {
            "meta-cni" => Self::MetaCni,
            "multus" => Self::Multus,
            _ => panic!("--subject is meta-cni or multus, not {name}"),
        }
    }

    /// Also the plugin type in its configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::MetaCni => "meta-cni",
            Self::Multus => "multus",
        }
    }
}

pub struct World {
    pub node: Node,
    pub sandbox: Sandbox,
    extras: RefCell<Vec<String>>,
    api: Option<ApiServer>,
}

/// A list of one plugin.
pub fn list(name: &str, kind: &str) -> Value {
    json!({ "cniVersion": "1.0.0", "name": name, "plugins": [{ "type": kind }] })
}

/// A list of one plugin with a script.
pub fn scripted(name: &str, kind: &str, script: &Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": name, "plugins": [{ "type": kind, "script": script }] })
}

impl World {
    /// A node whose primary is the list `cluster` of the plugin `main`, and a pod that wants nothing else.
    pub fn new(subject: &Subject) -> Self {
        let node = Node::with_plugin(&subject.plugin);
        let api = (subject.kind == Kind::Multus).then(|| ApiServer::start(node.networks()));
        if let Some(api) = &api {
            let kubeconfig = node.write("kubeconfig", &api.kubeconfig());
            node.master(&json!({ "name": "multus", "type": "multus", "kubeconfig": kubeconfig }));
            node.master(&json!({ "cniDir": node.state(), "logToStderr": false, "logLevel": "debug" }));
        }
        let world = Self { node, sandbox: Sandbox::new(), extras: RefCell::default(), api };
        world.primary(&list("cluster", "main"));
        world
    }

    /// A node, and a pod that wants the networks `net-a` (plugin `extra-a`), `net-b` (plugin `extra-b`) and so on.
    pub fn with_extras(subject: &Subject, count: u8) -> Self {
        let world = Self::new(subject);
        for letter in (b'a'..).take(count.into()).map(char::from) {
            world.extra(&list(&format!("net-{letter}"), &format!("extra-{letter}")));
        }
        world
    }

    /// Sets the primary's configuration list.
    pub fn primary(&self, config: &Value) {
        self.node.primary(config);
    }

    /// One more network of the pod.
    pub fn extra(&self, config: &Value) {
        let name = config["name"].as_str().expect("a network with a name").to_owned();
        self.node.nad(&self.sandbox.namespace, &name, config);
        let mut extras = self.extras.borrow_mut();
        if !extras.contains(&name) {
            extras.push(name);
        }
    }

    pub fn call(&self, operation: &str) -> Call {
        self.call_for(operation, &self.sandbox)
    }

    /// A call for another sandbox of the same kind of pod.
    pub fn call_for(&self, operation: &str, sandbox: &Sandbox) -> Call {
        let call = self.node.call(operation, sandbox);
        let extras = self.extras.borrow();
        let call = if extras.is_empty() { call } else { call.networks(&extras.join(",")) };
        let Some(api) = &self.api else { return call };
        let (namespace, name, uid) = (sandbox.namespace.clone(), sandbox.pod.clone(), sandbox.uid.clone());
        let pods = api.pods();
        call.before(move |config| {
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "namespace": namespace, "name": name, "uid": uid,
                    "annotations": config["runtimeConfig"]["io.kubernetes.cri.pod-annotations"],
                },
                "spec": { "containers": [] }, "status": {},
            });
            pods.lock().unwrap().insert(format!("{namespace}/{name}"), pod);
        })
    }

    /// A call that is about no sandbox, in CNI 1.1.0.
    pub fn node_call(&self, operation: &str) -> Call {
        self.node.node_call(operation).set("cniVersion", "1.1.0".into())
    }

    /// ADD that must succeed.
    pub fn add(&self) -> Value {
        self.call("ADD").run().success()
    }

    /// DEL that must succeed.
    pub fn del(&self) {
        self.call("DEL").run().success();
    }

    pub fn calls_of(&self, operation: &str) -> Vec<Recorded> {
        self.node.calls_of(operation)
    }

    /// The calls of one operation as `eth0 main`, in order.
    pub fn order_of(&self, operation: &str) -> Vec<String> {
        self.calls_of(operation).iter().map(|call| format!("{} {}", call.ifname(), call.kind)).collect()
    }
}
