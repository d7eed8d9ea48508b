//! D4, D7, D8, D9, D12: the primary comes, is torn, changes, is replaced and goes.

use serde_json::json;

use crate::place::{Place, eventually, primary};

#[test]
fn d7_without_a_primary_nothing_is_written_and_what_is_waited_for_is_said() {
    let place = Place::new();
    let daemon = place.start();
    daemon.says("waiting for the primary");
    let (status, missing) = daemon.get("/readyz");
    assert_eq!((status, daemon.get("/healthz").0), (503, 200));
    assert!(missing.contains("waiting for the primary") && missing.contains("/conf"), "{missing}");
    // No loop: the next look is that after the event, or the tick of an hour.
    eventually("a daemon at rest", || {
        let looks = daemon.metric("looks_total");
        std::thread::sleep(std::time::Duration::from_millis(700));
        (daemon.metric("looks_total") == looks).then_some(())
    });
    assert!(place.own_text().is_none());

    place.primary("10-calico.conflist", "portMappings");
    place.keeps("10-calico.conflist", "portMappings");
    daemon.ready();
    assert_eq!(daemon.metric("watch_polling"), 0);
}

#[test]
fn d8_a_torn_primary_leaves_the_last_good_state_and_is_reported_once_with_its_place() {
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    let good = place.keeps("10-calico.conflist", "mac");
    let whole = primary("ips");
    for (torn, why) in [
        (&whole[..whole.len() / 2], "at line 1 column"),
        ("", "is empty"),
        ("{\n  \"name\": \"x\",\n  \"plugins\": [}\n", "at line 3 column 15"),
        ("{\"name\":\"x\",\"plugins\":[]}", "lists no plugins"),
    ] {
        // As `cat > file` would do it: the old inode, emptied and filled.
        std::fs::write(place.conf("10-calico.conflist"), torn).unwrap();
        eventually(why, || {
            let (status, missing) = daemon.get("/readyz");
            (status == 503 && missing.contains(why) && missing.contains("10-calico.conflist")).then_some(())
        });
        assert_eq!(place.own_text().as_ref(), Some(&good));
    }
    // Events about anything else do not repeat it.
    for number in 0..20 {
        place.put(&format!("note-{number}"), "");
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(daemon.said("lists no plugins"), 1, "{}", daemon.log());
    // Another candidate does not take the place of the one that is torn.
    place.primary("90-other.conflist", "bandwidth");
    std::fs::remove_file(place.conf("note-1")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(place.own_text().as_ref(), Some(&good));
    place.put("10-calico.conflist", &whole);
    place.keeps("10-calico.conflist", "ips");
    daemon.ready();
    assert!(daemon.metric("primary_invalid_total") >= 4);
}

#[test]
fn d8_a_file_that_is_missing_too_is_the_last_good_one_again_while_the_primary_is_torn() {
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    let good = place.keeps("10-calico.conflist", "mac");
    std::fs::write(place.conf("10-calico.conflist"), "{").unwrap();
    daemon.says("the primary cannot be used");
    std::fs::remove_file(place.own()).unwrap();
    eventually("the last good one", || (place.own_text().as_ref() == Some(&good)).then_some(()));
}

#[test]
fn d9_changed_replaced_by_a_better_one_and_removed_is_seen() {
    let place = Place::new();
    place.put("50-any.conf", r#"{"name":"any","type":"bridge","capabilities":{"mac":true}}"#);
    let daemon = place.start();
    place.keeps("50-any.conf", "mac");
    place.put("50-any.conf", r#"{"name":"any","type":"bridge","capabilities":{"ips":true}}"#);
    place.keeps("50-any.conf", "ips");
    // One that is known comes before one that is not, whatever its name.
    place.primary("90-calico.conflist", "portMappings");
    place.keeps("90-calico.conflist", "portMappings");
    std::fs::rename(place.conf("90-calico.conflist"), place.conf("20-calico.conflist")).unwrap();
    place.keeps("20-calico.conflist", "portMappings");
    std::fs::remove_file(place.conf("20-calico.conflist")).unwrap();
    place.keeps("50-any.conf", "ips");
    // None is left: what is there stays, and ADDs wait.
    let last = place.own_text();
    std::fs::remove_file(place.conf("50-any.conf")).unwrap();
    daemon.says("waiting for the primary");
    assert_eq!(place.own_text(), last);
    place.primary("10-calico.conflist", "dns");
    place.keeps("10-calico.conflist", "dns");
}

#[test]
fn d4_a_pin_by_file_by_name_and_by_directory() {
    let mut place = Place::new();
    place.primary("10-calico.conflist", "portMappings");
    place.put("90-mine.conf", r#"{"name":"mine","type":"bridge","capabilities":{"mac":true}}"#);
    std::fs::create_dir(place.at("confs")).unwrap();
    std::fs::write(place.at("confs/x.conf"), r#"{"name":"by-name","type":"ptp","capabilities":{"ips":true}}"#).unwrap();
    for (key, value, reference, capability) in [
        ("multusMasterCNI", json!("90-mine.conf"), json!(place.conf("90-mine.conf")), "mac"),
        ("clusterNetwork", json!(place.conf("90-mine.conf")), json!(place.conf("90-mine.conf")), "mac"),
        ("clusterNetwork", json!("by-name"), json!("by-name"), "ips"),
        ("clusterNetwork", json!(place.at("conf")), json!(place.at("conf")), "portMappings"),
    ] {
        place.config(&json!({ "clusterNetwork": null, "multusMasterCNI": null }));
        place.config(&json!({ key: value }));
        assert_eq!(place.once(&[]).code(), Some(0), "{key} {value}");
        let ours = &place.own_value()["plugins"][0];
        assert_eq!((&ours["clusterNetwork"], &ours["capabilities"][capability]), (&reference, &json!(true)));
    }
    // What is pinned and not there is waited for; nothing else takes its place.
    std::fs::remove_file(place.own()).unwrap();
    place.config(&json!({ "clusterNetwork": place.conf("70-later.conf") }));
    assert_eq!(place.once(&[]).code(), Some(4));
    assert!(place.own_text().is_none());
}

#[test]
fn d12_the_file_has_the_primarys_capabilities_and_the_settings() {
    let mut place = Place::new();
    place.config(&json!({ "addBudget": "7s", "namespaceIsolation": true, "capabilities": { "dns": true } }));
    place.put(
        "10-x.conflist",
        r#"{"name":"p","plugins":[{"type":"bridge","capabilities":{"portMappings":true,"ips":false}},
            {"type":"portmap","capabilities":{"some.future":true}}]}"#,
    );
    assert_eq!(place.once(&[]).code(), Some(0));
    let ours = place.own_value()["plugins"][0].clone();
    assert_eq!(
        ours["capabilities"],
        json!({ "io.kubernetes.cri.pod-annotations": true, "portMappings": true, "some.future": true, "dns": true })
    );
    assert_eq!((&ours["addBudget"], &ours["namespaceIsolation"]), (&json!("7s"), &json!(true)));
}
