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
