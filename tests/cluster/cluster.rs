//! The running cluster: brought up by the script beside this file, and ended by the kernel when the pipe to the script's stdin
//! closes, also if this process is killed.

use std::fmt::Display;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The names of both nodes.
pub const NODES: [&str; 2] = ["n1", "n2"];

/// The image that is on both nodes: a busybox that sleeps.
pub const IMAGE: &str = "localhost/pause:meta-cni";

/// The daemon under test, as cargo built it.
const DAEMON: Option<&str> = option_env!("CARGO_BIN_EXE_meta-cnid");

/// How long anything may take: the machine may be slow and busy. Whoever waits longer waits for something that does not come.
pub const LONG: Duration = Duration::from_secs(480);

/// A cluster of two nodes.
pub struct Cluster {
    root: PathBuf,
    script: Child,
}

impl Cluster {
    /// Returns when both nodes are Ready. The error is one line; what happened is on stderr by then.
    pub fn up() -> Result<Self, String> {
        let place = tempfile::Builder::new().prefix("meta-cni-cluster-test-").tempdir();
        // The script removes it, which it also does if this process is killed.
        let root = place.map_err(|error| format!("making its folder: {error}"))?.keep();
        let started = Instant::now();
        let script = script(["up".as_ref(), root.as_path()])
            .env("META_CNI_BIN", plugin())
            .env("META_CNID_BIN", DAEMON.ok_or("the tests were built without the daemon")?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut script = script.map_err(|error| format!("starting tests/cluster/cluster: {error}"))?;
        let mut line = String::new();
        let stdout = script.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let cluster = Self { root, script };
        if line.trim() != "ready" {
            return Err("what it said is above".to_owned());
        }
        println!("cluster up: both nodes Ready after {:.1} s", started.elapsed().as_secs_f64());
        Ok(cluster)
    }

    /// kubectl, as the administrator; its stdout.
    pub fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        must(self.script("kubectl", arguments).stdin(Stdio::null()))
    }

