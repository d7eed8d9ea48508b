//! Where the binaries are: the plugin to be measured, the no-op delegate, the reference plugins.
//!
//! Says in one sentence how to get what is missing; never builds anything itself.

use std::env;
use std::path::{Path, PathBuf};

use super::{Error, Result};

/// The programs of one run.
pub struct Parts {
    /// The plugin that is measured: the release binary, or another meta-plugin.
    pub plugin: PathBuf,
    /// Directory of `noop-plugin`.
    pub noop_dir: PathBuf,
    /// Directory of bridge and host-local.
    pub reference_dir: PathBuf,
    /// The client that plays CRI-O's habits with libcni, when `CRIO_HABITS` names it.
    pub crio_habits: Option<PathBuf>,
}

impl Parts {
    /// `META_CNI_BIN`, `NOOP_PLUGIN_DIR` and `CNI_REFERENCE_DIR` win over the build directory and Debian's place.
    pub fn find() -> Result<Self> {
        let built = release_dir();
        let plugin = from_env("META_CNI_BIN").unwrap_or_else(|| built.join("meta-cni"));
        let noop_dir = from_env("NOOP_PLUGIN_DIR").unwrap_or_else(|| built.join("examples"));
        Self::with(plugin, noop_dir)
    }

    /// For what is counted any build of the no-op delegate will do, so also the one that `cargo test` makes.
    pub fn find_for_counting() -> Result<Self> {
        let built = release_dir();
        let plugin = from_env("META_CNI_BIN").unwrap_or_else(|| built.join("meta-cni"));
        let beside_test = env::current_exe()
            .map_err(Error::doing("looking for the test's own place"))?
            .ancestors()
            .nth(2)
            .map(|profile| profile.join("examples"));
        let dirs = [Some(built.join("examples")), beside_test];
        let mut found = dirs.into_iter().flatten();
        let noop_dir = found.find(|dir| dir.join("noop-plugin").is_file());
        Self::with(plugin, noop_dir.unwrap_or_else(|| built.join("examples")))
    }

    fn with(plugin: PathBuf, noop_dir: PathBuf) -> Result<Self> {
        let reference_dir = from_env("CNI_REFERENCE_DIR").unwrap_or_else(|| PathBuf::from("/usr/lib/cni"));
        require(&plugin, "`make build` builds it")?;
        require(&noop_dir.join("noop-plugin"), "`benches/run` builds it")?;
        Ok(Self { plugin, noop_dir, reference_dir, crio_habits: from_env("CRIO_HABITS") })
    }

    /// The reference plugins are needed by the part with a real delegate only.
    pub fn require_reference(&self) -> Result<()> {
        let install = "the package containernetworking-plugins has it";
        require(&self.reference_dir.join("bridge"), install)?;
        require(&self.reference_dir.join("host-local"), install)
    }
}

/// Where everything goes that a run writes: on the disk of the build, unless `BENCH_DIR` names another place.
pub fn scratch() -> PathBuf {
    from_env("BENCH_DIR").unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")))
}

fn release_dir() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().map(Path::to_path_buf);
    let triple = format!("{}-unknown-linux-musl", env::consts::ARCH);
    target.unwrap_or_default().join(triple).join("release")
}

fn from_env(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn require(program: &Path, hint: &str) -> Result<()> {
    if program.is_file() {
        return Ok(());
    }
    let text = format!("{} is missing; {hint}", program.display());
    Err(Error::Unfit(text))
}
