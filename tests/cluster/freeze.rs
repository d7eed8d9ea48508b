//! The freeze: containerd holds a lock for as long as an ADD takes, a change of its conf dir waits for that lock, and whatever comes
//! after that waits for the change: ADDs, DELs and the question whether the network is ready. After 30 s of this kubelet says
//! that the container runtime is down.
//!
//! Each test does the same to a node: its primary goes, an ADD waits for it, and an unrelated file of /etc/cni/net.d is written each
//! second. They differ in how long an ADD may wait, and in which conf dir containerd reads.

use std::fs;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::cluster::{Cluster, wait_until};
use super::ready::{condition, create_and_wait, delete, wait_until_ready};
use super::view;
use super::workload::pod_on;

const NODE: &str = "n2";

const SHARED: &str = "/etc/cni/net.d";
const PRIVATE: &str = "/etc/cni/meta-cni/net.d";

/// How long nothing has to happen to be taken for never: kubelet gives its runtime 30 s.
const NEVER: Duration = Duration::from_secs(50);

/// What kubelet says when its runtime does not answer.
const DOWN: &str = "container runtime is down";

/// Reproduced: in a conf dir that others write too, one ADD that waits for more than half a minute stops the node. The DEL of another
/// pod is not done, and kubelet takes the runtime for dead.
pub fn long_waits_in_a_shared_conf_dir(cluster: &Cluster) {
    let frozen = Scene::new(cluster, SHARED, Some("150s"));
    let began = Instant::now();
    wait_until("kubelet says that the runtime is down", || {
        let said = condition(cluster, NODE).to_string();
        if said.contains(DOWN) { Ok(()) } else { Err(said) }
    });
    println!("shared conf dir, ADD waits: kubelet says {DOWN:?} after {:.0} s", began.elapsed().as_secs_f64());
    assert!(frozen.add_waits(), "the ADD has ended");
    assert!(!frozen.other_is_gone(), "the DEL of another pod was done");
    frozen.thaw();
}

/// Our waits in such a conf dir are short enough: the ADD is given up and what waited for it goes on, before kubelet notices.
pub fn our_waits_in_a_shared_conf_dir(cluster: &Cluster) {
    let scene = Scene::new(cluster, SHARED, None);
    scene.never_down();
    // The primary is still away.
    assert!(!scene.add_waits(), "the ADD waits longer than it should");
    scene.thaw();
}

/// In a conf dir of our own nothing happens, however long an ADD waits and whoever writes /etc/cni/net.d: the DEL is done meanwhile.
pub fn long_waits_in_a_private_conf_dir(cluster: &Cluster) {
    let scene = Scene::new(cluster, PRIVATE, Some("150s"));
    scene.never_down();
    assert!(scene.add_waits(), "the ADD did not wait: nothing was shown");
    scene.thaw();
}

/// A node on which an ADD waits for the primary, while a pod that ran before is being deleted.
struct Scene<'c> {
    cluster: &'c Cluster,
    add: std::cell::RefCell<Child>,
    /// Ends who writes the unrelated file.
    over: std::sync::Arc<AtomicBool>,
}

impl<'c> Scene<'c> {
    /// containerd reads `conf_dir`, and an ADD may wait for `budget`.
    fn new(cluster: &'c Cluster, conf_dir: &str, budget: Option<&str>) -> Self {
        layout(cluster, conf_dir, budget);
        create_and_wait(cluster, &pod_on(NODE, "other", "net-a,net-b"));
        let over = std::sync::Arc::new(AtomicBool::new(false));
        let primary = cluster.folder(NODE, "etc-cni/primary.d/10-primary.conflist");
        fs::rename(&primary, primary.with_extension("aside")).unwrap();
        // By the runtime's own socket: kubelet might have heard by now that there is no primary, and would not even try.
        let sandbox = json!({"config": {
            "metadata": {"namespace": "default", "name": "waits", "uid": "uid-waits"},
            "log_directory": "/var/log/pods/waits", "linux": {"cgroup_parent": cluster.cgroup(NODE)},
        }});
        let mut call = cluster.cri(NODE, "RunPodSandbox", &sandbox);
        let add = call.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let scene = Self { cluster, add: add.into(), over };
        wait_until("an ADD waits", || {
            // It holds a lock meanwhile.
            let free = cluster.on(NODE, ["sh", "-c", "flock -n /run/meta-cni/adding echo free || true"]);
            if free.is_empty() { Ok(()) } else { Err("no ADD is under way") }
        });
        scene.write_each_second();
        cluster.kubectl(["delete", "pod", "other", "--grace-period", "1", "--wait=false"]);
        scene
    }

