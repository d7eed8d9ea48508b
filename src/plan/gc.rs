//! One GC as data: which of our records stand for sandboxes that are gone (A30, A31), and what the plugins of every network
//! are told is valid (A28, A29, A32).
//!
//! A record is an orphan when the runtime does not list it *and* its namespace is gone. What is unlisted but alive stays, and
//! is valid. A plugin that is told too little takes a living pod's address: in doubt nothing is forwarded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cni::raw::value_of;
use crate::cni::{ContainerId, NetworkConfigList, NetworkName, Operation, PluginConfig, PluginType, SearchPath};
use crate::config::master::{VALID_ATTACHMENTS, ValidAttachment};

use super::add::{Binaries, Network};
use super::chain::{Process, env_of_node};
use super::outcome::MissingBinary;
use super::record::{Record, State};

/// What libcni also calls the list of valid attachments, after an early text of the specification.
const OLDER_NAME: &str = "cni.dev/attachments";

/// What becomes of the records of a node.
#[derive(Debug, Default)]
pub struct Sorted {
    /// To be finished by DEL: unlisted, and their namespace is gone.
    pub orphans: Vec<Record>,
    /// Unlisted but alive: left alone, and logged.
    pub unlisted: Vec<Record>,
}

/// Sorts `records` by the runtime's list (`None`: the runtime gave none, so that nothing is known to be gone) and by `live`.
#[must_use]
pub fn sort(records: Vec<Record>, valid: Option<&[ValidAttachment]>, live: &dyn Fn(&Record) -> bool) -> Sorted {
    let mut sorted = Sorted::default();
    let Some(valid) = valid else { return sorted };
    let listed = listed(valid);
    for record in records {
        if listed.contains(&of_runtime(&record)) || record.state == State::Undone {
            continue;
        }
        if live(&record) { sorted.unlisted.push(record) } else { sorted.orphans.push(record) }
    }
    sorted.orphans.sort_by_key(|record| std::cmp::Reverse(record.attachment.ordinal));
    sorted
}

/// What is on record of a node.
#[derive(Debug, Default)]
pub struct Stock {
    /// Its records.
    pub records: Vec<Record>,
    /// Sandbox and name of each file that cannot be read.
    pub damaged: Vec<(ContainerId, String)>,
}

/// The attachments that are valid, network by network.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Valid {
    of: BTreeMap<NetworkName, BTreeSet<ValidAttachment>>,
    /// Of damaged records: nobody knows of which network.
    of_any: BTreeSet<ValidAttachment>,
}

impl Valid {
    /// Those of the network called `name`, in order.
    #[must_use]
    pub fn of(&self, name: &NetworkName) -> Vec<&ValidAttachment> {
        self.of.get(name).into_iter().flatten().chain(&self.of_any).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// The runtime's list, which names interfaces of its own calls only, as what it means for each network: every attachment on
/// record that is listed, or that is not and lives.
///
/// # Errors
/// Those of the list that are not, or not wholly, on record: their other attachments are not known.
pub fn expanded<'a>(
    stock: &Stock,
    list: &'a [ValidAttachment],
    live: &dyn Fn(&Record) -> bool,
) -> Result<Valid, Vec<&'a ValidAttachment>> {
    let mut calls: BTreeMap<(&str, &str), Vec<&Record>> = BTreeMap::new();
    for record in &stock.records {
        calls.entry(of_runtime(record)).or_default().push(record);
    }
    let whole = |records: &Vec<&Record>| {
        let undone = records.iter().all(|record| record.state == State::Undone);
        undone || records.first().is_some_and(|record| record.of == records.len())
    };
    let known =
        |one: &&ValidAttachment| calls.get(&(one.container_id.as_str(), one.ifname.as_str())).is_some_and(whole);
    let unknown: Vec<&ValidAttachment> = list.iter().filter(|one| !known(one)).collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let listed = listed(list);
    let mut valid = Valid::default();
    for record in stock.records.iter().filter(|record| record.state != State::Undone) {
        if listed.contains(&of_runtime(record)) || live(record) {
            let (id, attachment) = (&record.sandbox.container_id, &record.attachment);
            valid.of.entry(attachment.name.clone()).or_default().insert(named(id, attachment.ifname.as_str()));
        }
    }
    valid.of_any = stock.damaged.iter().map(|(id, ifname)| named(id, ifname)).collect();
    Ok(valid)
}

