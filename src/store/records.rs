//! Records of attachments: `<stateDir>/attachments/<containerID>/<ifname>.json` (docs/state.md).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::cni::{ContainerId, IfName};
use crate::plan::record::{Record, RecordError, legible, seal};

use super::atomic::{Survives, append, write};
use super::{MOST_STATE, Owner, StoreError, is_dir, list, make_dir, queue, read, remove, remove_if_empty};

/// What follows the interface in the name of a damaged file that was put aside: no interface is called so.
const LOST: &str = ":lost";

/// The interface of what is in the place of a sandbox's directory, where each had a record: no interface is called so.
pub const EVERY: &str = ":every";

/// The records under one state directory.
#[derive(Debug, Clone)]
pub struct Records {
    state_dir: PathBuf,
}

/// What is on disk of one sandbox.
#[derive(Debug, Default)]
pub struct Sandboxed {
    /// Its records.
    pub records: Vec<Record>,
    /// Files that are no records.
    pub damaged: Vec<Damaged>,
}

/// A file that is no record.
#[derive(Debug)]
pub struct Damaged {
    /// The file.
    pub path: PathBuf,
    /// The interface whose record it was, by the file's name.
    pub ifname: String,
    /// What is wrong with it, as the end of a sentence.
    pub why: String,
    /// `CNI_IFNAME` of the runtime's call it is of, if that much of it can be read.
    pub request: Option<String>,
    /// The path of its namespace, likewise.
    pub netns: Option<PathBuf>,
}

