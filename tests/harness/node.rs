//! A node: temporary directories for everything the plugin reads and writes, and the master config that names them.
//! Their places and names are the public interface of the plugin; nothing else of it is known here.

use super::{Call, Netns, Recorded, log, scripted};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A node that exists while its value does.
pub struct Node {
    root: tempfile::TempDir,
    plugin: PathBuf,
    master: Mutex<Value>,
}

/// What a runtime knows of one pod sandbox.
pub struct Sandbox {
    pub id: String,
    pub netns: Netns,
    pub namespace: String,
    pub pod: String,
    pub uid: String,
}

impl Sandbox {
    pub fn new() -> Self {
        let number = unique();
        Self {
            // Nothing on this machine may have heard of this container before: caches are looked up by its ID.
            id: format!("c0ffee{:08x}{:08x}{number:08x}", std::process::id(), started()),
            netns: Netns::new(),
            namespace: "default".into(),
            pod: format!("pod-{number}"),
            uid: format!("00000000-0000-4000-8000-{number:012}"),
        }
    }

    /// `CNI_ARGS` as containerd and CRI-O give it.
    pub fn args(&self) -> String {
        format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
            self.namespace, self.pod, self.id, self.uid
        )
    }
}

/// A number no other test of this process has.
pub fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Seconds since 1970 when this process first asked.
fn started() -> u64 {
    static STARTED: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *STARTED.get_or_init(|| std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()))
}

impl Node {
    /// A node that runs the plugin that cargo built.
    pub fn new() -> Self {
        Self::with_plugin(&scripted::plugin_under_test())
    }

    /// A node that runs another plugin.
    pub fn with_plugin(plugin: &Path) -> Self {
        let root = tempfile::Builder::new()
            .prefix("node-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("making a node's directory");
        for dir in ["plugins", "conf", "confs", "networks", "state", "run", "delegates"] {
            std::fs::create_dir(root.path().join(dir)).unwrap();
        }
        let at = |name: &str| root.path().join(name);
        // Of a node that was swept just now: tests about something else are not to be swept in between.
        let soon = boot_seconds() + 3600;
        let swept = std::fs::File::create(at("run/sweep")).unwrap();
        swept.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(soon)).unwrap();
        let master = json!({
            "cniVersion": "1.0.0",
            "name": "meta-cni",
            "type": "meta-cni",
            "capabilities": { "io.kubernetes.cri.pod-annotations": true, "portMappings": true },
            "clusterNetwork": at("conf/10-primary.conflist"),
            "networkDirs": [at("networks")],
            "confDir": at("confs"),
            "stateDir": at("state"),
            "runDir": at("run"),
            "delegateProfilesDir": at("delegates"),
            "deviceInfoDir": at("devinfo"),
            "logFile": at("log"),
            "addBudget": "2s",
            "delBudget": "5s",
        });
        Self { plugin: plugin.to_owned(), master: Mutex::new(master), root }
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The directory in `CNI_PATH`.
    pub fn plugins(&self) -> PathBuf {
        self.root().join("plugins")
    }

    /// Where the primary's configuration lies.
    pub fn conf(&self) -> PathBuf {
        self.root().join("conf")
    }

    /// `confDir`: configurations found by name.
    pub fn conf_dir(&self) -> PathBuf {
        self.root().join("confs")
    }

    pub fn networks(&self) -> PathBuf {
        self.root().join("networks")
    }

    pub fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    pub fn run_dir(&self) -> PathBuf {
        self.root().join("run")
    }

    /// The log of the plugin under test.
    pub fn log(&self) -> String {
        std::fs::read(self.root().join("log"))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    /// The scripted plugin under this type name, in `CNI_PATH`.
    pub fn install_plugin(&self, kind: &str) {
        scripted::install(&self.plugins(), kind);
    }

    /// The script file of a plugin type, for operations that its configuration says nothing about.
    pub fn script(&self, kind: &str, script: &Value) {
        self.write(&format!("plugins/{kind}.script.json"), &script.to_string());
    }

    /// The primary's configuration list; its plugins are installed.
    pub fn primary(&self, list: &Value) {
        self.install_plugins_of(list);
        self.write("conf/10-primary.conflist", &list.to_string());
    }

    /// A NetworkAttachmentDefinition whose `spec.config` is `config`; its plugins are installed.
    pub fn nad(&self, namespace: &str, name: &str, config: &Value) {
        self.install_plugins_of(config);
        self.nad_text(namespace, name, &config.to_string());
    }

    /// The same with the exact text of the configuration.
    pub fn nad_text(&self, namespace: &str, name: &str, config: &str) {
        let manifest = json!({
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": { "namespace": namespace, "name": name },
            "spec": { "config": config },
        });
        self.manifest(namespace, &format!("{name}.json"), &manifest.to_string());
    }

    /// A manifest file with any text in it.
    pub fn manifest(&self, namespace: &str, file: &str, text: &str) {
        // As who waits for it must find it: whole.
        let written = self.write(&format!("networks/{namespace}/.{file}.new"), text);
        std::fs::rename(&written, written.with_file_name(file)).unwrap();
    }

    /// A file of the node.
    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("writing {}: {e}", path.display()));
        path
    }

