//! D10: another CNI that wants the conf dir for itself.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Daemon, Node, Other, PRIVATE, Place, Pod, Runtime, SHARED, wait_until};

/// The file that the other CNI leaves alone, its own.
const THEIRS: &str = "net.d/05-cilium.conflist";

fn node(conf_dir: &'static str) -> Node {
    Node::start_at(Runtime::Modules, "1.1.0", &Place { conf_dir, ..Place::default() }, |etc| {
        etc.write_daemon(&json!({"cniConfigDir": conf_dir, "multusAutoconfigDir": SHARED}));
        etc.write(THEIRS, &etc.primary("cilium", "cni0", "10.88.0.0/24"));
        etc.write_networks();
    })
}

/// D10: in a conf dir that both write, our file is restored at once, and no more than once a minute when that does not help; log
/// and `/readyz` name who does it and the setting. As long as that goes on the runtime has the bare primary: `/readyz` says so
/// then, and when the other one ends all pods have their networks again.
#[test]
fn exclusive_cni_in_a_shared_conf_dir_is_named_and_survived_d10() {
    let node = node(SHARED);
    let daemon = Daemon::start(&node);
    wait_until("the runtime has loaded our list", || node.network_name() == "meta-cni");
    let ours = node.etc_cni.master().expect("a master config");
    let other = Other::start(&node, &["exclusive", SHARED, "05-cilium.conflist"]);

    wait_until("it is a fight", || daemon.metric("master_config_fight") == 1);
    daemon.says("cni.exclusive=false");
    daemon.says("from now on once a minute");
    assert_eq!(daemon.metric("master_config_restorations_total"), 3);
    wait_until("what is missing is told", || daemon.get("/readyz").contains("is restored once a minute"));
    let told = daemon.get("/readyz");
    assert!(told.split(' ').nth(1) == Some("503") && told.contains("cni.exclusive"), "{told}");

    // What pods get meanwhile: the runtime falls back to the bare primary, and nobody can refuse them.
    let mut outcomes = [0; 3];
    for number in 0..6 {
        match Pod::new(&format!("meanwhile-{number}")).networks("net-a,net-b").run(&node) {
            Ok(pod) if pod.interfaces() == ["eth0", "net1", "net2"] => outcomes[0] += 1,
            Ok(pod) => {
                assert_eq!(pod.interfaces(), ["eth0"]);
                assert_eq!(node.network_name(), "cilium");
                assert!(!daemon.is_ready(), "a pod lacks its networks and nobody says so");
                outcomes[1] += 1;
            }
            Err(_) => outcomes[2] += 1,
        }
    }
    println!("while an exclusive CNI has the shared conf dir: {outcomes:?} pods with their networks, without, refused");
    drop(other);
    // Something new is no fight: it is written at once.
    let mut changed = node.etc_cni.primary("cilium", "cni0", "10.88.0.0/24");
    changed["plugins"][0]["capabilities"] = json!({"mac": true});
    node.etc_cni.write(THEIRS, &changed);
    wait_until("the runtime has loaded our list", || node.network_name() == "meta-cni");
    assert_ne!(node.etc_cni.master(), Some(ours));
    let pod = Pod::new("after").networks("net-a,net-b").run(&node).expect("starting a pod");
    assert_eq!(pod.interfaces(), ["eth0", "net1", "net2"]);
    wait_until("it is ready", || daemon.is_ready());
}

/// D10: in a conf dir of our own there is no fight: every pod has all its networks.
#[test]
fn exclusive_cni_and_a_private_conf_dir_do_not_meet_d10() {
    let node = node(PRIVATE);
    let daemon = Daemon::start(&node);
    wait_until("the runtime has loaded our list", || node.network_name() == "meta-cni");
    let mut other = Other::start(&node, &["exclusive", SHARED, "05-cilium.conflist"]);
    // It is at work: whatever else comes goes.
    node.etc_cni.write("net.d/99-any.conflist", &node.etc_cni.primary("any", "cni1", "10.87.0.0/24"));
    wait_until("the other file is renamed", || node.etc_cni.path("net.d/99-any.conflist.cilium_bak").exists());
    for number in 0..6 {
        let pod = Pod::new(&format!("pod-{number}")).networks("net-a,net-b").run(&node).expect("starting a pod");
        assert_eq!(pod.interfaces(), ["eth0", "net1", "net2"]);
        pod.delete();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(other.runs() && daemon.is_ready());
    assert_eq!(daemon.metric("master_config_restorations_total"), 0);
    node.assert_nothing_left();
}
