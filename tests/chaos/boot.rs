//! Another kernel: processes, namespaces, links, rules and what lies in memory are gone, what lies on disk was written before.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::damage::at_time;
use crate::kernel::{bind, ip};
use crate::oracle::running;
use crate::world::{World, in_memory, links, small_disk};

/// Where the kernel says when it started, and which start this is.
const STAT: &str = "/proc/stat";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How long before the other kernel started everything on disk was written.
const BEFORE: Duration = Duration::from_secs(3600);

/// Ends every process of the node.
pub fn kill_all() {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let running = running();
        if running.is_empty() || Instant::now() > until {
            break;
        }
        for (pid, _) in running {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The kernel is gone, and the pods' namespaces before it.
pub fn end(world: &World<'_>) {
    let there = links();
    for bridge in ["br1", "br2", "br4"].iter().filter(|name| there.iter().any(|link| link == **name)) {
        ip(&["link", "del", bridge]);
    }
    for arguments in [["-t", "nat", "-F"], ["-t", "nat", "-X"]] {
        let status = std::process::Command::new("iptables").args(arguments).status().unwrap();
        assert!(status.success(), "iptables {arguments:?}");
    }
    in_memory(Path::new("/run"));
    std::fs::create_dir("/run/netns").unwrap();
    small_disk(&world.node.run_dir());
}

/// Another one starts.
pub fn start(world: &World<'_>) {
    at_time(world, SystemTime::now() - BEFORE);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let started = stat(i64::try_from(now.as_secs()).unwrap());
    std::fs::write(own(world), &started).unwrap();
    tells(world, STAT, &started);
    tells(world, BOOT_ID, &format!("{:032x}\n", now.as_nanos()));
}

/// The wall clock was set `shift` seconds away from where it was: the kernel says that it started as much earlier or later.
pub fn clock_is_off(world: &World<'_>, shift: i64) {
    let text = std::fs::read_to_string(own(world)).or_else(|_| std::fs::read_to_string(STAT)).unwrap();
    std::fs::write(own(world), &text).unwrap();
    let started: i64 = text.lines().find_map(|line| line.strip_prefix("btime ")).unwrap().parse().unwrap();
    tells(world, STAT, &stat(started + shift));
}

/// What it said before the clock was set.
fn own(world: &World<'_>) -> PathBuf {
    world.node.root().join("stat.own")
}

fn stat(started: i64) -> String {
    format!("cpu 0 0 0 0\nbtime {started}\n")
}

/// The kernel says `text` in its file `at`.
fn tells(world: &World<'_>, at: &str, text: &str) {
    let file = world.node.root().join(Path::new(at).file_name().unwrap());
    let bound = file.exists();
    std::fs::write(&file, text).unwrap();
    if !bound {
        bind(&file, Path::new(at));
    }
}
