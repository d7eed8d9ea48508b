//! What several topics need: configurations, verdicts on an answer, waiting for what another process does, and nodes
//! whose delegates are the real bridge and host-local.

use crate::harness::{Node, Output, Recorded, Sandbox, files_below};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the real plugins are, in the order they are looked for.
const REAL_PLUGINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Where host-local keeps its leases.
const LEASES: &str = "/var/lib/cni/networks";

/// A list of one plugin with a script.
pub fn scripted(name: &str, kind: &str, script: &Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": name, "plugins": [{ "type": kind, "script": script }] })
}

/// A node whose primary is the plugin `main` with this script.
pub fn node_with(script: &Value) -> Node {
    let node = Node::new();
    node.primary(&scripted("cluster", "main", script));
    node
}

/// The error that the call answered with.
#[track_caller]
pub fn refused(output: &Output, code: u64) -> Value {
    assert_eq!(output.signal, None, "died instead of answering: {output:?}");
    let answer: Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("no error ({error}): {output:?}"));
    assert_eq!(answer["code"], code, "{output:?}");
    assert_ne!(output.exit, Some(0), "{output:?}");
    answer
}

#[track_caller]
pub fn succeeded(output: &Output) {
    assert_eq!(output.exit, Some(0), "{output:?}");
}

/// What is waited for comes within this, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a delegate, or what it started, hangs where the test is that it is ended: longer than the test waits for its end.
pub const HANGS_MS: u64 = 600_000;

/// How often something is measured on a machine that has other things to do.
const ATTEMPTS: usize = 8;

/// What `question` answers, asked until it does.
#[track_caller]
pub fn eventually<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(answer) = question() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{what}: not within {PATIENCE:?}");
}

/// Fails if none of a few `attempts` takes less than `most`. A busy machine makes some of them late; who waits for the wrong thing
/// is late each time.
#[track_caller]
pub fn within(most: Duration, what: &str, mut attempt: impl FnMut() -> Duration) {
    let mut taken = Vec::new();
    for _ in 0..ATTEMPTS {
        taken.push(attempt());
        if taken.last() < Some(&most) {
            return;
        }
    }
    panic!("{what}: never within {most:?}: {taken:?}");
}

/// The first call of `operation` that delegates remember.
#[track_caller]
pub fn first_call(node: &Node, operation: &str) -> Recorded {
    eventually(&format!("a delegate's {operation}"), || node.calls_of(operation).into_iter().next())
}

/// The grandchild that a delegate said it started.
#[track_caller]
pub fn grandchild(node: &Node) -> u64 {
    eventually("a grandchild", || node.calls().into_iter().find_map(|call| call.grandchild))
}

