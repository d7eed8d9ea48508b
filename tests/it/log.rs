//! G9, G4: what the log has of a call afterwards, where it goes, and what it must never have.

use crate::harness::{Netns, Node, Sandbox};
use crate::kernel::isolated;
use crate::scene::*;
use serde_json::json;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

/// Stands for a password in a plugin's configuration.
const SECRET: &str = "s3cr3t-of-the-config";

/// A node whose networks carry a secret, and whose delegates talk.
fn talking() -> Node {
    let node = Node::new();
    let script = |text: &str| json!({ "ADD": { "stderr": text }, "DEL": { "stderr": text }, "key": SECRET });
    node.primary(&scripted("cluster", "main", &script("first word of main\nlast word of main\n")));
    node.nad("default", "net-a", &scripted("net-a", "extra", &script("word of extra \u{1b}[31m\u{7}")));
    node.nad("default", "net-b", &scripted("net-b", "broken", &json!({
        "ADD": { "error": { "code": 42, "msg": "out of addresses", "details": "pool 7" }, "stderr": "panic: frobnicator" },
        "key": SECRET,
    })));
    node
}

#[test]
fn g9_every_line_of_a_call_is_found_by_its_sandbox_and_delegates_are_heard() {
    let node = talking();
    let [one, two] = [Sandbox::new(), Sandbox::new()];
    for sandbox in [&one, &two] {
        succeeded(&node.call("ADD", sandbox).networks("net-a").run());
        succeeded(&node.call("DEL", sandbox).run());
    }
    let log = node.log();
    for sandbox in [&one, &two] {
        let mine: Vec<&str> = log.lines().filter(|line| line.contains(&format!(" sandbox={} ", sandbox.id))).collect();
        for word in ["first word of main", "last word of main", "word of extra"] {
            assert_eq!(mine.iter().filter(|line| line.contains(word)).count(), 2, "{word}, of ADD and DEL: {mine:#?}");
        }
        for operation in ["ADD", "DEL"] {
            let done = |line: &&&str| line.contains(&format!("operation={operation}")) && line.contains("elapsed_ms=");
            assert_eq!(mine.iter().filter(done).count(), 1, "{operation}: {mine:#?}");
        }
    }
    let ours =
        |line: &&str| line.contains(&format!("sandbox={} ", one.id)) || line.contains(&format!("sandbox={} ", two.id));
    assert!(log.lines().all(|line| ours(&line)), "{log}");
    assert!(!log.contains(['\u{1b}', '\u{7}']), "a delegate cannot speak to the reader's terminal");
}

