//! D2: the writer is killed at every system call, and every system call that touches a file fails in every way that it can: the file
//! is the old one or the new one, and the next start leaves nothing else.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::kernel::isolated;
use crate::place::{Place, eventually, wrong};

/// System calls by which the files change, or are reached.
const FILES: [&str; 18] = [
    "open",
    "openat",
    "read",
    "write",
    "pwrite64",
    "ftruncate",
    "fsync",
    "fdatasync",
    "linkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "flock",
    "fcntl",
    "getdents64",
    "statx",
];

/// A place where the next round has a change to write, with the text before and the one after.
struct Scene {
    place: Place,
    old: String,
    new: String,
    /// The files of the state directory, as they are with the old text.
    state: Vec<(std::path::PathBuf, Vec<u8>)>,
}

impl Scene {
    fn of(place: Place) -> Self {
        place.primary("10-calico.conflist", "ips");
        assert_eq!(place.once(&[]).code(), Some(0));
        let new = place.own_text().unwrap();
        place.primary("10-calico.conflist", "mac");
        assert_eq!(place.once(&[]).code(), Some(0));
        let old = place.own_text().unwrap();
        assert_ne!(old, new);
        let files = ["master.json", "primary.json"].map(|name| place.at("state").join(name));
        let state = files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        let scene = Self { place, old, new, state };
        scene.rewind();
        scene
    }

    /// The old file, and a primary that asks for the new one.
    fn rewind(&self) {
        std::fs::write(self.place.own(), &self.old).unwrap();
        for (path, bytes) in &self.state {
            std::fs::write(path, bytes).unwrap();
        }
        self.place.primary("10-calico.conflist", "ips");
    }

    /// What the file is after a round to which something happened; `name` says what.
    #[track_caller]
    fn judge(&self, name: &str) -> &'static str {
        let there = self.place.own_text().unwrap_or_else(|| panic!("{name}: no file is left"));
        match there {
            text if text == self.old => "old",
            text if text == self.new => "new",
            text => panic!("{name}: {text:?}"),
        }
    }

    /// The next start: the new file, and nothing that a dead writer left.
    #[track_caller]
    fn recovers(&self, name: &str) {
        assert_eq!(self.place.once(&[]).code(), Some(0), "{name}");
        assert_eq!(self.place.own_text().as_ref(), Some(&self.new), "{name}");
        assert_eq!(self.place.strays(), Vec::<String>::new(), "{name}");
    }

    /// The system calls of a round, each with how often.
    fn calls(&self) -> BTreeMap<String, usize> {
        let log = self.place.at("trace");
        let traced = self.place.once(&["strace", "-f", "-o", log.to_str().unwrap()]);
        assert_eq!(traced.code(), Some(0));
        let mut calls = BTreeMap::new();
        for line in std::fs::read_to_string(&log).unwrap().lines() {
            let Some((name, _)) = line.split_once(' ').and_then(|(_, call)| call.trim().split_once('(')) else {
                continue;
            };
            if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
                *calls.entry(name.to_owned()).or_default() += 1;
            }
        }
        self.rewind();
        calls
    }

    fn inject(&self, what: &str) -> std::process::ExitStatus {
        self.place.once(&["strace", "-f", "-o", "/dev/null", "-e", what])
    }
}

#[test]
fn d2_killed_at_every_system_call_the_file_is_the_old_one_or_the_new_one() {
    let scene = Scene::of(Place::new());
    let mut matrix: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for (call, count) in scene.calls() {
        for when in 1..=count {
            let name = format!("SIGKILL at {call} {when} of {count}");
            let status = scene.inject(&format!("inject={call}:signal=KILL:when={when}"));
            // What a program is started and ended by cannot be had at times.
            let killed = status.signal() == Some(9) || status.code() == Some(137);
            assert!(killed || matches!(call.as_str(), "execve" | "exit_group"), "{name}: {status:?}");
            *matrix.entry((call.clone(), scene.judge(&name))).or_default() += 1;
            scene.recovers(&name);
            scene.rewind();
        }
    }
    for ((call, outcome), count) in &matrix {
        println!("{call:<16} {outcome} {count:>4}");
    }
    let count =
        |outcome: &str| matrix.iter().filter(|((_, is), _)| *is == outcome).map(|(_, count)| count).sum::<usize>();
    println!("old {}, new {}", count("old"), count("new"));
    assert!(count("old") > 50 && count("new") > 3, "the writes were not among what was killed: {matrix:?}");
}

