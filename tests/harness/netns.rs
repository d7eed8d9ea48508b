//! A real network namespace that lives as long as its value: a parked thread holds it, and `CNI_NETNS` is that thread's
//! entry in `/proc`. No mount and no process, so nothing is left even when the tests are killed. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// A network namespace of its own.
pub struct Netns {
    path: PathBuf,
    leave: Option<Sender<()>>,
    holder: Option<JoinHandle<()>>,
}

impl Netns {
    pub fn new() -> Self {
        let (leave, wait) = channel::<()>();
        let (tell, told) = channel();
        let holder = std::thread::spawn(move || {
            let made = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
            let tid = nix::unistd::gettid();
            let _ = tell.send(made.map(|()| tid));
            let _ = wait.recv();
        });
        let tid = told
            .recv()
            .unwrap()
            .unwrap_or_else(|e| panic!("cannot make a network namespace ({e}): these tests need root"));
        Self {
            path: format!("/proc/{}/task/{tid}/ns/net", std::process::id()).into(),
            leave: Some(leave),
            holder: Some(holder),
        }
    }

    /// What a runtime would give as `CNI_NETNS`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the namespace now; its path is gone afterwards.
    pub fn vanish(&mut self) {
        drop(self.leave.take());
        if let Some(holder) = self.holder.take() {
            let _ = holder.join();
        }
        // The kernel takes the thread out of /proc a moment after it was joined.
        for _ in 0..60_000 {
            if !self.path.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("{} is still there after its thread ended", self.path.display());
    }

    /// Runs a command inside and gives its stdout.
    pub fn run(&self, command: &[&str]) -> String {
        let output = Command::new("nsenter")
            .arg(format!("--net={}", self.path.display()))
            .args(command)
            .output()
            .expect("running nsenter (package util-linux)");
        assert!(
            output.status.success(),
            "{command:?} in the namespace: {} {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What `ip -json link` says of each link, `lo` included.
    pub fn links_json(&self) -> Vec<serde_json::Value> {
        let text = self.run(&["ip", "-json", "address", "show"]);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("ip -json address: {e}: {text}"))
    }

    /// Names of the links other than `lo`, in the kernel's order.
    pub fn links(&self) -> Vec<String> {
        self.links_json()
            .iter()
            .filter_map(|link| link["ifname"].as_str())
            .filter(|name| *name != "lo")
            .map(str::to_owned)
            .collect()
    }

    /// A link that was there before the plugin came.
    pub fn add_link(&self, name: &str) {
        self.run(&["ip", "link", "add", name, "type", "bridge"]);
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        drop(self.leave.take());
        if let Some(holder) = self.holder.take() {
            let _ = holder.join();
        }
    }
}
