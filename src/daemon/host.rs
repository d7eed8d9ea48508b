//! Out of the daemon's container: the mounts, the network, the cgroup namespace and the cgroups of process 1. What a sweep runs works
//! on the host's links and rules, and must not count against the daemon's limits, nor be ended with its container (F12).
#![expect(clippy::disallowed_methods, reason = "an edge: namespaces of the kernel and its cgroup files")]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};

/// Where every distribution mounts them.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Puts this thread where process 1 is; what it starts is there too.
///
/// # Errors
/// The kernel's: the host's processes are not to be seen from here, or it is forbidden.
pub(super) fn enter() -> io::Result<()> {
    // Opened before the first is entered: afterwards there is another /proc.
    let [cgroups, network, mounts] = ["cgroup", "net", "mnt"].map(|name| File::open(format!("/proc/1/ns/{name}")));
    let mounts = mounts?;
    setns(cgroups?, CloneFlags::CLONE_NEWCGROUP)?;
    setns(network?, CloneFlags::CLONE_NEWNET)?;
    // A mount namespace can be entered only by who shares neither root nor directory with another thread.
    unshare(CloneFlags::CLONE_FS)?;
    Ok(setns(mounts, CloneFlags::CLONE_NEWNS)?)
}

/// Puts the process `pid` into the cgroups of process 1. For a thread that has entered its namespaces; what the process starts
/// from then on is there too.
///
/// # Errors
/// That of the last cgroup that could not be joined.
pub(super) fn adopt(pid: u32) -> io::Result<()> {
    let mut all = Ok(());
    for dir in places(&fs::read_to_string("/proc/1/cgroup")?).into_iter().filter(|dir| dir.is_dir()) {
        // One that cannot be joined keeps nobody from the others.
        all = fs::write(dir.join("cgroup.procs"), pid.to_string()).and(all);
    }
    all
}

/// The directories of the cgroups that a text like `/proc/1/cgroup` lists: `<number>:<controllers>:<path>`, the second empty for
/// version 2, which has a mount of its own where both are there.
fn places(text: &str) -> Vec<PathBuf> {
    let of = |line: &str| {
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        let path = path.trim_start_matches('/');
        let base = match controllers.strip_prefix("name=").unwrap_or(controllers) {
            "" if Path::new(CGROUPS).join("unified").is_dir() => Path::new(CGROUPS).join("unified"),
            "" => PathBuf::from(CGROUPS),
            name => Path::new(CGROUPS).join(name),
        };
        Some(base.join(path))
    };
    text.lines().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_for_each_cgroup() {
        let text = "9:name=systemd:/init.scope\n2:cpu,cpuacct:/\n\nx\n1:memory:/a/b:c\n";
        let expected = ["systemd/init.scope", "cpu,cpuacct/", "memory/a/b:c"];
        assert_eq!(places(text), expected.map(|path| Path::new(CGROUPS).join(path)));
        assert!(places("0::/init.scope\n")[0].ends_with("init.scope"));
    }
}
