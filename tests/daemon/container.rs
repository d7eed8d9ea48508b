//! The daemon's only spawn: where it runs, and that it leaves nothing.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::harness::boot_seconds;
use crate::place::{Place, eventually};

/// A program in place of `meta-cni` that says what it was run with, and answers for `x`.
fn program(place: &Place) -> std::path::PathBuf {
    let path = place.at("program");
    let text = format!(
        "#!/bin/sh\nours=$(readlink /proc/self/ns/mnt) first=$(readlink /proc/1/ns/mnt)\n\
         test \"$ours\" = \"$first\" && place=first || place=other\n\
         test $(readlink /proc/self/ns/net) = $(readlink /proc/1/ns/net) || place=$place-alone\necho \"$* $place ${{NOTIFY_SOCKET-none}}\" >> {}\n\
         echo '{{\"plugins\":{{\"x\":{{\"versions\":[\"0.4.0\",\"1.0.0\"]}}}}}}'\n",
        place.at("runs").display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn append_x(place: &Place) {
    let mut list = place.own_value();
    list["plugins"].as_array_mut().unwrap().push(json!({ "type": "x" }));
    place.put("00-meta-cni.conflist", &list.to_string());
    let asked = || (place.own_value()["cniVersions"] == json!(["0.4.0", "1.0.0"])).then_some(());
    eventually("the answer of the program", asked);
}

#[test]
fn the_program_runs_in_the_first_process_mount_namespace_when_it_is_told_so() {
    for (on_host, ran_in) in [(true, "first"), (false, "other-alone")] {
        let mut place = Place::new();
        place.config(&json!({ "program": program(&place), "enterHost": on_host }));
        place.primary("10-calico.conflist", "mac");
        // A first process of its own, and the daemon in another mount namespace, as in a container with the host's processes.
        let before = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", "sh", "-c"];
        let script = "NOTIFY_SOCKET=/nowhere unshare --mount --net \"$0\" \"$@\"; exit $?";
        let daemon = place.start_through(&[before.as_slice(), &[script]].concat(), &[]);
        place.keeps("10-calico.conflist", "mac");
        append_x(&place);
        assert_eq!(std::fs::read_to_string(place.at("runs")).unwrap(), format!("probe {ran_in} none\n"));
        drop(daemon);
    }
}

/// A cgroup of the test's own, in the hierarchy that counts memory.
struct Cgroup(std::path::PathBuf);

impl Cgroup {
    fn new() -> Self {
        let base = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map(std::path::Path::new);
        let base = base.into_iter().find(|dir| dir.join("cgroup.procs").exists()).expect("cgroups are mounted");
        let dir = base.join(format!("meta-cni-test-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("this test needs root, and to make a cgroup");
        Self(dir)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let gone = || std::fs::remove_dir(&self.0).is_ok().then_some(());
        eventually("an empty cgroup", gone);
    }
}

#[test]
fn f12_a_sweep_runs_outside_of_the_daemons_cgroup() {
    let cgroup = Cgroup::new();
    let mut place = Place::new();
    let path = place.at("program");
    let said = place.at("cgroups");
    let text = format!("#!/bin/sh\ncat > /dev/null\ncat /proc/self/cgroup > {0}.new\nmv {0}.new {0}\n", said.display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    place.config(&json!({ "program": path, "enterHost": true }));
    let _ = std::fs::remove_file(place.at("run/sweep"));
    place.primary("10-calico.conflist", "mac");
    let procs = cgroup.0.join("cgroup.procs");
    // A first process where the test is, and the daemon in its cgroup.
    let inner = format!("sh -c 'echo 0 > {} && exec \"$0\" \"$@\"' \"$0\" \"$@\"; exit $?", procs.display());
    let before = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", "sh", "-c", &inner];
    let daemon = place.start_through(&before, &[]);
    eventually("a daemon in a cgroup of its own", || (!std::fs::read(&procs).unwrap().is_empty()).then_some(()));
    let of_the_sweep = eventually("a sweep", || std::fs::read_to_string(&said).ok());
    assert_eq!(of_the_sweep, std::fs::read_to_string("/proc/self/cgroup").unwrap());
    assert!(!std::fs::read(&procs).unwrap().is_empty(), "the daemon has left its own");
    drop(daemon);
    drop(cgroup);
}

#[test]
fn a_sweep_that_is_due_is_started_and_leaves_no_zombie() {
    let mut place = Place::new();
    place.config(&json!({ "program": program(&place) }));
    let due_for = |seconds: u64| {
        let swept = std::fs::File::create(place.at("run/sweep")).unwrap();
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(boot_seconds() - seconds);
        swept.set_modified(at).unwrap();
    };
    due_for(0);
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    let runs = || std::fs::read_to_string(place.at("runs")).unwrap_or_default();
    place.keeps("10-calico.conflist", "mac");
    place.primary("10-calico.conflist", "dns");
    place.keeps("10-calico.conflist", "dns");
    assert_eq!(runs(), "", "plugin calls come first: they are where the pods are");
    due_for(61);
    // Not where no pod is to be seen: this may be a container.
    eventually("a sweep", || runs().starts_with("gc --queued --config - --wary ").then_some(()));
    eventually("its end", || {
        let children = format!("/proc/{0}/task", daemon.pid());
        let tasks = std::fs::read_dir(children).unwrap().map(|task| task.unwrap().path().join("children"));
        let mut left = tasks.filter_map(|path| std::fs::read_to_string(path).ok());
        left.all(|children| children.is_empty()).then_some(())
    });
    // Claimed for ten seconds: the next looks do not start another.
    place.primary("10-calico.conflist", "ips");
    place.keeps("10-calico.conflist", "ips");
    assert_eq!(runs().lines().count(), 1, "{}", runs());
}
