//! Answers of runtimes, as they were said; and a runtime that says nothing of its directories over CRI.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};

use super::*;
use message::{RuntimeCondition, RuntimeStatus};

fn answered(runtime: &str, info: &[(&str, &str)]) -> Answer {
    let condition = |kind: &str, status: bool, reason: &str| RuntimeCondition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: "m\nn".to_owned(),
    };
    let conditions = vec![condition("RuntimeReady", true, ""), condition("NetworkReady", false, "NotReady")];
    let info: HashMap<String, String> =
        info.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let version = VersionResponse { runtime_name: runtime.to_owned(), runtime_version: "1".to_owned() };
    info::answer(Path::new("/s"), version, StatusResponse { status: Some(RuntimeStatus { conditions }), info })
}

/// As `crio config` prints it, shortened; comments and all.
const CRIO: &str = r#"
[crio]
# root = "/var/lib/containers/storage"
log_dir = "/var/log/crio/pods"
[crio.runtime]
default_ulimits = [
]
conmon_cgroup = "system.slice"
[crio.runtime.runtimes.crun]
runtime_path = ""
allowed_annotations = [
	"io.containers.trace-syscall",
]
[crio.image]
pause_image = "registry.k8s.io/pause:3.10"
# The crio.network table containers settings pertaining to the management of
# CNI plugins.
[crio.network]
# cni_default_network = ""
network_dir = "/etc/cni/net.d/"
plugin_dirs = [
	"/opt/cni/bin/",
	"/usr/libexec/cni",
]
[crio.metrics]
enable_metrics = false
"#;

#[test]
fn what_containerd_says_is_understood_in_both_forms() {
    let loaded = r#"{"PluginDirs":["/opt/cni/bin"],"PluginConfDir":"/a","PluginMaxConfNum":1,"Prefix":"eth","Networks":[
        {"Config":{"Name":"cni-loopback","CNIVersion":"0.3.1","Plugins":[]},"IFName":"lo"},
        {"Config":{"Name":"meta-cni","CNIVersion":"1.0.0","Plugins":[]},"IFName":"eth0"}]}"#;
    let old = r#"{"containerd":{},"cni":{"binDir":"/opt/cni/bin","confDir":"/etc/cni/net.d","maxConfNum":1},"x":null}"#;
    let answer = answered("containerd", &[("config", old), ("cniconfig", loaded), ("lastCNILoadStatus", "OK")]);
    assert_eq!((answer.network_ready, answer.reason.as_str(), answer.message.as_str()), (false, "NotReady", "m n"));
    assert_eq!((answer.network.as_deref(), answer.load_error), (Some("meta-cni"), None));
    assert_eq!(answer.conf_dir.as_deref(), Some(Path::new("/etc/cni/net.d")));
    assert_eq!(answer.bin_dirs, [Path::new("/opt/cni/bin")]);

    let new = r#"{"cni":{"binDirs":["/a/bin","/b/bin"],"confDir":"/etc/cni/net.d","setupSerially":false}}"#;
    let answer =
        answered("containerd", &[("config", new), ("lastCNILoadStatus", "cni config load failed: no network")]);
    assert_eq!(answer.bin_dirs, [Path::new("/a/bin"), Path::new("/b/bin")]);
    assert_eq!(answer.load_error.as_deref(), Some("cni config load failed: no network"));
    assert_eq!(answer.network, None);
}

#[test]
fn what_says_nothing_is_no_error() {
    for config in
        ["", "{", "null", "[]", r#"{"cni":[]}"#, r#"{"cni":{"confDir":"relative"}}"#, "[crio]\nnetwork = 1", "\u{0}"]
    {
        let answer = answered("other", &[("config", config), ("cniconfig", config)]);
        assert_eq!((answer.conf_dir, answer.bin_dirs.len(), answer.network), (None, 0, None), "{config:?}");
    }
}

#[test]
fn crios_configuration_is_understood() {
    let mut answer = answered("cri-o", &[("config", r#"{"sandboxImage":"pause"}"#)]);
    assert_eq!(answer.conf_dir, None);
    info::of_crio(&mut answer, CRIO);
    assert_eq!(answer.conf_dir.as_deref().map(|dir| dir.display().to_string()).as_deref(), Some("/etc/cni/net.d"));
    assert_eq!(answer.bin_dirs, [Path::new("/opt/cni/bin"), Path::new("/usr/libexec/cni")]);
    assert_eq!(answered("cri-o", &[("config", CRIO)]).conf_dir, answer.conf_dir, "where it says so itself");
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A server at `socket` that says `text` to its one caller; gives what that said first.
fn says(socket: &Path, text: String) -> std::thread::JoinHandle<Vec<u8>> {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = vec![0; 4096];
        let length = stream.read(&mut heard).unwrap();
        heard.truncate(length);
        stream.write_all(text.as_bytes()).unwrap();
        heard
    })
}

#[test]
fn a_socket_that_is_no_runtimes_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    assert!(matches!(wait(ask(Some(&socket))), Err(CriError::Missing { .. })));
    // Neither HTTP/2 nor anything else.
    let server = says(&socket, "SSH-2.0-x\r\n".to_owned());
    let error = wait(ask(Some(&socket))).unwrap_err().to_string();
    assert!(error.starts_with(&socket.display().to_string()), "{error}");
    server.join().unwrap();
    // Nobody listens any more.
    assert!(matches!(wait(ask(Some(&socket))), Err(CriError::Unreachable { .. })));
}

#[test]
fn crios_configuration_is_had_where_it_serves_it() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: application/toml", CRIO.len());
    let server = says(&socket, format!("{head}\r\n\r\n{CRIO}"));
    assert_eq!(wait(crio_config(&socket)).unwrap(), CRIO);
    let asked = server.join().unwrap();
    assert!(asked.starts_with(b"GET /config HTTP/1.1\r\n"), "{:?}", String::from_utf8_lossy(&asked));
    let socket = dir.path().join("t");
    let server = says(&socket, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned());
    assert!(wait(crio_config(&socket)).unwrap_err().to_string().ends_with("HTTP status 404 Not Found"));
    server.join().unwrap();
}
