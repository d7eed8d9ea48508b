//! What the kernel and the node's files show: never what a result says.

use crate::harness::{Node, Sandbox, files_below};
use crate::kernel::text;
use crate::place::Place;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where host-local keeps its leases.
pub const LEASES: &str = "/var/lib/cni/networks";

/// One link of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub name: String,
    pub kind: String,
    pub mac: String,
    pub mtu: u64,
    /// With the lengths of their prefixes; link-local ones are left out.
    pub addresses: Vec<String>,
}

/// The links of a namespace but its loopback.
pub fn links(place: &Place) -> Vec<Link> {
    links_of(&place.ip(None, &["address show"])[0])
}

fn links_of(links: &[Value]) -> Vec<Link> {
    let link = |link: &Value| Link {
        name: text(&link["ifname"]).unwrap_or_default(),
        kind: text(&link["linkinfo"]["info_kind"]).unwrap_or_default(),
        mac: text(&link["address"]).unwrap_or_default(),
        mtu: link["mtu"].as_u64().unwrap_or_default(),
        addresses: addresses(&link["addr_info"]),
    };
    links.iter().filter(|link| link["ifname"] != "lo").map(link).collect()
}

fn addresses(list: &Value) -> Vec<String> {
    let global = list.as_array().into_iter().flatten().filter(|address| address["scope"] == "global");
    global.map(|address| format!("{}/{}", address["local"].as_str().unwrap(), address["prefixlen"])).collect()
}

/// Routes of every table but those to local and link-local addresses, as `table destination via gateway dev link`.
fn routes_of(routes: &[Value]) -> Vec<String> {
    fn word(route: &Value, key: &str) -> String {
        text(&route[key]).unwrap_or_default()
    }
    let told = routes.iter().filter(|route| {
        let local = ["local", "broadcast", "anycast", "multicast"].contains(&word(route, "type").as_str());
        !local && !word(route, "dst").starts_with("fe80:") && word(route, "dev") != "lo"
    });
    let told = told.map(|route| {
        let table = text(&route["table"]).unwrap_or_else(|| "main".into());
        // A route with several next hops is one route for each.
        let hops = route["nexthops"].as_array().cloned().unwrap_or_else(|| vec![route.clone()]);
        hops.into_iter().map(move |hop| {
            let via = text(&hop["gateway"]).map(|gateway| format!(" via {gateway}")).unwrap_or_default();
            format!("{table} {}{via} dev {}", word(route, "dst"), word(&hop, "dev"))
        })
    });
    told.flatten().collect()
}

/// Policy rules beyond the kernel's own, as `from source table`.
fn rules_of(rules: &[Value]) -> Vec<String> {
    let table = |rule: &Value| text(&rule["table"]).unwrap_or_default();
    let own = rules.iter().filter(|rule| !["local", "main", "default"].contains(&table(rule).as_str()));
    own.map(|rule| format!("from {} {}", text(&rule["src"]).unwrap_or_default(), table(rule))).collect()
}

fn links_and_routing(place: &Place) -> (Vec<Link>, Routing) {
    // Only rules are of one family at a time.
    let all = place.ip(None, &["address show", "route show table all", "rule show"]);
    let ipv6 = place.ip(Some("-6"), &["rule show"]);
    let rules = [rules_of(&all[2]), rules_of(&ipv6[0])].concat();
    (links_of(&all[0]), Routing { routes: routes_of(&all[1]), rules })
}

/// What a namespace has of both families.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Routing {
    pub routes: Vec<String>,
    pub rules: Vec<String>,
}

impl Routing {
    pub fn of(place: &Place) -> Self {
        links_and_routing(place).1
    }

    /// The default routes of the main table.
    pub fn defaults(&self) -> Vec<&str> {
        self.routes.iter().filter_map(|route| route.strip_prefix("main default ")).collect()
    }
}

