//! D12, D13, D16: pods start one after the other while the daemon ends, dies and is upgraded, and the plugin is replaced.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Daemon, EtcCni, Node, Pod, Runtime, Sandbox, on_each_runtime, wait_until};

/// How many pods start, and how long after each other.
const PODS: usize = 40;
const APART: Duration = Duration::from_millis(100);

const PRIMARY: &str = "net.d/10-primary.conflist";

on_each_runtime! {
    /// D13, D16: a pod with two networks is created every 100 ms while the daemon is restarted, killed and upgraded, and the plugin
    /// is replaced by `meta-cni install`: every pod starts, each with all its networks, and the file is not touched.
    pods_start_through_restart_kill_and_upgrade_d13_d16 => check_rollout;
    /// D12: a port of the node and limits of bandwidth are what they are without meta-cni.
    host_port_and_bandwidth_are_as_without_meta_cni_d12 => check_capabilities;
}

/// The primary with every plugin that asks the runtime for something.
fn with_bandwidth(etc: &EtcCni) {
    let mut primary = etc.primary("primary", "cni0", "10.88.0.0/24");
    let plugins = primary["plugins"].as_array_mut().expect("a list has plugins");
    plugins.push(json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}));
    etc.write(PRIMARY, &primary);
}

fn node_with_daemon(runtime: Runtime) -> Node {
    Node::start(runtime, runtime.cni_version(), |etc| {
        etc.write_daemon(&json!({}));
        with_bandwidth(etc);
        etc.write_networks();
    })
}

fn check_rollout(runtime: Runtime) {
    let node = node_with_daemon(runtime);
    let daemon = Daemon::start(&node);
    wait_until("the runtime has loaded our list", || node.network_name() == "meta-cni");
    let started = AtomicUsize::new(0);
    let file = || {
        let path = node.etc_cni.path("net.d/00-meta-cni.conflist");
        (fs::read(&path).expect("the master config"), fs::metadata(&path).expect("the master config").ino())
    };
    let first = file();
    let began = Instant::now();
    let (faults, rounds) = std::thread::scope(|scope| {
        let (node, started) = (&node, &started);
        let pods: Vec<_> = (0..PODS)
            .map(|number| {
                scope.spawn(move || {
                    std::thread::sleep(APART * u32::try_from(number).expect("a small number"));
                    // Also one that panics is no longer under way.
                    let _over = Counted(started);
                    one_pod(node, number).err().map(|why| format!("pod {number}: {why}"))
                })
            })
            .collect();
        let caller = scope.spawn(|| call_all_the_time(node, || started.load(Ordering::Relaxed) < PODS));
        let rounds = disturb(node, daemon, || started.load(Ordering::Relaxed) < PODS, || assert_eq!(file(), first));
        let faults = pods.into_iter().filter_map(|pod| pod.join().expect("a pod's thread"));
        (faults.chain(caller.join().expect("the caller's thread")).collect::<Vec<String>>(), rounds)
    });
    println!("{runtime:?}: {PODS} pods in {:.1} s through {rounds:?}", began.elapsed().as_secs_f64());
    assert!(faults.is_empty(), "{} of {PODS}: {faults:#?}", faults.len());
    assert!(rounds.iter().all(|times| *times >= 2), "too little happened meanwhile: {rounds:?}");
    assert_eq!(file(), first, "the file was touched");
    node.assert_nothing_left();
}

/// Counts when it goes.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Restarts, kills and upgrades the daemon and replaces the plugin, in turn, while `more`; how often each happened.
fn disturb(node: &Node, daemon: Daemon<'_>, more: impl Fn() -> bool, check: impl Fn()) -> [usize; 4] {
    let mut rounds = [0; 4];
    let mut daemon = Some(daemon);
    while more() {
        let running = daemon.as_ref().expect("it runs");
        wait_until("the daemon is ready", || running.is_ready());
        for (kind, times) in rounds.iter_mut().enumerate() {
            match kind {
                0 => assert_eq!(daemon.take().expect("it runs").term(), Some(0)),
                1 => daemon.take().expect("it runs").kill(),
                2 => {
                    // The new program is in place before the old one ends, as a package does it.
                    Daemon::install(node);
                    wait_until("the daemon is ready", || daemon.as_ref().is_some_and(Daemon::is_ready));
                    assert_eq!(daemon.take().expect("it runs").term(), Some(0));
                }
                _ => replace_plugin(node, *times),
            }
            check();
            daemon.get_or_insert_with(|| Daemon::start(node));
            *times += 1;
        }
    }
    rounds
}

/// libcni tries again when the plugin's file is busy; this caller does not. What went wrong.
fn call_all_the_time(node: &Node, more: impl Fn() -> bool) -> Vec<String> {
    let call = r#"for n in $(seq 50); do echo '{"cniVersion":"1.0.0"}' | CNI_COMMAND=VERSION /opt/cni/bin/meta-cni 2>&1 >/dev/null || echo "exit code $?"; done"#;
    let mut faults = BTreeSet::new();
    while more() {
        faults.extend(node.must(&["sh", "-c", call]).lines().map(str::to_owned));
    }
    faults.into_iter().collect()
}

