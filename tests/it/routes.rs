//! B16, B25, A22: the default route is where the pod asks for it, in the kernel and in what is told of it, and it is put back.
//! Real bridge and host-local, both families; the way of packets is asked of the kernel and walked by a ping.

use crate::harness::{Call, Node, Sandbox};
use crate::kernel::{Node as Kernel, ip, ip_in, isolated};
use crate::scene::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A pod on a node whose primary gives default routes of both families, with two networks on bridges of their own.
struct Scene {
    node: Node,
    sandbox: Sandbox,
    pod: PathBuf,
}

fn bridge(name: &str, number: u8, default: bool) -> Value {
    let ranges = json!([[{ "subnet": format!("10.8{number}.0.0/24") }], [{ "subnet": format!("fd8{number}::/64") }]]);
    json!({ "cniVersion": "1.0.0", "name": name, "plugins": [
        { "type": "bridge", "bridge": format!("br{number}"), "isGateway": true, "isDefaultGateway": default,
          "ipam": { "type": "host-local", "ranges": ranges } },
    ] })
}

impl Scene {
    fn new(kernel: &Kernel, master: &Value) -> Self {
        let node = Node::new();
        install_real(&node, &["bridge", "host-local"]);
        node.write("conf/10-primary.conflist", &bridge("cluster", 0, true).to_string());
        node.nad_text("default", "lan", &bridge("lan", 1, false).to_string());
        node.nad_text("default", "wan", &bridge("wan", 2, true).to_string());
        node.master(master);
        let pod = kernel.netns("pod");
        ip_in(&pod, &["link", "set", "lo", "up"]);
        Self { node, sandbox: Sandbox::new(), pod }
    }

    fn call(&self, operation: &str, networks: &str) -> Call {
        self.node.call(operation, &self.sandbox).env("CNI_NETNS", self.pod.to_str().unwrap()).networks(networks)
    }

    /// `via 10.81.0.1 dev net1` and so on: every default route of the main table, the winning one first.
    fn defaults(&self, family: &str) -> Vec<String> {
        let text = ip_in(&self.pod, &["-json", family, "route", "show", "default"]);
        let mut routes: Vec<Value> = serde_json::from_str(&text).unwrap();
        routes.sort_by_key(|route| route["metric"].as_u64().unwrap_or(0));
        let say = |route: &Value| format!("{} {}", route["gateway"].as_str().unwrap(), route["dev"].as_str().unwrap());
        routes.iter().map(say).collect()
    }

    /// By which interface a packet leaves.
    fn way(&self, arguments: &[&str]) -> String {
        let text = ip_in(&self.pod, &[&["-json", "route", "get"], arguments].concat());
        let routes: Vec<Value> = serde_json::from_str(&text).unwrap();
        routes[0]["dev"].as_str().unwrap().to_owned()
    }

    /// The namespace has nothing but a loopback and the rules that every namespace has.
    #[track_caller]
    fn untouched(&self) {
        let rules: Vec<String> = ["-4", "-6"]
            .map(|family| ip_in(&self.pod, &[family, "rule", "show"]))
            .concat()
            .lines()
            .map(str::to_owned)
            .collect();
        assert_eq!(rules.len(), 5, "{rules:?}");
        let routes = ip_in(&self.pod, &["route", "show", "table", "all"]);
        assert!(!routes.contains("28003") && !routes.contains("default"), "{routes}");
        assert_eq!(leases(), Vec::<String>::new());
        nothing_left(&self.node, &self.sandbox);
    }
}

fn ping(netns: &Path, from: &str, to: &str) -> bool {
    let output = Command::new("nsenter")
        .arg(format!("--net={}", netns.display()))
        .args(["busybox", "ping", "-c", "1", "-W", "2", "-I", from, to])
        .output()
        .expect("this test needs nsenter and busybox");
    output.status.success()
}

const LAN: &str = r#"[{ "name": "lan", "default-route": ["10.81.0.1"] }, { "name": "wan" }]"#;

