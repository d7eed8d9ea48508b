//! The daemon's command line. A flag is a key of the config by another name: what it says stands over the file's.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::cni::Object;
use crate::cni::raw::{text_value, value_of};
use crate::install::InstallArgs;

/// Where the config is when nobody says; it may be missing there.
pub use crate::config::places::DAEMON_CONFIG as CONFIG;

/// What else the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Puts the plugin where the runtime says that it looks for plugins, and writes the master config if there is none.
    Install(InstallArgs),
}

/// The flags.
#[derive(Debug, Parser)]
#[command(
    name = "meta-cnid",
    version,
    about = "Keeps meta-cni's master config right: waits for the primary network, writes the config, and puts it back.
Flags that Multus' daemon and thin entrypoint have are taken too (docs/daemon.md)."
)]
pub struct Flags {
    /// The daemon's config [default: /etc/cni/meta-cni/daemon.json, which may be missing].
    #[arg(long, short = 'c', alias = "config-file", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Does something else than to keep watch.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Asks once, writes what is to be written and ends: 0 when the master config is in place and right, else 4.
    #[arg(long)]
    pub once: bool,
    /// The runtime's conf dir, in which the master config is kept.
    #[arg(long, value_name = "DIR")]
    cni_conf_dir: Option<String>,
    /// Where the primary's configuration is looked for [default: the conf dir].
    #[arg(long, alias = "primary-dir", value_name = "DIR")]
    multus_autoconfig_dir: Option<String>,
    /// The file name of the primary's configuration there.
    #[arg(long, value_name = "NAME")]
    multus_master_cni_file_name: Option<String>,
    /// The primary: a path or a name, as in the master config.
    #[arg(long, value_name = "PLACE")]
    cluster_network: Option<String>,
    /// Where the runtime answers CRI [default: the first of the usual places at which one does].
    #[arg(long, value_name = "SOCKET", global = true)]
    pub cri_socket: Option<String>,
    /// Where health and metrics are served, or "off" [default: 127.0.0.1:9913].
    #[arg(long, value_name = "ADDRESS")]
    health: Option<String>,
    /// How the daemon's log is written: text, journal or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Level of the log.
    #[arg(long, alias = "multus-log-level", value_name = "LEVEL")]
    log_level: Option<String>,
    /// The plugin's log.
    #[arg(long, value_name = "FILE")]
    multus_log_file: Option<String>,
    /// The plugin's log goes to stderr too.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    multus_log_to_stderr: Option<bool>,
    /// Pods may use networks of their own namespace only.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    namespace_isolation: Option<bool>,
    /// Namespaces whose networks every pod may use.
    #[arg(long, value_name = "NAMES")]
    global_namespaces: Option<String>,
    /// A file without which nothing is ready.
    #[arg(long, value_name = "FILE")]
    readiness_indicator_file: Option<String>,
    /// Searched for plugins first.
    #[arg(long, value_name = "DIR")]
    additional_bin_dir: Option<String>,
    #[command(flatten)]
    ignored: Ignored,
}

/// Flags of Multus that are taken and have no effect; the log says why.
#[derive(Debug, clap::Args)]
struct Ignored {
    #[arg(long, hide = true)]
    cni_bin_dir: Option<String>,
    #[arg(long, hide = true)]
    cni_version: Option<String>,
    #[arg(long, hide = true)]
    multus_conf_file: Option<String>,
    #[arg(long, hide = true)]
    multus_bin_file: Option<String>,
    #[arg(long, hide = true)]
    multus_cni_conf_dir: Option<String>,
    #[arg(long, hide = true)]
    multus_kubeconfig_file_host: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    cleanup_config_on_exit: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    force_cni_version: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    override_network_name: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rename_conf_file: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_config_watch: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_multus_binary_copy: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_tls_verify: Option<bool>,
}

impl Flags {
    /// What was said, as keys of the config.
    #[must_use]
    pub fn keys(&self) -> Object {
        let mut keys = Object::default();
        let texts = [
            ("cniConfigDir", &self.cni_conf_dir),
            ("multusAutoconfigDir", &self.multus_autoconfig_dir),
            ("multusMasterCNI", &self.multus_master_cni_file_name),
            ("clusterNetwork", &self.cluster_network),
            ("criSocket", &self.cri_socket),
            ("health", &self.health),
            ("logFormat", &self.log_format),
            ("logLevel", &self.log_level),
            ("logFile", &self.multus_log_file),
            ("globalNamespaces", &self.global_namespaces),
            ("readinessindicatorfile", &self.readiness_indicator_file),
            ("binDir", &self.additional_bin_dir),
            ("cni-bin-dir", &self.ignored.cni_bin_dir),
            ("cni-version", &self.ignored.cni_version),
            ("multus-conf-file", &self.ignored.multus_conf_file),
            ("multus-bin-file", &self.ignored.multus_bin_file),
            ("multus-cni-conf-dir", &self.ignored.multus_cni_conf_dir),
            ("multus-kubeconfig-file-host", &self.ignored.multus_kubeconfig_file_host),
        ];
        for (key, text) in texts {
            text.iter().for_each(|text| keys.set(key, text_value(text)));
        }
        let flags = [
            ("logToStderr", self.multus_log_to_stderr),
            ("namespaceIsolation", self.namespace_isolation),
            ("cleanup-config-on-exit", self.ignored.cleanup_config_on_exit),
            ("force-cni-version", self.ignored.force_cni_version),
            ("override-network-name", self.ignored.override_network_name),
            ("rename-conf-file", self.ignored.rename_conf_file),
            ("skip-config-watch", self.ignored.skip_config_watch),
            ("skip-multus-binary-copy", self.ignored.skip_multus_binary_copy),
            ("skip-tls-verify", self.ignored.skip_tls_verify),
        ];
        for (key, flag) in flags {
            flag.iter().for_each(|flag| keys.set(key, value_of(flag)));
        }
        keys
    }
}
