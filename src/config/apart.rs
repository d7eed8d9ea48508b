//! That our own directories are nobody else's: in a conf dir our files would be taken for networks, and where somebody else's
//! directory lies in what is ours a cleanup would remove it.

use std::path::Path;

use super::places::{OF_RUN_DIR, OF_STATE_DIR, RUN_DIR, STATE_DIR};

/// What the runtime's conf dir is called.
pub const CONF: &str = "the runtime's conf dir";

/// What the directory of plugins is called.
pub const BIN: &str = "the plugin directory";

/// What the primary's directory is called.
pub const PRIMARY: &str = "the primary's directory";

/// Where host-local keeps the leases of every pod, if it is not told another place.
const LEASES: (&str, &str) = ("host-local's directory", "/var/lib/cni/networks");

/// The key of ours that cannot be what it is beside `others` (what each is called, and its path) and the leases of host-local, and
/// why, in one sentence with the remedy. Paths are compared as they are written.
#[must_use]
pub fn not_apart(state_dir: &Path, run_dir: &Path, others: &[(&str, &Path)]) -> Option<(&'static str, String)> {
    let ours = [("stateDir", state_dir, &OF_STATE_DIR[..], STATE_DIR), ("runDir", run_dir, &OF_RUN_DIR, RUN_DIR)];
    for (key, dir, names, usual) in ours {
        for (what, other) in others.iter().copied().chain([(LEASES.0, Path::new(LEASES.1))]) {
            let how = if other.components().eq(dir.components()) {
                format!("is {what}")
            } else if dir.starts_with(other) {
                format!("lies in {what}, {}", other.display())
            } else if names.iter().any(|name| other.starts_with(dir.join(name))) {
                format!("would have {what}, {}, among files that meta-cni removes", other.display())
            } else {
                continue;
            };
            let remedy = format!("say a directory of its own, for example {usual}");
            return Some((key, format!("{key:?} {} {how}; {remedy}", dir.display())));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::places::{BIN_DIR, CONF_DIR};
    use super::*;

    fn why(state: &str, run: &str, conf: &str) -> Option<String> {
        not_apart(state.as_ref(), run.as_ref(), &[(CONF, conf.as_ref())]).map(|(_, why)| why)
    }

    #[test]
    fn our_directories_are_in_nobody_elses_and_hold_none() {
        let remedy = "say a directory of its own, for example /var/lib/cni/meta-cni";
        for (state, how) in [
            (CONF_DIR, "is the runtime's conf dir"),
            ("/etc/cni/net.d/", "is the runtime's conf dir"),
            ("/etc/cni/./net.d", "is the runtime's conf dir"),
            ("/etc/cni/net.d/a/b", "lies in the runtime's conf dir, /etc/cni/net.d"),
        ] {
            assert_eq!(why(state, RUN_DIR, CONF_DIR), Some(format!("\"stateDir\" {state} {how}; {remedy}")));
        }
        let held =
            "\"stateDir\" /a would have the runtime's conf dir, /a/networks/x, among files that meta-cni removes; ";
        assert_eq!(why("/a", RUN_DIR, "/a/networks/x"), Some(format!("{held}{remedy}")));
        let leases = why("/var/lib/cni", RUN_DIR, CONF_DIR).unwrap();
        assert!(leases.starts_with("\"stateDir\" /var/lib/cni would have host-local's directory, "), "{leases}");
        let run = why(STATE_DIR, "/etc/cni/net.d/run", CONF_DIR).unwrap();
        assert!(run.starts_with("\"runDir\" /etc/cni/net.d/run lies in") && run.ends_with(" /run/meta-cni"), "{run}");
        assert!(why(STATE_DIR, "/r", "/r/status").is_some());
    }

    #[test]
    fn what_is_usual_and_what_only_looks_alike_is_apart() {
        let usual = [
            (CONF, Path::new(CONF_DIR)),
            (CONF, Path::new("/etc/cni/meta-cni/net.d")),
            (CONF, Path::new("/var/lib/rancher/k3s/agent/etc/cni/net.d")),
            (PRIMARY, Path::new("/etc/cni/net.d")),
            (BIN, Path::new(BIN_DIR)),
            (BIN, Path::new("/run/cni/bin")),
        ];
        assert_eq!(not_apart(STATE_DIR.as_ref(), RUN_DIR.as_ref(), &usual), None);
        // Where both are named below one directory, and it is ours.
        for (state, conf) in
            [("/a", "/a/net.d"), ("/a/b", "/a/bc"), ("/etc/cni", CONF_DIR), ("/etc/cni/meta-cni", CONF_DIR)]
        {
            assert_eq!(why(state, RUN_DIR, conf), None, "{state} {conf}");
        }
    }
}
