//! D10: somebody else deletes, truncates, edits or renames our file.

use serde_json::json;

use crate::place::{Place, Running, eventually};

/// A place whose file is as it should be, and that text.
fn kept() -> (Place, Running, String) {
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    let text = place.keeps("10-calico.conflist", "mac");
    daemon.ready();
    (place, daemon, text)
}

#[test]
fn d10_whatever_is_done_to_the_file_it_is_restored() {
    type Damage = fn(&Place);
    let damages: [(&str, Damage); 9] = [
        ("deleted", |place| std::fs::remove_file(place.own()).unwrap()),
        ("a directory", |place| {
            std::fs::remove_file(place.own()).unwrap();
            // Unless it was put back already, which counts as well.
            let _ = std::fs::create_dir(place.own());
        }),
        ("truncated", |place| std::fs::File::create(place.own()).map(drop).unwrap()),
        ("cut", |place| std::fs::write(place.own(), &place.own_text().unwrap()[..40]).unwrap()),
        ("edited", |place| {
            std::fs::write(place.own(), place.own_text().unwrap().replace("10-calico", "11-calico")).unwrap();
        }),
        ("renamed", |place| std::fs::rename(place.own(), place.conf("00-meta-cni.conflist.cilium_bak")).unwrap()),
        ("replaced", |place| place.put("00-meta-cni.conflist", r#"{"name":"p","type":"bridge"}"#)),
        ("nested", |place| {
            let nested = place.own_text().unwrap().replace("\"type\"", r#""delegates":[{"type":"meta-cni"}],"type""#);
            place.put("00-meta-cni.conflist", &nested);
        }),
        ("given away", |place| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(place.own(), std::fs::Permissions::from_mode(0o666)).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let (place, daemon, text) = kept();
        damage(&place);
        eventually(what, || (daemon.metric("master_config_restorations_total") >= 1).then_some(()));
        eventually(what, || (place.own_text().as_ref() == Some(&text)).then_some(()));
        daemon.says("restored");
    }
}

#[test]
fn d10_another_form_of_the_same_is_left_alone() {
    let (place, daemon, text) = kept();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let formatted = serde_json::to_string_pretty(&value).unwrap();
    let looks = daemon.metric("looks_total");
    place.put("00-meta-cni.conflist", &formatted);
    eventually("a look", || (daemon.metric("looks_total") > looks).then_some(()));
    assert_eq!(place.own_text(), Some(formatted));
    assert_eq!(daemon.metric("master_config_writes_total"), 1);
}

#[test]
fn d10_the_fourth_time_within_a_minute_waits_and_the_culprit_is_named() {
    let (place, daemon, text) = kept();
    let renamed = place.conf("00-meta-cni.conflist.cilium_bak");
    for time in 1..=3 {
        assert_eq!(daemon.metric("master_config_fight"), 0, "{time}");
        std::fs::rename(place.own(), &renamed).unwrap();
        eventually("a restoration", || (daemon.metric("master_config_restorations_total") == time).then_some(()));
        assert_eq!(place.own_text().as_ref(), Some(&text));
    }
    assert_eq!(daemon.metric("master_config_fight"), 1);
    daemon.says("cni.exclusive=false");
    daemon.says("once a minute");
    std::fs::rename(place.own(), &renamed).unwrap();
    let missing = eventually("what is missing", || Some(daemon.get("/readyz")).filter(|(status, _)| *status == 503)).1;
    assert!(missing.contains("restored once a minute"), "{missing}");
    assert!(place.own_text().is_none());
    // Something new is no fight: it is written at once.
    place.primary("10-calico.conflist", "ips");
    place.keeps("10-calico.conflist", "ips");
}

#[test]
fn d7_a_file_that_comes_back_with_its_primary_is_no_restoration() {
    let (place, daemon, text) = kept();
    for _ in 0..5 {
        std::fs::remove_file(place.conf("10-calico.conflist")).unwrap();
        let waits = || daemon.get("/readyz").1.contains("waiting for the primary");
        eventually("a look without a primary", || waits().then_some(()));
        std::fs::remove_file(place.own()).unwrap();
        place.primary("10-calico.conflist", "mac");
        eventually("the file again", || (place.own_text().as_ref() == Some(&text)).then_some(()));
        daemon.ready();
    }
    assert_eq!(daemon.metric("master_config_fight"), 0);
    assert!(daemon.metric("master_config_restorations_total") < 3);
}

#[test]
fn a_change_waits_for_adds_and_a_restoration_does_not() {
    use fs2::FileExt as _;
    let (place, daemon, text) = kept();
    let adding = std::fs::File::create(place.at("run/adding")).unwrap();
    fs2::FileExt::lock_shared(&adding).unwrap();
    place.primary("10-calico.conflist", "ips");
    eventually("a deferral", || (daemon.metric("master_config_deferred_total") > 0).then_some(()));
    assert!(daemon.get("/readyz").1.contains("waits for ADDs"));
    assert_eq!(place.own_text().as_ref(), Some(&text));
    // Without it no pod starts, whoever waits.
    std::fs::remove_file(place.own()).unwrap();
    place.keeps("10-calico.conflist", "ips");
    place.primary("10-calico.conflist", "dns");
    daemon.says("waits for ADDs");
    // One that names what is not there is no better than none.
    std::fs::rename(place.conf("10-calico.conflist"), place.conf("20-calico.conflist")).unwrap();
    place.keeps("20-calico.conflist", "dns");
    place.primary("20-calico.conflist", "mac");
    fs2::FileExt::unlock(&adding).unwrap();
    place.keeps("20-calico.conflist", "mac");
    daemon.ready();
    assert!(adding.try_lock_exclusive().is_ok(), "the daemon holds nothing");
}

#[test]
fn d13_nobody_restores_the_file_while_a_cleanup_is_under_way() {
    let (place, daemon, text) = kept();
    std::fs::write(place.at("run/removing"), "").unwrap();
    std::fs::remove_file(place.own()).unwrap();
    daemon.says("a cleanup is under way");
    place.primary("20-flannel.conflist", "mac");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(place.own_text().is_none());
    std::fs::remove_file(place.conf("20-flannel.conflist")).unwrap();
    std::fs::remove_file(place.at("run/removing")).unwrap();
    eventually("the file again", || (place.own_text().as_ref() == Some(&text)).then_some(()));
    assert_eq!(place.own_value()["name"], json!("meta-cni"));
}

#[test]
fn d10_a_primary_that_flaps_is_followed_each_time_and_does_not_fill_the_log() {
    let (place, daemon, text) = kept();
    for _ in 0..12 {
        std::fs::remove_file(place.conf("10-calico.conflist")).unwrap();
        eventually("that it is missed", || (daemon.get("/readyz").0 == 503).then_some(()));
        place.primary("10-calico.conflist", "mac");
        daemon.ready();
    }
    let log = daemon.log();
    assert!(log.contains("waiting for the primary") && log.contains("it comes and goes"), "{log}");
    assert!(daemon.said("waiting for the primary") < 12 && daemon.said("in place and right") < 12, "{log}");
    // Something new is said at once.
    place.put("10-calico.conflist", "{");
    daemon.says("the primary cannot be used");
    assert_eq!(place.own_text(), Some(text));
}