/// True if a process of this ID runs: there, and no zombie.
pub fn runs(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Fails when a process of this ID, which would run on for [`HANGS_MS`], does not end: one that was killed takes a moment to go.
#[track_caller]
pub fn ended(pid: u64) {
    eventually(&format!("the end of process {pid}"), || (!runs(pid)).then_some(()));
}

/// What `run` gives while the plugin `kind` of the node is nowhere, as an installer has it for a moment.
pub fn while_away<T>(node: &Node, kind: &str, run: impl FnOnce() -> T) -> T {
    let (plugin, away) = (node.plugins().join(kind), node.root().join("away"));
    std::fs::rename(&plugin, &away).unwrap();
    let done = run();
    std::fs::rename(&away, &plugin).unwrap();
    done
}

/// SIGKILL to a process that the test, or a plugin of it, started.
pub fn kill(pid: u64) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    // It may have ended by itself.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}

/// Files and directories below the node's state and run directories that speak of the sandbox.
pub fn left_of(node: &Node, sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut left = [files_below(&node.state()), files_below(&node.run_dir())].concat();
    left.retain(|path| path.to_string_lossy().contains(&sandbox.id));
    let empty = ["attachments", "queue"].map(|dir| node.state().join(dir).join(&sandbox.id));
    left.extend(empty.into_iter().filter(|dir| dir.exists() && files_below(dir).is_empty()));
    left
}

#[track_caller]
pub fn nothing_left(node: &Node, sandbox: &Sandbox) {
    assert_eq!(left_of(node, sandbox), Vec::<PathBuf>::new(), "left behind");
}

/// The file of a record.
pub fn record_path(node: &Node, sandbox: &Sandbox, ifname: &str) -> PathBuf {
    node.state().join("attachments").join(&sandbox.id).join(format!("{ifname}.json"))
}

/// The content of a record, without its envelope.
#[track_caller]
pub fn record(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut texts = text.split('\u{1e}').map(|text| serde_json::from_str::<Value>(text).unwrap()["record"].clone());
    let mut record = texts.next().unwrap();
    for outcome in texts {
        record["state"] = outcome["state"].clone();
        record["result"] = outcome["result"].clone();
    }
    record
}

/// The lock file of a sandbox.
pub fn lock_path(node: &Node, sandbox: &Sandbox) -> PathBuf {
    node.run_dir().join("sandboxes").join(format!("{}.lock", sandbox.id))
}

/// Now, in clock ticks since boot, as processes are marked.
pub fn ticks() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let (seconds, rest) = uptime.split_once('.').unwrap();
    seconds.parse::<u64>().unwrap() * 100 + rest[..2].parse::<u64>().unwrap()
}

/// Puts the real plugins `kinds` where the node finds them. Only for tests in namespaces of their own.
pub fn install_real(node: &Node, kinds: &[&str]) {
    for kind in kinds {
        let real = REAL_PLUGINS.iter().map(|dir| Path::new(dir).join(kind)).find(|path| path.exists());
        let real =
            real.unwrap_or_else(|| panic!("no plugin {kind} in {REAL_PLUGINS:?}: install containernetworking-plugins"));
        std::os::unix::fs::symlink(real, node.plugins().join(kind)).unwrap();
    }
}

/// A list of the real bridge with host-local; each number its own bridge and subnet.
pub fn bridge(name: &str, number: u8) -> Value {
    json!({ "cniVersion": "1.0.0", "name": name, "plugins": [{
        "type": "bridge", "bridge": format!("br{number}"), "isGateway": true,
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": format!("10.77.{number}.0/24") }]] },
    }] })
}

/// A node whose primary is the real bridge `br1` with host-local, in the calling thread's own namespaces.
pub fn real_node() -> Node {
    let node = Node::new();
    install_real(&node, &["bridge", "host-local"]);
    node.write("conf/10-primary.conflist", &bridge("cluster", 1).to_string());
    node
}

/// Leases of host-local in the calling thread's mount namespace: `network/address`.
pub fn leases() -> Vec<String> {
    let all = files_below(Path::new(LEASES));
    let names = all.iter().filter_map(|path| path.strip_prefix(LEASES).ok()?.to_str().map(str::to_owned));
    names.filter(|name| name.rsplit('/').next().is_some_and(|file| file.parse::<std::net::IpAddr>().is_ok())).collect()
}

/// The host's veths: one for each interface that a bridge gave.
pub fn host_veths() -> Vec<String> {
    let text = crate::kernel::ip(&["-json", "link", "show", "type", "veth"]);
    let links: Vec<Value> = if text.trim().is_empty() { Vec::new() } else { serde_json::from_str(&text).unwrap() };
    links.iter().filter_map(|link| link["ifname"].as_str().map(str::to_owned)).collect()
}

/// A kernel setting as it is in a namespace: `net/ipv4/conf/eth0/arp_filter`.
pub fn sysctl(netns: &Path, key: &str) -> String {
    let mut nsenter = std::process::Command::new("nsenter");
    let output = nsenter.arg(format!("--net={}", netns.display())).args(["cat", &format!("/proc/sys/{key}")]).output();
    let output = output.expect("this test needs the program `nsenter` (Debian package util-linux)");
    assert!(output.status.success(), "{key}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
