//! D13: `meta-cni cleanup`. What lives is deleted by the bare primary and libcni's cache afterwards, or stands against it; killed at
//! any point, the next one ends clean.

use crate::harness::{Node, Sandbox, files_below, plugin_under_test};
use crate::install::command;
use crate::kernel::{Node as Kernel, ip_in, isolated};
use crate::scene::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// libcni's cache.
const CACHE: &str = "/var/lib/cni/results";

/// A node with meta-cni installed, whose primary is the real bridge, and a network `extra` of another bridge.
fn node() -> Node {
    let node = real_node();
    node.nad_text("default", "extra", &bridge("extra", 2).to_string());
    let places = [node.plugins(), node.conf()].map(|dir| dir.to_str().unwrap().to_owned());
    assert_eq!(command(&node, &["install", "--no-config", "--bin-dir", &places[0], "--conf-dir", &places[1]]).0, 0);
    let list = json!({ "cniVersion": "1.0.0", "name": "meta-cni", "plugins": [node.master_config()] });
    node.write("conf/00-meta-cni.conflist", &list.to_string());
    node
}

/// A running pod, and its namespace.
fn pod(kernel: &Kernel, node: &Node, networks: Option<&str>) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let netns = kernel.netns(&sandbox.id);
    let call = node.call("ADD", &sandbox).env("CNI_NETNS", netns.to_str().unwrap());
    let call = match networks {
        Some(networks) => call.networks(networks),
        None => call,
    };
    succeeded(&call.run());
    // What libcni keeps for the runtime.
    std::fs::create_dir_all(CACHE).unwrap();
    std::fs::write(format!("{CACHE}/meta-cni-{}-eth0", sandbox.id), "{}").unwrap();
    (sandbox, netns)
}

fn places(node: &Node) -> [String; 4] {
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    ["--bin-dir".to_owned(), text(node.plugins()), "--conf-dir".to_owned(), text(node.conf())]
}

fn cleanup(node: &Node, more: &[&str]) -> (i32, String, String) {
    let places = places(node);
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    command(node, &[&["cleanup"], places.as_slice(), more].concat())
}

