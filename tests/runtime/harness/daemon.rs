//! The daemon on a node, and others who are at work in its conf dir.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};

use serde_json::Value;

use super::Node;
use super::node::{part, text, tool, wait_until};

/// Where the daemon is on its node.
const PROGRAM: &str = "/opt/cni/sbin/meta-cnid";

/// A daemon that runs.
pub(crate) struct Daemon<'n>(Option<Process<'n>>);

/// A program that runs on a node until it is killed.
struct Process<'n> {
    node: &'n Node,
    child: Child,
    /// Its process ID on the node.
    pid: String,
}

impl<'n> Process<'n> {
    fn start(node: &'n Node, name: &str, command: &str, stdin: Stdio, stdout: Stdio) -> Self {
        let file = node.folder(&format!("run/{name}.pid"));
        let _ = fs::remove_file(&file);
        let log = File::options().create(true).append(true).open(node.folder(&format!("{name}.log")));
        // It says its process ID before it becomes the program; the file has its name when it is whole.
        let script = format!("echo $$ >/run/{name}.new; mv /run/{name}.new /run/{name}.pid; exec {command}");
        let child = tool("node")
            .args(["in".as_ref(), node.root.path()])
            .args(["sh", "-c", &script])
            .stdin(stdin)
            .stdout(stdout)
            .stderr(log.expect("making a log"))
            .spawn()
            .expect("entering the node");
        wait_until("the program has started", || file.exists());
        let pid = fs::read_to_string(&file).expect("reading a process ID").trim().to_owned();
        Self { node, child, pid }
    }

    fn signal(&self, signal: &str) {
        self.node.run(&["kill", "-s", signal, &self.pid]);
    }

    fn end(mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.child.wait().expect("waiting for a program of the node").code()
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("KILL");
            let _ = self.child.wait();
        }
    }
}

impl<'n> Daemon<'n> {
    /// Installs it, unless it is there, and starts it.
    pub(crate) fn start(node: &'n Node) -> Self {
        if !node.folder("opt-cni/sbin/meta-cnid").exists() {
            Self::install(node);
        }
        Self(Some(Process::start(node, "meta-cnid", PROGRAM, Stdio::null(), Stdio::null())))
    }

    /// Puts the daemon's file in place as a package does it, also over one that runs.
    pub(crate) fn install(node: &Node) {
        fs::create_dir_all(node.folder("opt-cni/sbin")).expect("making the daemon's folder");
        // By another process: what another thread of this one starts would have the open file for a moment, and nobody could run it.
        let program = daemon().to_str().expect("a path of UTF-8");
        node.must(&["sh", "-c", &format!("cp {program} {PROGRAM}.new && mv {PROGRAM}.new {PROGRAM}")]);
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn term(mut self) -> Option<i32> {
        self.0.take()?.end("TERM")
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.0.take().map(|process| process.end("KILL"));
    }

    fn node(&self) -> &'n Node {
        self.0.as_ref().expect("it runs").node
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.node().folder("meta-cnid.log")).expect("reading the daemon's log")
    }

    /// Waits until its log has this text.
    pub(crate) fn says(&self, what: &str) {
        wait_until(&format!("the daemon says {what:?}"), || self.log().contains(what));
    }

    /// What it answers on its port; empty while it does not.
    pub(crate) fn get(&self, path: &str) -> String {
        let request = format!(r"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let ask = format!("exec 3<>/dev/tcp/127.0.0.1/9913 && printf '{request}' >&3 && cat <&3");
        text(&self.node().run(&["bash", "-c", &ask]).stdout)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.get("/readyz").split(" ").nth(1) == Some("200")
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics");
        let line = text.lines().find(|line| line.split(' ').next() == Some(&format!("meta_cni_{name}")));
        let value = line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.parse());
        value.unwrap_or_else(|| panic!("{name} in {text}")).expect("a number")
    }
}

/// What `tests/tools/confdir` does on a node.
pub(crate) struct Other<'n> {
    process: Process<'n>,
    stdin: Option<ChildStdin>,
    said: PathBuf,
}

impl<'n> Other<'n> {
    pub(crate) fn start(node: &'n Node, arguments: &[&str]) -> Self {
        let program = part("confdir").join("confdir");
        let command = format!("{} {}", program.display(), arguments.join(" "));
        let said = node.folder("confdir.out");
        let stdout = File::create(&said).expect("making a file for what it prints");
        let mut process = Process::start(node, "confdir", &command, Stdio::piped(), stdout.into());
        let stdin = process.child.stdin.take();
        Self { process, stdin, said }
    }

    /// Whether it is still at work.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.process.child.try_wait(), Ok(None))
    }

    /// Ends it by the end of its stdin; what it printed.
    pub(crate) fn finish(mut self) -> Value {
        if let Some(mut stdin) = self.stdin.take() {
            stdin.flush().expect("a pipe");
        }
        let status = self.process.child.wait().expect("waiting for confdir");
        let said = fs::read(&self.said).expect("reading what confdir printed");
        assert!(status.success(), "confdir: {}", text(&said));
        serde_json::from_slice(&said).expect("confdir prints JSON")
    }
}

/// The daemon under test, as cargo built it.
fn daemon() -> &'static Path {
    const BUILT: Option<&str> = option_env!("CARGO_BIN_EXE_meta-cnid");
    Path::new(BUILT.expect("the tests were built with the daemon"))
}