#[test]
fn b16_b25_a22_one_default_route_by_the_interface_and_gateway_asked_for() {
    isolated(|kernel| {
        let scene = Scene::new(kernel, &json!({ "primaryRoutes": ["10.96.0.0/12"] }));
        let added = scene.call("ADD", LAN).run();
        succeeded(&added);
        assert_eq!(scene.defaults("-4"), ["10.81.0.1 net1"]);
        // IPv6 was not asked for: the two networks that give a way go on sharing it, as without us.
        let v6 = ip_in(&scene.pod, &["-6", "route", "show", "default"]);
        assert!(v6.contains("via fd80::1 dev eth0") && v6.contains("via fd82::1 dev net2"), "{v6}");
        // The runtime is told how it is: the primary has no IPv4 default route any more, and keeps its service network.
        let routes = &added.json()["routes"];
        assert_eq!(*routes, json!([{ "dst": "::/0", "gw": "fd80::1" }, { "dst": "10.96.0.0/12", "gw": "10.80.0.1" }]));

        // Services stay on the primary, the world is by the network asked for, and what comes from the primary's address
        // goes back the primary's way.
        ip(&["address", "add", "192.0.2.1/32", "dev", "lo"]);
        ip(&["address", "add", "10.96.0.10/32", "dev", "lo"]);
        assert_eq!(scene.way(&["192.0.2.1"]), "net1");
        assert_eq!(scene.way(&["10.96.0.10"]), "eth0");
        assert_eq!(scene.way(&["192.0.2.1", "from", "10.80.0.2"]), "eth0");
        assert_eq!(scene.way(&["10.80.0.1", "from", "10.80.0.2"]), "eth0");
        for (from, to) in [("net1", "192.0.2.1"), ("eth0", "10.96.0.10"), ("10.80.0.2", "192.0.2.1")] {
            assert!(ping(&scene.pod, from, to), "{from} to {to}");
        }

        succeeded(&scene.call("CHECK", LAN).run());
        for (lost, put_back, what) in [
            (
                "rule del priority 1000",
                "rule add from 10.80.0.2 lookup 28003 priority 1000",
                "rule 1000 to table 28003 for what comes from 10.80.0.2",
            ),
            (
                "route del default table 28003",
                "route add default via 10.80.0.1 dev eth0 table 28003",
                "route to everywhere (IPv4) via 10.80.0.1 of table 28003",
            ),
        ] {
            let run = |text: &str| ip_in(&scene.pod, &text.split(' ').collect::<Vec<_>>());
            run(lost);
            let error = refused(&scene.call("CHECK", LAN).run(), 706);
            assert_eq!(
                error["msg"],
                format!("network \"default/lan\" net1: default-route: the pod has lost the {what}")
            );
            run(put_back);
            succeeded(&scene.call("CHECK", LAN).run());
        }
        ip_in(&scene.pod, &["route", "replace", "default", "via", "10.80.0.1", "dev", "eth0"]);
        let error = refused(&scene.call("CHECK", LAN).run(), 706);
        assert_eq!(
            error["msg"],
            "network \"default/lan\" net1: default-route: the IPv4 default route should be via 10.81.0.1 by net1, \
             and is via 10.80.0.1 by eth0"
        );
        succeeded(&scene.call("DEL", LAN).run());
        scene.untouched();
    });
}