/// The hardware address that `place` knows for a neighbour's address.
pub fn neighbour(place: &Place, address: &str) -> Option<String> {
    let neighbours = &place.ip(None, &["neighbour show"])[0];
    neighbours.iter().find(|neighbour| neighbour["dst"] == address).and_then(|neighbour| text(&neighbour["lladdr"]))
}

/// Qdiscs that shape or police, as tc has them.
pub fn qdiscs(place: &Place) -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(&place.said("tc", &["-j", "qdisc", "show"])).unwrap();
    let plain = ["noqueue", "pfifo_fast", "mq", "pfifo"];
    all.into_iter().filter(|qdisc| !plain.contains(&qdisc["kind"].as_str().unwrap_or_default())).collect()
}

/// Rules that translate addresses for one container: everything but the chains that plugins keep for all.
pub fn nat_rules(place: &Place, sandbox: &Sandbox) -> Vec<String> {
    let ruleset: Value = serde_json::from_str(&place.said("nft", &["-j", "list", "ruleset"])).unwrap();
    let all: Vec<&Value> = ruleset["nftables"].as_array().into_iter().flatten().collect();
    let short = &sandbox.id[..12];
    let own = all.iter().filter(|item| item["rule"]["table"] == "cni_hostport" && item.to_string().contains(short));
    let mut rules: Vec<String> = own.map(ToString::to_string).collect();
    for (family, program) in [("ip", "iptables-save"), ("ip6", "ip6tables-save")] {
        // What iptables made is readable by iptables only, and asking it costs a process.
        if all.iter().any(|item| item["table"]["name"] == "nat" && item["table"]["family"] == family) {
            let words = ["CNI-DN-", "CNI-SN-", "--dport", "DNAT --to", sandbox.id.as_str()];
            let own = |line: &&str| line.starts_with("-A") && words.iter().any(|word| line.contains(word));
            rules.extend(place.said(program, &["-t", "nat"]).lines().filter(own).map(str::to_owned));
        }
    }
    rules
}

/// Leases of host-local: `network/address`.
pub fn leases() -> Vec<String> {
    let all = files_below(Path::new(LEASES));
    let names = all.iter().filter_map(|path| path.strip_prefix(LEASES).ok()?.to_str().map(str::to_owned));
    names.filter(|name| name.rsplit('/').next().is_some_and(|file| file.parse::<std::net::IpAddr>().is_ok())).collect()
}

/// Everything that a pod leaves on a node, wherever it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Links of the network, which stay.
    pub bridges: Vec<String>,
    node_links: Vec<String>,
    pod_links: Vec<Link>,
    routing: Routing,
    qdiscs: Vec<Value>,
    nat_rules: Vec<String>,
    leases: Vec<String>,
    files: Vec<PathBuf>,
}

impl Traces {
    /// What a pod that never was leaves, on a node with these links.
    pub fn none(node_links: &[&str]) -> Self {
        Self { node_links: node_links.iter().map(ToString::to_string).collect(), ..Self::default() }
    }

    pub fn of(node: &Node, sandbox: &Sandbox, host: &Place, pod: &Place) -> Self {
        let (bridges, others): (Vec<_>, Vec<_>) = links(host).into_iter().partition(|link| link.kind == "bridge");
        let (pod_links, routing) = links_and_routing(pod);
        let names = |links: Vec<Link>| links.into_iter().map(|link| link.name).collect();
        Self {
            bridges: names(bridges),
            node_links: names(others),
            pod_links,
            routing,
            qdiscs: qdiscs(host),
            nat_rules: nat_rules(host, sandbox),
            leases: leases(),
            files: files_of(node, sandbox),
        }
    }
}

/// Records, queue entries and locks of the sandbox.
pub fn files_of(node: &Node, sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut files = [files_below(&node.state()), files_below(&node.run_dir())].concat();
    files.retain(|path| path.to_string_lossy().contains(&sandbox.id));
    let dirs = ["attachments", "queue"].map(|dir| node.state().join(dir).join(&sandbox.id));
    files.extend(dirs.into_iter().filter(|dir| dir.exists()));
    files
}
