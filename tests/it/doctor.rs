//! G3, D15: `meta-cni status` says how a node is: each thing in a line, each wrong one with what to do, the exit code for programs.

use crate::harness::{Node, Sandbox, boot_seconds, files_below, plugin_under_test};
use crate::ready::Hanging;
use crate::scene::*;
use crate::sweep::{entry_path, gone, loud};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// However busy the machine is; what waits for something that hangs is not back by then.
const BEFORE: Duration = Duration::from_secs(60);

/// Puts the node's master config where a runtime would read it.
fn installed(node: &Node) {
    let mut plugin = node.master_config();
    plugin.as_object_mut().unwrap().remove("cniVersion");
    plugin.as_object_mut().unwrap().remove("name");
    let versions = json!(["1.0.0", "1.1.0"]);
    let list = json!({ "cniVersion": "1.0.0", "cniVersions": versions, "name": "meta-cni", "plugins": [plugin] });
    node.write("conf/00-meta-cni.conflist", &list.to_string());
}

/// A node whose master config is in place.
fn node() -> Node {
    let node = node_with(&json!({}));
    installed(&node);
    node
}

fn command(node: &Node, args: &[&str]) -> Command {
    let mut command = Command::new(plugin_under_test());
    command.env_clear().env("CNI_PATH", node.plugins()).arg("status");
    command.arg("--config").arg(node.conf().join("00-meta-cni.conflist")).args(args);
    command.stdin(Stdio::null());
    command
}

fn run(node: &Node, args: &[&str]) -> Output {
    let began = Instant::now();
    let output = command(node, args).output().unwrap();
    assert!(began.elapsed() < BEFORE, "it waited for something: {:?}", began.elapsed());
    output
}

/// What it said of one node.
struct Said {
    lines: Vec<Value>,
    exit: i32,
}

#[track_caller]
fn said(node: &Node) -> Said {
    let before = contents(node);
    let output = run(node, &["--output", "json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {output:?}"));
    assert_eq!(before, contents(node), "it wrote something");
    let exit = output.status.code().unwrap();
    assert_eq!(report["exit"], exit);
    let lines = report["lines"].as_array().unwrap().clone();
    for line in lines.iter().filter(|line| line["state"] == "wrong") {
        assert!(line["remedy"].as_str().is_some_and(|remedy| remedy.len() > 5), "no remedy: {line}");
    }
    Said { lines, exit }
}

impl Said {
    /// There is a line about this, in this state, that says all of these.
    #[track_caller]
    fn has(&self, about: &str, state: &str, words: &[&str]) -> &Self {
        let of = |line: &&Value| line["about"] == about && line["state"] == state;
        let says = |line: &Value| {
            format!("{}; {}", line["says"].as_str().unwrap(), line["remedy"].as_str().unwrap_or_default())
        };
        let found = self.lines.iter().filter(of).any(|line| words.iter().all(|word| says(line).contains(word)));
        assert!(found, "no line about {about:?}, {state}, with {words:?}:\n{}", self.text());
        self
    }

    #[track_caller]
    fn ends(&self, exit: i32) {
        assert_eq!(self.exit, exit, "{}", self.text());
    }

    fn text(&self) -> String {
        let text: Vec<String> = self.lines.iter().map(Value::to_string).collect();
        text.join("\n")
    }
}

/// Every file of state, and when it was last written.
fn contents(node: &Node) -> Vec<(std::path::PathBuf, std::time::SystemTime)> {
    let dirs = [node.state(), node.run_dir(), node.conf(), node.networks()];
    let files = dirs.iter().flat_map(|dir| files_below(dir));
    files.map(|path| (path.clone(), std::fs::symlink_metadata(&path).unwrap().modified().unwrap())).collect()
}

/// The text for people, without what is another on each run.
fn human(node: &Node) -> (String, i32) {
    let output = run(node, &[]);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap().replace(node.root().to_str().unwrap(), "NODE");
    (timeless(&text), output.status.code().unwrap())
}

