//! A34: the plugins beside a list's file, as any meta-plugin built on libcni 1.3 has them.

use crate::world::{Subject, World, list};
use crate::{Check, Needs, check};
use serde_json::json;

pub fn checks() -> Vec<Check> {
    vec![
        check("A34_plugins_beside_a_list::cluster_network", Needs::Nothing, cluster_network),
        check("A34_plugins_beside_a_list::default_network", Needs::Nothing, default_network),
        check("A34_plugins_beside_a_list::network_by_name", Needs::Nothing, network_by_name),
        check("A34_plugins_beside_a_list::only_inlined", Needs::Nothing, only_inlined),
        check("A34_auxiliary_chain_runs_last", Needs::Nothing, auxiliary_chain),
        check("A34_plugins_beside_a_list::del_after_the_directory_is_gone", Needs::Nothing, directory_gone),
    ]
}

/// Two plugins beside the list `name` in `dir`, the second first.
fn beside(world: &World, dir: &str, name: &str) {
    for (file, kind) in [("20-second.conf", "second"), ("10-first.conf", "first")] {
        world.node.install_plugin(kind);
        world.node.write(&format!("{dir}/{name}/{file}"), &json!({ "type": kind }).to_string());
    }
}

/// ADD and DEL ran exactly these plugins on this interface, DEL backwards.
fn ran(world: &World, ifname: &str, plugins: &[&str]) {
    world.add();
    world.del();
    for (operation, reverse) in [("ADD", false), ("DEL", true)] {
        let mut seen: Vec<String> = world
            .calls_of(operation)
            .iter()
            .filter(|call| call.ifname() == ifname)
            .map(|call| call.kind.clone())
            .collect();
        if reverse {
            seen.reverse();
        }
        assert_eq!(seen, plugins, "{operation}");
    }
}

fn cluster_network(subject: &Subject) {
    let world = World::new(subject);
    beside(&world, "conf", "cluster");
    ran(&world, "eth0", &["main", "first", "second"]);
    for call in world.calls_of("ADD") {
        assert_eq!(call.network(), "cluster", "{}", call.brief());
        assert_eq!(call.config()["cniVersion"], "1.0.0", "{}", call.brief());
        assert_eq!(call.prev_result().is_some(), call.kind != "main", "{}", call.brief());
    }
}

fn default_network(subject: &Subject) {
    let world = World::new(subject);
    world.node.install_plugin("extra-e");
    let path = world.node.write("confs/a.conflist", &list("everywhere", "extra-e").to_string());
    beside(&world, "confs", "everywhere");
    world.node.master(&json!({ "defaultNetworks": [path] }));
    ran(&world, "net1", &["extra-e", "first", "second"]);
}

fn network_by_name(subject: &Subject) {
    let world = World::new(subject);
    world.extra(&list("net-a", "extra-a"));
    world.node.nad_text("default", "net-a", "");
    world.node.write("confs/a.conflist", &list("net-a", "extra-a").to_string());
    beside(&world, "confs", "net-a");
    ran(&world, "net1", &["extra-a", "first", "second"]);
}

fn only_inlined(subject: &Subject) {
    let world = World::new(subject);
    let mut primary = list("cluster", "main");
    primary["loadOnlyInlinedPlugins"] = true.into();
    world.primary(&primary);
    beside(&world, "conf", "cluster");
    ran(&world, "eth0", &["main"]);
}

/// Multus runs its plugin `passthru` before the others; what counts is that those run, with a result to go on with.
fn auxiliary_chain(subject: &Subject) {
    let world = World::with_extras(subject, 1);
    world.node.install_plugin("passthru");
    beside(&world, "conf", "aux");
    world.node.master(&json!({ "auxiliaryCNIChainName": "aux" }));
    world.add();
    world.del();
    let order = |operation: &str| {
        let mut order = world.order_of(operation);
        order.retain(|call| !call.ends_with("passthru"));
        order
    };
    assert_eq!(order("ADD"), ["eth0 main", "net1 extra-a", "net2 first", "net2 second"]);
    assert_eq!(order("DEL"), ["net2 second", "net2 first", "net1 extra-a", "eth0 main"]);
    for call in world.calls_of("ADD").iter().filter(|call| call.kind == "first") {
        assert_eq!(call.network(), "aux");
        assert!(call.prev_result().is_some(), "{}", call.brief());
    }
}

fn directory_gone(subject: &Subject) {
    let world = World::new(subject);
    beside(&world, "conf", "cluster");
    world.add();
    std::fs::remove_dir_all(world.node.conf().join("cluster")).unwrap();
    world.del();
    assert_eq!(world.order_of("DEL"), ["eth0 second", "eth0 first", "eth0 main"]);
}