impl Records {
    /// The records under `state_dir`.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned() }
    }

    /// Puts `record` in its place, before anything it tells of is done.
    ///
    /// # Errors
    /// [`StoreError`]; what was there before is still there then.
    pub fn put(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.path(&record.sandbox.container_id, &record.attachment.ifname);
        let text = seal(record).map_err(|error| StoreError::refused(&path, error.to_string()))?;
        if text.len() as u64 > MOST_STATE / 2 {
            // Its ending has to fit too, and what cannot be read again must not be made.
            return Err(StoreError::refused(&path, format!("would be larger than {} KiB", MOST_STATE >> 11)));
        }
        let written = write(&path, text.as_bytes(), Survives::Process);
        if written.is_err() {
            // The directory may have been made and the file not: a full disk.
            remove_if_empty(&self.dir(&record.sandbox.container_id));
        }
        written
    }

    /// Appends how the attachment ended. A rename over the file would cost ten times as much: some file systems flush for it.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be written; the record is still as it was begun then. Also when it is gone: a DEL
    /// came in between.
    pub fn end(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.path(&record.sandbox.container_id, &record.attachment.ifname);
        let line = record.ending_text().map_err(|error| StoreError::refused(&path, error.to_string()))?;
        append(&path, line.as_bytes(), MOST_STATE)
    }

    /// Everything on disk of one sandbox.
    ///
    /// # Errors
    /// [`StoreError`] when its directory cannot be listed, or a file for now: too many are open, say. A file that cannot be read
    /// for good counts as damaged.
    pub fn of(&self, id: &ContainerId) -> Result<Sandboxed, StoreError> {
        let dir = self.dir(id);
        let mut found = Sandboxed::default();
        let names = match list(&dir) {
            Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotADirectory => {
                let (ifname, why) = (EVERY.to_owned(), "is no directory".to_owned());
                found.damaged.push(Damaged { path: dir, ifname, why, request: None, netns: None });
                return Ok(found);
            }
            names => names?,
        };
        for name in names {
            let path = dir.join(&name);
            match name.strip_suffix(".json") {
                // The temporary file of a writer, which may well be alive: see `tidy`.
                None => {}
                Some(stem) => match parse(&path, id, stem)? {
                    Ok(Some(record)) => found.records.push(record),
                    Ok(None) => {}
                    Err((why, bytes)) => {
                        let ifname = stem.strip_suffix(LOST).unwrap_or(stem).to_owned();
                        let netns = legible(&bytes, "netns").map(PathBuf::from).filter(|path| path.is_absolute());
                        found.damaged.push(Damaged { path, ifname, why, request: legible(&bytes, "request"), netns });
                    }
                },
            }
        }
        Ok(found)
    }

    /// The sandboxes that have a directory here, or something else in its place.
    ///
    /// # Errors
    /// [`StoreError`] when the directory cannot be listed.
    pub fn sandboxes(&self) -> Result<Vec<ContainerId>, StoreError> {
        let dir = self.state_dir.join("attachments");
        Ok(list(&dir)?.into_iter().filter_map(|name| ContainerId::new(name).ok()).collect())
    }

    /// Removes the record of one attachment, and the sandbox's directory with the last.
    ///
    /// # Errors
    /// [`StoreError`] when it is there and cannot be removed.
    pub fn remove(&self, id: &ContainerId, ifname: &IfName) -> Result<(), StoreError> {
        remove(&self.path(id, ifname))?;
        remove_if_empty(&self.dir(id));
        Ok(())
    }

    /// Removes what writers that died left in the sandbox's directory, and the directory when that was all. Only for
    /// whoever holds the sandbox's lock: nobody else writes there then.
    ///
    /// # Errors
    /// [`StoreError`] when something is there that cannot be listed or removed.
    pub fn tidy(&self, id: &ContainerId) -> Result<(), StoreError> {
        super::tidy(&self.dir(id))
    }

    /// True if there is something for [`Self::tidy`] to do.
    #[must_use]
    pub fn is_untidy(&self, id: &ContainerId) -> bool {
        super::is_untidy(&self.dir(id))
    }

    /// Takes every damaged file of the sandbox out of the place of its record, which another one may need now; gives what could
    /// be and what could not.
    #[must_use]
    pub fn put_aside(&self, id: &ContainerId, damaged: Vec<Damaged>) -> (Vec<Aside>, Vec<StoreError>) {
        let (mut aside, mut errors) = (Vec::new(), Vec::new());
        for one in damaged {
            match self.put_one_aside(id, one) {
                Ok(one) => aside.push(one),
                Err(error) => errors.push(error),
            }
        }
        (aside, errors)
    }

    /// Renames a damaged file beside its place, and says so in the log. Its entry in the queue goes. There it stays, damaged still,
    /// until [`Aside::forget`]: whoever ends us before sends another DEL, which has to see that something is unknown.
    fn put_one_aside(&self, id: &ContainerId, damaged: Damaged) -> Result<Aside, StoreError> {
        let Damaged { path, ifname, why, .. } = damaged;
        let name = format!("{ifname}{LOST}.json");
        let place = self.dir(id).join(&name);
        if path == self.dir(id) {
            enter(&path, &name)?;
        } else if path != place {
            std::fs::rename(&path, &place).map_err(StoreError::io("move", &path))?;
        }
        // It was due, perhaps; now there is nothing left that could be done again.
        if let Ok(ifname) = IfName::new(ifname.clone()) {
            queue::done(&self.state_dir, id, &ifname)?;
        }
        tracing::error!(moved = %place.display(), "a damaged record is put aside: {} {why}", path.display());
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let target = self.state_dir.join("quarantine").join(format!("{id}.{ifname}.{time}"));
        let reason = format!("{} {why}\n{}\n", path.display(), not_known(&ifname));
        Ok(Aside { place, target, reason })
    }

    fn dir(&self, id: &ContainerId) -> PathBuf {
        self.state_dir.join("attachments").join(id)
    }

    fn path(&self, id: &ContainerId, ifname: &IfName) -> PathBuf {
        self.dir(id).join(format!("{ifname}.json"))
    }
}

