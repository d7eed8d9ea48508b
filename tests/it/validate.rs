//! G1: `meta-cni validate`. What it says, how it ends, and that no input breaks it or steers a terminal; E7: what Multus'
//! thin entrypoint leaves behind is found, and never chosen.

use crate::harness::plugin_under_test;
use meta_cni::plan::primary::{Candidate, choose};
use meta_cni::profile::Profiles;
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Said {
    stdout: String,
    stderr: String,
    exit: Option<i32>,
}

fn validate<S: AsRef<std::ffi::OsStr>>(args: &[S], stdin: &[u8]) -> Said {
    let mut child = Command::new(plugin_under_test())
        .env_clear()
        .arg("validate")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without having read all of it.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { stdout: text(output.stdout), stderr: text(output.stderr), exit: output.status.code() }
}

fn json_of(said: &Said) -> Vec<Value> {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.stdout))
}

fn codes(findings: &[Value]) -> Vec<&str> {
    findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A directory without symlinks in its path.
fn dir() -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).canonicalize().unwrap();
    tempfile::Builder::new().prefix("validate-").tempdir_in(root).unwrap()
}

const BRIDGE: &str = r#"{"cniVersion":"1.0.0","name":"b","type":"bridge"}"#;

fn master(cluster_network: &Path) -> String {
    let plugin = json!({ "type": "meta-cni", "capabilities": { "io.kubernetes.cri.pod-annotations": true },
        "clusterNetwork": cluster_network });
    json!({ "cniVersion": "1.0.0", "name": "meta-cni", "plugins": [plugin] }).to_string()
}

#[test]
fn g1_a_finding_has_its_place_the_text_underlined_and_a_remedy() {
    let dir = dir();
    let text = "{\n  \"cniVersion\": \"1.0.0\",\n  \"name\": \"n\",\n\t\"plugins\": [{ \"type\": \"世/bridge\" }]\n}\n";
    let path = write(dir.path(), "10-x.conflist", text);
    let said = validate(&[&path], b"");
    let place = path.display();
    let expected = format!(
        "error[MC-016]: plugin type \"世/bridge\" has a path separator
 --> {place}:4:24
  |
4 |     \"plugins\": [{{ \"type\": \"世/bridge\" }}]
  |                           ^^^^^^^^^^^
  = help: Write the file name alone, and put the executable where plugins are searched.

1 file, 1 error, 0 warnings, 0 notes
"
    );
    assert_eq!((said.stdout, said.stderr.as_str(), said.exit), (expected, "", Some(1)));
}

#[test]
fn g1_json_output_is_a_list_of_findings() {
    let said = validate(&["-", "--output", "json"], b"{\"cniVersion\":\"1.0.0\",\n \"name\":5,\"type\":\"a\"}");
    let expected = json!([{ "code": "MC-010", "severity": "error", "file": "-", "line": 2, "column": 9, "span": [31, 32],
        "pointer": "/name", "message": "key \"name\" is not a string: invalid type: integer `5`, expected a string",
        "help": "Write a value of the type that is named.", "refused": true }]);
    assert_eq!((json!(json_of(&said)), said.exit), (expected, Some(1)));
    let clean = validate(&["-", "--output", "json"], BRIDGE.as_bytes());
    assert_eq!((clean.stdout.as_str(), clean.exit), ("[]\n", Some(0)));
}

