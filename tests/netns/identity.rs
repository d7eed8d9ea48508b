//! Which namespace is it, and may it be used: paths of every kind.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests make files and panic")]

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use meta_cni::kernel::NetnsId;
use meta_cni::netns::{self, NetnsError};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;

use crate::kernel;

/// The name of an error's variant.
fn variant(error: &NetnsError) -> String {
    let text = format!("{error:?}");
    text.split([' ', '{']).next().unwrap_or_default().to_owned()
}

#[track_caller]
fn check(path: &str, identity: &str, open: &str) {
    let path = Path::new(path);
    let got = netns::identity(path).map_or_else(|error| variant(&error), |_| "ok".to_owned());
    assert_eq!(got, identity, "identity of {}", path.display());
    let got = netns::open(path).map_or_else(|error| variant(&error), |_| "ok".to_owned());
    assert_eq!(got, open, "open of {}", path.display());
}

#[test]
fn paths_of_every_kind() {
    kernel::isolated(|node| {
        let pod = node.netns("pod");
        std::fs::write("/run/file", "x").unwrap();
        symlink("/run/nowhere", "/run/dangling").unwrap();
        symlink(&pod, "/run/link").unwrap();
        nix::unistd::mkfifo("/run/pipe", Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind("/run/socket").unwrap();
        check("/run/netns/pod", "ok", "ok");
        check("/run/link", "ok", "ok");
        check("/run/nowhere", "Missing", "Missing");
        check("/run/dangling", "Missing", "Missing");
        check("/run/file/under", "Missing", "Missing");
        check("", "Missing", "Missing");
        for other in ["/run/file", "/run/pipe", "/run/socket", "/run", "/dev/null"] {
            check(other, "NotANetns", "NotANetns");
        }
        check("/run/\0", "Io", "Io");
    });
}

#[test]
fn identity_is_device_and_inode() {
    kernel::isolated(|node| {
        let (one, two) = (node.netns("one"), node.netns("two"));
        let stat = std::fs::metadata(&one).unwrap();
        let expected = NetnsId { dev: stat.dev(), ino: stat.ino() };
        assert_eq!(netns::identity(&one).unwrap(), expected);
        assert_eq!(netns::open(&one).unwrap().identity(), expected);
        assert_ne!(netns::identity(&two).unwrap(), expected);
        let text = serde_json::to_string(&expected).unwrap();
        assert_eq!(serde_json::from_str::<NetnsId>(&text).unwrap(), expected);
    });
}

/// A43: the caller's own namespace is refused, whatever path leads to it.
#[test]
fn own_namespace_is_refused_by_any_path() {
    kernel::isolated(|node| {
        std::fs::write("/run/netns/own", "").unwrap();
        kernel::bind(Path::new("/proc/thread-self/ns/net"), Path::new("/run/netns/own"));
        symlink("/run/netns/own", "/run/alias").unwrap();
        for own in ["/run/netns/own", "/run/alias", "/proc/thread-self/ns/net"] {
            check(own, "ok", "Own");
        }
        let own = netns::own().unwrap();
        assert_eq!(own, netns::identity(Path::new("/run/netns/own")).unwrap());
        // The first thread of this process stayed outside: its namespace is another one for us.
        check("/proc/self/ns/net", "ok", "ok");
        assert_ne!(own, netns::identity(&node.netns("pod")).unwrap());
    });
}

#[test]
fn a_mount_namespace_file_is_no_network_namespace() {
    kernel::isolated(|_| {
        let file = Path::new("/proc/thread-self/ns/mnt");
        let error = netns::open(file).unwrap().links().unwrap_err();
        assert_eq!(variant(&error), "NotANetns");
        assert_eq!(error.to_string(), "/proc/thread-self/ns/mnt is not a network namespace");
    });
}

#[test]
fn a_namespace_that_vanished() {
    kernel::isolated(|node| {
        let pod = node.netns("pod");
        let held = netns::open(&pod).unwrap();
        umount2(&pod, MntFlags::MNT_DETACH).unwrap();
        check("/run/netns/pod", "NotANetns", "NotANetns");
        std::fs::remove_file(&pod).unwrap();
        check("/run/netns/pod", "Missing", "Missing");
        // What is open lives on.
        assert_eq!(held.links().unwrap().len(), 1);
        let successor = node.netns("pod");
        assert_ne!(netns::identity(&successor).unwrap(), held.identity());
    });
}

#[test]
fn errors_say_what_was_done_and_leave_the_cause_to_the_source() {
    let path = Path::new("/run/\0");
    let error = netns::identity(path).unwrap_err();
    assert_eq!(error.to_string(), "cannot open network namespace /run/\0");
    assert!(std::error::Error::source(&error).is_some());
    let error = netns::open(Path::new("/run/netns/of no pod")).unwrap_err();
    assert_eq!(error.to_string(), "no network namespace at /run/netns/of no pod");
}
