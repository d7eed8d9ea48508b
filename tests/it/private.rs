//! The private conf dir, step by step: what `install --private-conf-dir` and `cleanup` do to a runtime's configuration, and that a
//! kill after any change leaves a runtime that starts then with a directory in which our file is.

use crate::harness::{Node, files_below, plugin_under_test};
use crate::install::command;
use crate::kernel::isolated;
use crate::scene::*;
use meta_cni::plan::master::{FILE_NAME, lint};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const OLD: &str = "# a person's\nversion = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"p\"\n  \
    [plugins.\"io.containerd.grpc.v1.cri\".cni]\n    bin_dir = \"/opt/cni/bin\"\n    conf_dir = \"/etc/cni/net.d\" # here\n[debug]\n";

const NEW: &str = "version = 3\n[plugins.'io.containerd.cri.v1.runtime']\n  restrict_oom_score_adj = true\n";

/// A runtime's configuration on a node, as it was before.
struct Told {
    kind: &'static str,
    text: Option<&'static str>,
}

const ALL: [Told; 6] = [
    Told { kind: "containerd-1", text: Some(OLD) },
    Told { kind: "containerd-1", text: None },
    Told { kind: "containerd-2", text: Some(NEW) },
    Told { kind: "containerd-2", text: Some(OLD) },
    Told { kind: "containerd-2", text: None },
    Told { kind: "crio", text: Some("[crio]\n") },
];

impl Told {
    fn file(&self, node: &Node) -> PathBuf {
        node.root().join(if self.kind == "crio" { "etc/crio.conf" } else { "etc/config.toml" })
    }

    fn node(&self) -> Node {
        let node = node_with(&json!({}));
        std::fs::create_dir(node.root().join("etc")).unwrap();
        if let Some(text) = self.text {
            std::fs::write(self.file(&node), text).unwrap();
        }
        node
    }

    fn flags(&self, node: &Node) -> Vec<String> {
        let at = |path: PathBuf| path.to_str().unwrap().to_owned();
        let mut flags = vec!["install".to_owned(), "--bin-dir".to_owned(), at(node.plugins())];
        flags.extend(["--conf-dir".to_owned(), at(node.conf()), "--edit-runtime-config".to_owned()]);
        flags.extend([
            "--runtime".to_owned(),
            self.kind.to_owned(),
            "--runtime-config".to_owned(),
            at(self.file(node)),
        ]);
        flags.push(format!("--private-conf-dir={}", at(private(node))));
        flags
    }

    #[track_caller]
    fn install(&self, node: &Node, more: &[&str]) -> (i32, String, String) {
        let flags = self.flags(node);
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        command(node, &flags)
    }

    /// Where a runtime that starts now looks.
    fn reads(&self, node: &Node) -> PathBuf {
        let text = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let own = text(self.file(node));
        let is_in = |text: &str| {
            text.lines().any(|line| line.contains(private(node).to_str().unwrap()) && !line.starts_with('#'))
        };
        let moved = match self.kind {
            "containerd-1" => is_in(&own),
            "containerd-2" => {
                own.contains("conf.d/*.toml") && is_in(&text(node.root().join("etc/conf.d/50-meta-cni.toml")))
            }
            _ => is_in(&text(node.root().join("etc/crio.conf.d/50-meta-cni.conf"))),
        };
        if moved { private(node) } else { node.conf() }
    }
}

fn private(node: &Node) -> PathBuf {
    node.root().join("private")
}

fn cleanup(node: &Node) -> (i32, String, String) {
    let (bin, conf) = (node.plugins(), node.conf());
    command(node, &["cleanup", "--bin-dir", bin.to_str().unwrap(), "--conf-dir", conf.to_str().unwrap()])
}

/// The same by a person who has restarted the runtime.
fn restarted(node: &Node) -> (i32, String, String) {
    let (bin, conf) = (node.plugins(), node.conf());
    let places = ["--bin-dir", bin.to_str().unwrap(), "--conf-dir", conf.to_str().unwrap()];
    command(node, &[&["cleanup", "--restarted"], places.as_slice()].concat())
}

/// Every file of the node but locks, by its path, with what is in it.
fn files(node: &Node) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = files_below(node.root()).into_iter().filter(|path| !path.starts_with(node.run_dir()));
    all.map(|path| (path.strip_prefix(node.root()).unwrap().to_owned(), std::fs::read(&path).unwrap())).collect()
}

fn has_ours(dir: &Path) -> Result<String, String> {
    lint(&std::fs::read(dir.join(FILE_NAME)).map_err(|error| format!("{}: {error}", dir.display()))?)
}

