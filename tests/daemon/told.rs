//! What the daemon is told and tells: config, flags, signals, health.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::place::{Place, eventually};

#[test]
fn a_config_that_cannot_be_used_is_refused_with_its_key() {
    let mut place = Place::new();
    place.config(&json!({ "addBudget": "soon" }));
    let daemon = place.start();
    daemon.says("addBudget");
    assert_eq!(daemon.ends(), Some(2));
    let daemon = place.start_through(&[], &["--no-such-flag"]);
    assert_eq!(daemon.ends(), Some(2));
    let daemon = place.start_through(&[], &["--version"]);
    assert_eq!(daemon.ends(), Some(0));
    let missing = place.start_through(&["env"], &["--config", "/nowhere/daemon.json"]);
    assert_eq!(missing.ends(), Some(2), "a flag that is given twice");
    assert!(place.own_text().is_none());
}

#[test]
fn sighup_reads_the_config_again_and_a_bad_one_changes_nothing() {
    let mut place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    place.keeps("10-calico.conflist", "mac");
    place.config(&json!({ "addBudget": "9s" }));
    place.write_config();
    daemon.signal(Signal::SIGHUP);
    let budget = |place: &Place| place.own_value()["plugins"][0]["addBudget"].clone();
    eventually("the new setting", || (budget(&place) == json!("9s")).then_some(()));
    std::fs::write(place.at("daemon.json"), "{").unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.says("the config stays as it was");
    assert_eq!(budget(&place), json!("9s"));
    daemon.ready();
}

#[test]
fn health_is_there_by_default_can_be_off_and_bears_strangers() {
    use std::io::{Read as _, Write as _};
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    daemon.ready();
    assert_eq!(daemon.get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(daemon.get("/nothing").0, 404);
    let metrics = daemon.get("/metrics").1;
    assert!(metrics.contains("meta_cni_primary_info{file=") && metrics.contains("network=\"pods\""), "{metrics}");
    let address = std::fs::read_to_string(place.at("run/meta-cnid.health")).unwrap();
    let silent: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(address.trim()).unwrap()).collect();
    drop(silent);
    let mut rude = std::net::TcpStream::connect(address.trim()).unwrap();
    let _ = rude.write_all(&vec![b'x'; 1 << 20]);
    let mut said = Vec::new();
    let _ = rude.read_to_end(&mut said);
    eventually("an answer after all", || (daemon.get("/healthz").0 == 200).then_some(()));
    drop(daemon);

    let daemon = place.start_through(&[], &["--health", "off", "--log-format=json"]);
    let json = |line: &str| serde_json::from_str::<Value>(line).ok();
    eventually("its log as JSON", || {
        let says =
            |line: &str| json(line).is_some_and(|line| line["message"] == "primary chosen" && line["level"] == "info");
        daemon.log().lines().any(says).then_some(())
    });
    assert!(!place.at("run/meta-cnid.health").exists());
}

#[test]
fn a_port_that_is_taken_stops_nothing() {
    let mut place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    place.config(&json!({ "health": taken.local_addr().unwrap().to_string() }));
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    place.keeps("10-calico.conflist", "mac");
    daemon.says("cannot be served yet");
    drop(taken);
    daemon.ready();
}

#[test]
fn systemd_is_told() {
    use std::os::unix::net::UnixDatagram;
    let place = Place::new();
    let socket = place.at("notify");
    let listener = UnixDatagram::bind(&socket).unwrap();
    listener.set_read_timeout(Some(crate::place::PATIENCE)).unwrap();
    let variable = format!("NOTIFY_SOCKET={}", socket.display());
    let daemon = place.start_through(&["env", &variable], &[]);
    let mut heard = String::new();
    let mut hear = |text: &str| {
        while !heard.contains(text) {
            let mut buffer = [0; 4096];
            let length = listener.recv(&mut buffer).unwrap_or_else(|error| panic!("{text}: {error} after {heard}"));
            heard += std::str::from_utf8(&buffer[..length]).unwrap();
            heard += "\n";
        }
    };
    hear("READY=1");
    hear("STATUS=waiting for the primary");
    hear("WATCHDOG=1");
    place.primary("10-calico.conflist", "mac");
    hear("STATUS=the master config is in place and right");
    daemon.signal(Signal::SIGTERM);
    hear("STOPPING=1");
    assert_eq!(daemon.ends(), Some(0));
}