    /// The same of a question, which is asked again: an API server on a busy machine may miss a deadline of its own.
    pub fn ask<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        let mut kubectl = self.script("kubectl", arguments);
        for _ in 0..4 {
            let output = kubectl.stdin(Stdio::null()).output().expect("starting tests/cluster/cluster");
            if output.status.success() {
                return text(&output.stdout);
            }
            std::thread::sleep(Duration::from_secs(2));
        }
        must(&mut kubectl)
    }

    /// What `kubectl get` says, as JSON.
    pub fn get<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Value {
        let all = ["get"].into_iter().chain(arguments).chain(["--output", "json"]);
        serde_json::from_str(&self.ask(all)).expect("kubectl prints JSON")
    }

    /// The same of a list: its items.
    pub fn items<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Vec<Value> {
        self.get(arguments)["items"].as_array().expect("a list has items").clone()
    }

    /// Hands an object to the API server.
    pub fn create(&self, object: &Value) {
        let mut kubectl = self.script("kubectl", ["create", "--filename", "-"]);
        let mut child = kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().expect("stdin is piped").write_all(object.to_string().as_bytes()).unwrap();
        succeeded(&kubectl, &child.wait_with_output().unwrap());
    }

    /// Runs a command on a node; its stdout.
    pub fn on<'a>(&self, node: &str, command: impl IntoIterator<Item = &'a str>) -> String {
        must(self.on_node("on", node).args(command).stdin(Stdio::null()))
    }

    /// Everything on the node dies at once, what memory had is gone, and it boots again.
    pub fn reboot(&self, node: &str) {
        must(self.on_node("reboot", node).stdin(Stdio::null()));
    }

    /// The node's /etc/cni as it is, `meta-cni`, or with the primary alone, `bare`.
    pub fn network_is(&self, node: &str, kind: &str) {
        if kind == "bare" {
            self.stop_daemon(node);
        }
        let number = node.trim_start_matches('n');
        let mut writer = Command::new(beside("networks"));
        must(writer.arg(number).arg(self.folder(node, "etc-cni")).arg(kind));
    }

    /// Ends the node's daemon, which has no config any more and so is not started again.
    pub fn stop_daemon(&self, node: &str) {
        let config = self.folder(node, "etc-cni/meta-cni/daemon.json");
        assert!(fs::remove_file(&config).is_ok() || !config.exists(), "{} stays", config.display());
        let pid = fs::read_to_string(self.folder(node, "meta-cnid.pid")).unwrap_or_default();
        let end = "is() { [ \"$(cat /proc/$0/comm 2>/dev/null)\" = meta-cnid ]; }; is || exit 0; kill -TERM $0; while is; do sleep 0.05; done";
        if !pid.is_empty() {
            self.on(node, ["sh", "-c", end, pid.trim()]);
        }
    }

    /// What the node's daemon answers on its port; nothing while it does not run.
    pub fn ask_daemon(&self, node: &str, path: &str) -> String {
        let request = format!(r"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let ask = format!("exec 3<>/dev/tcp/127.0.0.1/9913 && printf '{request}' >&3 && cat <&3 || true");
        self.on(node, ["bash", "-c", &ask])
    }

    /// A call of the node's runtime, as kubelet makes them, ready to be started.
    pub fn cri(&self, node: &str, method: &str, request: &Value) -> Command {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/build");
        let client = PathBuf::from(must(Command::new(tool).arg("cri")).trim()).join("cri");
        let mut call = Command::new(client);
        call.arg(self.folder(node, "run/containerd/containerd.sock")).args([method, &request.to_string()]);
        call
    }

    /// The cgroup in which kubelet makes those of a node's pods.
    pub fn cgroup(&self, node: &str) -> String {
        format!("/{}-{node}", self.root.file_name().expect("the folder has a name").to_string_lossy())
    }

    /// The list by which the node's runtime would give a pod its network now, as it has loaded it: name and text; both empty for none.
    pub fn loaded(&self, node: &str) -> Result<(String, String), String> {
        let output =
            self.cri(node, "Status", &serde_json::json!({"verbose": true})).output().expect("starting the CRI client");
        if !output.status.success() {
            return Err(text(&output.stderr));
        }
        let status: Value = serde_json::from_slice(&output.stdout).expect("the CRI client prints JSON");
        let config = status["info"]["cniconfig"].as_str().expect("verbose status shows the CNI config");
        let config: Value = serde_json::from_str(config).expect("the CNI config is JSON");
        let networks = config["Networks"].as_array().map_or(&[][..], Vec::as_slice);
        let lists = networks.iter().map(|network| &network["Config"]).filter(|list| list["Name"] != "cni-loopback");
        let word = |key: &str| lists.clone().filter_map(|list| list[key].as_str()).collect();
        Ok((word("Name"), word("Source")))
    }

    /// A folder of a node, seen from the host: `/var/lib/cni` is `var-lib-cni`.
    pub fn folder(&self, node: &str, name: &str) -> PathBuf {
        self.root.join(node).join(name)
    }

    /// Takes back what a test that failed has left: its pods and what it did to /etc/cni.
    pub fn reset(&self) {
        for node in NODES {
            self.network_is(node, "meta-cni");
        }
        self.kubectl(["delete", "deployments,pods", "--all", "--grace-period", "1", "--timeout", "300s"]);
    }

    /// What a person would look at first: events that warn, pods that are not there yet, the ends of all logs.
    pub fn diagnosis(&self) -> String {
        let say = |arguments: &[&str]| {
            let output = self.script("kubectl", arguments.iter().copied()).stdin(Stdio::null()).output();
            let text = output.map_or_else(|error| error.to_string(), |o| text(&o.stdout) + &text(&o.stderr));
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(30)..].join("\n")
        };
        let logs = self.script("logs", []).output().map(|output| text(&output.stdout)).unwrap_or_default();
        format!(
            "-- nodes\n{}\n-- pods that do not run\n{}\n-- events that warn\n{}\n{logs}",
            say(&["get", "nodes", "--output", "wide"]),
            say(&["get", "pods", "--all-namespaces", "--output", "wide", "--field-selector", "status.phase!=Running"]),
            say(&["get", "events", "--field-selector", "type=Warning", "--sort-by", "lastTimestamp"]),
        )
    }

    fn script<'a>(&self, operation: &str, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = script([operation.as_ref(), self.root.as_path()]);
        command.args(arguments);
        command
    }

    fn on_node(&self, operation: &str, node: &str) -> Command {
        script([operation.as_ref(), node.as_ref(), self.root.as_path()])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// Asks again until it holds; the reason why it does not is the failure.
pub fn wait_until<E: Display>(what: &str, mut holds: impl FnMut() -> Result<(), E>) {
    let start = Instant::now();
    while let Err(reason) = holds() {
        assert!(start.elapsed() < LONG, "waited {} s until {what}: {reason}", LONG.as_secs());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Runs a command that has to succeed; its stdout.
fn must(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    succeeded(command, &output);
    text(&output.stdout)
}

fn succeeded(command: &Command, output: &Output) {
    assert!(output.status.success(), "{command:?}: {} {}", text(&output.stdout), text(&output.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster").join(name)
}

fn script<'a>(arguments: impl IntoIterator<Item = &'a Path>) -> Command {
    let mut command = Command::new(beside("cluster"));
    command.args(arguments);
    command
}

/// The plugin as it is released: static, from `make build`.
fn plugin() -> PathBuf {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("x86_64-unknown-linux-musl/release/meta-cni");
    let path = std::env::var_os("META_CNI_BIN").map_or(built, PathBuf::from);
    let path = fs::canonicalize(&path).unwrap_or(path);
    assert!(path.is_file(), "the plugin is not at {}; `make build` makes it", path.display());
    path
}
