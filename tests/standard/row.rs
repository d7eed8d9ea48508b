//! A row of the table, as data: networks, what the pod asks for, what the kernel shows then.

use crate::combination::{Axes, Combination, Notation};
use crate::network::{Network, bridge, with};
use crate::pod::Pod;
use serde_json::{Value, json};

/// Addresses of the world outside.
const OUTSIDE: [&str; 4] = ["192.0.2.2", "2001:db8::2", "10.99.0.1", "fd00:99::1"];

pub type Proof = Box<dyn Fn(&Pod<'_>) + Send + Sync>;

/// What comes of the ADD.
pub enum Outcome {
    Attached,
    /// Nothing was touched, and the error has this code and these words.
    Refused(u64, Vec<String>),
    /// Something was made and taken back again; code and words of the error.
    Undone(u64, Vec<String>),
}

pub struct Row {
    /// Statements, then the behaviour.
    pub name: String,
    pub axes: Axes,
    pub primary: Network,
    pub networks: Vec<Network>,
    /// Elements of the annotation.
    pub wants: Vec<Value>,
    /// Elements, each asked for alone and in place of `wants`, that are all refused.
    pub attempts: Vec<Value>,
    /// Of the annotation that replaces the primary.
    pub default_network: Option<Value>,
    /// More keys of the master config.
    pub master: Value,
    /// The pod's namespace and name.
    pub pod: (&'static str, &'static str),
    /// What the runtime hands over besides annotations.
    pub runtime_config: Value,
    /// Scripted plugins to install.
    pub scripted: Vec<&'static str>,
    /// Done before the ADD.
    pub prepare: Vec<Proof>,
    pub outcome: Outcome,
    /// Addresses that an interface of the pod has, all of them.
    pub shows: Vec<(&'static str, Vec<String>)>,
    /// Connections from an interface of the pod to an address of the node or the world outside.
    pub reaches: Vec<(&'static str, &'static str)>,
    /// The world outside is needed, though nothing else here shows it.
    outside: bool,
    /// What else the kernel shows.
    pub proofs: Vec<Proof>,
    /// Done instead of the DEL that every row ends with.
    pub ending: Option<Proof>,
}

/// A row whose primary is a bridge with default routes.
pub fn row(name: impl Into<String>, axes: Axes) -> Row {
    let mut primary = bridge(1);
    primary["ipam"] = with(primary["ipam"].take(), &json!({ "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }] }));
    Row {
        name: name.into(),
        axes,
        primary: Network::of("cluster", [primary]),
        networks: Vec::new(),
        wants: Vec::new(),
        attempts: Vec::new(),
        default_network: None,
        master: json!({}),
        pod: ("default", "web"),
        runtime_config: json!({}),
        scripted: Vec::new(),
        prepare: Vec::new(),
        outcome: Outcome::Attached,
        shows: Vec::new(),
        reaches: Vec::new(),
        outside: false,
        proofs: Vec::new(),
        ending: None,
    }
}

impl Row {
    pub fn primary(mut self, network: Network) -> Self {
        self.primary = network;
        self
    }

    pub fn network(mut self, network: Network) -> Self {
        self.networks.push(network);
        self
    }

    /// One more element of the annotation.
    pub fn wants(mut self, element: Value) -> Self {
        self.wants.push(element);
        self
    }

    /// Elements that are each refused.
    pub fn attempts(mut self, elements: impl IntoIterator<Item = Value>) -> Self {
        self.attempts.extend(elements);
        self
    }

    pub fn default_network(mut self, element: Value) -> Self {
        self.default_network = Some(element);
        self
    }

    pub fn master(mut self, keys: Value) -> Self {
        self.master = keys;
        self
    }

    pub fn pod(mut self, namespace: &'static str, name: &'static str) -> Self {
        self.pod = (namespace, name);
        self
    }

    pub fn runtime_config(mut self, arguments: Value) -> Self {
        self.runtime_config = arguments;
        self
    }

    pub fn scripted(mut self, kind: &'static str) -> Self {
        self.scripted.push(kind);
        self
    }

    pub fn prepare(mut self, act: impl Fn(&Pod<'_>) + Send + Sync + 'static) -> Self {
        self.prepare.push(Box::new(act));
        self
    }

    pub fn refused(mut self, code: u64, words: &[&str]) -> Self {
        self.outcome = Outcome::Refused(code, words.iter().map(ToString::to_string).collect());
        self
    }

    pub fn undone(mut self, code: u64, words: &[&str]) -> Self {
        self.outcome = Outcome::Undone(code, words.iter().map(ToString::to_string).collect());
        self
    }

    pub fn shows(mut self, ifname: &'static str, addresses: &[&str]) -> Self {
        self.shows.push((ifname, addresses.iter().map(ToString::to_string).collect()));
        self
    }

    pub fn reaches(mut self, ifname: &'static str, address: &'static str) -> Self {
        self.reaches.push((ifname, address));
        self
    }

    /// A proof goes there by itself.
    pub fn needs_outside(mut self) -> Self {
        self.outside = true;
        self
    }

    pub fn proof(mut self, proof: impl Fn(&Pod<'_>) + Send + Sync + 'static) -> Self {
        self.proofs.push(Box::new(proof));
        self
    }

    pub fn ending(mut self, ending: impl Fn(&Pod<'_>) + Send + Sync + 'static) -> Self {
        self.ending = Some(Box::new(ending));
        self
    }

    /// Making it takes as long as an attachment does.
    pub fn needs_the_world_outside(&self) -> bool {
        let plugins = self.networks.iter().flat_map(|network| &network.plugins);
        let mut kinds = plugins.filter_map(|plugin| plugin["type"].as_str());
        self.outside
            || kinds.any(|kind| ["macvlan", "portmap", "sbr"].contains(&kind))
            || self.reaches.iter().any(|(_, address)| OUTSIDE.contains(address))
    }

    /// The table must not leave out a combination that could be written.
    pub fn states_what_it_can_be_written_in(&self) {
        let elements = self.wants.iter().chain(&self.attempts).chain(&self.default_network);
        let short = elements.into_iter().all(|element| reference(element).is_some());
        let single = self.networks.iter().chain([&self.primary]).all(|network| network.plugins.len() == 1);
        let can = match (single, short) {
            (true, true) => Axes::All,
            (true, false) => Axes::Json,
            (false, true) => Axes::Chain,
            (false, false) => Axes::ChainJson,
        };
        let stated = self.axes == can || (self.axes == Axes::Diagonal && can == Axes::All);
        assert!(stated, "{} states {:?} and can be written in {can:?}", self.name, self.axes);
    }

    /// What the annotation says in each ADD of the row: once, or each attempt.
    pub fn asks(&self) -> Vec<Vec<Value>> {
        if self.attempts.is_empty() {
            return vec![self.wants.clone()];
        }
        self.attempts.iter().map(|element| vec![element.clone()]).collect()
    }

    /// The annotation that replaces the primary.
    pub fn default_annotation(&self, combination: Combination) -> Option<String> {
        let element = self.default_network.clone()?;
        Some(rendered(&[element], combination))
    }
}

/// Sets keys of an object.
pub fn merge(object: &mut Value, keys: &Value) {
    *object = with(object.take(), keys);
}

/// The elements as an annotation.
pub fn rendered(elements: &[Value], combination: Combination) -> String {
    match combination.notation {
        Notation::Json => Value::from(elements).to_string(),
        Notation::Comma => {
            let references = elements.iter().map(|element| reference(element).expect("only comma keys"));
            references.collect::<Vec<_>>().join(", ")
        }
    }
}

/// `namespace/name@interface`; none when the element has more to say.
fn reference(element: &Value) -> Option<String> {
    let element = element.as_object().expect("an element is an object");
    if element.keys().any(|key| !["name", "namespace", "interface"].contains(&key.as_str())) {
        return None;
    }
    let part = |key: &str| element.get(key).map(|value| value.as_str().expect("a text"));
    let namespace = part("namespace").map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let interface = part("interface").map(|interface| format!("@{interface}")).unwrap_or_default();
    Some(format!("{namespace}{}{interface}", part("name").expect("a name")))
}