#[test]
fn b16_both_families_and_the_policy_that_keeps_the_others() {
    let networks = r#"[{ "name": "lan", "default-route": ["10.81.0.1", "fd81::1"] }]"#;
    for (policy, v4, v6) in [
        ("replace", vec!["10.81.0.1 net1"], vec!["fd81::1 net1"]),
        ("metric", vec!["10.81.0.1 net1", "10.80.0.1 eth0"], vec!["fd81::1 net1", "fd80::1 eth0"]),
    ] {
        isolated(|kernel| {
            let scene = Scene::new(kernel, &json!({ "defaultRoutePolicy": policy, "primaryRoutes": ["fd96::/48"] }));
            succeeded(&scene.call("ADD", networks).run());
            assert_eq!(
                (scene.defaults("-4"), scene.defaults("-6")),
                (
                    v4.clone().into_iter().map(str::to_owned).collect(),
                    v6.clone().into_iter().map(str::to_owned).collect()
                )
            );
            assert_eq!(scene.way(&["2001:db8::1"]), "net1");
            assert_eq!(scene.way(&["2001:db8::1", "from", "fd80::2"]), "eth0");
            assert_eq!(scene.way(&["fd96::10"]), "eth0");
            let heeded = |ifname: &str| {
                let path = format!("/proc/sys/net/ipv6/conf/{ifname}/accept_ra_defrtr");
                let netns = format!("--net={}", scene.pod.display());
                let output = Command::new("nsenter").args([&netns, "cat", &path]).output().unwrap();
                String::from_utf8_lossy(&output.stdout).trim().to_owned()
            };
            assert_eq!((heeded("eth0"), heeded("net1")), ("0".to_owned(), "0".to_owned()));
            succeeded(&scene.call("CHECK", networks).run());
            succeeded(&scene.call("DEL", networks).run());
            scene.untouched();
        });
    }
}

/// Two networks of a pod that give IPv6 default routes: the kernel makes one of them, with two next hops.
#[test]
fn b16_the_primary_keeps_its_way_also_where_the_kernel_joined_it_with_anothers() {
    let networks = r#"[{ "name": "lan", "default-route": ["10.81.0.1", "fd81::1"] }, { "name": "wan" }]"#;
    for policy in ["replace", "metric"] {
        isolated(|kernel| {
            let keep = ["10.96.0.0/12", "fd96::/48", "fd96::1/48"];
            let scene = Scene::new(kernel, &json!({ "defaultRoutePolicy": policy, "primaryRoutes": keep }));
            succeeded(&scene.call("ADD", networks).run());
            for (world, service, own) in
                [("192.0.2.1", "10.96.0.10", "10.80.0.2"), ("2001:db8::1", "fd96::10", "fd80::2")]
            {
                let ways = [vec![world], vec![service], vec![world, "from", own]].map(|way| scene.way(&way));
                assert_eq!(ways, ["net1", "eth0", "eth0"], "{policy}: {world}");
            }
            succeeded(&scene.call("CHECK", networks).run());
            succeeded(&scene.call("DEL", networks).run());
            scene.untouched();
        });
    }
}

#[test]
fn b16_default_routes_of_one_metric_and_from_several_hands_come_back() {
    isolated(|kernel| {
        let scene = Scene::new(kernel, &json!({}));
        succeeded(&scene.call("ADD", "").run());
        ip_in(&scene.pod, &["-6", "route", "replace", "default", "via", "fd80::1", "dev", "eth0", "proto", "static"]);
        ip_in(&scene.pod, &["route", "prepend", "default", "via", "10.80.0.9", "dev", "eth0"]);
        let routes = || ["-4", "-6"].map(|family| ip_in(&scene.pod, &[family, "route", "show"]));
        let before = routes();
        let networks = r#"[{ "name": "wan", "default-route": [] }]"#;
        let second = |operation: &str| scene.call(operation, networks).env("CNI_IFNAME", "eth1").run();
        succeeded(&second("ADD"));
        let defaults = (scene.defaults("-4"), scene.defaults("-6"));
        assert_eq!(defaults, (vec!["10.82.0.1 net1".to_owned()], vec!["fd82::1 net1".to_owned()]));
        succeeded(&second("CHECK"));
        succeeded(&second("DEL"));
        assert_eq!(routes(), before);
        succeeded(&scene.call("DEL", "").run());
        scene.untouched();
    });
}

#[test]
fn b16_an_empty_list_means_the_gateways_of_the_networks_own_result() {
    isolated(|kernel| {
        let scene = Scene::new(kernel, &json!({ "primaryRoutes": ["fd96::/48"] }));
        let networks = r#"[{ "name": "wan", "interface": "up0", "default-route": [] }]"#;
        succeeded(&scene.call("ADD", networks).run());
        assert_eq!(
            (scene.defaults("-4"), scene.defaults("-6")),
            (vec!["10.82.0.1 up0".to_owned()], vec!["fd82::1 up0".to_owned()])
        );
        // The kernel had made one route of the two IPv6 defaults; the primary keeps its part, and its services.
        assert_eq!(scene.way(&["2001:db8::1", "from", "fd80::2"]), "eth0");
        assert_eq!(scene.way(&["fd96::10"]), "eth0");
        succeeded(&scene.call("CHECK", networks).run());
        succeeded(&scene.call("DEL", networks).run());
        scene.untouched();
    });
}

