//! The runtime's own view, as a real daemon hears it from a real runtime: `runtime.json` says what CRI says, and goes stale with it.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Daemon, Master, Node, Runtime, on_each_runtime, wait_until};

on_each_runtime! {
    /// What `runtime.json` says is what the runtime says; when it dies the file stays as it was, and grows old.
    runtime_json_is_the_runtimes_own_view => check_view;
}

/// The daemon on a node, every path at its default, with this config.
pub(crate) fn daemon<'n>(node: &'n Node, config: &Value) -> Daemon<'n> {
    node.etc_cni.write("meta-cni/daemon.json", config);
    Daemon::start(node)
}

/// `runtime.json` as it is now.
pub(crate) fn view(node: &Node) -> Option<Value> {
    serde_json::from_slice(&fs::read(node.folder("run/meta-cni/runtime.json")).ok()?).ok()
}

fn boot(view: &Value) -> u64 {
    view["boot"].as_u64().expect("seconds since boot")
}

fn check_view(runtime: Runtime) {
    let node = Node::start(runtime, runtime.cni_version(), |etc| etc.write_all(&Master::default()));
    let daemon = daemon(
        &node,
        &json!({"tick": "1s", "health": "off", "multusAutoconfigDir": "/etc/cni/primary.d", "program": "/opt/cni/bin/meta-cni"}),
    );
    wait_until("the runtime was asked", || view(&node).is_some());
    let version = node.cri("Version", &json!({})).expect("asking the runtime for its version");
    wait_until("the runtime says that it has loaded meta-cni", || {
        view(&node).is_some_and(|view| view["network"] == "meta-cni" && view["networkReady"] == true)
    });
    let first = view(&node).expect("a view");
    let token = fs::read_to_string(node.folder("run/meta-cni/epoch")).expect("a token");
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the kernel's boot ID");
    let same = json!({
        "version": 1, "epoch": format!("{}:{token}", boot_id.trim()), "time": first["time"], "boot": first["boot"],
        "socket": "/run/containerd/containerd.sock", "runtime": version["runtimeName"], "runtimeVersion": version["runtimeVersion"],
        "networkReady": true, "reason": "", "message": "", "confDir": "/etc/cni/net.d", "binDirs": ["/opt/cni/bin"],
        "network": "meta-cni", "loadError": null,
    });
    assert_eq!(first, same);
    wait_until("it is asked again", || view(&node).is_some_and(|view| boot(&view) > boot(&first)));

    node.crash_runtime();
    wait_until("the daemon says that the runtime does not answer", || daemon.log().contains("is not known"));
    let stale = view(&node).expect("a view");
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(view(&node).expect("a view"), stale, "nobody was asked, so nothing is written");
    assert_eq!(daemon.log().matches("is not known").count(), 1, "it is said once: {}", daemon.log());
    node.start_runtime();
    wait_until("the runtime answers again", || view(&node).is_some_and(|view| boot(&view) > boot(&stale)));
}
