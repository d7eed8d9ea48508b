//! A25, D7: `/readyz` names a primary that is not ready, and the master config is written all the same.

use serde_json::json;

use crate::place::{Place, Running, eventually};

/// A primary that says where its node name is.
fn named(place: &Place, nodename: &std::path::Path) {
    std::fs::remove_file(place.at("profiles/calico.json")).unwrap();
    let plugin = json!({ "type": "calico", "nodename_file": nodename, "capabilities": { "mac": true } });
    place.put("10-calico.conflist", &json!({ "cniVersion": "1.0.0", "name": "pods", "plugins": [plugin] }).to_string());
}

#[track_caller]
fn not_ready(daemon: &Running, words: &str) {
    eventually("what is missing", || {
        let (status, text) = daemon.get("/readyz");
        (status == 503 && text.contains("network \"pods\" is not ready") && text.contains(words)).then_some(())
    });
}

#[test]
fn a25_d7_a_primary_that_is_not_ready_is_named_and_the_master_config_is_written_all_the_same() {
    let place = Place::new();
    let nodename = place.at("lib/calico/nodename");
    named(&place, &nodename);
    let daemon = place.start();
    place.keeps("10-calico.conflist", "mac");
    not_ready(&daemon, nodename.to_str().unwrap());
    assert_eq!(daemon.metric("ready"), 0);
    // By an event: the tick is an hour away, and nothing is asked meanwhile, once its own write has been seen.
    let rests = || {
        let looks = daemon.metric("looks_total");
        std::thread::sleep(std::time::Duration::from_millis(700));
        (daemon.metric("looks_total") == looks).then_some(())
    };
    eventually("a daemon at rest", rests);
    std::fs::create_dir_all(nodename.parent().unwrap()).unwrap();
    std::fs::write(&nodename, "node").unwrap();
    daemon.ready();
    std::fs::remove_file(&nodename).unwrap();
    not_ready(&daemon, nodename.to_str().unwrap());
    assert_eq!(daemon.metric("master_config_writes_total"), 1);
}

#[test]
fn a25_in_a_container_the_hosts_program_looks_for_what_the_primary_needs() {
    let mut place = Place::new();
    place.config(&json!({ "enterHost": true, "tick": "100ms" }));
    let nodename = place.at("host/nodename");
    std::fs::create_dir(place.at("host")).unwrap();
    named(&place, &nodename);
    // A first process of its own, and the daemon in another mount namespace in which the host's directory is not to be seen.
    let hide = format!("mount -t tmpfs none {} && exec \"$0\" \"$@\"", place.at("host").display());
    let inner = format!("unshare --mount sh -c '{hide}' \"$0\" \"$@\"; exit $?");
    let before = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", "sh", "-c", &inner];
    let daemon = place.start_through(&before, &[]);
    place.keeps("10-calico.conflist", "mac");
    not_ready(&daemon, nodename.to_str().unwrap());
    std::fs::write(&nodename, "node").unwrap();
    daemon.ready();
}

#[test]
fn a25_the_readiness_indicator_is_named_also_when_the_master_config_is_there() {
    let mut place = Place::new();
    let indicator = place.at("indicator");
    place.config(&json!({ "readinessindicatorfile": indicator }));
    std::fs::write(&indicator, "").unwrap();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    place.keeps("10-calico.conflist", "mac");
    daemon.ready();
    std::fs::remove_file(&indicator).unwrap();
    eventually("what is missing", || {
        let (status, text) = daemon.get("/readyz");
        (status == 503 && text.contains("\"readinessindicatorfile\"")).then_some(())
    });
    assert!(place.own_text().is_some());
    // Who takes the file away meanwhile does not make pods start without their networks.
    std::fs::remove_file(place.own()).unwrap();
    place.keeps("10-calico.conflist", "mac");
    let (status, text) = daemon.get("/readyz");
    assert!(status == 503 && text.contains("\"readinessindicatorfile\""), "{status} {text}");
}
