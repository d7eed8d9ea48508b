//! A node of its own for each test: `tests/tools/node` makes the namespaces and starts the runtime, and ends both when
//! the pipe to its stdin closes, which the kernel does for us even if this process is killed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{EtcCni, Master};

/// A runtime with the reference plugins of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// containerd 1.6 and reference plugins 1.1 as Debian packages them: CNI 1.0.0, no STATUS, no GC.
    Debian,
    /// containerd 2.4 and reference plugins 1.9, built from their modules: CNI 1.1.0.
    Modules,
}

impl Runtime {
    /// The highest CNI version that this runtime and its plugins speak.
    pub(crate) fn cni_version(self) -> &'static str {
        match self {
            Self::Debian => "1.0.0",
            Self::Modules => "1.1.0",
        }
    }
}

/// Where things of a node are.
pub(crate) struct Place {
    /// Its folders on the host, a folder in this one.
    pub(crate) folders: PathBuf,
    /// The runtime's conf dir, below /etc/cni.
    pub(crate) conf_dir: &'static str,
}

impl Default for Place {
    fn default() -> Self {
        Self { folders: std::env::temp_dir(), conf_dir: SHARED }
    }
}

/// The conf dir that a runtime reads unless it is told otherwise, and every CNI writes.
pub(crate) const SHARED: &str = "/etc/cni/net.d";

/// The conf dir that only meta-cni writes.
pub(crate) const PRIVATE: &str = "/etc/cni/meta-cni/net.d";

/// A running node. Dropping it ends everything that runs on it.
pub(crate) struct Node {
    pub(crate) etc_cni: EtcCni,
    pub(super) root: TempDir,
    script: Child,
}

impl Node {
    /// A node whose runtime's only network is meta-cni.
    pub(crate) fn with_meta_cni(runtime: Runtime) -> Self {
        Self::with_version(runtime, runtime.cni_version())
    }

    /// The same with lists of this CNI version.
    pub(crate) fn with_version(runtime: Runtime, cni_version: &'static str) -> Self {
        Self::start(runtime, cni_version, |etc| etc.write_all(&Master::default()))
    }

    /// A node with /etc/cni as `fill` writes it.
    pub(crate) fn start(runtime: Runtime, cni_version: &'static str, fill: impl FnOnce(&EtcCni)) -> Self {
        Self::start_at(runtime, cni_version, &Place::default(), fill)
    }