#[test]
fn d2_each_system_call_on_files_fails_once_or_from_there_on() {
    let scene = Scene::of(Place::new());
    let calls = scene.calls();
    let mut outcomes: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for call in FILES {
        let count = calls.get(call).copied().unwrap_or_default();
        for errno in ["ENOSPC", "EIO", "EACCES"] {
            for when in 1..=count {
                let on = if when % 2 == 0 { "+" } else { "" };
                let name = format!("{errno} of {call} {when}{on} of {count}");
                // Before it has begun the linker of the program itself is hit; then it does not start.
                let status = scene.inject(&format!("inject={call}:error={errno}:when={when}{on}"));
                let outcome = scene.judge(&name);
                assert!(outcome == "new" || status.code() != Some(0), "{name}: it says that all is well");
                *outcomes.entry((errno, outcome)).or_default() += 1;
                scene.recovers(&name);
                scene.rewind();
            }
        }
    }
    println!("{outcomes:?}");
    assert!(outcomes.keys().any(|(_, outcome)| *outcome == "old"), "{outcomes:?}");
}

/// Takes the mount away before its directory goes.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn small(dir: &Path) -> Mounted {
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some("size=64k,mode=700")).unwrap();
    Mounted(dir.to_owned())
}

#[test]
fn d2_on_a_full_disk_the_old_file_stays_and_the_new_one_comes_when_there_is_room() {
    isolated(|_| {
        let place = Place::new();
        let _mounted = small(&place.at("conf"));
        let scene = Scene::of(place);
        assert!(std::fs::write(scene.place.conf("filler"), vec![0; 1 << 20]).is_err());
        let daemon = scene.place.start();
        daemon.says("No space left on device");
        assert_eq!(scene.judge("full"), "old");
        assert_eq!(scene.place.strays(), Vec::<String>::new());
        // It is in the log before it is told.
        eventually("the reason", || daemon.get("/readyz").1.contains("cannot be written").then_some(()));
        std::fs::remove_file(scene.place.conf("filler")).unwrap();
        scene.place.keeps("10-calico.conflist", "ips");
        daemon.ready();
        drop(daemon);
    });
}

#[test]
fn d2_a_read_only_conf_dir_is_said_and_the_old_file_stays() {
    isolated(|_| {
        let scene = Scene::of(Place::new());
        let conf = scene.place.at("conf");
        mount(Some(&conf), &conf, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let _mounted = Mounted(conf.clone());
        let remount = |flags| {
            let all = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags;
            mount(None::<&str>, &conf, None::<&str>, all, None::<&str>).unwrap();
        };
        remount(MsFlags::MS_RDONLY);
        let daemon = scene.place.start();
        daemon.says("Read-only file system");
        assert_eq!(scene.judge("read-only"), "old");
        remount(MsFlags::empty());
        // No event says so; what failed is tried again on the tick, or with the next event.
        scene.place.put("note", "");
        scene.place.keeps("10-calico.conflist", "ips");
        daemon.ready();
        drop(daemon);
    });
}

#[test]
fn d2_a_full_state_or_run_directory_does_not_stop_the_write() {
    for which in ["state", "run"] {
        isolated(|_| {
            let place = Place::new();
            let _mounted = small(&place.at(which));
            let scene = Scene::of(place);
            assert!(std::fs::write(scene.place.at(which).join("filler"), vec![0; 1 << 20]).is_err());
            assert_eq!(scene.place.once(&[]).code(), Some(0), "{which}");
            assert_eq!(scene.judge(which), "new");
            assert_eq!(wrong(scene.new.as_bytes()), None);
        });
    }
}