    /// Like an installer that goes on and on; the file is no configuration.
    fn write_each_second(&self) {
        let file = self.cluster.folder(NODE, "etc-cni/net.d/unrelated");
        let over = std::sync::Arc::clone(&self.over);
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                fs::write(&file, "x").unwrap();
                std::thread::sleep(Duration::from_secs(1));
            }
            let _ = fs::remove_file(&file);
        });
    }

    fn add_waits(&self) -> bool {
        self.add.borrow_mut().try_wait().unwrap().is_none()
    }

    fn other_is_gone(&self) -> bool {
        self.cluster.kubectl(["get", "pod", "other", "--ignore-not-found", "--output", "name"]).is_empty()
    }

    /// For as long as the primary is away kubelet blames the primary, if it blames anybody, and goes on with its work.
    fn never_down(&self) {
        let began = Instant::now();
        let mut gone = None;
        while began.elapsed() < NEVER || gone.is_none() {
            let said = condition(self.cluster, NODE).to_string();
            assert!(!said.contains(DOWN), "after {:?}: {said}", began.elapsed());
            if gone.is_none() && self.other_is_gone() {
                gone = Some(began.elapsed());
            }
            assert!(began.elapsed() < 4 * NEVER, "the other pod is not deleted");
            std::thread::sleep(Duration::from_millis(300));
        }
        println!("no freeze: another pod was deleted after {:.0} s", gone.unwrap_or_default().as_secs_f64());
    }

    /// The primary comes back, and the node is what it was.
    fn thaw(self) {
        let cluster = self.cluster;
        drop(self);
        wait_until_ready(cluster, NODE);
        wait_until("the other pod is gone", || {
            let pods = cluster.kubectl(["get", "pods", "--output", "name"]);
            if pods.is_empty() { Ok(()) } else { Err(pods) }
        });
        create_and_wait(cluster, &pod_on(NODE, "after", "net-a,net-b"));
        view::assert_right(&view::of_pods(cluster, &[cluster.get(["pod", "after"])]).unwrap(), &view::BOTH);
        delete(cluster, "after");
        wait_until("nothing of the pods is left", || view::nothing_left(cluster));
        layout(cluster, SHARED, None);
    }
}

impl Drop for Scene<'_> {
    /// Also when the test fails: no other pod may wait for that primary.
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let primary = self.cluster.folder(NODE, "etc-cni/primary.d/10-primary.conflist");
        let _ = fs::rename(primary.with_extension("aside"), &primary);
        let _ = self.add.get_mut().wait();
        forget_sandboxes(self.cluster);
    }
}

/// Removes what was made behind kubelet's back.
fn forget_sandboxes(cluster: &Cluster) {
    let list = cluster.cri(NODE, "ListPodSandbox", &json!({})).output().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap_or_default();
    let ours = list["items"].as_array().into_iter().flatten().filter(|item| item["metadata"]["name"] == "waits");
    for item in ours {
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            let _ = cluster.cri(NODE, method, &json!({"podSandboxId": item["id"]})).output();
        }
    }
}

/// Which conf dir containerd reads and the daemon writes, and how long an ADD may wait.
fn layout(cluster: &Cluster, conf_dir: &str, budget: Option<&str>) {
    let mut config = json!({"multusAutoconfigDir": "/etc/cni/primary.d", "cniConfigDir": conf_dir});
    if let Some(budget) = budget {
        config["addBudget"] = json!(budget);
    }
    let inside = |path: &str| cluster.folder(NODE, &path.replacen("/etc/cni", "etc-cni", 1));
    cluster.stop_daemon(NODE);
    for dir in [SHARED, PRIVATE] {
        let _ = fs::remove_file(inside(dir).join("00-meta-cni.conflist"));
    }
    fs::create_dir_all(inside(conf_dir)).unwrap();
    fs::write(cluster.folder(NODE, "etc-cni/meta-cni/daemon.json"), config.to_string()).unwrap();
    let toml = cluster.folder(NODE, "containerd.toml");
    let before = fs::read_to_string(&toml).unwrap();
    let now = before.replace(&format!("{SHARED:?}"), &format!("{conf_dir:?}"));
    let now = now.replace(&format!("{PRIVATE:?}"), &format!("{conf_dir:?}"));
    if now != before {
        fs::write(&toml, now).unwrap();
        // What looks after it starts it again.
        cluster.on(NODE, ["sh", "-c", "kill $(pgrep -x containerd)"]);
    }
    let master = inside(conf_dir).join("00-meta-cni.conflist");
    wait_until("the runtime has loaded what the daemon wrote", || {
        let written = fs::read_to_string(&master).unwrap_or_default();
        let (_, text) = cluster.loaded(NODE)?;
        if !text.is_empty() && text == written { Ok(()) } else { Err(text) }
    });
    wait_until_ready(cluster, NODE);
}
