//! Kernel objects for one test: a mount and a network namespace of its own, entered by a thread of its own.
//!
//! Everything a test starts from inside inherits both, so plugins write their default directories (`/run`, `/var/lib`,
//! `/var/log`) without any effect outside, tests run side by side, and all of it is gone when the test ends. Never
//! skips: without the right to make namespaces a test fails and says so.

#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test harness does I/O and panics; each test binary uses its part of it"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// What plugins, tools and meta-cni write by default.
const HIDDEN: [&str; 3] = ["/run", "/var/lib", "/var/log"];
/// Where `ip netns` and runtimes keep the files of named namespaces.
const NETNS_DIR: &str = "/run/netns";

/// The namespaces of one test. Lives on the thread that is inside them.
pub struct Node(());

/// Runs `test` inside a mount and a network namespace of its own; `lo` is up there. A panic of the test is the
/// caller's.
pub fn isolated<T: Send>(test: impl FnOnce(&Node) -> T + Send) -> T {
    let inside = || {
        enter();
        let node = Node(());
        ip(&["link", "set", "lo", "up"]);
        test(&node)
    };
    std::thread::scope(|scope| match scope.spawn(inside).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn enter() {
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET) {
        panic!("this test makes mount and network namespaces and must run as root with CAP_SYS_ADMIN: {errno}");
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("make all mounts private");
    for directory in HIDDEN {
        mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .unwrap_or_else(|errno| panic!("mount a tmpfs over {directory}: {errno}"));
    }
    for directory in [NETNS_DIR, "/var/lib/cni"] {
        std::fs::create_dir(directory).expect("make a directory in a new tmpfs");
    }
}

impl Node {
    /// A new network namespace, named as `ip netns add` would: its file. `lo` is down there.
    pub fn netns(&self, name: &str) -> PathBuf {
        let path = Path::new(NETNS_DIR).join(name);
        std::fs::write(&path, "").expect("make the namespace's file");
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace");
            bind(Path::new("/proc/thread-self/ns/net"), &path);
        };
        std::thread::scope(|scope| scope.spawn(make).join().expect("the thread that makes a namespace"));
        path
    }

    /// Takes a namespace's file away as runtimes do: first the mount, then the file.
    pub fn remove_netns(&self, path: &Path) {
        umount2(path, MntFlags::MNT_DETACH).expect("unmount a namespace's file");
        std::fs::remove_file(path).expect("remove a namespace's file");
    }
}

/// Mounts `source` over the file `target`.
pub fn bind(source: &Path, target: &Path) {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .unwrap_or_else(|errno| panic!("bind {} over {}: {errno}", source.display(), target.display()));
}

/// Runs iproute2's `ip` and gives its stdout.
pub fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let output = output.expect("this test needs the program `ip` (Debian package iproute2)");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {}", arguments.join(" "), stderr.trim());
    String::from_utf8(output.stdout).expect("ip prints UTF-8")
}

/// Runs `ip` in the namespace whose file is `netns`.
pub fn ip_in(netns: &Path, arguments: &[&str]) -> String {
    let name = netns.file_name().and_then(|name| name.to_str()).expect("the file of a named namespace");
    ip(&[&["-n", name], arguments].concat())
}

/// The same with JSON output, parsed. An empty answer is an empty list.
pub fn ip_json(netns: &Path, arguments: &[&str]) -> Vec<serde_json::Value> {
    let text = ip_in(netns, &[&["-json", "-details"], arguments].concat());
    if text.trim().is_empty() { Vec::new() } else { serde_json::from_str(&text).expect("ip prints JSON") }
}

/// A JSON string as Rust's; anything else is `None`.
pub fn text(value: &serde_json::Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A JSON number that fits; anything else is 0.
pub fn number(value: &serde_json::Value) -> u32 {
    u32::try_from(value.as_u64().unwrap_or_default()).unwrap()
}