fn named(id: &ContainerId, ifname: &str) -> ValidAttachment {
    ValidAttachment { container_id: id.to_string(), ifname: ifname.to_owned() }
}

/// The attachment of the runtime's call that made `record`.
fn of_runtime(record: &Record) -> (&str, &str) {
    (record.sandbox.container_id.as_str(), record.request.as_str())
}

fn listed(list: &[ValidAttachment]) -> BTreeSet<(&str, &str)> {
    list.iter().map(|one| (one.container_id.as_str(), one.ifname.as_str())).collect()
}

/// The network of a record, without what was one attachment's.
#[must_use]
pub fn recorded(record: &Record) -> Network {
    let attachment = &record.attachment;
    let plugins = attachment.calls.iter().map(|call| {
        let mut object = call.config.clone();
        object.retain(|key| !of_attachment(key));
        PluginConfig { plugin: call.plugin.clone(), capabilities: Vec::new(), object }
    });
    Network {
        display: attachment.network.clone(),
        list: NetworkConfigList {
            name: attachment.name.clone(),
            cni_version: attachment.cni_version,
            disable_check: attachment.disable_check,
            disable_gc: attachment.disable_gc,
            plugins: plugins.collect(),
        },
        deadline: attachment.deadline,
        auxiliary: attachment.prev_result.is_some(),
        announce: true,
        signs: Default::default(),
    }
}

/// True for a key of a plugin's configuration that is of one attachment, not of its network. `args` may be of both.
fn of_attachment(key: &str) -> bool {
    matches!(key, "args" | "runtimeConfig" | "prevResult")
}

/// One plugin that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How people know its network.
    pub network: String,
    /// The call.
    pub process: Process,
}

/// The calls of a GC.
#[derive(Debug, Default)]
pub struct Forward {
    /// In the order of `networks`, each list in its own.
    pub calls: Vec<Told>,
    /// Those that cannot be called, because the plugin is not there: network, plugin, and why.
    pub missing: Vec<(String, PluginType, MissingBinary)>,
}

