//! Where things are when nobody says otherwise.

/// The runtime's conf dir.
pub const CONF_DIR: &str = "/etc/cni/net.d";

/// The runtime's plugin directory.
pub const BIN_DIR: &str = "/opt/cni/bin";

/// `stateDir`.
pub const STATE_DIR: &str = "/var/lib/cni/meta-cni";

/// `runDir`.
pub const RUN_DIR: &str = "/run/meta-cni";

/// `delegateProfilesDir`.
pub const PROFILES_DIR: &str = "/etc/cni/meta-cni/delegates";

/// The daemon's config.
pub const DAEMON_CONFIG: &str = "/etc/cni/meta-cni/daemon.json";

/// What is in `stateDir`; the last is how a cleanup that was cut short knows where all was.
pub const OF_STATE_DIR: [&str; 7] =
    ["attachments", "queue", "quarantine", "networks", "primary.json", "private.json", "master.json"];

/// What is in `runDir`, but for `removing` and `master.lock`, which keep others from writing the master config again. First the one
/// without which no ADD begins any more, then what holds ADDs up until a cleanup came here.
pub const OF_RUN_DIR: [&str; 9] = [
    "epoch",
    "sandboxes",
    "status",
    "sweep",
    "sweeping",
    "meta-cnid.health",
    "meta-cnid.lock",
    "runtime.json",
    "adding",
];
