//! G2, F5: `meta-cni gc`, the sweep by hand: what it says, and what its exit code says.

use crate::harness::{Node, Sandbox, boot_seconds, plugin_under_test};
use crate::scene::*;
use crate::sweep::{due_at, entry, entry_path, gone, loud, state_of};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

/// `meta-cni gc` with the node's master config in a file. Most of these nodes have nothing that lives, which a person has to confirm
/// with `--force`, also where only what is due is asked for.
pub fn gc(node: &Node, args: &[&str]) -> Command {
    if args.contains(&"--queued") { typed(node, &[args, &["--force"]].concat()) } else { typed(node, args) }
}

/// Exactly what a person typed.
fn typed(node: &Node, args: &[&str]) -> Command {
    let list = json!({ "cniVersion": "1.0.0", "name": "meta-cni", "plugins": [node.master_config()] });
    let config = node.write("00-meta-cni.conflist", &list.to_string());
    let mut command = Command::new(plugin_under_test());
    command.env_clear().env("CNI_PATH", node.plugins()).args(["gc", "--config", config.to_str().unwrap()]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What it printed, and its exit code.
#[track_caller]
fn said(node: &Node, args: &[&str]) -> (String, String, i32) {
    let confirmed = if args.contains(&"--queued") { args.to_vec() } else { [args, &["--force"]].concat() };
    let output = gc(node, &confirmed).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

#[test]
fn a_dry_run_says_what_would_be_done_and_touches_nothing() {
    let node = loud(&json!({}));
    let dead = gone(&node);
    let live = Sandbox::new();
    succeeded(&node.call("ADD", &live).run());
    let before = (state_of(&node), node.calls().len(), node.log());
    let (text, errors, exit) = said(&node, &["--dry-run"]);
    let line = format!("{} eth0 (network \"cluster\"): would be deleted\n", dead.id);
    assert_eq!((text, errors.as_str(), exit), (line + "alive: 1, waiting for the next attempt: 0\n", "", 1));
    let (text, _, exit) = said(&node, &["--dry-run", "--output", "json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    let expected = json!({ "actions": [{ "sandbox": dead.id, "ifname": "eth0", "network": "cluster", "what": "delete" }],
        "live": 1, "waiting": 0, "busy": [], "unknown": [], "released": 0, "kept": 0, "left": 0 });
    assert_eq!((report, exit), (expected, 1));
    assert_eq!((state_of(&node), node.calls().len(), node.log()), before);
    let (text, _, exit) = said(&node, &[]);
    let line = format!("{} eth0 (network \"cluster\"): deleted\n", dead.id);
    assert_eq!((text, exit), (line + "alive: 1, waiting for the next attempt: 0\n", 0));
    nothing_left(&node, &dead);
    let (text, _, exit) = said(&node, &["--dry-run"]);
    assert_eq!((text.as_str(), exit), ("alive: 1, waiting for the next attempt: 0\n", 0));
}

#[test]
fn f6_by_hand_what_waits_is_tried_now_and_what_fails_is_told() {
    let node = loud(&json!({ "DEL": { "error": { "code": 42, "msg": "busy" }, "fail_first": 3 } }));
    let dead = gone(&node);
    refused(&node.call("DEL", &dead).run(), 42);
    let path = entry_path(&node, &dead, "eth0");
    let mut later = entry(&path);
    later["due"] = (boot_seconds() + 100).into();
    std::fs::write(&path, later.to_string()).unwrap();
    assert_eq!(said(&node, &["--queued"]), (String::new(), String::new(), 0), "its time has not come");
    assert_eq!(node.calls_of("DEL").len(), 1);
    let (text, _, exit) = said(&node, &[]);
    assert!(text.contains("not done, to be tried again: network \"cluster\" (main) eth0: DEL: busy"), "{text}");
    assert_eq!((exit, node.calls_of("DEL").len()), (4, 3), "with the namespace and without");
    let (text, _, exit) = said(&node, &[]);
    assert!(text.contains("deleted") && exit == 0, "{text}");
    nothing_left(&node, &dead);
}

#[test]
fn f5_what_a_daemon_starts_takes_nothing_where_no_pod_is_to_be_seen() {
    let node = loud(&json!({}));
    // From another mount namespace, a container's, every pod of the node looks like this one.
    let dead = gone(&node);
    // But what the runtime asked for.
    let asked = gone(&node);
    while_away(&node, "main", || succeeded(&node.call("DEL", &asked).run()));
    let mut due = entry(&entry_path(&node, &asked, "eth0"));
    due["due"] = 0.into();
    std::fs::write(entry_path(&node, &asked, "eth0"), due.to_string()).unwrap();
    due_at(&node, 0);
    let sweep = || typed(&node, &["--queued", "--wary"]).status().unwrap().code();
    assert_eq!(sweep(), Some(0));
    nothing_left(&node, &asked);
    assert_eq!(node.calls_of("DEL").len(), 1);
    assert_eq!(sweep(), Some(0));
    assert!(record_path(&node, &dead, "eth0").exists());
    let live = Sandbox::new();
    succeeded(&node.call("ADD", &live).run());
    eventually("a sweep of what is gone", || (sweep() == Some(0) && node.calls_of("DEL").len() == 2).then_some(()));
    nothing_left(&node, &dead);
}

#[test]
fn a_run_is_bounded_and_the_next_is_due_at_once() {
    let node = loud(&json!({}));
    let dead: Vec<Sandbox> = (0..70).map(|_| gone(&node)).collect();
    node.write("state/queue/nobody/eth0.json", "{}");
    due_at(&node, 0);
    let (text, _, exit) = said(&node, &[]);
    assert_eq!((text.matches(": deleted").count(), text.matches("stood for").count()), (64, 0), "{text}");
    assert!(text.ends_with("sandboxes left for the next run: 6\n") && exit == 4, "{text}");
    let next = || u64::try_from(std::fs::metadata(node.run_dir().join("sweep")).unwrap().mtime()).unwrap();
    assert!(next() <= boot_seconds());
    let (text, _, exit) = said(&node, &[]);
    assert_eq!((text.matches(": deleted").count(), text.matches("stood for").count(), exit), (6, 1, 0), "{text}");
    dead.iter().for_each(|sandbox| nothing_left(&node, sandbox));
    assert!(next() > boot_seconds() + 500);
}

#[test]
fn one_sweep_at_a_time() {
    let node = loud(&json!({}));
    let dead = gone(&node);
    let lock = std::fs::File::create(node.run_dir().join("sweeping")).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    let (text, errors, exit) = said(&node, &[]);
    let who = format!("meta-cni: another sweep is under way: process {}, which has run for ", std::process::id());
    assert!(text.is_empty() && errors.starts_with(&who) && exit == 4, "{errors}");
    assert_eq!(said(&node, &["--queued"]), (String::new(), String::new(), 0));
    assert!(!node.log().contains("nothing is swept"));
    // One that takes longer than from one sweep to the next is not normal.
    node.master(&json!({ "sweepInterval": "1s" }));
    let told =
        || said(&node, &["--queued"]) == (String::new(), String::new(), 0) && node.log().contains("nothing is swept");
    eventually("that the log says so", || told().then_some(()));
    assert_eq!(node.calls_of("DEL").len(), 0);
    drop(lock);
    assert_eq!(said(&node, &["--queued"]), (String::new(), String::new(), 0));
    nothing_left(&node, &dead);
}

#[test]
fn what_cannot_be_looked_at_is_told_by_the_exit_code() {
    let node = loud(&json!({}));
    let (_, errors, exit) = said(&node, &["--state-dir", "/proc/self/status"]);
    assert!(errors.starts_with("meta-cni: ") && exit == 3, "{errors}");
    node.master(&json!({ "sweepInterval": "soon" }));
    let (_, errors, exit) = said(&node, &[]);
    assert!(errors.contains("sweepInterval") && exit == 1, "{errors}");
}

#[test]
fn what_seems_to_be_all_dead_is_left_alone_unless_somebody_says_so() {
    let node = loud(&json!({}));
    let dead = gone(&node);
    for args in [&[][..], &["--queued"]] {
        let output = typed(&node, args).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains("no attachment made since the kernel started is alive as seen from here"), "{errors}");
        assert_ne!(output.status.code(), Some(0));
        assert_eq!(node.calls_of("DEL").len(), 0);
    }
    assert_eq!(said(&node, &[]).2, 0);
    nothing_left(&node, &dead);
}

#[test]
fn f5_where_neither_namespaces_nor_the_run_directory_can_be_seen_what_lives_is_left_alone() {
    let node = loud(&json!({}));
    let live = Sandbox::new();
    succeeded(&node.call("ADD", &live).run());
    // A container of a person's own, which has the node's state and not its /run: another token, and so another epoch.
    let command = gc(&node, &["--run-dir", node.root().join("empty").to_str().unwrap()]);
    let mut elsewhere = Command::new("unshare");
    elsewhere.args(["--mount", "--pid", "--fork", "--mount-proc"]).arg(command.get_program()).args(command.get_args());
    let output = elsewhere.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("no attachment made since the kernel started is alive as seen from here"), "{errors}");
    assert_ne!(output.status.code(), Some(0));
    assert_eq!(node.calls_of("DEL").len(), 0);
}
