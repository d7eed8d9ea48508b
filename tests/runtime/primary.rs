//! D9: the primary changes, is replaced and goes while pods run.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Daemon, Node, Pod, Runtime, Sandbox, on_each_runtime, wait_until};

on_each_runtime! {
    /// D9: the primary's configuration changes in place, a better candidate comes, and goes again: each time the next pod has the
    /// new one, nothing is restarted, and the pods of before are deleted by what they were added with.
    next_pod_has_the_new_primary_and_old_ones_go_by_theirs_d9 => check_changes;
}

/// The primary's file in the conf dir, and another that comes before it.
const FIRST: &str = "net.d/10-first.conflist";
const BETTER: &str = "net.d/05-better.conflist";

fn check_changes(runtime: Runtime) {
    let node = Node::start(runtime, runtime.cni_version(), |etc| {
        etc.write_daemon(&json!({}));
        etc.write(FIRST, &etc.primary("first", "cni0", "10.88.0.0/25"));
        etc.write_networks();
    });
    let etc = &node.etc_cni;
    let daemon = Daemon::start(&node);
    let follows = |file: &str| {
        let path = format!("/etc/cni/{file}");
        wait_until("the runtime has loaded a master config that names the primary", || {
            let loaded = node.loaded();
            loaded.name == "meta-cni" && loaded.text.contains(&path)
        });
    };
    follows(FIRST);
    let runtime_pid = std::fs::read_to_string(node.folder("containerd.pid")).expect("reading a process ID");
    let pod = |name: &str, subnet: &str| {
        let pod = Pod::new(name).networks("net-a").run(&node).unwrap_or_else(|why| panic!("starting {name}: {why}"));
        assert_eq!(pod.interfaces(), ["eth0", "net1"]);
        assert!(pod.ip.starts_with(subnet), "{name} has {}", pod.ip);
        assert_eq!(pod.ip, pod.address("eth0"));
        pod
    };
    let a = pod("a", "10.88.0.");

    // In place, by rename: the same file, other addresses. The master config need not change for that.
    let mut changed = etc.primary("first", "cni0", "10.88.0.0/25");
    changed["plugins"][0]["ipam"]["ranges"][0][0]["rangeStart"] = json!("10.88.0.100");
    etc.write(FIRST, &changed);
    let b = pod("b", "10.88.0.");
    assert!(last_byte(&b) >= 100, "the new range: {}", b.ip);

    etc.write(BETTER, &etc.primary("better", "cni1", "10.87.0.0/24"));
    follows(BETTER);
    let c = pod("c", "10.87.0.");

    // It goes: the other one is there, and the pods of the one that went are deleted without it.
    etc.remove(BETTER);
    follows(FIRST);
    let d = pod("d", "10.88.0.");
    let networks = || ["first", "better", "net-a"].map(|network| leases(&node, network).len());
    assert_eq!(networks(), [3, 1, 4]);
    c.delete();
    assert_eq!(networks(), [3, 0, 3], "the address of a primary whose file is gone is released");
    a.delete();
    assert_eq!(networks(), [2, 0, 2]);
    assert!(!leases(&node, "first").contains(&a.ip), "the address of an older range is released");
    b.delete();

    // None is left: what is there stays; a pod that runs is deleted all the same.
    etc.remove(FIRST);
    daemon.says("waiting for the primary");
    assert!(etc.master().is_some_and(|text| text.contains(FIRST)));
    d.delete();
    node.assert_nothing_left();
    etc.write(FIRST, &etc.primary("first", "cni0", "10.88.0.0/25"));
    wait_until("the network is ready", || node.network_ready().is_ok());
    pod("e", "10.88.0.").delete();
    node.assert_nothing_left();
    let now = std::fs::read_to_string(node.folder("containerd.pid")).expect("reading a process ID");
    assert_eq!(now, runtime_pid, "nothing was restarted");
    assert_eq!(daemon.metric("master_config_restorations_total"), 0);
}

fn last_byte(pod: &Sandbox<'_>) -> u8 {
    pod.ip.rsplit('.').next().and_then(|byte| byte.parse().ok()).expect("an IPv4 address")
}

/// The addresses of a network that are taken.
fn leases(node: &Node, network: &str) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(node.folder("var-lib-cni/networks").join(network)) else {
        return BTreeSet::new();
    };
    let names = entries.map(|entry| entry.expect("reading leases").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("10.")).collect()
}
