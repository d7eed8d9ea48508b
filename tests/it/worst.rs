//! What a user did whom everything goes wrong for: one test for each defect that was found so, named by what it breaks.

use crate::harness::{Node, Output, Sandbox, plugin_under_test, scripted_plugin};
use crate::kernel::{self, bind, ip_in, isolated};
use crate::scene::*;
use crate::sweep::{entry, entry_path};
use serde_json::{Value, json};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What an answer may take that nobody has to be waited for.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Interfaces by annotation, in the form that can say anything.
fn asks(network: &str, interface: &str) -> String {
    json!([{ "name": network, "interface": interface }]).to_string()
}

/// A node with a primary and the network `default/net-a` of the plugin `extra`, neither with a script.
fn two_networks() -> Node {
    let node = node_with(&json!({}));
    node.nad("default", "net-a", &scripted("net-a", "extra", &json!({})));
    node
}

/// A node with a sandbox that the plugin `main` attached. The plugin is a file of its own, so that anything may happen to
/// it, and remembers its calls in one place wherever it lies.
fn attached() -> (Node, Sandbox) {
    let node = Node::new();
    // Not written by this process: a child that another test starts at that moment would hold it open for writing.
    let copied = Command::new("cp").arg(scripted_plugin()).arg(node.plugins().join("main")).status().unwrap();
    assert!(copied.success(), "cp: {copied}");
    node.primary(&scripted("cluster", "main", &json!({ "log": node.plugins().join("calls.jsonl") })));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    (node, sandbox)
}

#[test]
fn f6_a46_del_runs_a_plugin_that_moved_since_its_add() {
    let (node, sandbox) = attached();
    let moved = node.root().join("moved");
    std::fs::create_dir(&moved).unwrap();
    std::fs::rename(node.plugins().join("main"), moved.join("main")).unwrap();
    succeeded(&node.call("DEL", &sandbox).env("CNI_PATH", moved.to_str().unwrap()).run());
    assert_eq!(node.order(), ["ADD eth0 main", "DEL eth0 main"]);
    nothing_left(&node, &sandbox);
}