/// Another version of the plugin, which is the same program with other bytes at its end.
fn replace_plugin(node: &Node, round: usize) {
    let (plugin, next) = (node.folder("opt-cni/bin/meta-cni"), node.folder("opt-cni/next"));
    fs::copy(&plugin, &next).expect("copying the plugin");
    let mut file = File::options().append(true).open(&next).expect("opening the next version");
    write!(file, "{round:4}").expect("changing the next version");
    drop(file);
    let install = ["/opt/cni/bin/meta-cni", "install", "--no-config", "--bin-dir", "/opt/cni/bin"];
    let said = node.must(&[&install[..], &["--source", "/opt/cni/next"]].concat());
    assert!(said.contains("/opt/cni/bin/meta-cni: replaced"), "{said}");
    assert_eq!(fs::read(&plugin).expect("the plugin"), fs::read(&next).expect("the next version"));
}

/// A pod from its start to its end; what was not as it should be.
fn one_pod(node: &Node, number: usize) -> Result<(), String> {
    let mut pod = Pod::new(&format!("pod-{number}")).networks("net-a,net-b");
    let port = u16::try_from(20_000 + number).expect("a port");
    let asks = number.is_multiple_of(6);
    if asks {
        pod = pod.host_port(port, 80).bandwidth("8M", "4M");
    }
    let pod = pod.run(node)?;
    let interfaces = pod.interfaces();
    if interfaces != ["eth0", "net1", "net2"] {
        return Err(format!("it started with {interfaces:?}"));
    }
    if asks && !maps(node, &pod, port) {
        return Err(format!("nothing leads from port {port} to {}", pod.ip));
    }
    if asks && !is_limited(&limits(node, &pod)) {
        return Err("it has no limit of bandwidth".to_owned());
    }
    pod.delete();
    Ok(())
}

/// Whether a rule of the node leads from its port to the pod.
fn maps(node: &Node, pod: &Sandbox<'_>, port: u16) -> bool {
    let rules = node.must(&["nft", "list", "ruleset"]);
    let to = format!("{}:80", pod.address("eth0"));
    rules.lines().any(|line| line.contains(&format!("dport {port}")) && line.contains(&to))
}

/// What the bandwidth plugin does: the queues of the node's end of the pod's interface, and their rates in bytes a second.
fn limits(node: &Node, pod: &Sandbox<'_>) -> Vec<(String, u64)> {
    let json = |bytes: &[u8]| serde_json::from_slice::<Vec<Value>>(bytes).expect("ip and tc print JSON");
    let inside = json(&pod.run(&["ip", "-json", "link", "show", "eth0"]).stdout);
    let links = json(node.must(&["ip", "-json", "link"]).as_bytes());
    let peer = links.iter().find(|link| link["ifindex"] == inside[0]["link_index"]).expect("the other end of eth0");
    let queues =
        json(node.must(&["tc", "-json", "qdisc", "show", "dev", peer["ifname"].as_str().expect("a name")]).as_bytes());
    let one = |queue: &Value| (queue["kind"].to_string(), queue["options"]["rate"].as_u64().unwrap_or_default());
    queues.iter().map(one).collect()
}

/// 8 Mbit/s to the pod, as was asked for.
fn is_limited(limits: &[(String, u64)]) -> bool {
    limits.contains(&("\"tbf\"".to_owned(), 1_000_000))
}

fn check_capabilities(runtime: Runtime) {
    let node = node_with_daemon(runtime);
    let seen = |with: &str| {
        let pod = Pod::new(with).host_port(8080, 80).bandwidth("8M", "4M").run(&node).expect("starting a pod");
        assert_eq!(pod.interfaces(), ["eth0"]);
        let netns = format!("--net={}", pod.netns);
        node.must(&["sh", "-c", &format!("nsenter {netns} busybox nc -l -p 80 -e echo {with} >/dev/null 2>&1 &")]);
        let client =
            "for try in 1 2 3 4 5; do busybox nc -w 2 10.88.0.1 8080 </dev/null && exit; sleep 0.1; done; exit 1";
        assert_eq!(node.must(&["sh", "-c", client]).trim(), with);
        let limits = limits(&node, &pod);
        pod.delete();
        node.assert_nothing_left();
        limits
    };
    wait_until("the runtime has loaded the bare primary", || node.network_name() == "primary");
    let bare = seen("bare");
    assert!(is_limited(&bare), "{bare:?}");
    let daemon = Daemon::start(&node);
    wait_until("the runtime has loaded our list", || node.network_name() == "meta-cni");
    assert_eq!(seen("meta-cni"), bare);
    // What nobody knows yet is asked for just so, and given to the plugin that asks for it.
    let master: Value = serde_json::from_str(&node.etc_cni.master().expect("a master config")).expect("JSON");
    let asked = &master["plugins"][0]["capabilities"];
    assert_eq!(asked, &json!({"io.kubernetes.cri.pod-annotations": true, "portMappings": true, "bandwidth": true}));
    assert!(daemon.is_ready());
}
