//! A node of its own with real plugins, on which anything may happen: state and run directory are small file systems that can
//! be filled and made read-only, links and rules are those of a network namespace of its own.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::harness::{Call, Node, plugin_under_test, reference_plugins, unique};
use crate::kernel::{Node as Kernel, ip};
use crate::place::Place;

/// The plugins that pods are attached by.
const REAL: [&str; 5] = ["bridge", "macvlan", "portmap", "tuning", "host-local"];

/// Networks, each with a subnet of its own: `10.77.<number>.0/24`.
pub const NETWORKS: [(&str, u8); 4] = [("cluster", 1), ("net-a", 2), ("net-b", 3), ("net-c", 4)];

/// Whose plugins run, and so which versions are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugins {
    /// The reference plugins: CNI 1.1.0 with STATUS and GC.
    Reference,
    /// Debian's: CNI 1.0.0.
    Debian,
}

impl Plugins {
    pub fn version(self) -> &'static str {
        match self {
            Self::Reference => "1.1.0",
            Self::Debian => "1.0.0",
        }
    }

    fn dir(self) -> &'static Path {
        match self {
            Self::Reference => reference_plugins(),
            Self::Debian => Path::new("/usr/lib/cni"),
        }
    }
}

/// The plugin as it is released if it was built, else as cargo built it for these tests.
pub fn plugin() -> PathBuf {
    std::env::var_os("META_CNI_BIN").map_or_else(plugin_under_test, PathBuf::from)
}

/// One node.
pub struct World<'a> {
    pub kernel: &'a Kernel,
    pub node: Node,
    pub plugins: Plugins,
}

impl<'a> World<'a> {
    pub fn new(kernel: &'a Kernel, plugins: Plugins) -> Self {
        let node = Node::with_plugin(&plugin());
        for dir in [node.state(), node.run_dir()] {
            small_disk(&dir);
        }
        for kind in REAL {
            let real = plugins.dir().join(kind);
            assert!(real.exists(), "no plugin {}", real.display());
            std::os::unix::fs::symlink(real, node.plugins().join(kind)).unwrap();
        }
        let world = Self { kernel, node, plugins };
        world.configure();
        ip(&["link", "add", "uplink0", "type", "veth", "peer", "name", "uplink1"]);
        ip(&["link", "set", "uplink0", "up"]);
        ip(&["link", "set", "uplink1", "up"]);
        world
    }

    /// Networks and master config, as they are now.
    pub fn configure(&self) {
        let version = self.plugins.version();
        let list = |name: &str, plugins: Value| json!({ "cniVersion": version, "name": name, "plugins": plugins });
        let ranges =
            |number: u8| json!({ "type": "host-local", "ranges": [[{ "subnet": format!("10.77.{number}.0/24") }]] });
        let bridge = |number: u8| json!({ "type": "bridge", "bridge": format!("br{number}"), "isGateway": true, "ipam": ranges(number) });
        let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
        let tuning = json!({ "type": "tuning", "mtu": 1400 });
        let macvlan = json!({ "type": "macvlan", "master": "uplink0", "mode": "bridge", "ipam": ranges(3) });
        self.node.write("conf/10-primary.conflist", &list("cluster", json!([bridge(1), portmap])).to_string());
        self.node.nad_text("default", "net-a", &list("net-a", json!([bridge(2), tuning])).to_string());
        self.node.nad_text("default", "net-b", &list("net-b", json!([macvlan])).to_string());
        self.node.nad_text("default", "net-c", &list("net-c", json!([bridge(4), portmap])).to_string());
        self.node.master(&json!({
            "cniVersion": version, "addBudget": "40s", "delBudget": "40s", "sweepInterval": "1s", "logLevel": "debug",
        }));
    }

    /// A call of the plugin for the pod, as a runtime makes it.
    pub fn call(&self, operation: &str, pod: &Pod) -> Call {
        let mut call = self
            .node
            .node_call(operation)
            .env("CNI_CONTAINERID", &pod.id)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_NETNS", pod.path.to_str().unwrap())
            .env("CNI_ARGS", &format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", pod.name))
            .annotation("kubernetes.io/config.source", "api");
        if !pod.wishes.networks.is_empty() {
            call = call.networks(&pod.wishes.annotation());
        }
        if let Some(port) = pod.wishes.port {
            let mapping = json!([{ "hostPort": port, "containerPort": 80, "protocol": "tcp" }]);
            call = call.runtime_config("portMappings", mapping);
        }
        call
    }

    /// A pod with a namespace of its own, which the runtime has not asked a network for yet.
    pub fn pod(&self, wishes: Wishes) -> Pod {
        let number = unique();
        let name = format!("pod-{number}");
        let place = Place::fresh(&name);
        // Nothing on this machine may have heard of this container before.
        let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        Pod {
            id: format!("c0ffee{since:020x}{number:06x}"),
            name,
            path: place.path.clone(),
            place: Some(place),
            wishes,
        }
    }

    /// The namespace of the pod goes.
    pub fn vanish(&self, pod: &mut Pod) {
        if pod.place.take().is_some() {
            self.kernel.remove_netns(&pod.path);
        }
    }

    /// The names of host-local's networks and subnets.
    pub fn network_of(address: Ipv4Addr) -> Option<&'static str> {
        let [10, 77, number, _] = address.octets() else { return None };
        NETWORKS.iter().find(|(_, own)| *own == number).map(|(name, _)| *name)
    }
}

