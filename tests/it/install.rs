//! D16: `meta-cni install`. What it puts where, what it leaves, and that no call of the plugin ever notices.

use crate::harness::{Node, Sandbox, plugin_under_test};
use crate::scene::*;
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A command with this node's directories; its exit code and what it printed on stdout and stderr.
#[track_caller]
pub fn command(node: &Node, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(plugin_under_test());
    command.env_clear().args(args).arg("--state-dir").arg(node.state()).arg("--run-dir").arg(node.run_dir());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or_else(|| panic!("{output:?}")), text(output.stdout), text(output.stderr))
}

/// `meta-cni install` into the node's plugin and conf directories.
#[track_caller]
fn install(node: &Node, more: &[&str]) -> (i32, String, String) {
    let (bin, conf) = (node.plugins(), node.conf());
    let places = ["install", "--bin-dir", bin.to_str().unwrap(), "--conf-dir", conf.to_str().unwrap()];
    command(node, &[&places, more].concat())
}

fn master_of(node: &Node) -> PathBuf {
    node.conf().join("00-meta-cni.conflist")
}

#[test]
fn d16_install_puts_the_plugin_in_place_and_says_what_it_did() {
    let node = node_with(&json!({}));
    let target = node.plugins().join("meta-cni");
    let (target_text, master) = (target.display(), master_of(&node));
    node.write("plugins/.meta-cni.dead.tmp", "half");
    node.write("run/removing", "");
    let (exit, text, _) = install(&node, &[]);
    let primary = node.conf().join("10-primary.conflist");
    let lines = [
        format!("{target_text}: installed"),
        "an earlier `meta-cni cleanup` holds nobody from writing the master config any more".to_owned(),
        format!("{}: written; the primary is {}", master.display(), primary.display()),
    ];
    assert_eq!((exit, text.lines().map(str::to_owned).collect::<Vec<_>>()), (0, lines.to_vec()));
    let metadata = std::fs::metadata(&target).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o755, 0));
    assert_eq!(std::fs::read(&target).unwrap(), std::fs::read(plugin_under_test()).unwrap());
    assert!(!node.run_dir().join("removing").exists());
    assert!(!node.plugins().join(".meta-cni.dead.tmp").exists());

    // What it wrote is what the plugin takes, in this node's directories.
    let validate = Command::new(&target).args(["validate", master.to_str().unwrap()]).output().unwrap();
    assert_eq!(validate.status.code(), Some(0), "{}", String::from_utf8_lossy(&validate.stdout));
    let written: Value = serde_json::from_slice(&std::fs::read(&master).unwrap()).unwrap();
    assert_eq!(written["plugins"][0]["stateDir"], json!(node.state()));
    assert_eq!(written["plugins"][0]["clusterNetwork"], json!(primary));

    let (inode, config) = (metadata.ino(), std::fs::metadata(&master).unwrap().ino());
    let (exit, text, _) = install(&node, &[]);
    let lines = format!("{target_text}: unchanged\n{}: left as it is\n", master.display());
    assert_eq!((exit, text), (0, lines));
    assert_eq!(std::fs::metadata(&target).unwrap().ino(), inode, "the same content is not written again");
    assert_eq!(std::fs::metadata(&master).unwrap().ino(), config);
}

#[test]
fn d16_what_install_could_not_do_is_said_by_its_exit_code() {
    let node = Node::new();
    let (exit, text, _) = install(&node, &[]);
    assert!(exit == 4 && text.contains("there is no primary network yet"), "{exit} {text}");
    assert!(!master_of(&node).exists());
    let (exit, text, _) = install(&node, &["--no-config"]);
    assert_eq!((exit, text.lines().count()), (0, 1), "{text}");
    for (source, why) in [("/dev/zero", "is no regular file"), ("/etc/passwd", "is no executable")] {
        let (exit, _, errors) = install(&node, &["--source", source]);
        assert!(exit == 4 && errors.contains(why), "{exit} {errors}");
    }
    node.write("conf/00-meta-cni.conflist", "{\"plugins\"");
    let (exit, text, _) = install(&node, &[]);
    assert!(exit == 4 && text.contains("left as it is, and cannot be used"), "{exit} {text}");
    assert_eq!(std::fs::read_to_string(master_of(&node)).unwrap(), "{\"plugins\"");
    let (exit, _, _) = command(&node, &["install", "--bin-dir"]);
    assert_eq!(exit, 2);
    // Who holds the lock is named.
    let lock = std::fs::OpenOptions::new().write(true).open(node.run_dir().join("master.lock")).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    let (exit, _, errors) = install(&node, &[]);
    assert!(exit == 4 && errors.contains("master.lock is held by"), "{exit} {errors}");
}