#[test]
fn f6_a_plugin_that_cannot_be_run_for_now_is_kept_until_it_can() {
    let (node, sandbox) = attached();
    let mode = |mode: u32| std::fs::set_permissions(node.plugins().join("main"), Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    refused(&node.call("DEL", &sandbox).run(), 701);
    assert!(record_path(&node, &sandbox, "eth0").exists(), "its DEL can still heal");
    assert!(node.state().join("queue").join(&sandbox.id).join("eth0.json").exists(), "and is queued");
    mode(0o755);
    succeeded(&node.call("DEL", &sandbox).run());
    assert_eq!(node.order(), ["ADD eth0 main", "DEL eth0 main"]);
    nothing_left(&node, &sandbox);
}

#[test]
fn f6_a_plugin_that_is_gone_everywhere_holds_no_del_up_and_is_asked_when_it_is_there_again() {
    let (node, sandbox) = attached();
    let mut waiting = while_away(&node, "main", || {
        succeeded(&node.call("DEL", &sandbox).run());
        // An installer that removes a plugin before it puts the new one there: what the pod had must not be forgotten.
        assert!(record_path(&node, &sandbox, "eth0").exists(), "its DEL can still heal");
        entry(&entry_path(&node, &sandbox, "eth0"))
    });
    waiting["due"] = 0.into();
    std::fs::write(entry_path(&node, &sandbox, "eth0"), waiting.to_string()).unwrap();
    let mut gc = crate::gc_command::gc(&node, &["--queued"]);
    let path = entry_path(&node, &sandbox, "eth0");
    eventually("no other sweep", || (gc.status().unwrap().success() && !path.exists()).then_some(()));
    assert_eq!(node.order(), ["ADD eth0 main", "DEL eth0 main"]);
    nothing_left(&node, &sandbox);
}

#[test]
fn f6_a_plugin_that_stays_away_is_given_up_by_the_dels_of_a_runtime_too() {
    let (node, sandbox) = attached();
    std::fs::remove_file(node.plugins().join("main")).unwrap();
    succeeded(&node.call("DEL", &sandbox).run());
    let path = entry_path(&node, &sandbox, "eth0");
    let mut often = entry(&path);
    (often["attempts"], often["due"]) = (12.into(), u64::MAX.into());
    std::fs::write(&path, often.to_string()).unwrap();
    succeeded(&node.call("DEL", &sandbox).run());
    nothing_left(&node, &sandbox);
}

#[test]
fn f6_a11_an_add_after_the_del_that_waits_for_a_plugin_is_an_add() {
    let (node, sandbox) = attached();
    while_away(&node, "main", || succeeded(&node.call("DEL", &sandbox).run()));
    succeeded(&node.call("ADD", &sandbox).run());
    assert_eq!(node.order(), ["ADD eth0 main", "DEL eth0 main", "ADD eth0 main"]);
    succeeded(&node.call("DEL", &sandbox).run());
    nothing_left(&node, &sandbox);
}

#[test]
fn f3_f6_an_undo_that_finds_its_plugin_nowhere_is_done_by_the_del() {
    let node = node_with(&json!({}));
    let release = node.root().join("release");
    let fails = json!({ "ADD": { "block_until_file": release, "error": { "code": 42, "msg": "busy" } } });
    node.nad("default", "extra", &scripted("extra", "extra", &fails));
    let sandbox = Sandbox::new();
    let add = node.call("ADD", &sandbox).networks("extra").start();
    eventually("the additional network's ADD", || node.calls().into_iter().find(|call| call.kind == "extra"));
    // An installer that removes all plugins makes ADDs fail, and what they made must not be forgotten for it.
    while_away(&node, "main", || {
        std::fs::write(release, "").unwrap();
        refused(&add.wait(), 42);
    });
    succeeded(&node.call("DEL", &sandbox).run());
    assert_eq!(node.calls_of("DEL").last().map(|call| call.kind.clone()).as_deref(), Some("main"));
    nothing_left(&node, &sandbox);
}

#[test]
fn a46_the_search_path_of_a_del_is_that_of_the_add_and_then_its_own() {
    let node = node_with(&json!({}));
    let sandbox = Sandbox::new();
    let path = |dirs: &[&str]| {
        let dirs: Vec<String> = dirs.iter().map(|dir| node.root().join(dir).display().to_string()).collect();
        dirs.join(":")
    };
    succeeded(&node.call("ADD", &sandbox).env("CNI_PATH", &path(&["early", "plugins"])).run());
    succeeded(&node.call("DEL", &sandbox).env("CNI_PATH", &path(&["later", "plugins", "last"])).run());
    let [add, del] = ["ADD", "DEL"].map(|operation| node.calls_of(operation)[0].env["CNI_PATH"].clone());
    assert!(add.starts_with(&path(&["early", "plugins"])), "{add}");
    assert_eq!(del, format!("{add}:{}", path(&["later", "last"])), "an IPAM plugin may be in any of them");
}

/// Another namespace at the same path, with these links; made before the old one goes, because the kernel gives an inode
/// number again at once.
fn replaced(kernel: &kernel::Node, path: &Path, links: &[&str]) {
    let next = kernel.netns("next");
    kernel.remove_netns(path);
    std::fs::write(path, "").unwrap();
    bind(&next, path);
    for link in links {
        ip_in(path, &["link", "add", link, "type", "bridge"]);
    }
}

/// After an ADD the sandbox's path is another namespace with links of the same names: `calls` there answer with these
/// codes, give back what the first namespace had, and leave the links.
fn calls_beside_foreign_links(calls: &[(&str, Option<u64>)]) {
    isolated(|kernel| {
        let node = real_node();
        node.nad_text("default", "net-a", &bridge("net-a", 2).to_string());
        let sandbox = Sandbox::new();
        let path = kernel.netns("pod");
        let call = |operation: &str| {
            node.call(operation, &sandbox).env("CNI_NETNS", path.to_str().unwrap()).networks("net-a").run()
        };
        succeeded(&call("ADD"));
        assert_eq!(leases().len(), 2);
        replaced(kernel, &path, &["eth0", "net1"]);
        let links = || ip_in(&path, &["-brief", "link", "show", "type", "bridge"]);
        let foreign = links();
        for (operation, code) in calls {
            match code {
                None => succeeded(&call(operation)),
                Some(code) => drop(refused(&call(operation), *code)),
            }
            assert_eq!(links(), foreign, "after the {operation}; log:\n{}", node.log());
            assert_eq!(leases(), Vec::<String>::new(), "what the first namespace had goes");
            // The kernel takes a namespace's links away some time after its last file.
            eventually("an end of the first namespace's veths", || host_veths().is_empty().then_some(()));
        }
        nothing_left(&node, &sandbox);
    });
}

#[test]
fn a11_an_add_beside_foreign_links_is_refused_and_leaves_them() {
    calls_beside_foreign_links(&[("ADD", Some(7)), ("ADD", Some(7))]);
}

#[test]
fn a11_the_del_after_an_add_that_foreign_links_refused_leaves_them() {
    calls_beside_foreign_links(&[("ADD", Some(7)), ("DEL", None)]);
}

#[test]
fn f1_an_interface_name_may_begin_with_a_dot() {
    let node = two_networks();
    let sandbox = Sandbox::new();
    let call = |operation: &str| node.call(operation, &sandbox).networks(&asks("net-a", ".x")).run();
    succeeded(&call("ADD"));
    assert_eq!(record(&record_path(&node, &sandbox, ".x"))["state"], "attached");
    succeeded(&call("CHECK"));
    succeeded(&call("DEL"));
    for operation in ["CHECK", "DEL"] {
        let calls: Vec<String> = node.calls_of(operation).iter().map(|call| call.ifname().to_owned()).collect();
        assert!(calls.iter().any(|ifname| ifname == ".x"), "{operation} of {calls:?}");
    }
    nothing_left(&node, &sandbox);
}

#[test]
fn f1_a7_what_no_record_can_hold_is_refused_before_its_plugins_run() {
    let node = node_with(&json!({}));
    let plugins: Vec<Value> = (0..23).map(|_| json!({ "type": "extra" })).collect();
    node.nad("default", "net-a", &json!({ "cniVersion": "1.0.0", "name": "net-a", "plugins": plugins }));
    let sandbox = Sandbox::new();
    let large = json!([{ "name": "net-a", "cni-args": { "x": "y".repeat(110_000) } }]).to_string();
    let error = refused(&node.call("ADD", &sandbox).networks(&large).run(), 5);
    assert!(error["msg"].as_str().unwrap().contains("would be larger than"), "{error}");
    assert_eq!(node.order(), ["ADD eth0 main", "DEL eth0 main"]);
    assert!(!record_path(&node, &sandbox, "net1").exists());
    succeeded(&node.call("DEL", &sandbox).run());
    nothing_left(&node, &sandbox);
}

#[test]
fn b19_two_adds_of_a_container_have_no_interface_in_common() {
    let node = two_networks();
    let sandbox = Sandbox::new();
    let call =
        |operation: &str, ifname: &str| node.call(operation, &sandbox).env("CNI_IFNAME", ifname).networks("net-a");
    succeeded(&call("ADD", "eth0").run());
    succeeded(&call("ADD", "eth1").run());
    assert_eq!(node.order(), ["ADD eth0 main", "ADD net1 extra", "ADD eth1 main", "ADD net2 extra"]);
    for (ifname, request) in [("eth0", "eth0"), ("net1", "eth0"), ("eth1", "eth1"), ("net2", "eth1")] {
        let record = record(&record_path(&node, &sandbox, ifname));
        assert_eq!((&record["state"], &record["request"]), (&json!("attached"), &json!(request)), "{ifname}");
    }
    let deleted = |ifname: &str| {
        let before = node.calls_of("DEL").len();
        succeeded(&call("CHECK", ifname).run());
        succeeded(&call("DEL", ifname).run());
        let mut names: Vec<String> = node.calls_of("DEL")[before..].iter().map(|c| c.ifname().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(deleted("eth0"), ["eth0", "net1"]);
    assert_eq!(deleted("eth1"), ["eth1", "net2"]);
    nothing_left(&node, &sandbox);
}

#[test]
fn b9_an_interface_name_that_the_kernel_would_change_is_refused() {
    for text in [asks("net-a", "x%d"), "net-a@x%d".to_owned()] {
        let node = two_networks();
        let sandbox = Sandbox::new();
        refused(&node.call("ADD", &sandbox).networks(&text).run(), 7);
        assert_eq!(node.order(), Vec::<String>::new(), "{text}");
        nothing_left(&node, &sandbox);
    }
}

#[test]
fn d8_a_primary_that_is_torn_keeps_its_place_in_the_directory_and_one_that_is_gone_does_not() {
    let node = Node::new();
    node.master(&json!({ "clusterNetwork": node.conf() }));
    let put = |file: &str, kind: &str| {
        node.install_plugin(kind);
        node.write(&format!("conf/{file}"), &scripted(kind, kind, &json!({})).to_string())
    };
    // No Calico has ever run here.
    node.write("delegates/calico.json", r#"{"name":"calico","match":{"plugin_type_any":["calico"]}}"#);
    let calico = put("10-calico.conflist", "calico");
    put("20-leftover.conflist", "leftover");
    let chosen = || {
        let sandbox = Sandbox::new();
        succeeded(&node.call("ADD", &sandbox).run());
        succeeded(&node.call("DEL", &sandbox).run());
        node.calls_of("ADD").pop().unwrap().kind
    };
    assert_eq!(chosen(), "calico");
    std::fs::write(&calico, "").unwrap();
    assert_eq!(chosen(), "calico", "the last good one");
    std::fs::remove_file(&calico).unwrap();
    assert_eq!(chosen(), "leftover");
}

#[test]
fn a35_a_list_of_an_old_version_hands_its_results_on() {
    let node = Node::new();
    let plugins = json!([{ "type": "main" }, { "type": "second" }]);
    node.primary(&json!({ "cniVersion": "0.2.0", "name": "cluster", "plugins": plugins }));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    let calls = node.calls_of("ADD");
    assert_eq!(calls.iter().map(|call| call.kind.as_str()).collect::<Vec<_>>(), ["main", "second"]);
    assert_eq!(calls[0].prev_result(), None);
    let handed_on = calls[1].prev_result().expect("a prevResult");
    assert!(handed_on["ip4"]["ip"].as_str().is_some_and(|ip| ip.starts_with("10.88.")), "{handed_on}");
    succeeded(&node.call("DEL", &sandbox).run());
    nothing_left(&node, &sandbox);
}

#[test]
fn a22_a_daemon_that_a_plugin_left_holds_up_no_check_and_no_file() {
    let node = node_with(&json!({ "ADD": { "spawn_grandchild": { "ms": HANGS_MS, "setsid": true } } }));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    let daemon = grandchild(&node);
    let mut checks = 0;
    within(AT_ONCE, "CHECK", || {
        checks += 1;
        let check = node.call("CHECK", &sandbox).run();
        succeeded(&check);
        check.elapsed
    });
    let del = node.call("DEL", &sandbox).run();
    let (lived, locked) = (runs(daemon), lock_path(&node, &sandbox).exists());
    kill(daemon);
    succeeded(&del);
    assert!(lived, "it held the lock, or this proves nothing");
    assert!(!locked, "the lock's file goes all the same");
    let order = [vec!["ADD eth0 main"], vec!["CHECK eth0 main"; checks], vec!["DEL eth0 main"]].concat();
    assert_eq!(node.order(), order);
    nothing_left(&node, &sandbox);
}

#[test]
fn a8_an_error_with_nulls_is_an_error() {
    for error in [json!({ "code": 42, "msg": "no", "details": null }), json!({ "code": 42, "msg": null })] {
        let node = node_with(&json!({ "ADD": { "error": error } }));
        refused(&node.call("ADD", &Sandbox::new()).run(), 42);
    }
}

#[test]
fn a30_a_list_that_is_null_names_nobody_and_no_list_says_nothing() {
    let node = node_with(&json!({}));
    node.master(&json!({ "cniVersion": "1.1.0" }));
    let [mut gone, alive] = [Sandbox::new(), Sandbox::new()];
    for sandbox in [&gone, &alive] {
        succeeded(&node.call("ADD", sandbox).run());
    }
    gone.netns.vanish();
    let stray = node.write("state/attachments/stray", "not ours");
    succeeded(&node.node_call("GC").run());
    assert_eq!((node.calls_of("DEL").len(), node.records().len()), (0, 3), "nothing is known to be gone");
    let mut config = node.master_config();
    config["cni.dev/valid-attachments"] = Value::Null;
    succeeded(&node.node_call("GC").stdin(config.to_string()).run());
    let deleted: Vec<String> = node.calls_of("DEL").iter().map(|call| call.container().to_owned()).collect();
    assert_eq!(deleted, [gone.id.as_str()]);
    nothing_left(&node, &gone);
    assert!(stray.exists() && record_path(&node, &alive, "eth0").exists());
}

/// Where nothing can be written.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe that nobody reads.
fn broken() -> Stdio {
    let (_, writer) = std::io::pipe().unwrap();
    writer.into()
}

/// Exit code and signal of the plugin's program with its stdout in `stdout`.
fn ends(command: &mut Command, stdout: Stdio) -> (Option<i32>, Option<i32>, String) {
    let output = command.stdout(stdout).stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), output.status.signal(), stderr)
}

#[test]
fn a10_an_answer_that_cannot_be_given_is_no_success() {
    let node = node_with(&json!({}));
    for stdout in [full, broken] {
        let sandbox = Sandbox::new();
        let config = node.write("stdin.json", &node.call("ADD", &sandbox).config().to_string());
        let mut add = Command::new(plugin_under_test());
        add.env_clear().stdin(File::open(config).unwrap()).env("CNI_COMMAND", "ADD").env("CNI_IFNAME", "eth0");
        add.env("CNI_CONTAINERID", &sandbox.id).env("CNI_NETNS", sandbox.netns.path());
        add.env("CNI_ARGS", sandbox.args()).env("CNI_PATH", node.plugins());
        let (exit, signal, stderr) = ends(&mut add, stdout());
        assert!(exit.is_some_and(|exit| exit != 0), "{exit:?}, signal {signal:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert_eq!(node.calls().pop().unwrap().brief(), "ADD eth0 main", "it came as far as the answer");
        succeeded(&node.call("DEL", &sandbox).run());
        nothing_left(&node, &sandbox);
    }
}

#[test]
fn a10_a_command_that_cannot_say_what_it_found_says_so_by_its_exit_code() {
    let node = node_with(&json!({}));
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).run());
    let config = node.write("master.conf", &node.master_config().to_string());
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" } });
    let pod = node.write("pod.json", &pod.to_string());
    for stdout in [full, broken] {
        let mut status = Command::new(plugin_under_test());
        status.env_clear().args(["status", "--container", &sandbox.id, "--state-dir"]).arg(node.state());
        let mut plan = Command::new(plugin_under_test());
        plan.env_clear().args(["plan", "--output", "json", "--config"]).arg(&config);
        plan.arg("--pod").arg(&pod).arg("--bin-dir").arg(node.plugins());
        for command in [&mut status, &mut plan] {
            assert_eq!(ends(command, Stdio::null()).0, Some(0), "{command:?}");
            let (exit, signal, stderr) = ends(command, stdout());
            assert_eq!((exit, signal), (Some(4), None), "{command:?}: {stderr}");
            assert!(!stderr.contains("panicked"), "{stderr}");
        }
    }
}

#[test]
fn a14_a7_a_prev_result_that_is_none_is_refused_before_anything_runs() {
    let node = node_with(&json!({}));
    let sandbox = Sandbox::new();
    let add = node.call("ADD", &sandbox).set("prevResult", json!(5)).run();
    let error = refused(&add, 7);
    assert!(error["msg"].as_str().unwrap().contains("prevResult"), "{error}");
    assert_eq!(node.order(), Vec::<String>::new());
    nothing_left(&node, &sandbox);
}

/// ADD with these keys of the master config; gives the answer and what ran.
fn add_with(keys: &Value) -> (Node, Output) {
    let node = two_networks();
    node.master(keys);
    let add = node.call("ADD", &Sandbox::new()).run();
    (node, add)
}

#[test]
fn d4_a_primary_by_a_relative_path_is_refused() {
    let (node, add) = add_with(&json!({ "clusterNetwork": "./x.conf" }));
    let error = refused(&add, 7);
    assert!(error["msg"].as_str().unwrap().contains("./x.conf"), "{error}");
    assert_eq!(node.order(), Vec::<String>::new());
}

#[test]
fn d4_default_networks_beside_delegates_have_no_effect_and_the_log_says_so() {
    let delegate = json!({ "cniVersion": "1.0.0", "name": "cluster", "type": "main" });
    let keys = json!({ "clusterNetwork": null, "delegates": [delegate], "defaultNetworks": ["net-a"] });
    let (node, add) = add_with(&keys);
    succeeded(&add);
    assert_eq!(node.order(), ["ADD eth0 main"]);
    let log = node.log();
    let warned = log.lines().any(|line| line.contains("defaultNetworks") && line.contains("has no effect beside"));
    assert!(warned, "{log}");
}
