//! The node's /etc/cni as values: master config, primary, networks. Written before the runtime starts, so no test
//! depends on when the runtime notices a file.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::node::write_program;

/// The key by which a runtime sends a pod's annotations.
pub(crate) const POD_ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// A folder that is, or will be, a node's /etc/cni.
pub(crate) struct EtcCni {
    path: PathBuf,
    cni_version: &'static str,
}

/// The master config, all but what every test has the same.
pub(crate) struct Master {
    pub(crate) capabilities: Value,
}

impl Default for Master {
    fn default() -> Self {
        Self { capabilities: json!({POD_ANNOTATIONS: true, "portMappings": true}) }
    }
}

impl EtcCni {
    pub(crate) fn new(path: &Path, cni_version: &'static str) -> Self {
        Self { path: path.to_owned(), cni_version }
    }

    /// meta-cni as the only network of the runtime, its primary where only meta-cni reads, and the two networks.
    pub(crate) fn write_all(&self, master: &Master) {
        self.write_master(master);
        self.write_primary("primary.d/10-primary.conflist");
        self.write_networks();
    }

    pub(crate) fn write_master(&self, master: &Master) {
        self.write(
            "net.d/00-meta-cni.conflist",
            &json!({
                "cniVersion": self.cni_version,
                "name": "meta-cni",
                "plugins": [{
                    "type": "meta-cni",
                    "capabilities": master.capabilities,
                    "clusterNetwork": "/etc/cni/primary.d/10-primary.conflist",
                    "addBudget": "3s",
                }],
            }),
        );
    }

    /// The cluster's own network: a bridge whose pods have a default route, a port map chained to it.
    pub(crate) fn write_primary(&self, file: &str) {
        self.write(file, &self.primary("primary", "cni0", "10.88.0.0/24"));
    }

    /// A network that may be the primary, with its name, bridge and subnet.
    pub(crate) fn primary(&self, name: &str, bridge: &str, subnet: &str) -> Value {
        json!({
            "cniVersion": self.cni_version,
            "name": name,
            "plugins": [
                {
                    "type": "bridge", "bridge": bridge, "isGateway": true, "hairpinMode": true,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": subnet}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        })
    }

    /// The daemon's config: these keys, and an `addBudget` that no test waits for the end of.
    pub(crate) fn write_daemon(&self, keys: &Value) {
        let mut config = json!({"addBudget": "3s"});
        for (key, value) in keys.as_object().expect("keys are an object") {
            config[key] = value.clone();
        }
        self.write("meta-cni/daemon.json", &config);
    }

    /// A file as it is on the host.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    /// The master config as it is.
    pub(crate) fn master(&self) -> Option<String> {
        fs::read_to_string(self.path("net.d/00-meta-cni.conflist")).ok()
    }

    /// `net-a` is a bridge of its own with a port map that must never be given a port; `net-b` is a macvlan. `isGateway`
    /// fixes the bridge's MAC address: without it that changes with every pod, and the bridge plugin's CHECK fails.
    pub(crate) fn write_networks(&self) {
        self.write_network(
            "default",
            "net-a",
            &json!([
                {
                    "type": "bridge", "bridge": "br-a", "isGateway": true,
                    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.89.1.0/24"}]]},
                },
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ]),
        );
        self.write_network(
            "default",
            "net-b",
            &json!([{
                "type": "macvlan", "master": "uplink0", "mode": "bridge",
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.89.2.0/24"}]]},
            }]),
        );
    }

    /// `net-slow` is a network whose ADD does not come back: its plugin sleeps, in a process of its own, for ten minutes.
    pub(crate) fn write_slow_network(&self) {
        let plugin = self.path.with_file_name("opt-cni").join("bin/sleeper");
        write_program(&plugin, "#!/bin/sh\n[ \"$CNI_COMMAND\" = ADD ] && sleep 601\nexit 0\n");
        self.write_network("default", "net-slow", &json!([{"type": "sleeper"}]));
    }

    /// `net-a` with a plugin before it that knows GC, which no reference plugin does: it takes every lease of its network that
    /// it is not told is valid.
    pub(crate) fn write_clearing_network(&self) {
        let plugin = self.path.with_file_name("opt-cni").join("bin/clearer");
        write_program(
            &plugin,
            r#"#!/bin/sh
config=$(cat)
case $CNI_COMMAND in
ADD) echo '{"cniVersion":"1.1.0"}' ;;
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}' ;;
GC)
  name=$(printf %s "$config" | sed 's/.*"name":"\([^"]*\)".*/\1/')
  echo "told of $name" >>/var/log/cleared
  for lease in /var/lib/cni/networks/"$name"/*.*.*.*; do
    [ -f "$lease" ] || continue
    id=$(head -n 1 "$lease" | tr -d '\r')
    ifname=$(tail -n 1 "$lease")
    case $config in
    *"{\"containerID\":\"$id\",\"ifname\":\"$ifname\"}"*) ;;
    *) rm "$lease" ;;
    esac
  done
  ;;
esac
exit 0
"#,
        );
        self.write_network(
            "default",
            "net-a",
            &json!([
                {"type": "clearer"},
                {
                    "type": "bridge", "bridge": "br-a", "isGateway": true,
                    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.89.1.0/24"}]]},
                },
            ]),
        );
    }

    /// A NetworkAttachmentDefinition in the admin's directory, with these plugins.
    pub(crate) fn write_network(&self, namespace: &str, name: &str, plugins: &Value) {
        let config = json!({"cniVersion": self.cni_version, "name": name, "plugins": plugins});
        self.write(
            &format!("meta-cni/networks/{namespace}/{name}.json"),
            &json!({
                "apiVersion": "k8s.cni.cncf.io/v1",
                "kind": "NetworkAttachmentDefinition",
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"config": config.to_string()},
            }),
        );
    }

    /// In place by rename, as installers do it; a file under a name that no runtime loads comes first.
    pub(crate) fn write(&self, file: &str, content: &Value) {
        let target = self.path.join(file);
        fs::create_dir_all(target.parent().expect("a file has a folder")).expect("making a folder of /etc/cni");
        let temporary = target.with_extension("tmp");
        fs::write(&temporary, format!("{content:#}\n")).expect("writing a file of /etc/cni");
        fs::rename(&temporary, &target).expect("putting a file of /etc/cni in place");
    }

    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.path.join(file)).expect("removing a file of /etc/cni");
    }
}
