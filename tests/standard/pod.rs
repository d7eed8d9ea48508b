//! One pod on one node, both made of real namespaces, and the world outside that both can be reached from.

use crate::combination::{Combination, Form, plugins};
use crate::harness::{Call, Node, Output, Sandbox, plugin_under_test};
use crate::network::{Network, Source};
use crate::path::{dial, listen, talk};
use crate::place::Place;
use crate::row::{Row, rendered};
use crate::view::{Link, links};
use nix::ifaddrs::InterfaceAddress;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

/// Types that are the real plugin; any other is the scripted one.
const REAL: [&str; 9] = ["bridge", "macvlan", "ptp", "tuning", "bandwidth", "portmap", "sbr", "static", "host-local"];

/// Links of the node before there is a pod: those to the world outside.
pub const LINKS: [&str; 2] = ["uplink0", "wan0"];

/// The pod of a case.
pub struct Pod<'r> {
    pub row: &'r Row,
    pub combination: Combination,
    pub node: Node,
    pub sandbox: Sandbox,
    /// The pod's network namespace.
    pub netns: Place,
    /// The node's: that of the calling thread.
    pub host: Place,
    /// Reached by the node through `wan0` (192.0.2.0/24, 2001:db8::/64), by macvlan through `uplink0`.
    outside: Option<Place>,
}

impl<'r> Pod<'r> {
    pub fn new(row: &'r Row, combination: Combination) -> Self {
        let mut sandbox = Sandbox::new();
        (sandbox.namespace, sandbox.pod) = (row.pod.0.into(), row.pod.1.into());
        let (host, netns) = (Place::here("host"), Place::fresh("pod"));
        netns.said("ip", &["link", "set", "lo", "up"]);
        let outside = row.needs_the_world_outside().then(|| Place::fresh("outside"));
        outside.iter().for_each(|outside| wire(&host, outside));
        let pod = Self { row, combination, node: Node::new(), sandbox, netns, host, outside };
        pod.configure();
        pod
    }

    fn configure(&self) {
        let own = plugins(self.combination.parts);
        for kind in REAL {
            std::os::unix::fs::symlink(own.join(kind), self.node.plugins().join(kind)).unwrap();
        }
        for kind in &self.row.scripted {
            self.node.install_plugin(kind);
        }
        let suffix = if self.combination.form == Form::Conf { "conf" } else { "conflist" };
        let primary = self.row.primary.config(self.combination).to_string();
        let primary = self.node.write(&format!("conf/10-primary.{suffix}"), &primary);
        self.node.master(&json!({ "cniVersion": self.combination.version, "clusterNetwork": primary }));
        self.node.master(&self.row.master);
        for network in &self.row.networks {
            self.publish(network, suffix);
        }
    }

