//! The private conf dir with real runtimes: `meta-cnid install` asks them, they read the new directory after a restart and nothing
//! else of them changes; and back.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};

use crate::harness::node::write_program;
use crate::harness::{EtcCni, Node, Pod, Runtime, on_each_runtime, text, wait_until};
use crate::view::{daemon, view};

on_each_runtime! {
    /// There and back: the runtime's configuration, and what it says of it, are the same but for the directory.
    a_private_conf_dir_there_and_back_d16_d13 => check_there_and_back;
    /// `--restart` restarts it, by systemd, and takes the old file away when the runtime says that it reads the new directory.
    install_restarts_the_runtime_d16 => check_restart;
    /// With the daemon: it follows what was decided, and takes the old file away itself.
    the_daemon_follows_the_runtime_d13 => check_daemon;
}

const PRIVATE: &str = "etc-cni/meta-cni/net.d/00-meta-cni.conflist";
const SHARED: &str = "etc-cni/net.d/00-meta-cni.conflist";

/// A node whose network is the bare primary, as before meta-cni.
fn node(runtime: Runtime) -> Node {
    Node::start(runtime, runtime.cni_version(), |etc: &EtcCni| {
        etc.write_primary("net.d/10-primary.conflist");
        etc.write_networks();
    })
}

fn config(node: &Node) -> PathBuf {
    node.folder("containerd.toml")
}