#[test]
fn a_private_conf_dir_is_made_once_and_taken_back_to_the_byte() {
    isolated(|_| {
        for told in &ALL {
            let node = told.node();
            let before = files(&node);
            let (exit, text, errors) = told.install(&node, &["--dry-run"]);
            assert!(exit == 0 && text.contains("would be"), "{} {exit} {text}{errors}", told.kind);
            assert_eq!(files(&node), before, "a dry run touches nothing");
            let (exit, text, errors) = told.install(&node, &[]);
            assert!(exit == 0 && text.contains("is to be restarted"), "{exit} {text}{errors}");
            assert_eq!(told.reads(&node), private(&node));
            for dir in [private(&node), node.conf()] {
                let primary = node.conf().join("10-primary.conflist");
                assert_eq!(has_ours(&dir).as_deref(), Ok(primary.to_str().unwrap()));
            }
            let ours: Value = serde_json::from_slice(&std::fs::read(private(&node).join(FILE_NAME)).unwrap()).unwrap();
            assert_eq!(ours["plugins"][0]["addBudget"], "150s");
            let after = files(&node);
            // Once more, and without the flag, changes nothing.
            assert_eq!(told.install(&node, &[]).0, 0);
            let (bin, conf) = (node.plugins(), node.conf());
            let plain = ["install", "--bin-dir", bin.to_str().unwrap(), "--conf-dir", conf.to_str().unwrap()];
            let (exit, text, errors) = command(&node, &plain);
            assert_eq!((exit, files(&node)), (0, after), "{text}{errors}");

            // Nobody knows what the runtime reads: a person restarts it, and says so by doing it again.
            let (exit, text, errors) = cleanup(&node);
            assert!(exit == 4 && text.contains("restart it and do this again"), "{exit} {text}{errors}");
            assert_eq!((told.reads(&node), has_ours(&node.conf()).is_ok()), (node.conf(), true));
            assert_eq!(cleanup(&node).0, 4, "nobody says that it was restarted");
            let (exit, text, errors) = restarted(&node);
            assert_eq!(exit, 0, "{text}{errors}");
            let mut left = files(&node);
            left.retain(|path, _| !path.starts_with("plugins"));
            let mut before = before;
            before.retain(|path, _| !path.starts_with("plugins"));
            assert_eq!(left, before, "{}", told.kind);
            assert!(!private(&node).exists());
            let (exit, text, errors) = cleanup(&node);
            assert!(exit == 0 && !text.contains(": removed"), "nothing was there: {exit} {text}{errors}");
            for dir in ["etc/conf.d", "etc/crio.conf.d"] {
                assert!(!node.root().join(dir).exists(), "{dir}");
            }
        }
    });
}

#[test]
fn what_is_refused_changed_nothing_and_says_what_a_person_can_do() {
    let told = &ALL[0];
    let node = told.node();
    let before = files(&node);
    let refused = |flags: &[String], more: &[&str], why: &str| {
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let (exit, text, errors) = command(&node, &flags);
        assert!(exit == 4 && errors.contains(why), "{exit} {text}{errors}");
        assert_eq!(files(&node), before);
    };
    let without = |flag: &str, values: usize| {
        let mut flags = told.flags(&node);
        let at = flags.iter().position(|word| word == flag).unwrap();
        flags.drain(at..=at + values);
        flags
    };
    refused(&without("--edit-runtime-config", 0), &[], "    conf_dir = ");
    refused(&without("--runtime", 1), &[], "say --runtime containerd-1, containerd-2 or crio");
    refused(&without("--runtime", 1), &["--runtime", "docker"], "is none of");
    let link = node.root().join("etc/link.toml");
    std::os::unix::fs::symlink(told.file(&node), &link).unwrap();
    let before_link = before.clone();
    let mut flags = without("--runtime-config", 1);
    flags.extend(["--runtime-config".to_owned(), link.to_str().unwrap().to_owned()]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (exit, _, errors) = command(&node, &flags);
    assert!(exit == 4 && errors.contains("is a link"), "{exit} {errors}");
    std::fs::remove_file(link).unwrap();
    assert_eq!(files(&node), before_link);
    // A directory that others' files are in, or the primary's by another name, is not private.
    let full = node.root().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("05-other.conf"), "{}").unwrap();
    let alias = node.root().join("alias");
    std::os::unix::fs::symlink(node.conf(), &alias).unwrap();
    for (dir, why) in [
        (&full, "05-other.conf"),
        (&alias, "10-primary.conflist"),
        (&node.conf().join("../conf"), "has a \"..\" in it"),
    ] {
        let mut flags = told.flags(&node);
        *flags.last_mut().unwrap() = format!("--private-conf-dir={}", dir.display());
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let (exit, text, errors) = command(&node, &flags);
        assert!(exit == 4 && errors.contains(why), "{exit} {text}{errors}");
        assert!(!node.state().join("private.json").exists());
    }
    std::fs::remove_file(alias).unwrap();
    std::fs::remove_dir_all(full).unwrap();
    // Without a primary the runtime is not pointed at a directory with nothing in it.
    std::fs::remove_file(node.conf().join("10-primary.conflist")).unwrap();
    let (exit, text, errors) = told.install(&node, &[]);
    assert!(exit == 4 && text.contains("there is no primary network yet"), "{exit} {text}{errors}");
    assert_eq!(told.reads(&node), node.conf());
    // Nor is anything restarted where that cannot be.
    node.primary(&scripted("cluster", "main", &json!({})));
    let (exit, text, errors) = told.install(&node, &["--restart"]);
    let no_systemd = !Path::new("/run/systemd/system").is_dir();
    assert!(!no_systemd || (exit == 4 && errors.contains("has no systemd")), "{exit} {errors}");
    assert!(text.ends_with("config.toml: edited\n"), "what was done is said: {text}");
}