#[test]
fn d16_directories_that_would_be_anothers_are_refused_before_anything_is_touched() {
    let node = node_with(&json!({}));
    let (bin, conf, state, run) = (node.plugins(), node.conf(), node.state(), node.run_dir());
    let within = conf.join("state");
    let removed = state.join("attachments/net.d");
    let named = |bin: &Path, conf: &Path, private: Option<&Path>, state: &Path, run: &Path| {
        let mut command = Command::new(plugin_under_test());
        command.env_clear().arg("install");
        for (flag, dir) in [("--bin-dir", bin), ("--conf-dir", conf), ("--state-dir", state), ("--run-dir", run)] {
            command.arg(flag).arg(dir);
        }
        command.args(private.map(|dir| format!("--private-conf-dir={}", dir.display())));
        let output = command.args(["--runtime", "crio"]).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (refused, how) in [
        (named(&bin, &conf, None, &within, &run), "lies in the runtime's conf dir"),
        (named(&bin, &conf, None, &state, &conf), "is the runtime's conf dir"),
        (named(&bin, &conf, None, &bin, &run), "is the plugin directory"),
        (named(&bin, &removed, None, &state, &run), "among files that meta-cni removes"),
        (named(&bin, &conf, Some(&removed), &state, &run), "among files that meta-cni removes"),
    ] {
        let (exit, errors) = refused;
        assert!(exit == Some(4) && errors.contains(how) && errors.lines().count() == 1, "{how}: {exit:?} {errors}");
        assert!(errors.contains("; say a directory of its own, for example /"), "{errors}");
    }
    assert!(!bin.join("meta-cni").exists() && !master_of(&node).exists() && !within.exists());
}

#[test]
fn d16_an_install_that_ends_half_way_says_what_it_did_and_the_next_goes_on() {
    let node = node_with(&json!({}));
    let target = node.plugins().join("meta-cni");
    let aside = node.root().join("aside");
    std::fs::rename(node.conf(), &aside).unwrap();
    std::fs::write(node.conf(), "in its place").unwrap();
    let (exit, text, errors) = install(&node, &[]);
    assert_eq!((exit, text), (4, format!("{}: installed\n", target.display())), "{errors}");
    assert!(errors.contains("cannot list") && errors.lines().count() == 1, "{errors}");
    std::fs::remove_file(node.conf()).unwrap();
    std::fs::rename(aside, node.conf()).unwrap();
    let (exit, text, errors) = install(&node, &[]);
    assert!(exit == 0 && text.starts_with(&format!("{}: unchanged\n", target.display())), "{exit} {text}{errors}");
    assert!(text.contains("00-meta-cni.conflist: written"), "{text}");
}

#[test]
fn d16_an_executable_that_was_cut_off_replaces_nothing() {
    let node = node_with(&json!({}));
    assert_eq!(install(&node, &["--no-config"]).0, 0);
    let (target, cut) = (node.plugins().join("meta-cni"), node.root().join("cut"));
    let whole = std::fs::read(plugin_under_test()).unwrap();
    for length in [1000, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&cut, &whole[..length]).unwrap();
        let (exit, _, errors) = install(&node, &["--no-config", "--source", cut.to_str().unwrap()]);
        assert!(exit == 4 && errors.contains("was cut off"), "{length}: {exit} {errors}");
        assert_eq!(version(&target), Ok(()), "{length}");
    }
}

/// Two executables that are not the same: this plugin, small, and with something after its end.
fn two_versions(dir: &Path) -> [PathBuf; 2] {
    let [one, two] = ["one", "two"].map(|name| dir.join(name));
    let stripped = Command::new("strip").arg("-o").arg(&one).arg(plugin_under_test()).status();
    assert!(stripped.expect("this test needs the program `strip` (Debian package binutils)").success());
    let mut bytes = std::fs::read(&one).unwrap();
    bytes.extend_from_slice(b"another version");
    std::fs::write(&two, bytes).unwrap();
    std::fs::set_permissions(&two, std::fs::Permissions::from_mode(0o755)).unwrap();
    [one, two]
}

/// One call of the installed plugin, as a runtime makes it; why it was none.
fn version(program: &Path) -> Result<(), String> {
    let output = Command::new(program).env_clear().env("CNI_COMMAND", "VERSION").stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    match serde_json::from_slice::<Value>(&output.stdout) {
        Ok(answer) if output.status.success() && answer["supportedVersions"].is_array() => Ok(()),
        _ => Err(format!("{output:?}")),
    }
}

#[test]
fn d16_no_call_ever_finds_the_plugin_busy_or_missing_while_it_is_replaced_200_times() {
    let target = Node::new();
    let program = target.plugins().join("meta-cni");
    let versions = two_versions(target.root());
    let put = |round: usize| install(&target, &["--no-config", "--source", versions[round % 2].to_str().unwrap()]);
    assert_eq!(put(1).0, 0);
    // ADDs by the installed plugin, of a node that is another one so that their logs are apart.
    let node = {
        let node = Node::with_plugin(&program);
        node.primary(&scripted("cluster", "main", &json!({})));
        node
    };
    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let caller = |adds: bool| {
        while !done.load(Ordering::Relaxed) {
            if adds {
                let sandbox = Sandbox::new();
                let output = node.call("ADD", &sandbox).run();
                assert_eq!(output.exit, Some(0), "{output:?}");
            } else {
                version(&program).unwrap();
            }
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for adds in [false, false, false, true] {
            scope.spawn(move || caller(adds));
        }
        // Whatever becomes of an install, the callers are to end.
        let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..200 {
                let (exit, text, errors) = put(round);
                assert_eq!((exit, text.ends_with(": replaced\n")), (0, true), "{text}{errors}");
            }
        }));
        done.store(true, Ordering::Relaxed);
        rounds.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(calls.load(Ordering::Relaxed) > 100, "{calls:?} calls");
    let names: Vec<_> = std::fs::read_dir(target.plugins()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["meta-cni"]);
}
