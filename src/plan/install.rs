//! Where a node's runtime looks for plugins and configurations, as far as nobody says: by what its distribution makes (D16).
//!
//! Knowledge as data, one row for each distribution that has places of its own.

use std::path::{Path, PathBuf};

use crate::config::places::{BIN_DIR, CONF_DIR};

/// The file name of the plugin in a plugin directory: its type.
pub const PROGRAM: &str = crate::config::master::PLUGIN_TYPE;

/// The places of one distribution. Of each kind the first that is there is the one.
struct Distribution {
    name: &'static str,
    /// Something that only nodes of it have.
    sign: &'static str,
    bin_dirs: &'static [&'static str],
    conf_dirs: &'static [&'static str],
}

/// Those without a row (Talos, RKE2, kubeadm) have the places that the runtimes have by default.
const DISTRIBUTIONS: [Distribution; 2] = [
    Distribution {
        name: "K3s",
        sign: "/var/lib/rancher/k3s/agent/etc/cni/net.d",
        // The second until October 2024: it moves with each upgrade.
        bin_dirs: &["/var/lib/rancher/k3s/data/cni", "/var/lib/rancher/k3s/data/current/bin"],
        conf_dirs: &["/var/lib/rancher/k3s/agent/etc/cni/net.d"],
    },
    Distribution {
        name: "MicroShift",
        sign: "/etc/microshift",
        // The first is gone after a reboot, and the second cannot be written where the system is an image.
        bin_dirs: &["/run/cni/bin", "/usr/libexec/cni"],
        conf_dirs: &[CONF_DIR],
    },
];

/// Where a node's runtime looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// For plugins.
    pub bin_dir: PathBuf,
    /// For configurations.
    pub conf_dir: PathBuf,
    /// The distribution that these are of; `None` for the runtimes' own defaults, or what somebody said.
    pub of: Option<&'static str>,
}

impl Places {
    /// The places by what `is_dir` says is there.
    #[must_use]
    pub fn known(is_dir: impl Fn(&Path) -> bool) -> Self {
        let first = |dirs: &[&'static str]| dirs.iter().map(Path::new).find(|dir| is_dir(dir)).map(Path::to_owned);
        for distribution in DISTRIBUTIONS.iter().filter(|one| is_dir(Path::new(one.sign))) {
            if let (Some(bin_dir), Some(conf_dir)) = (first(distribution.bin_dirs), first(distribution.conf_dirs)) {
                return Self { bin_dir, conf_dir, of: Some(distribution.name) };
            }
        }
        Self { bin_dir: BIN_DIR.into(), conf_dir: CONF_DIR.into(), of: None }
    }

    /// The same with what somebody said instead.
    #[must_use]
    pub fn or(self, bin_dir: Option<&Path>, conf_dir: Option<&Path>) -> Self {
        let of = self.of.filter(|_| bin_dir.is_none() || conf_dir.is_none());
        Self {
            bin_dir: bin_dir.map_or(self.bin_dir, Path::to_owned),
            conf_dir: conf_dir.map_or(self.conf_dir, Path::to_owned),
            of,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(there: &[&str]) -> (String, String, Option<&'static str>) {
        let places = Places::known(|path| there.iter().any(|dir| Path::new(dir) == path));
        (places.bin_dir.display().to_string(), places.conf_dir.display().to_string(), places.of)
    }

    #[test]
    fn d16_directories_are_those_of_the_distribution_that_is_there() {
        let k3s = "/var/lib/rancher/k3s/agent/etc/cni/net.d";
        for (there, bin_dir, conf_dir, of) in [
            (vec![], BIN_DIR, CONF_DIR, None),
            (vec![BIN_DIR, CONF_DIR, "/run/cni/bin"], BIN_DIR, CONF_DIR, None),
            // A server of K3s without an agent, or an agent that has not started.
            (vec![k3s], BIN_DIR, CONF_DIR, None),
            (
                vec![k3s, "/var/lib/rancher/k3s/data/current/bin"],
                "/var/lib/rancher/k3s/data/current/bin",
                k3s,
                Some("K3s"),
            ),
            (
                vec![k3s, "/var/lib/rancher/k3s/data/current/bin", "/var/lib/rancher/k3s/data/cni", CONF_DIR],
                "/var/lib/rancher/k3s/data/cni",
                k3s,
                Some("K3s"),
            ),
            (vec!["/etc/microshift", CONF_DIR, "/usr/libexec/cni"], "/usr/libexec/cni", CONF_DIR, Some("MicroShift")),
        ] {
            assert_eq!(known(&there), (bin_dir.to_owned(), conf_dir.to_owned(), of), "{there:?}");
        }
    }

    #[test]
    fn d16_what_somebody_says_stands_over_what_is_known() {
        let places = Places { bin_dir: "/a".into(), conf_dir: "/b".into(), of: Some("K3s") };
        let bin = places.clone().or(Some(Path::new("/x")), None);
        assert_eq!(bin, Places { bin_dir: "/x".into(), ..places.clone() });
        let both = places.or(Some(Path::new("/x")), Some(Path::new("/y")));
        assert_eq!(both, Places { bin_dir: "/x".into(), conf_dir: "/y".into(), of: None });
    }
}