/// `meta-cnid install` or `meta-cni install` of the plugin that the node has; exit code, stdout, stderr.
fn install(node: &Node, program: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let words = [&[program, "install", "--source", "/opt/cni/bin/meta-cni"], more].concat();
    said(&node.run(&words))
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

const DAEMON: &str = env!("CARGO_BIN_EXE_meta-cnid");
const PLUGIN: &str = "/opt/cni/bin/meta-cni";

/// The runtime's whole configuration, as it says it.
fn info(node: &Node) -> Value {
    let status = node.cri("Status", &json!({"verbose": true})).expect("asking the runtime for its status");
    serde_json::from_str(status["info"]["config"].as_str().expect("a configuration")).expect("it is JSON")
}

fn conf_dir(node: &Node) -> String {
    info(node)["cni"]["confDir"].as_str().expect("a conf dir").to_owned()
}

fn restart(node: &Node) {
    node.crash_runtime();
    node.start_runtime();
}

fn a_pod_runs(node: &Node, name: &str, networks: Option<&str>, interfaces: &[&str]) {
    wait_until("the network is ready", || node.network_ready().is_ok());
    let pod = match networks {
        Some(networks) => Pod::new(name).networks(networks),
        None => Pod::new(name),
    };
    let pod = pod.run(node).expect("starting a pod");
    assert_eq!(pod.interfaces(), interfaces);
    pod.delete();
}

fn check_there_and_back(runtime: Runtime) {
    let node = node(runtime);
    let original = fs::read_to_string(config(&node)).expect("the runtime's configuration");
    let (before, file) = (info(&node), config(&node).display().to_string());
    let (exit, said, errors) = install(&node, DAEMON, &[]);
    assert_eq!(exit, Some(0), "{said}{errors}");
    let version = node.cri("Version", &json!({})).expect("asking the runtime for its version");
    let first = format!(
        "the runtime is containerd {}, at /run/containerd/containerd.sock",
        version["runtimeVersion"].as_str().expect("a version")
    );
    assert_eq!(said.lines().next(), Some(first.as_str()));
    wait_until("the runtime has loaded meta-cni", || node.network_name() == "meta-cni");

    let flags = ["--private-conf-dir", "--runtime-config", &file];
    if runtime == Runtime::Debian {
        let (exit, said, errors) = install(&node, DAEMON, &flags);
        assert!(exit == Some(4) && errors.contains("--edit-runtime-config"), "{exit:?} {said}{errors}");
        assert_eq!(fs::read_to_string(config(&node)).expect("the configuration"), original);
        assert!(!node.folder(PRIVATE).exists());
    }
    let flags = [&flags[..], &["--edit-runtime-config"]].concat();
    let (exit, said, errors) = install(&node, DAEMON, &flags);
    assert!(exit == Some(0) && said.contains("containerd is to be restarted"), "{exit:?} {said}{errors}");
    assert!(node.folder(PRIVATE).exists() && node.folder(SHARED).exists());
    assert_eq!(conf_dir(&node), "/etc/cni/net.d");
    a_pod_runs(&node, "before", Some("net-a"), &["eth0", "net1"]);

    restart(&node);
    assert_eq!(conf_dir(&node), "/etc/cni/meta-cni/net.d");
    let mut rest = info(&node);
    rest["cni"]["confDir"] = before["cni"]["confDir"].clone();
    assert_eq!(rest, before, "nothing else of the runtime's configuration is another");
    let (exit, said, errors) = install(&node, DAEMON, &flags);
    assert!(exit == Some(0) && said.contains("removed, the runtime reads"), "{exit:?} {said}{errors}");
    assert!(!node.folder(SHARED).exists());
    a_pod_runs(&node, "after", Some("net-a,net-b"), &["eth0", "net1", "net2"]);
    let same = fs::read(config(&node)).expect("the configuration");
    let (exit, said, errors) = install(&node, DAEMON, &[]);
    assert_eq!((exit, fs::read(config(&node)).expect("the configuration")), (Some(0), same), "{said}{errors}");
    assert!(!said.contains("written") && !said.contains("edited") && !node.folder(SHARED).exists(), "{said}");

    // Back: first our file in the old directory, then the runtime, and only then all of it goes.
    let (exit, said, errors) = self::said(&node.run(&[PLUGIN, "cleanup"]));
    assert!(exit == Some(4) && said.contains("restart it and do this again"), "{exit:?} {said}{errors}");
    assert_eq!(fs::read_to_string(config(&node)).expect("the configuration"), original);
    a_pod_runs(&node, "between", Some("net-a"), &["eth0", "net1"]);
    restart(&node);
    assert_eq!((info(&node), node.network_name().as_str()), (before, "meta-cni"));
    let (exit, said, errors) = self::said(&node.run(&[PLUGIN, "cleanup", "--restarted"]));
    assert_eq!(exit, Some(0), "{said}{errors}");
    wait_until("the runtime has loaded the primary", || node.network_name() == "primary");
    a_pod_runs(&node, "bare", None, &["eth0"]);
    assert!(!node.folder("etc-cni/meta-cni/net.d").exists() && !node.folder("conf.d").exists());
    assert!(!node.folder("opt-cni/bin/meta-cni").exists() && !node.folder("containerd.toml.meta-cni.bak").exists());
    assert!(!node.folder("var-lib-cni/meta-cni").exists());
}

/// A `systemctl` on the node that notes what it is told, and restarts the runtime as the node's script does.
fn systemd(node: &Node) -> String {
    fs::create_dir_all(node.folder("run/systemd/system")).expect("a sign of systemd");
    let programs = node.folder("programs");
    fs::create_dir_all(&programs).expect("making a folder");
    let root = programs.parent().expect("a folder has one above it").display();
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/node");
    let steps = format!("kill -KILL \"$(cat {root}/containerd.pid)\"\nexec {tool} started {root}\n");
    write_program(&programs.join("systemctl"), &format!("#!/bin/sh\necho \"$*\" >>/var/log/systemctl\n{steps}"));
    format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display())
}