#[test]
fn one_that_ends_half_way_says_each_step_that_it_did_and_the_next_goes_on() {
    isolated(|_| {
        let told = &ALL[2];
        let node = told.node();
        let copy = node.root().join("etc/config.toml.meta-cni.bak");
        std::fs::create_dir(&copy).unwrap();
        let (exit, text, errors) = told.install(&node, &[]);
        assert!(exit == 4 && errors.contains("cannot rename"), "{exit} {text}{errors}");
        let last = format!("{}: written\n", node.root().join("etc/conf.d/50-meta-cni.toml").display());
        assert!(text.ends_with(&last), "{text}");
        assert_eq!(told.reads(&node), node.conf());
        std::fs::remove_dir(&copy).unwrap();
        let (exit, text, errors) = told.install(&node, &[]);
        assert!(exit == 0 && text.contains("config.toml: edited"), "{exit} {text}{errors}");
        assert_eq!(told.reads(&node), private(&node));
    });
}

#[test]
fn what_others_changed_since_stays_when_our_lines_go() {
    isolated(|_| {
        for told in ALL.iter().filter(|told| told.kind != "crio" && told.text.is_some()) {
            let node = told.node();
            assert_eq!(told.install(&node, &[]).0, 0);
            let edited = std::fs::read_to_string(told.file(&node)).unwrap();
            std::fs::write(told.file(&node), format!("{edited}[metrics]\n  address = \"x\"\n")).unwrap();
            let (exit, text, _) = cleanup(&node);
            assert!(exit == 4 && text.contains("others have changed it since"), "{exit} {text}");
            let expected = format!("{}[metrics]\n  address = \"x\"\n", told.text.unwrap());
            assert_eq!(std::fs::read_to_string(told.file(&node)).unwrap(), expected);
            assert_eq!(restarted(&node).0, 0);
            assert_eq!(std::fs::read_dir(node.root().join("etc")).unwrap().count(), 1, "no copy stays");
        }
        // In a file that we made they wrote for the version that it says.
        for told in ALL.iter().filter(|told| told.kind != "crio" && told.text.is_none()) {
            let node = told.node();
            assert_eq!(told.install(&node, &[]).0, 0);
            let edited = std::fs::read_to_string(told.file(&node)).unwrap();
            let theirs = "[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"p\"\n";
            std::fs::write(told.file(&node), format!("{edited}{theirs}")).unwrap();
            assert_eq!(cleanup(&node).0, 4);
            let version = if told.kind == "containerd-1" { 2 } else { 3 };
            let left = std::fs::read_to_string(told.file(&node)).unwrap();
            assert_eq!(left, format!("version = {version}\n{theirs}"), "{}", told.kind);
        }
    });
}

/// System calls that change a directory.
const CHANGES: [&str; 7] = ["linkat", "rename", "renameat", "unlink", "unlinkat", "rmdir", "mkdir"];