    fn publish(&self, network: &Network, suffix: &str) {
        let config = network.config(self.combination).to_string();
        if network.source == Source::Inline {
            return self.node.nad_text(network.namespace, &network.name, &config);
        }
        self.node.write(&format!("confs/10-some.{suffix}"), &config);
        let manifest = json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": { "namespace": network.namespace, "name": network.name }, "spec": {},
        });
        self.node.manifest(network.namespace, &format!("{}.json", network.name), &manifest.to_string());
    }

    /// The world outside, of a row that needs it.
    pub fn outside(&self) -> &Place {
        self.outside.as_ref().expect("a row that needs the world outside")
    }

    /// A call of the runtime, with all that it knows of the pod.
    pub fn call(&self, operation: &str) -> Call {
        self.call_asking(operation, &self.row.wants)
    }

    /// The same of a pod that asks for these elements.
    pub fn call_asking(&self, operation: &str, elements: &[Value]) -> Call {
        let mut call = self.node.call(operation, &self.sandbox).env("CNI_NETNS", self.netns.path.to_str().unwrap());
        if !elements.is_empty() {
            call = call.networks(&rendered(elements, self.combination));
        }
        if let Some(text) = self.row.default_annotation(self.combination) {
            call = call.annotation("v1.multus-cni.io/default-network", &text);
        }
        let arguments = self.row.runtime_config.as_object().unwrap();
        arguments.iter().fold(call, |call, (key, value)| call.runtime_config(key, value.clone()))
    }

    /// A call that must succeed.
    #[track_caller]
    pub fn must(&self, operation: &str) -> Output {
        let output = self.call(operation).run();
        assert_eq!(output.exit, Some(0), "{operation}: {output:?}");
        output
    }

    /// The link of the pod's namespace.
    #[track_caller]
    pub fn link(&self, name: &str) -> Link {
        let links = links(&self.netns);
        links.iter().find(|link| link.name == name).cloned().unwrap_or_else(|| panic!("no {name} in {links:?}"))
    }

    pub fn link_names(&self) -> Vec<String> {
        links(&self.netns).into_iter().map(|link| link.name).collect()
    }

    /// The address of an interface in one family.
    #[track_caller]
    pub fn address(&self, ifname: &str, ipv4: bool) -> IpAddr {
        let all = addresses(&self.netns);
        let mut own = all.iter().filter(|(name, address)| name == ifname && address.is_ipv4() == ipv4);
        own.next().unwrap_or_else(|| panic!("no such address of {ifname}: {all:?}")).1
    }

    /// A connection from the interface to an address of the node or of the world outside, wherever that is.
    #[track_caller]
    pub fn reaches(&self, ifname: &str, to: &str) {
        let to: IpAddr = to.parse().unwrap();
        let from = self.address(ifname, to.is_ipv4());
        let has = |place: &&Place| addresses(place).iter().any(|(_, address)| *address == to);
        let place = [Some(&self.host), self.outside.as_ref()].into_iter().flatten().find(has);
        let place = place.unwrap_or_else(|| panic!("nobody has {to}: {:?}", addresses(&self.host)));
        let listener = listen(place, SocketAddr::new(to, 0));
        let dialled = dial(&self.netns, Some((ifname, from)), listener.local_addr().unwrap());
        let dialled = dialled.unwrap_or_else(|errno| panic!("from {from} of {ifname} to {to}: {errno}"));
        assert_eq!(talk(&listener, dialled), from, "{ifname} to {to}");
    }

    /// The network status annotation of the pod, from `meta-cni status`.
    #[track_caller]
    pub fn status(&self) -> Vec<Value> {
        let output = Command::new(plugin_under_test())
            .args(["status", "--output", "json", "--container", &self.sandbox.id, "--state-dir"])
            .arg(self.node.state())
            .output()
            .unwrap();
        assert!(output.status.success(), "meta-cni status: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The links between the node and the world outside.
fn wire(host: &Place, outside: &Place) {
    let batch = |place: &Place, lines: &str| place.ip(None, &lines.lines().map(str::trim).collect::<Vec<_>>());
    batch(
        host,
        "link add uplink0 type veth peer name uplink1 netns outside
         link add wan0 type veth peer name wan1 netns outside
         address add 192.0.2.1/24 dev wan0
         address add 2001:db8::1/64 dev wan0
         link set uplink0 up
         link set wan0 up
        ",
    );
    batch(
        outside,
        "link set lo up
         address add 10.99.0.1/24 dev uplink1
         address add fd00:99::1/64 dev uplink1
         address add 192.0.2.2/24 dev wan1
         address add 2001:db8::2/64 dev wan1
         link set uplink1 up
         link set wan1 up
         route add default via 192.0.2.1
         route add default via 2001:db8::1
        ",
    );
}

/// Addresses by interface, link-local ones left out.
fn addresses(place: &Place) -> Vec<(String, IpAddr)> {
    let all = place.run(|| nix::ifaddrs::getifaddrs().unwrap().collect::<Vec<_>>());
    let address = |one: &InterfaceAddress| {
        let address = one.address.as_ref()?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        let address = v4.or_else(|| Some(IpAddr::from(address.as_sockaddr_in6()?.ip())))?;
        let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        (!link_local).then(|| (one.interface_name.clone(), address))
    };
    all.iter().filter_map(address).collect()
}