/// Makes a directory of what is at `dir`, with that in it as `name`: in one step, so that it is always known that something is lost.
fn enter(dir: &Path, name: &str) -> Result<(), StoreError> {
    let made = dir.with_file_name(format!(".{}.tmp", dir.file_name().unwrap_or_default().to_string_lossy()));
    // Of one that was killed here, before the exchange or after it.
    remove(&made.join(name))?;
    if !is_dir(&made) {
        remove(&made)?;
    }
    make_dir(&made)?;
    std::fs::hard_link(dir, made.join(name)).map_err(StoreError::io("link", dir))?;
    let exchanged = renameat_with(CWD, &made, CWD, dir, RenameFlags::EXCHANGE);
    exchanged.map_err(|errno| StoreError::io("move", dir)(errno.into()))?;
    remove(&made)
}

/// What was put aside for good: each file, with the first line of its reason.
///
/// # Errors
/// [`StoreError`] when the directory cannot be listed.
pub fn quarantined(state_dir: &Path) -> Result<Vec<(PathBuf, String)>, StoreError> {
    let dir = state_dir.join("quarantine");
    let files = list(&dir)?.into_iter().filter(|name| !name.ends_with(".reason") && !name.starts_with('.'));
    let reason = |name: &String| {
        let text = read(&dir.join(format!("{name}.reason")), Owner::Us, 64 << 10).ok().flatten().unwrap_or_default();
        String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
    };
    Ok(files.map(|name| (dir.join(&name), reason(&name))).collect())
}

/// A damaged file that was put aside.
#[derive(Debug)]
pub struct Aside {
    place: PathBuf,
    target: PathBuf,
    reason: String,
}

impl Aside {
    /// What it stood for is done: it goes where a person can look at it, with the reason beside it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be moved.
    pub fn forget(self) -> Result<(), StoreError> {
        let Self { place, target, reason } = self;
        // Two of one interface: the one that was put aside later took the other's place.
        if std::fs::symlink_metadata(&place).is_err() {
            return Ok(());
        }
        if let Some(dir) = target.parent() {
            make_dir(dir)?;
        }
        let mut beside = target.clone().into_os_string();
        beside.push(".reason");
        if let Err(error) = write(Path::new(&beside), reason.as_bytes(), Survives::Process) {
            tracing::warn!(error = error.story(), "the reason is not kept");
        }
        std::fs::rename(&place, &target).map_err(StoreError::io("move", &place))?;
        if let Some(dir) = place.parent() {
            remove_if_empty(dir);
        }
        Ok(())
    }
}

/// What an attachment without a record is deleted by, and what may stay of it.
fn not_known(ifname: &str) -> String {
    format!(
        "What it says of {ifname} is lost: its network and what its plugins were given. DEL runs the primary as it is now, and each \
         network that this node knows and that has an address reserved for the sandbox. Of a network without one nothing \
         can be found: rules for its ports (NAT), or what its plugins keep elsewhere, may be left."
    )
}

/// The record at `path`, if there still is one, or why it is damaged, with what can be read of it.
fn parse(path: &Path, id: &ContainerId, stem: &str) -> Result<Parsed, StoreError> {
    let bytes = match read(path, Owner::Us, MOST_STATE) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Ok(None)),
        Err(error) if error.passes() => return Err(error),
        Err(error) => return Ok(Err((error.why(), Vec::new()))),
    };
    let ours = |record: &Record| record.sandbox.container_id == *id && record.attachment.ifname.as_str() == stem;
    Ok(match Record::read(&bytes) {
        Ok(record) if ours(&record) => Ok(Some(record)),
        Ok(_) => Err(("is the record of another attachment".to_owned(), Vec::new())),
        Err(error) => Err((story(&error), bytes)),
    })
}

/// A record, none, or why a file is none and what is in it.
type Parsed = Result<Option<Record>, (String, Vec<u8>)>;

fn story(error: &RecordError) -> String {
    match error {
        RecordError::Envelope(source) | RecordError::Content(source) => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}