/// A file system in memory over `dir`, as a boot makes it.
pub fn in_memory(dir: &Path) {
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .unwrap_or_else(|errno| panic!("mount a tmpfs over {}: {errno}", dir.display()));
}

/// A file system that a test can fill.
pub fn small_disk(dir: &Path) {
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some("mode=700,size=512k"))
        .unwrap_or_else(|errno| panic!("mount a tmpfs over {}: {errno}", dir.display()));
}

/// Makes the file system of `dir` read-only, or not.
pub fn set_read_only(dir: &Path, read_only: bool) {
    let flags = if read_only { MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY } else { MsFlags::MS_REMOUNT };
    // Busy while somebody has a file open for writing: then it stays as it is for now.
    let _ = mount(None::<&str>, dir, None::<&str>, flags, None::<&str>);
}

/// Fills the file system of `dir` to its last byte, or gives that back.
pub fn set_full(dir: &Path, full: bool) {
    let filler = dir.join("filler");
    if full {
        // The write that finds no room is the point.
        let _ = std::fs::write(&filler, vec![b'x'; 1 << 20]);
    } else {
        let _ = std::fs::remove_file(filler);
    }
}

/// What a pod asks for.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Names of additional networks, in order: `net1` and so on.
    pub networks: Vec<&'static str>,
    /// A port of the node that leads to the pod.
    pub port: Option<u16>,
    /// `net1` has the pod's default route.
    pub default_route: bool,
}

impl Wishes {
    fn annotation(&self) -> String {
        let elements = self.networks.iter().enumerate().map(|(number, name)| {
            let mut element = json!({ "name": name });
            if number == 0 && self.default_route {
                let (_, subnet) = NETWORKS.iter().find(|(own, _)| own == name).unwrap();
                element["default-route"] = json!([format!("10.77.{subnet}.1")]);
            }
            if let Some(port) = self.port.filter(|_| *name == "net-c") {
                element["portMappings"] = json!([{ "hostPort": port + 10_000, "containerPort": 80 }]);
            }
            element
        });
        Value::from(elements.collect::<Vec<_>>()).to_string()
    }

    /// Interface names and networks, `eth0` first.
    pub fn interfaces(&self) -> Vec<(String, &'static str)> {
        let others = self.networks.iter().enumerate().map(|(number, name)| (format!("net{}", number + 1), *name));
        std::iter::once(("eth0".to_owned(), "cluster")).chain(others).collect()
    }

    /// How many veths of the node belong to it.
    pub fn veths(&self) -> usize {
        self.interfaces().iter().filter(|(_, network)| *network != "net-b").count()
    }

    /// How many of its attachments have a port of the node.
    pub fn port_maps(&self) -> usize {
        let mapped =
            self.interfaces().into_iter().filter(|(_, network)| ["cluster", "net-c"].contains(network)).count();
        if self.port.is_some() { mapped } else { 0 }
    }
}

/// A pod as its runtime knows it.
pub struct Pod {
    pub id: String,
    pub name: String,
    pub path: PathBuf,
    /// Its namespace, while that is there.
    pub place: Option<Place>,
    pub wishes: Wishes,
}

impl Pod {
    /// IPv4 addresses by interface, as its kernel has them; interfaces without one are there too.
    pub fn addresses(&self) -> Vec<(String, Option<Ipv4Addr>)> {
        let Some(place) = &self.place else { return Vec::new() };
        let (names, all) = place
            .run(|| (links(), nix::ifaddrs::getifaddrs().unwrap().collect::<Vec<nix::ifaddrs::InterfaceAddress>>()));
        let address = |name: &str| {
            let own = all.iter().filter(|one| one.interface_name == name);
            own.filter_map(|one| one.address?.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::ip)).next()
        };
        names.into_iter().map(|name| (name.clone(), address(&name))).collect()
    }
}

/// Names of the links but `lo` of the calling thread's network namespace.
pub fn links() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let names = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned());
    names.filter(|name| name != "lo").collect()
}
