//! One node, one sandbox and the networks its pod wants, in whatever form the subject is told of them. Knows how subjects
//! are configured, and nothing of what they should do.

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
    pub kind: Kind,
    primary: RefCell<Value>,
    extras: RefCell<Vec<(String, Value)>>,
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
        if subject.kind == Kind::Multus {
            node.master(&json!({ "name": "multus", "type": "multus", "clusterNetwork": null }));
            node.master(&json!({ "cniDir": node.state(), "logToStderr": false, "logLevel": "debug" }));
        }
        let world = Self {
            node,
            sandbox: Sandbox::new(),
            kind: subject.kind,
            primary: RefCell::new(Value::Null),
            extras: RefCell::default(),
        };
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
        *self.primary.borrow_mut() = config.clone();
    }

    /// One more network of the pod.
    pub fn extra(&self, config: &Value) {
        let name = config["name"].as_str().expect("a network with a name").to_owned();
        self.node.nad(&self.sandbox.namespace, &name, config);
        self.extras.borrow_mut().push((name, config.clone()));
    }

    pub fn call(&self, operation: &str) -> Call {
        self.call_for(operation, &self.sandbox)
    }

    /// A call for another sandbox of the same kind of pod.
    pub fn call_for(&self, operation: &str, sandbox: &Sandbox) -> Call {
        self.ask(self.node.call(operation, sandbox))
    }

    /// A call that is about no sandbox, in CNI 1.1.0.
    pub fn node_call(&self, operation: &str) -> Call {
        self.ask(self.node.node_call(operation).set("cniVersion", "1.1.0".into()))
    }

    fn ask(&self, call: Call) -> Call {
        let extras = self.extras.borrow();
        if self.kind == Kind::Multus {
            let all = std::iter::once(self.primary.borrow().clone()).chain(extras.iter().map(|(_, c)| c.clone()));
            return call.set("delegates", all.collect());
        }
        if extras.is_empty() || call.config()["runtimeConfig"].is_null() {
            return call;
        }
        let names: Vec<_> = extras.iter().map(|(name, _)| name.as_str()).collect();
        call.networks(&names.join(","))
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
