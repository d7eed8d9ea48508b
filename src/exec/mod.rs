//! Processes: start a plugin, feed it, bound it, end it, collect what it said.
//!
//! Everything that runs a chain goes through the one seam [`Runner`]; [`Host`] is the real one. What is run, with which
//! bytes and in which order was decided by `plan`. No state files here, and no decisions.
#![expect(clippy::disallowed_methods, reason = "the edge that owns processes: Command, the clock, /proc")]

pub mod cancel;
pub mod chain;
mod collect;
pub mod detached;
pub mod process;

use std::path::Path;

use crate::cni::PluginType;
use crate::plan::chain::Process;
use crate::plan::outcome::{Failure, MissingBinary};

pub use process::Host;

/// Runs one call of a plugin.
pub trait Runner {
    /// What the plugin printed on stdout when it succeeded.
    ///
    /// # Errors
    /// [`Failure`] with the cause; the process has ended then, or its whole group was killed.
    fn run(&self, process: &Process) -> Result<Vec<u8>, Failure>;
}

/// The executable of `plugin` in the first of `dirs` that has one.
///
/// # Errors
/// [`MissingBinary`] with the directories searched, and the file that is there but cannot be executed, if one is.
pub fn find(plugin: &PluginType, dirs: &[impl AsRef<Path>]) -> Result<std::path::PathBuf, MissingBinary> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut not_executable = None;
    for dir in dirs.iter().map(AsRef::as_ref).filter(|dir| dir.is_absolute()) {
        let path = dir.join(plugin);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => return Ok(path),
            Ok(_) => not_executable = not_executable.or(Some(path)),
            Err(_) => {}
        }
    }
    Err(MissingBinary { not_executable, searched: dirs.iter().map(|dir| dir.as_ref().to_owned()).collect() })
}
