//! A node's directories for one daemon, the daemon itself, and what others do to the files.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use meta_cni::plan::master::{FILE_NAME, lint};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{boot_seconds, plugin_under_test};

/// What is waited for comes within this, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The directories of one node.
pub struct Place {
    root: tempfile::TempDir,
    config: Value,
}

/// A daemon that runs; it is ended with its test.
pub struct Running {
    child: Child,
    log: PathBuf,
    told: PathBuf,
}

/// Asks until there is an answer.
#[track_caller]
pub fn eventually<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not come within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Place {
    pub fn new() -> Self {
        Self::under(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// In a directory of the caller's: a small file system, for example.
    pub fn under(dir: &Path) -> Self {
        let root = tempfile::Builder::new().prefix("daemon-").tempdir_in(dir).unwrap();
        for dir in ["conf", "state", "run", "plugins", "profiles"] {
            std::fs::create_dir(root.path().join(dir)).unwrap();
        }
        let at = |name: &str| root.path().join(name);
        // Of a node that was swept just now: a sweep would look at this machine's own leases.
        let swept = std::fs::File::create(at("run/sweep")).unwrap();
        swept.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(boot_seconds() + 3600)).unwrap();
        // No Calico has ever run here, and most tests are about its file alone.
        let calico = r#"{"name":"calico","match":{"plugin_type_any":["calico"]}}"#;
        std::fs::write(at("profiles/calico.json"), calico).unwrap();
        let config = json!({
            "cniConfigDir": at("conf"),
            "stateDir": at("state"),
            "runDir": at("run"),
            "delegateProfilesDir": at("profiles"),
            "binDir": at("plugins"),
            "networkDirs": [at("networks")],
            "confDir": at("confs"),
            "program": plugin_under_test(),
            "health": "127.0.0.1:0",
            // What happens before that happens by event.
            "tick": "60m",
        });
        Self { root, config }
    }

    /// Sets keys of the daemon's config; `null` removes one.
    pub fn config(&mut self, over: &Value) {
        for (key, value) in over.as_object().unwrap() {
            self.config[key] = value.clone();
            if value.is_null() {
                self.config.as_object_mut().unwrap().remove(key);
            }
        }
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn conf(&self, name: &str) -> PathBuf {
        self.at("conf").join(name)
    }

    pub fn own(&self) -> PathBuf {
        self.conf(FILE_NAME)
    }

    /// Our file as it is.
    pub fn own_text(&self) -> Option<String> {
        std::fs::read_to_string(self.own()).ok()
    }

    pub fn own_value(&self) -> Value {
        serde_json::from_str(&self.own_text().expect("a master config")).unwrap()
    }

    /// Writes a file of the conf dir as careful software does: by rename.
    pub fn put(&self, name: &str, text: &str) {
        put(&self.at("conf"), name, text);
    }

    /// A primary of the conf dir.
    pub fn primary(&self, name: &str, capability: &str) {
        self.put(name, &primary(capability));
    }

    /// Waits until our file names the primary in `name` and has its capability.
    #[track_caller]
    pub fn keeps(&self, name: &str, capability: &str) -> String {
        let reference = self.conf(name);
        eventually(&format!("a master config for {name} with {capability}"), || {
            let text = self.own_text()?;
            let ours = &serde_json::from_str::<Value>(&text).ok()?["plugins"][0];
            let right = ours["clusterNetwork"] == json!(reference) && ours["capabilities"][capability] == json!(true);
            right.then_some(text)
        })
    }

    fn command(&self, before: &[&str], more: &[&str]) -> Command {
        let config = self.at("daemon.json");
        std::fs::write(&config, self.config.to_string()).unwrap();
        // A release build, for the report.
        let given = std::env::var("META_CNID_BIN").ok();
        let binary = given.as_deref().unwrap_or(env!("CARGO_BIN_EXE_meta-cnid"));
        let mut words =
            before.iter().copied().chain([binary, "--config", config.to_str().unwrap()]).chain(more.iter().copied());
        let mut command = Command::new(words.next().unwrap());
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    pub fn write_config(&self) {
        std::fs::write(self.at("daemon.json"), self.config.to_string()).unwrap();
    }

    pub fn start(&self) -> Running {
        self.start_through(&[], &[])
    }

    /// Starts it by way of the program `before`, with these flags too.
    pub fn start_through(&self, before: &[&str], flags: &[&str]) -> Running {
        let _ = std::fs::remove_file(self.at("run/meta-cnid.health"));
        self.start_over(before, flags)
    }

    /// Starts it where one has ended, with all that it left.
    pub fn start_beside(&self) -> Running {
        self.start_over(&[], &[])
    }

    fn start_over(&self, before: &[&str], flags: &[&str]) -> Running {
        let told = self.at("run/meta-cnid.health");
        let log = self.at("daemon.log");
        let stderr = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = self.command(before, flags).stderr(stderr).spawn().unwrap();
        Running { child, log, told }
    }

    /// One round, through `before`; what became of the process.
    pub fn once(&self, before: &[&str]) -> ExitStatus {
        self.command(before, &["--once"]).stderr(Stdio::null()).status().unwrap()
    }

    /// What is in the conf dir beside configurations: nothing that a dead writer left.
    pub fn strays(&self) -> Vec<String> {
        let names =
            std::fs::read_dir(self.at("conf")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".tmp")).collect()
    }
}

/// A configuration that may be the primary.
pub fn primary(capability: &str) -> String {
    json!({ "cniVersion": "1.0.0", "name": "pods", "plugins": [{ "type": "calico", "capabilities": { capability: true } }] })
        .to_string()
}

pub fn put(dir: &Path, name: &str, text: &str) {
    let temporary = dir.join(format!(".{name}.new"));
    std::fs::write(&temporary, text).unwrap();
    std::fs::rename(&temporary, dir.join(name)).unwrap();
}

/// What is wrong with a text that a runtime would read as master config.
pub fn wrong(text: &[u8]) -> Option<String> {
    lint(text).err()
}

impl Running {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log has this text.
    #[track_caller]
    pub fn says(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), || self.log().contains(text).then_some(()));
    }

    /// How often the log has this text.
    pub fn said(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Status and body of a GET.
    pub fn get(&self, path: &str) -> (u16, String) {
        let address = eventually("the address of health", || std::fs::read_to_string(&self.told).ok());
        let mut stream = TcpStream::connect(address.trim()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").1;
        let line = text.lines().find(|line| line.split(' ').next() == Some(&format!("meta_cni_{name}")));
        line.unwrap_or_else(|| panic!("{name} in {text}")).rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    /// Waits until it says that it is ready.
    #[track_caller]
    pub fn ready(&self) {
        eventually("ready", || (self.get("/readyz").0 == 200).then_some(()));
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// SIGKILL, and it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its exit code.
    pub fn term(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        eventually("the end of the daemon", || self.child.try_wait().unwrap()).code()
    }

    /// Waits until it ends by itself.
    pub fn ends(mut self) -> Option<i32> {
        eventually("the end of the daemon", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("-- the daemon's log\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
