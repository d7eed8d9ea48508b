//! What the container runtime said of its network when the daemon last asked: `<runDir>/runtime.json` (docs/state.md).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::boot_seconds;
use crate::plan::master::FILE_NAME;

use super::atomic::{self, Survives};
use super::{Owner, StoreError, epoch, exists, read as read_file};

/// Seconds after which a view says nothing any more: the runtime or the daemon has gone.
const LASTS: u64 = 60;

/// Bytes of the file at most.
const MOST: u64 = 256 << 10;

/// The runtime's own view.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeView {
    /// 1.
    pub version: u32,
    /// The epoch in which it was asked.
    pub epoch: String,
    /// When, for people: RFC 3339.
    pub time: String,
    /// When, in seconds of `CLOCK_BOOTTIME`.
    pub boot: u64,
    /// Where.
    pub socket: PathBuf,
    /// `containerd`, `cri-o`.
    pub runtime: String,
    /// Its version, as it writes it.
    pub runtime_version: String,
    /// Its condition NetworkReady.
    pub network_ready: bool,
    /// The condition's reason; empty when it is ready.
    #[serde(default)]
    pub reason: String,
    /// The condition's message, likewise.
    #[serde(default)]
    pub message: String,
    /// Where it looks for network configurations; empty when it does not say.
    #[serde(default)]
    pub conf_dir: PathBuf,
    /// Where it looks for plugins.
    #[serde(default)]
    pub bin_dirs: Vec<PathBuf>,
    /// The name of the list that it would run for a pod now.
    #[serde(default)]
    pub network: Option<String>,
    /// Why it could not load that list when it last tried.
    #[serde(default)]
    pub load_error: Option<String>,
}

impl RuntimeView {
    /// True if it says something in `epoch` at `now`, in seconds of `CLOCK_BOOTTIME`.
    #[must_use]
    pub fn is_fresh(&self, epoch: &str, now: u64) -> bool {
        self.epoch == epoch && now.checked_sub(self.boot).is_some_and(|age| age <= LASTS)
    }
}

fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("runtime.json")
}

/// The last view, however old; `None` when there is none.
///
/// # Errors
/// [`StoreError`] when it is there and cannot be read.
pub fn read(run_dir: &Path) -> Result<Option<RuntimeView>, StoreError> {
    let path = path(run_dir);
    let Some(bytes) = read_file(&path, Owner::Us, MOST)? else { return Ok(None) };
    let view = serde_json::from_slice(&bytes);
    view.map(Some).map_err(|error| StoreError::refused(&path, format!("is no view of a runtime: {error}")))
}

/// The last view, if it says something about now.
#[must_use]
pub fn fresh(run_dir: &Path) -> Option<RuntimeView> {
    let view = read(run_dir).ok().flatten()?;
    let epoch = epoch::known(run_dir)?;
    view.is_fresh(&epoch, boot_seconds()).then_some(view)
}

/// The last view, however old, of a runtime that looks where our file is.
#[must_use]
pub fn of_ours(run_dir: &Path) -> Option<RuntimeView> {
    let view = read(run_dir).ok().flatten().filter(|view| view.conf_dir.is_absolute());
    view.filter(|view| exists(&view.conf_dir.join(FILE_NAME)))
}

/// Keeps `view`.
///
/// # Errors
/// [`StoreError`] when it cannot be written.
pub fn write(run_dir: &Path, view: &RuntimeView) -> Result<(), StoreError> {
    let path = path(run_dir);
    let text = serde_json::to_string(view).map_err(|error| StoreError::refused(&path, error.to_string()))?;
    atomic::write(&path, text.as_bytes(), Survives::Process)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As docs/state.md has it.
    const TEXT: &str = r#"{"version":1,"epoch":"e","time":"2026-01-02T03:04:05.678Z","boot":100,"socket":"/run/containerd/containerd.sock","runtime":"containerd","runtimeVersion":"2.4.2","networkReady":true,"reason":"","message":"","confDir":"/etc/cni/net.d","binDirs":["/opt/cni/bin"],"network":"meta-cni","loadError":null}"#;

    #[test]
    fn a_view_is_written_as_it_is_documented_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let view: RuntimeView = serde_json::from_str(TEXT).unwrap();
        write(dir.path(), &view).unwrap();
        assert_eq!(std::fs::read_to_string(path(dir.path())).unwrap(), TEXT);
        assert_eq!(read(dir.path()).unwrap(), Some(view));
        for cut in 0..TEXT.len() {
            std::fs::write(path(dir.path()), &TEXT[..cut]).unwrap();
            assert!(read(dir.path()).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_view_is_stale_after_a_minute_and_in_another_epoch() {
        let dir = tempfile::tempdir().unwrap();
        let mut view: RuntimeView = serde_json::from_str(TEXT).unwrap();
        for (epoch, now, fresh) in
            [("e", 100, true), ("e", 160, true), ("e", 161, false), ("f", 100, false), ("e", 99, false)]
        {
            assert_eq!(view.is_fresh(epoch, now), fresh, "{epoch} {now}");
        }
        view.boot = boot_seconds();
        write(dir.path(), &view).unwrap();
        assert_eq!(fresh(dir.path()), None, "there is no epoch");
        view.epoch = epoch::epoch(dir.path()).unwrap();
        write(dir.path(), &view).unwrap();
        assert_eq!(fresh(dir.path()), Some(view));
    }
}