fn check_restart(runtime: Runtime) {
    let node = node(runtime);
    assert_eq!(install(&node, DAEMON, &[]).0, Some(0));
    let path = systemd(&node);
    let file = config(&node).display().to_string();
    let flags = ["--private-conf-dir", "--edit-runtime-config", "--runtime-config", &file, "--restart"];
    let words = [&["env", &path, DAEMON, "install", "--source", PLUGIN], &flags[..]].concat();
    let (exit, said, errors) = said(&node.run(&words));
    assert!(exit == Some(0) && said.contains("removed, the runtime reads"), "{exit:?} {said}{errors}");
    assert_eq!(conf_dir(&node), "/etc/cni/meta-cni/net.d");
    a_pod_runs(&node, "a", Some("net-a"), &["eth0", "net1"]);
    // It reads it: it is not restarted again.
    let (exit, said, errors) = self::said(&node.run(&words));
    assert_eq!((exit, said.contains("restarted")), (Some(0), false), "{said}{errors}");
    let (exit, said, errors) = self::said(&node.run(&["env", &path, PLUGIN, "cleanup", "--restart"]));
    assert_eq!(exit, Some(0), "{said}{errors}");
    assert_eq!(fs::read_to_string(node.folder("var-log/systemctl")).expect("a note"), "restart containerd\n".repeat(2));
    wait_until("the runtime answers", || node.cri("Status", &json!({})).is_ok());
    assert_eq!(conf_dir(&node), "/etc/cni/net.d");
    wait_until("the runtime has loaded the primary", || node.network_name() == "primary");
}

fn check_daemon(runtime: Runtime) {
    let node = node(runtime);
    let file = config(&node).display().to_string();
    let flags = ["--private-conf-dir", "--edit-runtime-config", "--runtime-config", &file];
    // Nobody has asked the runtime which one it is.
    let (exit, said, errors) = install(&node, PLUGIN, &flags);
    assert!(exit == Some(4) && errors.contains("say --runtime"), "{exit:?} {said}{errors}");
    let _daemon = daemon(&node, &json!({"tick": "1s", "health": "off", "program": PLUGIN}));
    wait_until("the runtime was asked", || view(&node).is_some_and(|view| view["network"] == "meta-cni"));
    let (exit, said, errors) = install(&node, PLUGIN, &flags);
    assert_eq!(exit, Some(0), "{said}{errors}");
    for path in [PRIVATE, SHARED] {
        fs::remove_file(node.folder(path)).expect("taking our file away");
        wait_until("our file is restored where the runtime reads it now and later", || node.folder(path).exists());
    }
    restart(&node);
    wait_until("the daemon takes the old file away", || !node.folder(SHARED).exists());
    assert_eq!(conf_dir(&node), "/etc/cni/meta-cni/net.d");
    let ours = fs::read(node.folder(PRIVATE)).expect("our file");
    let ours: Value = serde_json::from_slice(&ours).expect("it is JSON");
    assert_eq!(ours["plugins"][0]["addBudget"], "150s");
    assert_eq!(ours["plugins"][0]["clusterNetwork"], "/etc/cni/net.d/10-primary.conflist");
    fs::remove_file(node.folder(PRIVATE)).expect("taking our file away");
    wait_until("our file is restored", || node.folder(PRIVATE).exists());
    a_pod_runs(&node, "a", Some("net-a"), &["eth0", "net1"]);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(!node.folder(SHARED).exists(), "what is gone there stays gone");

    // The daemon knows when the runtime reads the conf dir again: a cleanup goes by that.
    let (exit, said, errors) = self::said(&node.run(&[PLUGIN, "cleanup"]));
    assert!(exit == Some(4) && said.contains("restart it and do this again"), "{exit:?} {said}{errors}");
    let (exit, said, errors) = self::said(&node.run(&[PLUGIN, "cleanup"]));
    assert!(exit == Some(4), "it was not restarted: {said}{errors}");
    restart(&node);
    wait_until("the runtime was asked", || view(&node).is_some_and(|view| view["confDir"] == "/etc/cni/net.d"));
    let (exit, said, errors) = self::said(&node.run(&[PLUGIN, "cleanup"]));
    assert_eq!(exit, Some(0), "{said}{errors}");
    wait_until("the runtime has loaded the primary", || node.network_name() == "primary");
}