    /// The same with its folders and its conf dir elsewhere.
    pub(crate) fn start_at(
        runtime: Runtime,
        cni_version: &'static str,
        place: &Place,
        fill: impl FnOnce(&EtcCni),
    ) -> Self {
        let root = tempfile::Builder::new().prefix("node-").tempdir_in(&place.folders);
        let root = root.expect("making the node's folder");
        let etc_cni = EtcCni::new(&root.path().join("etc-cni"), cni_version);
        fs::create_dir_all(root.path().join("opt-cni/bin")).expect("making the plugins' folder");
        fs::copy(plugin(), root.path().join("opt-cni/bin/meta-cni")).expect("installing the plugin");
        fill(&etc_cni);
        let kind = match runtime {
            Runtime::Debian => "debian",
            Runtime::Modules => "modules",
        };
        let mut script = tool("node")
            .args(["up".as_ref(), root.path(), kind.as_ref(), Path::new(place.conf_dir)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starting tests/tools/node");
        let mut line = String::new();
        let stdout = script.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("reading what tests/tools/node says");
        let node = Self { etc_cni, root, script };
        assert_eq!(line.trim(), "ready", "the node did not come up; what tests/tools/node said is on stderr");
        node.must(&["ip", "link", "add", "uplink0", "type", "veth", "peer", "name", "uplink1"]);
        node.must(&["ip", "link", "set", "uplink0", "up"]);
        node.must(&["ip", "link", "set", "uplink1", "up"]);
        node
    }

    /// A folder of the node, seen from the host: `/var/lib/cni` is `var-lib-cni`.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The cgroup that sandboxes are made in, so that the end of the node finds them.
    pub(crate) fn cgroup(&self) -> String {
        let name = self.root.path().file_name().expect("the folder has a name");
        format!("/meta-cni-node-{}", name.to_string_lossy())
    }

    /// Runs a command on the node.
    pub(crate) fn run(&self, command: &[&str]) -> Output {
        self.command(command).output().expect("entering the node")
    }

    /// A command on the node, to be run.
    pub(crate) fn command(&self, command: &[&str]) -> Command {
        let mut program = tool("node");
        program.args(["in".as_ref(), self.root.path()]).args(command).stdin(Stdio::null());
        program
    }

    /// Runs a command on the node that has to succeed; its stdout.
    pub(crate) fn must(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?} on the node: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// One CRI call: the answer, or the message of the error as kubelet would log it.
    pub(crate) fn cri(&self, method: &str, request: &Value) -> Result<Value, String> {
        let output = self.cri_client(method, request).output().expect("starting the CRI client");
        if !output.status.success() {
            return Err(text(&output.stderr).trim_end().to_owned());
        }
        Ok(serde_json::from_slice(&output.stdout).expect("the CRI client prints JSON"))
    }

    /// The program that makes one CRI call; killing it cancels the call.
    pub(crate) fn cri_client(&self, method: &str, request: &Value) -> Command {
        let mut client = Command::new(part("cri").join("cri"));
        client.arg(self.root.path().join("run/containerd/containerd.sock")).args([method, &request.to_string()]);
        client
    }

    /// Whether a process with exactly this command line runs on the node.
    pub(crate) fn runs(&self, command_line: &str) -> bool {
        self.run(&["pgrep", "-f", &format!("^{command_line}$")]).status.success()
    }

    /// What the runtime says about its network: the reason it is not ready, if it is not.
    pub(crate) fn network_ready(&self) -> Result<(), String> {
        let status = self.cri("Status", &json!({})).expect("asking the runtime for its status");
        let conditions = status["status"]["conditions"].as_array().expect("a runtime's status has conditions");
        let network = conditions.iter().find(|c| c["type"] == "NetworkReady").expect("one is about the network");
        if network["status"] == true { Ok(()) } else { Err(network["message"].as_str().unwrap_or("").to_owned()) }
    }

    /// The name of the network that the runtime would give a pod now.
    pub(crate) fn network_name(&self) -> String {
        self.loaded().name
    }

    /// What the runtime has loaded from its conf dir.
    pub(crate) fn loaded(&self) -> Loaded {
        let status = self.cri("Status", &json!({"verbose": true})).expect("asking the runtime for its status");
        let config = status["info"]["cniconfig"].as_str().expect("verbose status shows the CNI config");
        let config: Value = serde_json::from_str(config).expect("the CNI config is JSON");
        let networks = config["Networks"].as_array().map_or(&[][..], Vec::as_slice);
        let pods = networks.iter().map(|network| &network["Config"]).filter(|list| list["Name"] != "cni-loopback");
        let word = |key: &str| pods.clone().filter_map(|list| list[key].as_str()).collect();
        let last = status["info"]["lastCNILoadStatus"].as_str().unwrap_or("no status").to_owned();
        Loaded { name: word("Name"), text: word("Source"), last }
    }

    /// libcni with CRI-O's habits, on the node.
    pub(crate) fn crio(&self, operation: &str, arguments: &[&str]) -> Output {
        let program = part("crio-habits").join("crio-habits");
        let mut command = vec![program.to_str().expect("a path of UTF-8"), operation];
        command.extend(["--conf-dir", "/etc/cni/net.d", "--cache-dir", "/var/lib/cni"]);
        command.extend(["--plugin-path", "/opt/cni/bin"]);
        command.extend(arguments);
        self.run(&command)
    }

    /// Puts a tracer before the plugin: with `/var/log/kill-at` it kills the plugin at the moment that file names.
    pub(crate) fn trace_plugin(&self) {
        let plugin = self.folder("opt-cni/bin/meta-cni");
        fs::rename(&plugin, self.folder("opt-cni/plugin")).expect("moving the plugin");
        let tracer = "#!/bin/sh\nread -r moment 2>/dev/null </var/log/kill-at || exec /opt/cni/plugin\n\
            exec strace -o /dev/null -e inject=\"$moment\" /opt/cni/plugin\n";
        write_program(&plugin, tracer);
    }

    /// Kills containerd alone, with SIGKILL; shims, pods and plugins go on.
    pub(crate) fn crash_runtime(&self) {
        self.script_step("crash");
    }

    /// Starts containerd again and waits until it answers.
    pub(crate) fn start_runtime(&self) {
        self.script_step("start");
        wait_until("the runtime answers", || self.cri("Status", &json!({})).is_ok());
    }

    fn script_step(&self, step: &str) {
        let status = tool("node").args([step.as_ref(), self.root.path()]).status();
        assert!(status.expect("starting tests/tools/node").success(), "node {step} failed");
    }
}

/// The list of pods as the runtime has it.
pub(crate) struct Loaded {
    /// Empty: it has none.
    pub(crate) name: String,
    pub(crate) text: String,
    /// What became of the last look at the conf dir: "OK", or why not.
    pub(crate) last: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["containerd.log", "var-log/meta-cni.log", "meta-cnid.log"] {
                let all = fs::read_to_string(self.root.path().join(log)).unwrap_or_default();
                let lines: Vec<&str> = all.lines().collect();
                let last = &lines[lines.len().saturating_sub(25)..];
                eprintln!("-- the end of the node's {log}:\n{}", last.join("\n"));
            }
        }
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// A shell script where a plugin is looked for.
pub(crate) fn write_program(path: &Path, script: &str) {
    fs::write(path, script).expect("writing a program");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("making it a program");
}

/// Asks again until it holds; a test that waits longer than this waits for something that does not come.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(180), "waited 180 s until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn tool(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools").join(name))
}

/// The folder of a part that is built from source; built now if no test run has built it yet.
pub(super) fn part(name: &'static str) -> &'static Path {
    static CRI: OnceLock<PathBuf> = OnceLock::new();
    static CRIO: OnceLock<PathBuf> = OnceLock::new();
    static CONFDIR: OnceLock<PathBuf> = OnceLock::new();
    let cell = match name {
        "cri" => &CRI,
        "confdir" => &CONFDIR,
        _ => &CRIO,
    };
    cell.get_or_init(|| {
        let output = tool("build").arg(name).output().expect("starting tests/tools/build");
        assert!(output.status.success(), "tests/tools/build {name}: {}", text(&output.stderr));
        PathBuf::from(text(&output.stdout).trim_end())
    })
}

/// The plugin as it is released: static, from `make build`.
pub(super) fn plugin() -> PathBuf {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("x86_64-unknown-linux-musl/release/meta-cni");
    let path = std::env::var_os("META_CNI_BIN").map_or(built, PathBuf::from);
    assert!(path.is_file(), "the plugin is not at {}; `make build` makes it", path.display());
    path
}