#[test]
fn b15_b16_what_cannot_be_is_refused_and_leaves_nothing() {
    isolated(|kernel| {
        let scene = Scene::new(kernel, &json!({ "primaryRoutes": ["10.82.0.0/24"] }));
        for (networks, code, msg) in [
            (
                r#"[{ "name": "lan", "default-route": ["10.99.0.1"] }]"#,
                7,
                "network \"default/lan\" net1: default-route: gateway 10.99.0.1 cannot be reached by net1, which is on 10.81.0.0/24",
            ),
            (
                r#"[{ "name": "lan", "default-route": ["10.81.0.255"] }]"#,
                7,
                "network \"default/lan\" net1: default-route: gateway 10.81.0.255 is the broadcast address of 10.81.0.0/24",
            ),
            (
                r#"[{ "name": "lan", "default-route": ["10.81.0.1"] }, { "name": "wan" }]"#,
                7,
                "network \"default/lan\" net1: default-route: \"primaryRoutes\": 10.82.0.0/24 is a network of another interface",
            ),
        ] {
            let error = refused(&scene.call("ADD", networks).run(), code);
            assert_eq!(error["msg"], msg);
            succeeded(&scene.call("DEL", networks).run());
            scene.untouched();
        }
        // The default network may ask too, and then no other.
        let twice = scene.call("ADD", LAN).annotation(
            "v1.multus-cni.io/default-network",
            r#"[{ "name": "wan", "namespace": "default", "default-route": [] }]"#,
        );
        let error = refused(&twice.run(), 7);
        let said = "network \"default/lan\": \"default-route\" is asked for by network \"default/wan\" too; only one may have it";
        assert_eq!(error["msg"], said);
        scene.untouched();
    });
}

/// The example of a pod that asks for nearly everything, as people will copy it.
#[test]
fn b5_b7_b14_b16_the_example_pod_gets_what_it_asks_for() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let bytes = std::fs::read(examples.join("pods/carol.yaml")).unwrap();
    let pod = meta_cni::npwg::pod::Pod::parse(&bytes, meta_cni::npwg::nad::Format::Yaml).unwrap();
    let networks = &pod.annotations["k8s.v1.cni.cncf.io/networks"];
    isolated(|kernel| {
        let scene = Scene::new(kernel, &json!({}));
        install_real(&scene.node, &["static", "tuning", "bandwidth"]);
        let manifest = std::fs::read_to_string(examples.join("networks/default/wan.yaml")).unwrap();
        std::fs::remove_file(scene.node.networks().join("default/wan.json")).unwrap();
        scene.node.manifest("default", "wan.yaml", &manifest);
        succeeded(&scene.call("ADD", networks).run());
        assert_eq!(scene.defaults("-4"), ["10.89.3.1 wan0"]);
        let link = ip_in(&scene.pod, &["-brief", "link", "show", "wan0"]);
        assert!(link.contains("02:89:03:00:00:07"), "{link}");
        let addresses = ip_in(&scene.pod, &["-brief", "address", "show", "wan0"]);
        assert!(addresses.contains("10.89.3.7/24") && addresses.contains("fd89:3::7/64"), "{addresses}");
        let queueing = Command::new("tc").args(["qdisc", "show"]).output().unwrap();
        assert!(String::from_utf8_lossy(&queueing.stdout).contains("rate 10Mbit"));
        assert!(ping(&scene.pod, "wan0", "10.89.3.1"));
        succeeded(&scene.call("CHECK", networks).run());
        succeeded(&scene.call("DEL", networks).run());
        scene.untouched();
    });
}