#[test]
fn g9_a_failed_call_is_found_in_the_log_with_its_error() {
    let node = talking();
    let sandbox = Sandbox::new();
    let error = refused(&node.call("ADD", &sandbox).networks("net-b").run(), 42);
    let log = node.log();
    let line = log.lines().find(|line| line.contains(" ERROR ")).unwrap_or_else(|| panic!("no error in\n{log}"));
    for word in [&*sandbox.id, "operation=ADD", "code=42", "out of addresses", "pool 7", "net1", "broken"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(log.contains("panic: frobnicator"), "{log}");
    let msg = error["msg"].as_str().unwrap().replace('"', "");
    assert!(line.replace(['"', '\\'], "").contains(&msg), "what the runtime was told: {msg}\n{line}");
    assert!(error["details"].as_str().unwrap().contains("panic: frobnicator"), "{error}");
}

#[test]
fn g9_a_refused_call_is_in_the_log_too() {
    let node = talking();
    let sandbox = Sandbox::new();
    refused(&node.call("ADD", &sandbox).networks("nowhere").run(), 7);
    let log = node.log();
    assert!(
        log.lines().any(|line| line.contains(&*sandbox.id) && line.contains("code=7") && line.contains("nowhere")),
        "{log}"
    );
}

#[test]
fn g4_the_text_of_a_configuration_is_never_logged_nor_answered() {
    for level in ["info", "debug", "trace"] {
        let node = talking();
        node.master(&json!({ "logLevel": level }));
        let sandbox = Sandbox::new();
        let mut answers = vec![node.call("ADD", &sandbox).networks("net-b").run()];
        for operation in ["ADD", "ADD", "CHECK", "DEL", "DEL"] {
            answers.push(node.call(operation, &sandbox).networks("net-a").run());
        }
        std::fs::write(node.conf().join("10-primary.conflist"), format!("{{\"key\": \"{SECRET}\", broken")).unwrap();
        answers.push(node.call("ADD", &Sandbox::new()).run());
        let text = format!("{{\"cniVersion\":\"1.0.0\",\"name\":\"x\",\"type\":7,\"key\":\"{SECRET}\"}}");
        node.nad_text("default", "net-c", &text);
        answers.push(node.call("ADD", &Sandbox::new()).networks("net-c").run());
        assert!(!node.log().is_empty());
        assert!(!node.log().contains(SECRET), "at level {level}: {}", node.log());
        for answer in answers {
            assert!(!answer.stdout.contains(SECRET) && !answer.stderr.contains(SECRET), "{answer:?}");
        }
    }
}

#[test]
fn g9_without_a_file_the_log_goes_to_journald_by_sandbox() {
    isolated(|_| {
        let socket = Path::new("/run/systemd/journal/socket");
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let journal = UnixDatagram::bind(socket).unwrap();
        journal.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let node = talking();
        node.master(&json!({ "logFile": null }));
        let sandbox = Sandbox::new();
        refused(&node.call("ADD", &sandbox).networks("net-b").run(), 42);
        let mut datagrams = Vec::new();
        let mut buffer = vec![0; 1 << 18];
        while let Ok(size) = journal.recv(&mut buffer) {
            datagrams.push(String::from_utf8_lossy(&buffer[..size]).into_owned());
        }
        assert!(datagrams.len() >= 3, "{datagrams:#?}");
        for datagram in &datagrams {
            let has = |field: &str| datagram.lines().any(|line| line == field);
            assert!(has(&format!("SANDBOX={}", sandbox.id)) && has("SYSLOG_IDENTIFIER=meta-cni"), "{datagram}");
        }
        assert!(datagrams.iter().any(|datagram| datagram.contains("panic: frobnicator")));
        let error = datagrams.iter().find(|datagram| datagram.contains("\nPRIORITY=3\n")).expect("an error");
        assert!(error.contains("out of addresses") && error.contains("CODE=42"), "{error}");
        assert!(!Path::new("/var/log/meta-cni.log").exists(), "one place is enough");
    });
}

#[test]
fn g9_without_journald_the_log_is_a_file_of_root_that_stays_small() {
    isolated(|_| {
        let node = talking();
        node.master(&json!({ "logFile": null }));
        // Each call of the delegate is heard with 60 KiB of words.
        node.primary(&scripted("cluster", "main", &json!({ "ADD": { "stderr": "word\n".repeat(12_000) }, "log": "" })));
        let log = Path::new("/var/log/meta-cni.log");
        let old = Path::new("/var/log/meta-cni.log.1");
        let mut sandbox = Sandbox { netns: Netns::new(), ..Sandbox::new() };
        let first = sandbox.id.clone();
        for number in 0..60 {
            sandbox.id = format!("{first}-{number}");
            succeeded(&node.call("ADD", &sandbox).run());
            if old.exists() {
                break;
            }
        }
        let size =
            |path: &Path| std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).len();
        assert!(size(log) <= 10_000_000 && size(old) <= 10_000_000, "{} and {}", size(log), size(old));
        assert!(size(old) > 9_000_000, "turned over too early: {}", size(old));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(log).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert!(std::fs::read_to_string(log).unwrap().contains(&sandbox.id), "the newest is in the newer file");
    });
}

#[test]
fn g9_a_log_that_cannot_be_written_fails_nothing() {
    let node = talking();
    let file = node.write("not-a-directory", "");
    for place in
        [file.join("log"), node.root().to_owned(), "/proc/self/log".into(), "/dev/full".into(), "/dev/stdout".into()]
    {
        node.master(&json!({ "logFile": place }));
        let sandbox = Sandbox::new();
        let add = node.call("ADD", &sandbox).networks("net-a").run();
        succeeded(&add);
        serde_json::from_str::<serde_json::Value>(&add.stdout).unwrap_or_else(|error| panic!("{error}: {add:?}"));
        let del = node.call("DEL", &sandbox).run();
        succeeded(&del);
        assert_eq!(del.stdout, "", "{}", place.display());
        nothing_left(&node, &sandbox);
    }
}
