//! What a plugin last answered when it was asked for its STATUS: `<runDir>/status/<digest>.json` (docs/state.md).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cni::{CniError, Code, PluginType};

use super::atomic::{Survives, write};
use super::{Owner, StoreError, read};

#[derive(Serialize, Deserialize)]
struct Verdict {
    version: u32,
    epoch: String,
    code: u32,
    msg: String,
}

/// The last answer in `epoch`; `None` when there is none.
#[must_use]
pub fn last(run_dir: &Path, network: &str, plugin: &PluginType, epoch: &str) -> Option<Result<(), CniError>> {
    let bytes = read(&path_of(run_dir, network, plugin), Owner::Us, 64 << 10).ok().flatten()?;
    let verdict: Verdict = serde_json::from_slice(&bytes).ok().filter(|verdict: &Verdict| verdict.epoch == epoch)?;
    Some(if verdict.code == 0 { Ok(()) } else { Err(CniError::new(Code(verdict.code), verdict.msg)) })
}

/// Keeps an answer; writes nothing when it is what is there.
///
/// # Errors
/// [`StoreError`] when it cannot be written.
pub fn keep(
    run_dir: &Path,
    network: &str,
    plugin: &PluginType,
    epoch: &str,
    answer: &Result<(), CniError>,
) -> Result<(), StoreError> {
    let (code, msg) = answer.as_ref().err().map_or((0, String::new()), |error| (error.code.0, error.msg.clone()));
    let known = match last(run_dir, network, plugin, epoch) {
        None => false,
        Some(Ok(())) => code == 0,
        Some(Err(error)) => (error.code.0, &error.msg) == (code, &msg),
    };
    if known {
        return Ok(());
    }
    let path = path_of(run_dir, network, plugin);
    let text = serde_json::to_string(&Verdict { version: 1, epoch: epoch.to_owned(), code, msg })
        .map_err(|error| StoreError::refused(&path, error.to_string()))?;
    write(&path, text.as_bytes(), Survives::Process)
}

fn path_of(run_dir: &Path, network: &str, plugin: &PluginType) -> PathBuf {
    let digest = crc32fast::hash(format!("{network}\0{plugin}").as_bytes());
    run_dir.join("status").join(format!("{digest:08x}.json"))
}