#[test]
fn g1_exit_codes_tell() {
    let dir = dir();
    let good = write(dir.path(), "good.conf", BRIDGE);
    let bad = write(dir.path(), "bad.conf", "{");
    let warned =
        write(dir.path(), "warned.conf", r#"{"cniVersion":"1.0.0","name":"b","type":"bridge","runtimeConfig":{}}"#);
    let (good, bad, warned) = (good.to_str().unwrap(), bad.to_str().unwrap(), warned.to_str().unwrap());
    let nowhere = dir.path().join("nowhere");
    let config = format!("--config={}/00-meta-cni.conflist", nowhere.display());
    for (args, exit, stdout, stderr) in [
        (vec![good], 0, "1 file, 0 errors", ""),
        (vec![warned], 0, "1 warning", ""),
        (vec![good, bad], 1, "2 files, 1 error,", ""),
        (vec![bad, nowhere.to_str().unwrap()], 3, "error[MC-002]", "nowhere does not exist"),
        (vec![config.as_str()], 3, "0 files", "nowhere does not exist"),
        (vec!["--frobnicate"], 2, "", "--frobnicate"),
        (vec![good, "--output", "xml"], 2, "", "xml"),
    ] {
        let said = validate(&args, b"");
        assert_eq!(said.exit, Some(exit), "{args:?}: {} {}", said.stdout, said.stderr);
        assert!(
            said.stdout.contains(stdout) && said.stderr.contains(stderr),
            "{args:?}: {} {}",
            said.stdout,
            said.stderr
        );
    }
}

#[test]
fn g1_d4_without_an_argument_the_conf_dir_is_judged_as_a_whole() {
    let dir = dir();
    let config = write(dir.path(), "00-meta-cni.conflist", master(dir.path()));
    write(dir.path(), "10-b.conf", BRIDGE);
    write(dir.path(), "20-k.conflist", r#"{"cniVersion":"0.3.1","name":"k","plugins":[{"type":"calico"}]}"#);
    write(dir.path(), "30-torn.conflist", r#"{"cniVersion":"0.3.1","name":"k","plug"#);
    write(dir.path(), "README", "not looked at");
    std::fs::create_dir(dir.path().join("dir.conf")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("fifo.conf"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    symlink("/nowhere", dir.path().join("leads-nowhere.conf")).unwrap();
    let argument = format!("--config={}", config.display());
    let said = validate(&[argument.as_str(), "--output", "json"], b"");
    let findings = json_of(&said);
    assert_eq!(
        (codes(&findings), said.exit),
        (vec!["MC-002", "MC-060", "MC-060", "MC-074"], Some(1)),
        "{}",
        said.stdout
    );
    let choice = findings[3]["message"].as_str().unwrap();
    for words in
        ["of the kind \"calico\"", "not \"10-b.conf\": another file comes first", "\"30-torn.conflist\": ", "EOF"]
    {
        assert!(choice.contains(words), "{words:?} is not in {choice}");
    }
    let by_name = validate(&[dir.path().to_str().unwrap(), "--output", "json"], b"");
    assert_eq!(by_name.stdout, said.stdout);
}

#[test]
fn g1_whose_file_it_is_and_what_lies_beside_it_is_judged_too() {
    let dir = dir();
    let path = write(dir.path(), "10-n.conflist", r#"{"cniVersion":"1.0.0","name":"n"}"#);
    let found = || {
        let said = validate(&[path.to_str().unwrap(), "--output", "json"], b"");
        codes(&json_of(&said)).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(found(), ["MC-014"]);
    std::fs::create_dir(dir.path().join("n")).unwrap();
    write(&dir.path().join("n"), "10-a.conf", r#"{"type":"a"}"#);
    assert_eq!(found(), Vec::<String>::new());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(found(), ["MC-060"]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    write(&dir.path().join("n"), "20-b.conf", "{");
    assert_eq!(found(), ["MC-060"]);
    write(dir.path(), "10-n.conflist", vec![b' '; (1 << 20) + 1]);
    assert_eq!(found(), ["MC-060"]);
}

#[test]
fn d6_a_master_config_that_names_itself_is_found_by_any_of_its_paths() {
    let dir = dir();
    let path = dir.path().join("00-meta-cni.conflist");
    write(dir.path(), "00-meta-cni.conflist", master(&path));
    let link = dir.path().join("link.conflist");
    symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        let said = validate(&[name.to_str().unwrap(), "--output", "json"], b"");
        assert_eq!((codes(&json_of(&said)), said.exit), (vec!["MC-040"], Some(1)), "{}", said.stdout);
    }
}

#[test]
fn g1_the_examples_are_clean() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let said = validate(&[examples.to_str().unwrap(), "--output", "json"], b"");
    assert_eq!((codes(&json_of(&said)), said.exit), (vec!["MC-074"], Some(0)), "{}{}", said.stdout, said.stderr);
}

/// The files in `corrupt`: what Multus' thin entrypoint makes of a left-over file of its own, and of a longer one.
#[test]
fn e7_d4_what_multus_leaves_behind_is_explained_and_never_chosen() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/corrupt");
    let mut seen = Vec::new();
    for path in crate::harness::files_below(&folder) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let said = validate(&["-", "--output", "json"], &bytes);
        let findings = json_of(&said);
        let errors: Vec<Value> = findings.into_iter().filter(|finding| finding["severity"] == "error").collect();
        let expected: &[&str] = match name.as_str() {
            "nested-thin.conf" | "nested-thin.conflist" => &["MC-051", "MC-053"],
            "nested-four-times.conf" => &["MC-051", "MC-053", "MC-053", "MC-053"],
            "nested-meta-cni.conflist" => &["MC-050"],
            "plain-multus.conf" => &["MC-051"],
            "shim.conf" => &["MC-052"],
            "stale-tail.conf" => &["MC-004"],
            "truncated-by-a-failed-regeneration.conf" => &["MC-001"],
            other => panic!("{other} is expected to be nothing"),
        };
        assert_eq!((codes(&errors), said.exit), (expected.to_vec(), Some(1)), "{name}: {}", said.stdout);
        for finding in &errors {
            assert!(finding["line"].as_u64() > Some(0) && !finding["help"].as_str().unwrap().is_empty(), "{finding}");
            let nests = matches!(finding["code"].as_str(), Some("MC-050" | "MC-051" | "MC-052" | "MC-053"));
            assert!(!nests || finding["help"].as_str().unwrap().contains("meta-cni repair"), "{finding}");
        }
        let candidate = |content: &[u8]| Candidate { file_name: name.clone(), content: Ok(content.to_vec()) };
        for length in 0..=bytes.len() {
            let choice = choose(vec![candidate(&bytes[..length])], &Profiles::with_overrides(Vec::new()));
            assert!(choice.primary.is_none(), "the first {length} bytes of {name} are chosen");
        }
        seen.push(name);
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}

#[test]
fn g1_nothing_in_a_file_or_its_name_steers_the_terminal() {
    let dir = dir();
    let hostile = "\u{1b}]0;x\u{7}\u{202e}\u{9b}31m\r\u{200b}";
    let name = std::ffi::OsStr::from_bytes(b"10-\x1b[31m\xff\n.conf");
    let texts = [
        format!(r#"{{"cniVersion":"1.0.0","name":"n{hostile}","type":"a"}}"#),
        json!({ "cniVersion": "1.0.0", "name": hostile, "type": hostile, hostile: 1, "capabilities": { hostile: 1 } })
            .to_string(),
        master(Path::new("/x")).replace("\"clusterNetwork\"", &format!("{}:1,\"clusterNetwork\"", json!(hostile))),
        "\u{1b}[2J".repeat(1000),
        format!("{{\"name\":\"{}\u{1b}\"}}", "世\t".repeat(50_000)),
    ];
    for text in texts {
        let path = dir.path().join(name);
        std::fs::write(&path, &text).unwrap();
        let said = validate(&[&path], b"");
        assert_eq!(said.exit, Some(1), "{text:?}");
        let steers = |c: &char| (c.is_control() && *c != '\n') || matches!(c, '\u{202e}' | '\u{200b}' | '\u{9b}');
        let found: Vec<char> = said.stdout.chars().chain(said.stderr.chars()).filter(steers).collect();
        assert_eq!(found, [], "{}", said.stdout);
        assert!(said.stdout.lines().all(|line| line.chars().count() < 1000), "{}", said.stdout);
        let gone = validate(&[dir.path().join(std::ffi::OsStr::from_bytes(b"\x1b[31m"))], b"");
        assert!(!gone.stderr.contains('\u{1b}') && gone.exit == Some(3), "{}", gone.stderr);
    }
}

#[test]
fn g1_any_bytes_are_answered() {
    for bytes in [
        &b""[..],
        b"\0",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b"{\"plugins\":[null,{}]}",
        &vec![b'['; 1 << 20],
        &vec![b'{'; 3 << 20],
    ] {
        let said = validate(&["-"], bytes);
        assert_eq!(
            (said.exit, said.stderr.as_str()),
            (Some(1), ""),
            "{:?}: {}",
            &bytes[..bytes.len().min(20)],
            said.stdout
        );
        assert!(said.stdout.starts_with("error[MC-"), "{}", said.stdout);
    }
}