/// DEL of the bare primary as libcni does it, by its cache alone.
fn bare_del(node: &Node, sandbox: &Sandbox, netns: &Path) {
    let path = PathBuf::from(format!("{CACHE}/cluster-{}-eth0", sandbox.id));
    let entry: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((&entry["kind"], &entry["netns"]), (&json!("cniCacheV1"), &json!(netns)));
    let list: Value = serde_json::from_slice(&STANDARD.decode(entry["config"].as_str().unwrap()).unwrap()).unwrap();
    let args = entry["cniArgs"].as_array().unwrap().iter();
    let args: Vec<String> =
        args.map(|pair| format!("{}={}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap())).collect();
    for plugin in list["plugins"].as_array().unwrap().iter().rev() {
        let mut config = plugin.clone();
        config["name"] = list["name"].clone();
        config["cniVersion"] = list["cniVersion"].clone();
        config["prevResult"] = entry["result"].clone();
        let mut child = Command::new(node.plugins().join(plugin["type"].as_str().unwrap()))
            .env_clear()
            .envs([("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", &sandbox.id), ("CNI_IFNAME", "eth0")])
            .envs([("CNI_NETNS", netns), ("CNI_PATH", &node.plugins())])
            .env("CNI_ARGS", args.join(";"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    std::fs::remove_file(path).unwrap();
}

/// Files of ours that are left: what keeps others from writing the master config is to stay.
fn left(node: &Node) -> Vec<String> {
    let mut left = [files_below(&node.state()), files_below(&node.run_dir()), files_below(&node.conf())].concat();
    left.extend(files_below(&node.plugins()).into_iter().filter(|path| path.to_string_lossy().contains("meta-cni")));
    left.extend(files_below(Path::new(CACHE)));
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = left.iter().map(name).collect();
    names.sort();
    names
}

#[track_caller]
fn nothing_of(netns: &Path) {
    let links: Vec<Value> = serde_json::from_str(&ip_in(netns, &["-json", "link", "show"])).unwrap();
    assert_eq!(links.len(), 1, "{links:?}");
}

const STAYS: [&str; 3] = ["10-primary.conflist", "master.lock", "removing"];

#[test]
fn d13_after_a_cleanup_the_bare_primary_deletes_every_pod_and_nothing_is_left() {
    isolated(|kernel| {
        let node = node();
        let pods = [None, Some("extra"), Some("extra,extra")].map(|networks| pod(kernel, &node, networks));
        assert_eq!((leases().len(), host_veths().len()), (6, 6));

        // Pods with more than the primary stand against it, and nothing is done then.
        let before = left(&node);
        let (exit, text, errors) = cleanup(&node, &[]);
        assert_eq!((exit, text.as_str()), (4, ""), "{errors}");
        for (sandbox, ifname) in [(&pods[1].0, "net1"), (&pods[2].0, "net1"), (&pods[2].0, "net2")] {
            let line = format!("pod default/{}, sandbox {}: {ifname} (default/extra)", sandbox.pod, sandbox.id);
            assert!(errors.contains(&line), "{line}: {errors}");
        }
        assert!(!errors.contains(&pods[0].0.id), "{errors}");
        assert_eq!((left(&node), leases().len()), (before.clone(), 6));
        let (exit, text, _) = cleanup(&node, &["--hook", "--force"]);
        assert!(exit == 0 && text.contains("everything stays"), "{exit} {text}");
        assert_eq!(left(&node), before);

        let (exit, text, errors) = cleanup(&node, &["--force"]);
        assert_eq!(exit, 0, "{text}{errors}");
        assert_eq!((leases().len(), host_veths().len()), (3, 3), "the primaries': {text}");
        for (sandbox, netns) in &pods {
            bare_del(&node, sandbox, netns);
            nothing_of(netns);
        }
        assert_eq!((leases(), host_veths()), (Vec::<String>::new(), Vec::<String>::new()));
        assert_eq!(left(&node), STAYS);
        assert!(!node.state().exists());
        // Once more is the same, and nobody writes the master config until it is installed again.
        assert_eq!(cleanup(&node, &[]).0, 0);
        assert_eq!(left(&node), STAYS);
        let places = places(&node);
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        assert_eq!(command(&node, &[&["install"], places.as_slice()].concat()).0, 0);
        assert!(!node.run_dir().join("removing").exists() && node.conf().join("00-meta-cni.conflist").exists());
    });
}

#[test]
fn d13_a_damaged_record_of_a_pod_that_may_live_stands_against_it() {
    isolated(|kernel| {
        let node = node();
        let (sandbox, _) = pod(kernel, &node, None);
        std::fs::write(record_path(&node, &sandbox, "eth0"), "{").unwrap();
        let (exit, _, errors) = cleanup(&node, &["--force"]);
        assert!(exit == 4 && errors.contains("what sandbox") && errors.contains(&sandbox.id), "{exit} {errors}");
        assert!(errors.contains("or `meta-cni install` ends it"), "{errors}");
        assert!(node.conf().join("00-meta-cni.conflist").exists() && node.plugins().join("meta-cni").exists());
    });
}

#[test]
fn d13_a_living_pod_of_which_nothing_is_on_record_stands_against_it() {
    isolated(|kernel| {
        let node = node();
        let (sandbox, netns) = pod(kernel, &node, Some("extra"));
        let config = STANDARD.encode(r#"{"name":"any","plugins":[{"type":"meta-cni"}]}"#);
        let entry = json!({ "kind": "cniCacheV1", "containerId": sandbox.id, "ifName": "eth0", "networkName": "any", "netns": netns,
            "config": config, "cniArgs": [["K8S_POD_NAMESPACE", "ns"], ["K8S_POD_NAME", "p"]] });
        std::fs::write(format!("{CACHE}/meta-cni-{}-eth0", sandbox.id), entry.to_string()).unwrap();
        // Somebody removed what he took for a cache.
        let (state, away) = (node.state(), node.root().join("away"));
        std::fs::rename(&state, &away).unwrap();
        let (exit, text, errors) = cleanup(&node, &[]);
        let named = errors.contains(&format!("pod ns/p, sandbox {}: eth0", sandbox.id))
            && errors.contains("nothing is on record");
        assert!(exit == 4 && named, "{exit} {text} {errors}");
        assert!(node.plugins().join("meta-cni").exists() && node.conf().join("00-meta-cni.conflist").exists());
        let _ = std::fs::remove_dir_all(&state);
        std::fs::rename(&away, &state).unwrap();
        assert_eq!(cleanup(&node, &["--force"]).0, 0);
    });
}

#[test]
fn d13_an_add_that_comes_after_a_cleanup_makes_nothing_that_nobody_would_take_back() {
    isolated(|kernel| {
        let node = node();
        let sandbox = Sandbox::new();
        let netns = kernel.netns(&sandbox.id);
        let add = || node.call("ADD", &sandbox).env("CNI_NETNS", netns.to_str().unwrap()).run();
        assert_eq!(cleanup(&node, &[]).0, 0);
        // The runtime had started it before its file went.
        let error = add().json();
        assert!(error["code"] == 11 && error["msg"].as_str().unwrap().contains("is being taken off"), "{error}");
        nothing_of(&netns);
        let mut stays = left(&node);
        stays.retain(|name| name != "adding");
        assert_eq!((stays, leases()), (STAYS.map(str::to_owned).to_vec(), Vec::new()));
        let places = places(&node);
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        assert_eq!(command(&node, &[&["install", "--no-config"], places.as_slice()].concat()).0, 0);
        succeeded(&add());
        succeeded(&node.call("DEL", &sandbox).env("CNI_NETNS", netns.to_str().unwrap()).run());
    });
}

/// System calls that change a directory.
const CHANGES: [&str; 7] = ["linkat", "rename", "renameat", "unlink", "unlinkat", "rmdir", "mkdir"];

/// A cleanup that is killed right after its call of that number of `change`; false when it made fewer, and is done.
fn killed(kernel: &Kernel, change: &str, number: usize) -> bool {
    let node = node();
    let pods = [None, Some("extra")].map(|networks| pod(kernel, &node, networks));
    let status = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "-e", &format!("inject={change}:signal=SIGKILL:when={number}")])
        .arg(plugin_under_test())
        .args(["cleanup", "--force", "--state-dir", node.state().to_str().unwrap()])
        .args(["--run-dir", node.run_dir().to_str().unwrap()])
        .args(places(&node))
        .stdout(Stdio::null())
        .status()
        .expect("this test needs the program `strace` (Debian package strace)");
    assert!(status.code() == Some(0) || status.signal() == Some(9), "{status:?}");
    let (exit, text, errors) = cleanup(&node, &["--force"]);
    assert_eq!(exit, 0, "killed after {change} {number}: {text}{errors}");
    for (sandbox, netns) in &pods {
        bare_del(&node, sandbox, netns);
        nothing_of(netns);
        kernel.remove_netns(netns);
    }
    assert_eq!((leases(), host_veths()), (Vec::<String>::new(), Vec::<String>::new()), "after {change} {number}");
    assert_eq!(left(&node), STAYS, "killed after {change} {number}");
    status.signal().is_some()
}

#[test]
fn d13_a_cleanup_that_is_killed_after_any_change_is_ended_by_the_next() {
    isolated(|kernel| {
        let kills = |change: &&str| (1..).take_while(|number| killed(kernel, change, *number)).count();
        let kills: Vec<usize> = CHANGES.iter().map(kills).collect();
        assert!(kills.iter().sum::<usize>() > 15, "{CHANGES:?}: {kills:?}");
    });
}

#[test]
fn d13_a_master_config_is_removed_where_the_runtime_said_that_it_looks() {
    isolated(|_| {
        let node = node();
        let view = json!({ "version": 1, "epoch": "gone", "time": "", "boot": 1, "socket": "/s", "runtime": "containerd",
            "runtimeVersion": "2.4.2", "networkReady": true, "confDir": node.conf(), "binDirs": ["/none", node.plugins()] });
        node.write("run/runtime.json", &view.to_string());
        std::fs::set_permissions(
            node.run_dir().join("runtime.json"),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
        let (exit, said, errors) = command(&node, &["cleanup"]);
        assert_eq!(exit, 0, "{said}{errors}");
        assert!(!node.conf().join("00-meta-cni.conflist").exists(), "{said}");
        assert!(!node.plugins().join("meta-cni").exists(), "{said}");
    });
}

#[test]
fn d13_a_cleanup_of_another_directory_than_the_runtimes_does_nothing() {
    let node = node();
    node.write("run/epoch", "0123456789abcdef0123456789abcdef");
    crate::doctor::view(&node, &json!({}));
    let before = files_below(node.root());
    let (bin, other) = (node.plugins(), node.root().join("other"));
    let words = ["cleanup", "--bin-dir", bin.to_str().unwrap(), "--conf-dir", other.to_str().unwrap()];
    let (exit, text, errors) = command(&node, &words);
    let remedy = format!("say --conf-dir {}", node.conf().display());
    assert!(exit == 4 && errors.contains(&remedy), "{exit} {text}{errors}");
    let mut after = files_below(node.root());
    after.retain(|path| !path.starts_with(node.run_dir()) || before.contains(path));
    assert_eq!(after, before);
    let (exit, text, errors) = cleanup(&node, &[]);
    assert_eq!(exit, 0, "{text}{errors}");
}

#[test]
fn d13_a_cleanup_that_ends_half_way_says_what_it_did_and_the_next_goes_on() {
    let node = node();
    node.write("file", "in the place of the plugin directory");
    let (file, conf) = (node.root().join("file"), node.conf());
    let words = ["cleanup", "--bin-dir", file.to_str().unwrap(), "--conf-dir", conf.to_str().unwrap()];
    let (exit, text, errors) = command(&node, &words);
    assert!(exit == 4 && errors.contains("cannot list") && errors.lines().count() == 1, "{exit} {text}{errors}");
    assert!(text.ends_with("00-meta-cni.conflist: removed\n"), "{text}");
    let (exit, text, errors) = cleanup(&node, &[]);
    assert!(exit == 0 && text.contains("plugins/meta-cni: removed"), "{exit} {text}{errors}");
}
