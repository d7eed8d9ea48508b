//! G3: what the daemon knows of the node, as `meta-cni status` and the log show it.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::plugin_under_test;
use crate::place::{Place, eventually};

/// `meta-cni status` of the place: its lines, and the exit code.
fn status(place: &Place) -> (Vec<Value>, i32) {
    let mut command = Command::new(plugin_under_test());
    command.args(["status", "--output", "json", "--config"]).arg(place.own()).arg("--run-dir").arg(place.at("run"));
    let output = command.env_clear().output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (report["lines"].as_array().unwrap().clone(), output.status.code().unwrap())
}

/// Waits until there is a line about this, in this state, with these words.
#[track_caller]
fn says(place: &Place, about: &str, state: &str, words: &[&str]) {
    eventually(&format!("a line about {about}, {state}, with {words:?}"), || {
        let (lines, _) = status(place);
        let text = |line: &Value| line["says"].as_str().unwrap().to_owned();
        let found = lines
            .iter()
            .filter(|line| line["about"] == about && line["state"] == state)
            .any(|line| words.iter().all(|word| text(line).contains(word)));
        found.then_some(())
    });
}

#[test]
fn g3_candidates_verdict_and_reason_are_visible_in_status_and_in_the_log() {
    let place = Place::new();
    place.put("20-any.conf", r#"{"name":"any","type":"bridge"}"#);
    place.put("87-podman.conflist", r#"{"name":"podman","plugins":[{"type":"bridge"}]}"#);
    let daemon = place.start();
    eventually("a master config", || place.own_text());
    daemon.ready();
    daemon.says("primary chosen");
    assert!(daemon.log().contains("20-any.conf"), "{}", daemon.log());
    says(&place, "daemon", "ok", &["keeps the master config right"]);
    says(&place, "candidate", "ok", &["20-any.conf: chosen", "no profile"]);
    says(&place, "candidate", "note", &["87-podman.conflist: refused", "podman"]);
    // A better one comes; the daemon takes it, and status shows why.
    place.primary("90-calico.conflist", "mac");
    place.keeps("90-calico.conflist", "mac");
    eventually("the choice in the log", || {
        daemon.log().lines().any(|line| line.contains("primary chosen") && line.contains("90-calico")).then_some(())
    });
    says(&place, "candidate", "ok", &["90-calico.conflist: chosen", "profile \"calico\""]);
    says(&place, "candidate", "note", &["20-any.conf: candidate: another file comes first"]);
    says(&place, "last good primary", "ok", &["is the current one"]);
    // Torn: the reason in the daemon's own words, and which one is in force.
    std::fs::write(place.conf("90-calico.conflist"), "{").unwrap();
    says(&place, "daemon", "wrong", &["90-calico.conflist", "the last good state stays"]);
    says(&place, "primary", "wrong", &["the last good one is"]);
    assert_eq!(status(&place).1, 1);
    daemon.kill();
    says(&place, "daemon", "wrong", &["nobody answers at"]);
}

#[test]
fn g3_d10_a_fight_and_who_is_at_it_are_visible_in_status() {
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    for _ in 0..3 {
        place.keeps("10-calico.conflist", "mac");
        daemon.ready();
        std::fs::rename(place.own(), place.conf("00-meta-cni.conflist.cilium_bak")).unwrap();
    }
    daemon.says("three times within a minute");
    eventually("the fight", || {
        let (lines, _) = status(&place);
        let of =
            |line: &&Value| line["about"] == "daemon" && line["says"].as_str().unwrap().contains("again and again");
        lines.iter().find(of).map(|line| assert!(line["remedy"].as_str().unwrap().contains("cni.exclusive"), "{line}"))
    });
}

#[test]
fn g3_a_daemon_that_serves_health_nowhere_is_seen_to_run_and_to_have_ended() {
    let mut place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    daemon.ready();
    daemon.kill();
    assert!(place.at("run/meta-cnid.health").exists(), "where it was served is told still");
    // `start` would remove it, as this one is to.
    place.config(&json!({ "health": "off" }));
    let daemon = place.start_beside();
    eventually("its sign of life", || place.at("run/meta-cnid.lock").exists().then_some(()));
    says(&place, "daemon", "ok", &["meta-cnid runs and has not told where it serves health"]);
    assert!(!place.at("run/meta-cnid.health").exists());
    // It shows itself again where its file was removed.
    std::fs::remove_file(place.at("run/meta-cnid.lock")).unwrap();
    place.primary("10-calico.conflist", "ips");
    says(&place, "daemon", "ok", &["meta-cnid runs"]);
    // What it starts does not hold it beyond its end, and another one may begin.
    daemon.kill();
    says(&place, "daemon", "note", &["no meta-cnid runs"]);
    let _again = place.start();
    says(&place, "daemon", "ok", &["meta-cnid runs"]);
}

#[test]
fn g3_a_daemon_that_runs_and_cannot_serve_is_not_told_to_be_started() {
    let mut place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    place.config(&json!({ "health": taken.local_addr().unwrap().to_string() }));
    let daemon = place.start();
    daemon.says("cannot be served yet");
    std::fs::write(place.at("run/meta-cnid.health"), "127.0.0.1:1\n").unwrap();
    says(&place, "daemon", "wrong", &["meta-cnid runs, but does not answer at 127.0.0.1:1"]);
}