/// `text` with N for spans of time in seconds, and for ports that the kernel chose.
fn timeless(text: &str) -> String {
    let word = |word: &str, next: Option<&&str>| {
        let bare = word.trim_start_matches('(');
        let is_span = bare.parse::<u64>().is_ok() && next.is_some_and(|next| next.trim_end_matches([',', ':']) == "s");
        match word.find("127.0.0.1:").map(|at| &word[at + 10..]) {
            _ if is_span => word.replace(bare, "N"),
            Some(port) if port.trim_end_matches([')', ':']).len() > 1 => {
                word.replace(port.trim_end_matches([')', ':']), "N")
            }
            _ => word.to_owned(),
        }
    };
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let words: Vec<String> = (0..words.len()).map(|at| word(words[at], words.get(at + 1))).collect();
        words.join(" ") + "\n"
    };
    text.lines().map(line).collect()
}

#[track_caller]
fn is_golden(text: &str, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden").join(name);
    if std::env::var_os("META_CNI_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{}: META_CNI_GOLDEN=1 writes it anew", path.display());
}

/// A server that answers every GET like this, as a daemon would; its address is in the node's `runDir`.
fn daemon(node: &Node, status: &'static str, ready: &'static str, metrics: &'static str) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    node.write("run/meta-cnid.health", &format!("{}\n", listener.local_addr().unwrap()));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut asked = [0; 1024];
            let count = stream.read(&mut asked).unwrap_or(0);
            let asked_metrics = String::from_utf8_lossy(&asked[..count]).starts_with("GET /metrics");
            let (status, body) = if asked_metrics { ("200 OK", metrics) } else { (status, ready) };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\n\r\n{body}");
        }
    });
}

pub fn view(node: &Node, over: &Value) {
    let token = std::fs::read_to_string(node.run_dir().join("epoch")).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let mut view = json!({ "version": 1, "epoch": format!("{}:{token}", boot.trim()), "time": "2026-01-01T00:00:00Z",
        "boot": boot_seconds(), "socket": "/x", "runtime": "containerd", "runtimeVersion": "2.4.2", "networkReady": true,
        "reason": "", "message": "", "confDir": node.conf(), "binDirs": [node.plugins()], "network": "meta-cni",
        "loadError": null, "later": [] });
    for (key, value) in over.as_object().unwrap() {
        view[key] = value.clone();
    }
    node.write("run/runtime.json", &view.to_string());
}

#[test]
fn g3_a_healthy_node_in_one_screen() {
    let node = node();
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    node.nad("default", "net-a", &scripted("net-a", "extra", &json!({})));
    daemon(&node, "200 OK", "ok\n", "meta_cni_master_config_fight 0\n");
    view(&node, &json!({}));
    let (text, exit) = human(&node);
    assert_eq!(exit, 0, "{text}");
    is_golden(&text, "status-healthy.txt");
    said(&node).has("pods", "ok", &["can be started"]).ends(0);
}