/// One GC for each plugin configuration of each network by its CNI name, however many manifests and records have it: those of
/// lists from 1.1.0 on. A name of which one list says `disableGC` is left alone, for they share what a GC would free.
#[must_use]
pub fn forward(networks: &[Network], valid: &Valid, binaries: &Binaries, path: &SearchPath) -> Forward {
    let disabled: BTreeSet<&NetworkName> =
        networks.iter().filter(|network| network.list.disable_gc).map(|network| &network.list.name).collect();
    let speaks =
        |network: &&Network| network.list.cni_version.has_gc_and_status() && !disabled.contains(&network.list.name);
    let mut seen = BTreeSet::new();
    let mut forward = Forward::default();
    for network in networks.iter().filter(speaks) {
        let list = &network.list;
        for (index, plugin) in list.plugins.iter().enumerate() {
            let mut config = list.execution_config(index).unwrap_or_default();
            let mut identity = config.clone();
            identity.retain(|key| !of_attachment(key));
            if !seen.insert((&list.name, identity.to_text())) {
                continue;
            }
            let attachments = valid.of(&list.name);
            config.set(VALID_ATTACHMENTS, value_of(&attachments));
            config.set(OLDER_NAME, value_of(&attachments));
            match binaries.get(&plugin.plugin) {
                Some(Ok(binary)) => forward.calls.push(Told {
                    network: network.display.clone(),
                    process: Process {
                        plugin: plugin.plugin.clone(),
                        binary: binary.clone(),
                        env: env_of_node(Operation::Gc, path),
                        stdin: config.to_text(),
                        deadline: Duration::from_secs(network.deadline.del),
                    },
                }),
                Some(Err(why)) => {
                    forward.missing.push((network.display.clone(), plugin.plugin.clone(), why.clone()));
                }
                None => {}
            }
        }
    }
    forward
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of `id`, in the words of its row: network, ifname, request, of, state.
    fn record(id: &str, row: (&str, &str, &str, usize, &str)) -> Record {
        let (name, ifname, request, of, state) = row;
        let text = format!(
            r#"{{"sandbox":{{"containerID":"{id}","netns":"/run/netns/{id}"}},"epoch":"e","request":"{request}","of":{of},
              "attachment":{{"ordinal":0,"role":"additional","network":"default/{name}","name":"{name}","cniVersion":"1.1.0",
                "ifname":"{ifname}","disableCheck":false,"disableGC":false,"args":"","path":["/bin"],
                "deadline":{{"add":100,"del":40}},
                "calls":[{{"plugin":"bridge","binary":"/bin/bridge","config":{{"type":"bridge","x":1.0,"args":{{"cni":{{"a":1}}}},
                  "cniVersion":"1.1.0","name":"{name}","runtimeConfig":{{"ips":[]}}}}}}]}},
              "call":{{"pid":1,"seen":1}},"state":"{state}"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn list(names: &[(&str, &str)]) -> Vec<ValidAttachment> {
        names.iter().map(|(id, ifname)| named(&ContainerId::new(*id).unwrap(), ifname)).collect()
    }

    /// What is valid of the networks a and b; the sandboxes called `live…` live.
    #[track_caller]
    fn check(records: &[Record], listed: &[(&str, &str)], expected: Result<[&str; 2], &str>) {
        let damaged = records.iter().filter(|record| record.attachment.name.as_str() == "damaged");
        let stock = Stock {
            damaged: damaged.map(|one| (one.sandbox.container_id.clone(), one.attachment.ifname.to_string())).collect(),
            records: records.iter().filter(|record| record.attachment.name.as_str() != "damaged").cloned().collect(),
        };
        let listed = list(listed);
        let live = |record: &Record| record.sandbox.container_id.as_str().starts_with("live");
        let words = |all: Vec<&ValidAttachment>| {
            all.iter().map(|one| format!("{} {}", one.container_id, one.ifname)).collect::<Vec<_>>().join(", ")
        };
        let valid = expanded(&stock, &listed, &live).map_err(words);
        let of = |valid: &Valid, name: &str| words(valid.of(&NetworkName::new(name).unwrap()));
        let seen = valid.map(|valid| ["a", "b"].map(|name| of(&valid, name)));
        assert_eq!(seen, expected.map(|all| all.map(str::to_owned)).map_err(str::to_owned));
    }

    #[test]
    fn a28_the_list_is_every_attachment_that_is_listed_or_alive_by_network() {
        let pod =
            |id| [record(id, ("a", "eth0", "eth0", 2, "attached")), record(id, ("b", "net1", "eth0", 2, "attached"))];
        let two = [pod("c1"), pod("c2")].concat();
        check(&two, &[("c1", "eth0"), ("c2", "eth0")], Ok(["c1 eth0, c2 eth0", "c1 net1, c2 net1"]));
        check(&two, &[("c2", "eth0")], Ok(["c2 eth0", "c2 net1"]));
        check(&two, &[], Ok(["", ""]));
        let other = [pod("c1"), pod("live2")].concat();
        check(&other, &[("c1", "eth0")], Ok(["c1 eth0, live2 eth0", "c1 net1, live2 net1"]));
        check(&other, &[], Ok(["live2 eth0", "live2 net1"]));
        let same =
            [record("c1", ("a", "eth0", "eth0", 2, "attached")), record("c1", ("a", "net1", "eth0", 2, "begun"))];
        check(&same, &[("c1", "eth0")], Ok(["c1 eth0, c1 net1", ""]));
    }

    #[test]
    fn a28_in_doubt_nothing_is_forwarded() {
        let half = [record("c1", ("a", "eth0", "eth0", 2, "attached"))];
        check(&half, &[("c1", "eth0"), ("c9", "eth0")], Err("c1 eth0, c9 eth0"));
        check(&[], &[("c9", "eth0")], Err("c9 eth0"));
        check(&[], &[], Ok(["", ""]));
        let whole = [record("c1", ("a", "eth0", "eth0", 1, "attached"))];
        check(&whole, &[("c1", "eth1")], Err("c1 eth1"));
        let torn = [half[0].clone(), record("c1", ("damaged", "net1", "eth0", 2, "begun"))];
        check(&torn, &[], Ok(["c1 net1", "c1 net1"]));
    }

    #[test]
    fn f14_a_tombstone_is_known_and_stands_for_nothing() {
        let undone = [record("live1", ("a", "eth0", "eth0", 2, "undone"))];
        check(&undone, &[("live1", "eth0")], Ok(["", ""]));
    }

    fn network(text: &str) -> Network {
        Network::of_text(text)
    }

    /// `network plugin` of every call.
    #[track_caller]
    fn calls(networks: &[Network], expected: &[&str]) -> Vec<Told> {
        let found = |name: &str| (PluginType::new(name).unwrap(), Ok(format!("/bin/{name}").into()));
        let mut binaries: Binaries = ["bridge", "tuning"].map(found).into_iter().collect();
        let missing = MissingBinary { not_executable: None, searched: Vec::new() };
        binaries.insert(PluginType::new("gone").unwrap(), Err(missing));
        let stock = Stock { records: vec![record("c1", ("a", "eth0", "eth0", 1, "attached"))], damaged: Vec::new() };
        let listed = list(&[("c1", "eth0")]);
        let valid = expanded(&stock, &listed, &|_| false).unwrap();
        let forward = forward(networks, &valid, &binaries, &SearchPath::parse("/bin"));
        let calls = forward.calls.iter().map(|told| format!("{} {}", told.network, told.process.plugin));
        let missing = forward.missing.iter().map(|(network, plugin, _)| format!("{network} {plugin} missing"));
        assert_eq!(calls.chain(missing).collect::<Vec<_>>(), expected);
        forward.calls
    }

    #[test]
    fn a29_each_plugin_configuration_of_a_name_is_called_once() {
        let record = recorded(&record("c1", ("a", "eth0", "eth0", 1, "attached")));
        let now = network(
            r#"{"cniVersion":"1.1.0","name":"a","plugins":[{"type":"bridge","x":1.0,"args":{"z":1}},{"type":"gone"}]}"#,
        );
        let other =
            network(r#"{"cniVersion":"1.1.0","name":"a","plugins":[{"type":"bridge","x":2.0},{"type":"tuning"}]}"#);
        let old = network(r#"{"cniVersion":"1.0.0","name":"b","type":"bridge"}"#);
        let calls =
            calls(&[now.clone(), other, old, now, record], &["a bridge", "a bridge", "a tuning", "a gone missing"]);
        let attachments = r#"[{"containerID":"c1","ifname":"eth0"}]"#;
        assert_eq!(
            calls[0].process.stdin,
            format!(
                r#"{{"type":"bridge","x":1.0,"args":{{"z":1}},"cniVersion":"1.1.0","name":"a","cni.dev/valid-attachments":{attachments},"cni.dev/attachments":{attachments}}}"#
            )
        );
    }

    #[test]
    fn a29_a_record_alone_gives_the_network_without_what_was_the_attachments() {
        let calls = calls(&[recorded(&record("c1", ("b", "net1", "eth0", 1, "attached")))], &["default/b bridge"]);
        let stdin = r#"{"type":"bridge","x":1.0,"cniVersion":"1.1.0","name":"b","cni.dev/valid-attachments":[],"cni.dev/attachments":[]}"#;
        assert_eq!(calls[0].process.stdin, stdin);
    }

    #[test]
    fn a32_a_name_that_one_list_exempts_is_left_alone() {
        let on = network(r#"{"cniVersion":"1.1.0","name":"a","type":"bridge"}"#);
        let off = network(r#"{"cniVersion":"1.0.0","name":"a","disableGC":true,"type":"tuning"}"#);
        calls(std::slice::from_ref(&on), &["a bridge"]);
        calls(&[on, off], &[]);
    }
}