    fn install_plugins_of(&self, config: &Value) {
        let types = match config["plugins"].as_array() {
            Some(plugins) => plugins.iter().filter_map(|p| p["type"].as_str()).collect(),
            None => config["type"].as_str().into_iter().collect::<Vec<_>>(),
        };
        for kind in types.into_iter().filter(|kind| !kind.contains('/') && !kind.is_empty()) {
            self.install_plugin(kind);
        }
    }

    /// Sets keys of the master config; `null` removes one.
    pub fn master(&self, overrides: &Value) {
        let mut master = self.master.lock().unwrap();
        for (key, value) in overrides.as_object().expect("an object of master config keys") {
            if value.is_null() {
                master.as_object_mut().unwrap().remove(key);
            } else {
                master[key] = value.clone();
            }
        }
    }

    /// The master config as it is now, as a runtime would have it on disk.
    pub fn master_config(&self) -> Value {
        self.master.lock().unwrap().clone()
    }

    /// A call of the plugin for this sandbox, with everything a runtime gives.
    pub fn call(&self, operation: &str, sandbox: &Sandbox) -> Call {
        Call::new(&self.plugin, self.master_config())
            .env("CNI_COMMAND", operation)
            .env("CNI_CONTAINERID", &sandbox.id)
            .env("CNI_NETNS", &sandbox.netns.path().display().to_string())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_ARGS", &sandbox.args())
            .env("CNI_PATH", &self.plugins().display().to_string())
            .annotation("kubernetes.io/config.source", "api")
    }

    /// A call that is about no sandbox: VERSION, STATUS, GC.
    pub fn node_call(&self, operation: &str) -> Call {
        Call::new(&self.plugin, self.master_config())
            .env("CNI_COMMAND", operation)
            .env("CNI_PATH", &self.plugins().display().to_string())
    }

    /// What the delegates remember, oldest first.
    pub fn calls(&self) -> Vec<Recorded> {
        log::read(&self.plugins().join("calls.jsonl"))
    }

    /// Calls of one operation.
    pub fn calls_of(&self, operation: &str) -> Vec<Recorded> {
        let mut calls = self.calls();
        calls.retain(|call| call.operation == operation);
        calls
    }

    /// `ADD eth0 bridge` of every call, in order.
    pub fn order(&self) -> Vec<String> {
        self.calls().iter().map(Recorded::brief).collect()
    }

    /// Files of attachment records.
    pub fn records(&self) -> Vec<PathBuf> {
        files_below(&self.state().join("attachments"))
    }
}

/// Now, in seconds of `CLOCK_BOOTTIME`.
pub fn boot_seconds() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    u64::try_from(now.tv_sec()).unwrap()
}

/// Every file below a directory, sorted; none when it does not exist.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() { files_below(&path) } else { vec![path] }
        })
        .collect();
    files.sort();
    files
}
