//! A log file that many processes append to and that is never larger than its limit.
//!
//! One `write` with O_APPEND for each line, so lines of different processes never mix. Whoever finds the file full
//! renames it to `<file>.1`, under a lock on the file itself so that only one does; nobody waits longer than a moment
//! for that lock. Never syncs.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::sys::stat::fstat;

/// How long one line waits for another process to rename the full file.
const PATIENCE_MS: u32 = 10;

pub(super) struct LogFile {
    path: PathBuf,
    max_size: u64,
    open: Option<File>,
}

impl LogFile {
    /// Opens nothing yet.
    pub fn new(path: PathBuf, max_size: u64) -> LogFile {
        LogFile { path, max_size, open: None }
    }

    /// Appends one whole line.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let mut file = match self.open.take() {
            Some(file) if is_at(&file, &self.path)? => file,
            // First use, or somebody renamed it since.
            _ => open(&self.path)?,
        };
        let state = file.metadata()?;
        if state.is_file() && state.len() > 0 && state.len() + line.len() as u64 > self.max_size {
            file = self.turn_over(file)?;
        }
        let written = file.write(line);
        self.open = Some(file);
        written.map(drop)
    }

    /// Makes room: the full file becomes `<file>.1`, in place of an older one. Gives the file to write to.
    fn turn_over(&self, full: File) -> io::Result<File> {
        // A process that was stopped in the middle of it must not hold up the others: a line more in the old file
        // does no harm.
        if !lock(&full) {
            return Ok(full);
        }
        // Only the owner of this file's lock may rename it, so what is true now stays true until it is renamed.
        if is_at(&full, &self.path)? {
            let mut old = OsString::from(&self.path);
            old.push(".1");
            std::fs::rename(&self.path, old)?;
        }
        open(&self.path)
    }
}

/// The lock, or not: whoever has it now is renaming, which takes microseconds when nothing is wrong.
fn lock(file: &File) -> bool {
    (0..PATIENCE_MS).any(|n| {
        if n > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        file.try_lock().is_ok()
    })
}

/// Is `file` what is found at `path`?
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let same = |there: Metadata| Ok(identity(&there) == identity(&file.metadata()?));
    std::fs::metadata(path).map_or(Ok(false), same)
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn open(path: &Path) -> io::Result<File> {
    let mut how = OpenOptions::new();
    // A named pipe that nobody reads must not hold us up, and a terminal must not become ours.
    how.append(true).create(true).mode(0o600).custom_flags(O_NONBLOCK | O_NOCTTY);
    let file = how.open(path).or_else(|error| match (error.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(directory)) => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            how.open(path)
        }
        _ => Err(error),
    })?;
    // stdout is the runtime's: nothing but the answer may be there, whatever name it goes by (/dev/stdout).
    let stdout = fstat(io::stdout())?;
    if identity(&file.metadata()?) == (stdout.st_dev, stdout.st_ino) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(file)
}