/// The command with these words, killed right after its call of that number of `change`; false when it made fewer.
fn killed(node: &Node, words: &[&str], change: &str, number: usize) -> bool {
    let status = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "-e", &format!("inject={change}:signal=SIGKILL:when={number}")])
        .arg(plugin_under_test())
        .args(words)
        .arg("--state-dir")
        .arg(node.state())
        .arg("--run-dir")
        .arg(node.run_dir())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("this test needs the program `strace` (Debian package strace)");
    assert!(matches!(status.code(), None | Some(0 | 4)), "{status:?}");
    status.signal() == Some(9)
}

#[test]
fn killed_after_any_change_the_runtime_finds_our_file_and_doing_it_again_ends_it() {
    isolated(|_| {
        let (mut installs, mut cleanups) = (0, 0);
        for told in &ALL {
            let right = told.node();
            assert_eq!(told.install(&right, &[]).0, 0);
            let names = |node: &Node| files(node).into_keys().collect::<Vec<_>>();
            let installed = names(&right);
            assert_eq!((cleanup(&right).0, restarted(&right).0), (4, 0));
            let cleaned = names(&right);
            for change in CHANGES {
                for number in 1.. {
                    let node = told.node();
                    let flags = told.flags(&node);
                    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
                    // Of a node on which meta-cni is the network already: it never is without.
                    assert_eq!(command(&node, &[&["install"], &flags[1..5]].concat()).0, 0);
                    if !killed(&node, &flags, change, number) {
                        break;
                    }
                    installs += 1;
                    let dir = told.reads(&node);
                    assert!(has_ours(&dir).is_ok(), "{} {change} {number}: {:?}", told.kind, has_ours(&dir));
                    assert_eq!(told.install(&node, &[]).0, 0, "{} {change} {number}", told.kind);
                    assert_eq!((told.reads(&node), names(&node)), (private(&node), installed.clone()));
                }
                // The first half of a cleanup: until the runtime reads the conf dir again.
                for number in 1.. {
                    let node = told.node();
                    assert_eq!(told.install(&node, &[]).0, 0);
                    std::fs::remove_file(node.conf().join(FILE_NAME)).unwrap();
                    let (bin, conf) = (node.plugins(), node.conf());
                    let words = ["cleanup", "--bin-dir", bin.to_str().unwrap(), "--conf-dir", conf.to_str().unwrap()];
                    if !killed(&node, &words, change, number) {
                        break;
                    }
                    cleanups += 1;
                    let dir = told.reads(&node);
                    assert!(has_ours(&dir).is_ok(), "{} {change} {number}: {:?}", told.kind, has_ours(&dir));
                    // Who restarts nothing before he is told to has a runtime that reads the private one.
                    let ends = [cleanup(&node).0, restarted(&node).0];
                    assert_eq!(ends, [4, 0], "{} {change} {number}", told.kind);
                    assert_eq!(names(&node), cleaned, "{} {change} {number}", told.kind);
                }
            }
        }
        assert!(installs > 30 && cleanups > 20, "{installs} {cleanups} kills");
    });
}

#[test]
fn a_damaged_decision_is_said_with_its_remedy_and_nothing_is_done_by_it() {
    let told = &ALL[2];
    let node = told.node();
    assert_eq!(told.install(&node, &[]).0, 0);
    let path = node.state().join("private.json");
    let whole = std::fs::read_to_string(&path).unwrap();
    let with = |key: &str, value: Value| {
        let mut all: Value = serde_json::from_str(&whole).unwrap();
        all[key] = value;
        all.to_string()
    };
    let there = files(&node);
    let config = node.conf().join(FILE_NAME);
    for damaged in [
        whole[..20].to_owned(),
        with("version", json!(2)),
        with("to", json!("relative")),
        with("from", json!("")),
        with("to", json!(format!("{}/", node.conf().display()))),
    ] {
        std::fs::write(&path, &damaged).unwrap();
        for (exit, text, errors) in [told.install(&node, &[]), cleanup(&node)] {
            assert!(exit == 4 && errors.contains("is damaged: "), "{damaged} {exit} {text}{errors}");
            assert!(errors.contains("remove it, and if the runtime"), "{errors}");
        }
        let (exit, text, errors) = command(&node, &["status", "--config", config.to_str().unwrap()]);
        let line = text.lines().find(|line| line.starts_with("WRONG   private conf dir: "));
        assert!(exit == 1 && line.is_some_and(|line| line.contains("remove it, and if")), "{exit} {text}{errors}");
    }
    // What it says to do helps.
    std::fs::remove_file(&path).unwrap();
    let (exit, text, errors) = told.install(&node, &[]);
    assert_eq!((exit, files(&node)), (0, there), "{text}{errors}");
    assert_eq!((cleanup(&node).0, restarted(&node).0), (4, 0));
}