#[test]
fn g3_a_broken_node_says_each_thing_with_its_remedy() {
    let node = loud(&json!({}));
    let dead = gone(&node);
    node.master(&json!({ "readinessindicatorfile": node.root().join("indicator"), "AddBudget": "x" }));
    installed(&node);
    node.nad("default", "net-a", &scripted("net-a", "extra", &json!({})));
    std::fs::remove_file(node.plugins().join("extra")).unwrap();
    node.manifest("default", "net-b.yaml", "kind: [");
    node.write("conf/05-multus.conf", r#"{"name":"m","type":"multus","delegates":[{"type":"multus","delegates":[]}]}"#);
    node.write("conf/10-primary.conflist", "{");
    node.write("run/meta-cnid.health", "127.0.0.1:1\n");
    node.write("run/removing", "");
    node.write("state/quarantine/c1.eth0.123", "x");
    node.write("state/quarantine/c1.eth0.123.reason", "it is torn\nand more\n");
    node.write("state/attachments/c2/eth0.json", "{");
    let (text, exit) = human(&node);
    assert_eq!(exit, 1, "{text}");
    let text = text.lines().map(|line| line.replace(&dead.id, "SANDBOX") + "\n").collect::<String>();
    is_golden(&text, "status-broken.txt");
    said(&node).ends(1);
}

#[test]
fn g3_nothing_at_all_is_there() {
    let node = Node::new();
    for dir in ["conf", "state", "run", "networks", "delegates"] {
        std::fs::remove_dir_all(node.root().join(dir)).unwrap();
    }
    let at = |name: &str| node.root().join(name).display().to_string();
    let output = run(&node, &["--state-dir", &at("state"), "--run-dir", &at("run")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for words in [
        "WRONG   master config: ",
        "does not exist",
        "`meta-cni install`",
        "note    daemon: none",
        "can be the primary",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!Path::new(&at("run")).exists() && !Path::new(&at("state")).exists(), "it made something");
}

#[test]
fn g3_the_daemon_is_asked_and_what_it_says_is_shown() {
    let node = node();
    said(&node).has("daemon", "note", &["none"]).ends(0);
    for (status, ready, metrics, state, words) in [
        ("200 OK", "ok\n", "", "ok", "keeps the master config right"),
        ("503 No", "one thing\nanother\n", "", "wrong", "says: another"),
        ("503 No", "", "", "wrong", "does not say why"),
        ("200 OK", "ok\n", "# x\nmeta_cni_master_config_fight 1\n", "wrong", "again and again"),
        ("nonsense", "", "", "wrong", "not HTTP"),
    ] {
        daemon(&node, status, ready, metrics);
        said(&node).has("daemon", state, &[words]).ends(i32::from(state == "wrong"));
    }
    // Who is known to do it is named.
    daemon(&node, "200 OK", "ok\n", "meta_cni_master_config_fight 1\n");
    std::fs::copy(node.conf().join("00-meta-cni.conflist"), node.conf().join("00-meta-cni.conflist.cilium_bak"))
        .unwrap();
    said(&node).has("daemon", "wrong", &["cni.exclusive"]).has(
        "leftovers",
        "wrong",
        &["cilium_bak", "`meta-cni repair`"],
    );
    // One that has ended, and one that hangs.
    node.write("run/meta-cnid.health", "127.0.0.1:1\n");
    said(&node).has("daemon", "wrong", &["nobody answers at 127.0.0.1:1", "systemctl"]).ends(1);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    node.write("run/meta-cnid.health", &silent.local_addr().unwrap().to_string());
    said(&node).has("daemon", "wrong", &["nobody answers"]).ends(1);
    node.write("run/meta-cnid.health", "no address");
    said(&node).has("daemon", "wrong", &["holds no address", "restart meta-cnid"]);
}

#[test]
fn g3_candidates_and_the_choice_with_its_reason() {
    let node = node();
    node.write("conf/20-calico.conflist", r#"{"cniVersion":"1.0.0","name":"k","plugins":[{"type":"calico"}]}"#);
    node.write("conf/30-b.conf", r#"{"cniVersion":"1.0.0","name":"b","type":"bridge"}"#);
    node.write("conf/87-podman.conflist", r#"{"cniVersion":"1.0.0","name":"podman","plugins":[{"type":"bridge"}]}"#);
    node.write("conf/torn.conf", "{");
    let pinned = said(&node);
    pinned.has("candidate", "ok", &["10-primary.conflist: chosen", "\"clusterNetwork\" names it", "no profile"]);
    pinned.has("candidate", "note", &["20-calico.conflist: candidate", "the master config names another"]);
    pinned.has("candidate", "note", &["30-b.conf: candidate: another file comes first"]);
    pinned.has("candidate", "note", &["87-podman.conflist: refused: ", "podman"]);
    pinned.has("candidate", "note", &["torn.conf: refused: ", "JSON"]).ends(0);
    // By directory it is the known one; which is not ready.
    node.master(&json!({ "clusterNetwork": node.conf() }));
    installed(&node);
    let best = said(&node);
    best.has("candidate", "ok", &["20-calico.conflist: chosen", "of a known kind", "profile \"calico\""]);
    best.has("ready", "wrong", &["/var/lib/calico/nodename", "refuses every pod"]);
    best.has("pods", "wrong", &["network \"k\" is not ready"]).ends(1);
    for file in ["20-calico.conflist", "30-b.conf", "10-primary.conflist"] {
        std::fs::remove_file(node.conf().join(file)).unwrap();
    }
    said(&node)
        .has("candidate", "wrong", &["no file of", "can be the primary"])
        .has("primary", "wrong", &["torn.conf"])
        .ends(1);
    // One that is named and not there.
    node.master(&json!({ "clusterNetwork": node.conf().join("11-x.conf") }));
    installed(&node);
    said(&node).has("candidate", "wrong", &["11-x.conf: not there"]).ends(1);
}

#[test]
fn g3_d8_the_last_good_primary() {
    let node = node();
    said(&node).has("last good primary", "note", &["none is kept"]).ends(0);
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    said(&node).has("last good primary", "ok", &["is the current one"]).ends(0);
    node.write("conf/10-primary.conflist", &scripted("newer", "main", &json!({})).to_string());
    said(&node).has("last good primary", "note", &["is not the current one"]).ends(0);
    node.write("conf/10-primary.conflist", "{");
    let torn = said(&node);
    torn.has("primary", "wrong", &["the last good one is", "network \"cluster\""])
        .has("pods", "ok", &["can be started"])
        .ends(1);
}

#[test]
fn g3_d15_the_runtimes_own_view_and_a_watch_that_is_lost() {
    let node = node();
    said(&node).has("runtime", "unknown", &["no daemon has asked it"]).ends(0);
    // The epoch is made by a call.
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    for (over, state, words) in [
        (json!({}), "ok", vec!["containerd 2.4.2 has loaded network \"meta-cni\""]),
        (
            json!({ "network": null, "networkReady": false }),
            "wrong",
            vec!["has loaded network none", "its watch of the directory is lost: restart it"],
        ),
        (json!({ "network": "cbr0" }), "wrong", vec!["has loaded network \"cbr0\"", "restart it"]),
        (json!({ "network": null, "loadError": "no plugins" }), "wrong", vec!["(no plugins)", "restart it"]),
        (
            json!({ "confDir": "/etc/elsewhere" }),
            "wrong",
            vec!["reads /etc/elsewhere", "`meta-cni install --conf-dir /etc/elsewhere`"],
        ),
        (json!({ "networkReady": false, "message": "agent" }), "wrong", vec!["the network is not ready: agent"]),
        (json!({ "boot": boot_seconds().saturating_sub(100) }), "unknown", vec!["last asked 10"]),
        (json!({ "boot": boot_seconds() + 1000 }), "unknown", vec!["last asked"]),
        (json!({ "epoch": "other:00" }), "unknown", vec!["before this node started"]),
        (json!({ "boot": "soon" }), "unknown", vec!["is no view of a runtime"]),
    ] {
        view(&node, &over);
        said(&node).has("runtime", state, &words).ends(i32::from(state == "wrong"));
    }
}

#[test]
fn g3_networks_the_snapshot_and_executables() {
    let node = node();
    let (snapshot, other) = (node.state().join("networks"), node.networks());
    said(&node).has("snapshot", "note", &["none in use"]);
    node.master(&json!({ "networkDirs": [snapshot, other], "defaultNetworks": ["everywhere"] }));
    installed(&node);
    node.nad("kube-system", "everywhere", &scripted("everywhere", "extra-e", &json!({})));
    said(&node).has("snapshot", "wrong", &["not synced"]).ends(1);
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    let token = std::fs::read_to_string(node.run_dir().join("epoch")).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let marker = |epoch: &str| {
        node.write("state/networks/.synced", &json!({ "revision": "42", "time": "T", "epoch": epoch }).to_string())
    };
    marker(&format!("{}:{token}", boot.trim()));
    said(&node).has("snapshot", "ok", &["synced at T, revision 42"]).ends(0);
    marker("another");
    said(&node).has("snapshot", "wrong", &["from before this node started"]);
    node.write("state/networks/.synced", "[");
    said(&node).has("snapshot", "wrong", &["is no marker"]);
    // The same manifest twice.
    let taken = node.networks().join("kube-system/everywhere.json");
    std::fs::create_dir_all(snapshot.join("kube-system")).unwrap();
    std::fs::copy(&taken, snapshot.join("kube-system/everywhere.json")).unwrap();
    let hides =
        format!("{} is taken, and hides {}", snapshot.join("kube-system/everywhere.json").display(), taken.display());
    said(&node).has("networks", "note", &[&hides]);
    // Executables: of the primary, of every pod, of a manifest; missing and not executable.
    node.nad("default", "net-a", &scripted("net-a", "extra-a", &json!({})));
    node.manifest("default", "bad.json", "{");
    for plugin in ["main", "extra-e", "extra-a"] {
        std::fs::remove_file(node.plugins().join(plugin)).unwrap();
    }
    node.write("plugins/extra-a", "");
    let missing = said(&node);
    missing.has("plugins", "wrong", &["plugin main is not in", "needed by \"cluster\"", "install it there"]);
    missing.has("plugins", "wrong", &["plugin extra-e", "\"kube-system/everywhere\""]);
    missing.has("plugins", "wrong", &["extra-a is not an executable file", "\"default/net-a\""]);
    missing.has("networks", "wrong", &["default/bad"]).has("pods", "wrong", &["main"]).ends(1);
}

#[test]
fn g3_what_is_to_be_done_again_what_was_put_aside_and_what_is_stale() {
    let node = loud(&json!({ "DEL": { "error": { "code": 42, "msg": "agent is away" } } }));
    installed(&node);
    said(&node)
        .has("records", "ok", &["0 attachments live"])
        .has("queue", "ok", &["empty"])
        .has("quarantine", "ok", &["empty"])
        .ends(0);
    let live = Sandbox::new();
    succeeded(&node.call("ADD", &live).run());
    let dead = gone(&node);
    let stale = said(&node);
    stale.has("records", "ok", &["1 attachments live, 1 stale, 0 damaged"]);
    stale.has("records", "wrong", &[&dead.id, "eth0", "its sandbox is gone", "`meta-cni gc`"]).ends(1);
    // No sweep comes in between, however slow the machine is.
    let sweeping = std::fs::File::create(node.run_dir().join("sweeping")).unwrap();
    fs2::FileExt::lock_exclusive(&sweeping).unwrap();
    refused(&node.call("DEL", &dead).run(), 42);
    said(&node).has("queue", "wrong", &[&dead.id, "eth0 failed 1 times, due ", "agent is away"]);
    std::fs::write(entry_path(&node, &dead, "eth0"), "{").unwrap();
    said(&node).has("queue", "wrong", &["due now"]);
    node.write("state/attachments/c2/eth0.json", "{");
    node.write("state/quarantine/c1.eth0.1", "x");
    node.write("state/quarantine/c1.eth0.1.reason", "eth0.json is torn\nwhat may be left\n");
    let aside = said(&node);
    aside.has("records", "wrong", &["damaged: ", "c2/eth0.json"]);
    aside.has("quarantine", "wrong", &["c1.eth0.1: eth0.json is torn", "then remove it"]);
}

#[test]
fn g3_the_sweep_and_calls_under_way() {
    let node = node_with(&json!({ "ADD": { "sleep_ms": HANGS_MS } }));
    installed(&node);
    let at = |seconds: i64| {
        let sweep = std::fs::File::create(node.run_dir().join("sweep")).unwrap();
        let when = u64::try_from(i64::try_from(boot_seconds()).unwrap() + seconds).unwrap();
        sweep.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(when)).unwrap();
    };
    at(500);
    said(&node).has("sweep", "ok", &["due in ", "last time "]).has("calls", "ok", &["no ADD under way"]).ends(0);
    at(-5);
    said(&node).has("sweep", "ok", &["due now"]).ends(0);
    std::fs::remove_file(node.run_dir().join("sweep")).unwrap();
    said(&node).has("sweep", "note", &["due now: none was since this node started"]).ends(0);
    at(3000);
    let sandbox = Sandbox::new();
    let mut add = node.call("ADD", &sandbox).start();
    let delegate = first_call(&node, "ADD").pid;
    let sweeping = std::fs::File::create(node.run_dir().join("sweeping")).unwrap();
    let busy = said(&node);
    busy.has("calls", "ok", &["1 ADDs under way"])
        .has("sweep", "ok", &[&format!("process {} has been", std::process::id())])
        .ends(0);
    node.master(&json!({ "sweepInterval": "1ms" }));
    installed(&node);
    let mine = || run(&node, &[]).status.code() == Some(1);
    eventually("a sweep that takes too long", || mine().then_some(()));
    said(&node).has("sweep", "wrong", &["nothing else is swept", "if it is stuck, end it"]).ends(1);
    drop(sweeping);
    add.kill();
    kill(delegate);
}

#[test]
fn g3_files_that_are_hostile_are_lines_and_nothing_hangs() {
    let node = node();
    let fifo = |path: &str| {
        let path = node.root().join(path);
        let _ = std::fs::remove_file(&path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    };
    for path in [
        "run/runtime.json",
        "run/meta-cnid.health",
        "run/epoch",
        "run/adding",
        "run/sweep",
        "run/sweeping",
        "state/primary.json",
        "state/master.json",
        "state/attachments/c1/eth0.json",
        "state/queue/c1/eth0.json",
        "state/quarantine/c1.eth0.1.reason",
        "state/networks/.synced",
        "networks/default/net-a.json",
        "delegates/x.json",
        "conf/30-x.conf",
    ] {
        fifo(path);
    }
    std::fs::write(node.state().join("quarantine/c1.eth0.1"), "").unwrap();
    std::os::unix::fs::symlink("/nowhere", node.conf().join("40-x.conf")).unwrap();
    std::fs::File::create(node.conf().join("50-x.conf")).unwrap().set_len(64 << 20).unwrap();
    std::fs::write(node.conf().join("60-\u{1b}[2J.conf"), "{").unwrap();
    let hostile = said(&node);
    hostile.has("candidate", "note", &["30-x.conf: refused", "no regular file"]).has(
        "candidate",
        "note",
        &["50-x.conf: refused", "larger than"],
    );
    hostile.has("daemon", "wrong", &["meta-cnid.health", "restart meta-cnid"]).has("networks", "wrong", &["net-a"]);
    hostile.has("profile", "wrong", &["delegates/x.json", "correct it"]).ends(1);
    let text = run(&node, &[]).stdout;
    assert!(!text.contains(&0x1b), "what steers a terminal is shown, not sent");
    fifo("conf/00-meta-cni.conflist");
    said(&node).has("master config", "wrong", &["no regular file"]).ends(1);
}

#[test]
fn g3_what_cannot_be_looked_at_is_told_by_the_exit_code() {
    let node = node();
    // Nothing is a directory of it, for root too.
    for place in ["attachments", "queue", "quarantine"] {
        node.write(&format!("state/{place}"), "");
    }
    let unseen = said(&node);
    for about in ["records", "queue", "quarantine"] {
        unseen.has(about, "unseen", &["cannot list"]);
    }
    unseen.ends(3);
    // What is surely wrong counts more.
    node.write("run/meta-cnid.health", "127.0.0.1:1");
    said(&node).ends(1);
}

#[test]
fn g3_a_disk_that_hangs_is_said_after_what_could_be_seen() {
    crate::kernel::isolated(|_| {
        let node = node();
        let elsewhere = node.write("elsewhere/10-x.conf", "{}");
        node.master(&json!({ "clusterNetwork": elsewhere }));
        installed(&node);
        let hanging = Hanging::over(elsewhere.parent().unwrap());
        let output = run(&node, &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(
            text.contains("ok      master config: ") && text.contains("unseen  primary: could not be looked at within"),
            "{text}"
        );
        drop(hanging);
        let _hanging = Hanging::over(&node.conf());
        let output = run(&node, &[]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(3) && error.contains("the master config could not be looked at within"),
            "{error}"
        );
    });
}

#[test]
fn g3_who_may_not_look_is_told_so_and_nothing_else() {
    use std::os::unix::process::CommandExt as _;
    let node = node();
    std::fs::set_permissions(node.conf(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let output = command(&node, &[]).uid(65534).gid(65534).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.stdout.is_empty() && error.contains("Permission denied") && error.contains("run it as root"),
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn g3_a_cleanup_that_was_ended_halfway() {
    let node = node();
    node.write("run/removing", "");
    said(&node).has("master config", "wrong", &["a cleanup has begun", "`meta-cni install`"]).ends(1);
}

#[test]
fn g3_a_readiness_indicator_and_signs() {
    let node = node();
    let indicator = node.root().join("indicator");
    node.master(&json!({ "readinessindicatorfile": indicator }));
    installed(&node);
    said(&node)
        .has("ready", "wrong", &["\"readinessindicatorfile\""])
        .has("pods", "wrong", &["is not there yet"])
        .ends(1);
    std::fs::write(&indicator, "").unwrap();
    said(&node).has("ready", "ok", &["is there"]).ends(0);
    let (here, away) = (node.write("here", ""), node.root().join("away.sock"));
    let ready = json!({ "needs": [{ "path": here }], "awaits": [{ "path": away }] });
    node.write(
        "delegates/mine.json",
        &json!({ "name": "mine", "match": { "plugin_type_any": ["main"] }, "ready": ready }).to_string(),
    );
    let signs = said(&node);
    signs.has("ready", "ok", &["here of profile \"mine\" is there"]).has(
        "ready",
        "wrong",
        &["away.sock", "its agent does not serve"],
    );
    // A pod is tried all the same.
    signs.has("pods", "ok", &["can be started"]).ends(1);
}
