//! The plugin's own executable in a plugin directory: replaced whole, while runtimes execute it all the time (D16).
//!
//! The file that gets the name is one that nobody has open for writing any more: executing such a file fails ("text file busy").

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{XattrFlags, fsetxattr, lgetxattr};
use rustix::io::Errno;

use super::atomic::{SUFFIX, prefix, sync_names};
use super::{Owner, StoreError, make_dir, read};

/// Bytes of an executable at most.
const MOST: u64 = 512 << 20;

/// Mode of a plugin.
const MODE: u32 = 0o755;

/// This program, also when its file has been replaced.
pub const OURSELVES: &str = "/proc/self/exe";

/// SELinux's label of a file.
const LABEL: &str = "security.selinux";

/// What became of an executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// There was none.
    New,
    /// There was another one.
    Replaced,
    /// It was there already.
    Unchanged,
}

/// Puts the executable `source` at `target`, mode 0755, unless that is what is there. A new file has the SELinux label of the one
/// that it replaces; without one, the kernel gives it that of files of its directory.
///
/// # Errors
/// [`StoreError`] naming the step; what was there is still there then.
pub fn put(source: &Path, target: &Path) -> Result<Put, StoreError> {
    let bytes = read(source, Owner::File, MOST)?.ok_or_else(|| StoreError::refused(source, "does not exist"))?;
    if !bytes.starts_with(b"\x7fELF") {
        return Err(StoreError::refused(source, "is no executable of this system"));
    }
    if !is_for_this_machine(&bytes).map_err(StoreError::io("look at", Path::new(OURSELVES)))? {
        return Err(StoreError::refused(source, "is an executable of another kind of machine"));
    }
    if ends_at(&bytes).is_none_or(|end| end > bytes.len() as u64) {
        return Err(StoreError::refused(source, "was cut off: it ends before the executable does; copy it again"));
    }
    let old = std::fs::symlink_metadata(target).ok();
    let right = |old: &std::fs::Metadata| {
        old.is_file()
            && old.mode() & 0o7777 == MODE
            && old.uid() == nix::unistd::geteuid().as_raw()
            && old.len() == bytes.len() as u64
    };
    if old.as_ref().is_some_and(right) && read(target, Owner::File, MOST)?.is_some_and(|old| old == bytes) {
        return Ok(Put::Unchanged);
    }
    replace(target, &bytes, MODE)?;
    Ok(if old.is_some() { Put::Replaced } else { Put::New })
}

/// Puts `bytes` at `target`, surviving a power cut, with the SELinux label of what was there. The directory is made if it is not there.
///
/// # Errors
/// As [`put`].
pub(super) fn replace(target: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    let dir = target.parent().ok_or_else(|| StoreError::refused(target, "has no directory"))?;
    if !dir.is_dir() {
        make_dir(dir)?;
        // Everybody's, as packages make it: some runtimes look without being root.
        std::fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(StoreError::io("set the mode of", dir))?;
    }
    let label = label(target)?;
    let made = tempfile::Builder::new().prefix(&prefix(target)).suffix(SUFFIX).tempfile_in(dir);
    let mut file = made.map_err(StoreError::io("make a temporary file for", target))?;
    file.write_all(bytes).map_err(StoreError::io("write", target))?;
    let mode = file.as_file().set_permissions(Permissions::from_mode(mode));
    mode.map_err(StoreError::io("set the mode of", target))?;
    if let Some(label) = label {
        let set = fsetxattr(file.as_file(), LABEL, &label, XattrFlags::empty());
        set.map_err(|errno| StoreError::io("set the SELinux label of", target)(errno.into()))?;
    }
    file.as_file().sync_all().map_err(StoreError::io("sync", target))?;
    // Closed before it has its name.
    file.into_temp_path().persist(target).map_err(|error| StoreError::io("rename", target)(error.error))?;
    sync_names(dir)
}

/// True if the executable in `bytes` is of the kind that this program is of (ELF: class, byte order and machine).
fn is_for_this_machine(bytes: &[u8]) -> io::Result<bool> {
    let mut own = [0; 20];
    File::open(OURSELVES)?.read_exact(&mut own)?;
    Ok([4..6, 18..20].into_iter().all(|kind| bytes.get(kind.clone()) == own.get(kind)))
}

/// Where the executable in `bytes` ends as its own tables have it (ELF: program and section headers); `None` when they are not all
/// there. Linkers put the table of sections last, so that nothing can be missing before it.
fn ends_at(bytes: &[u8]) -> Option<u64> {
    let number = |at: usize, length: usize| {
        let digits = bytes.get(at..at.checked_add(length)?)?;
        let shifted = |number: u64, digit: &u8| number << 8 | u64::from(*digit);
        Some(if bytes[5] == 2 { digits.iter().fold(0, shifted) } else { digits.iter().rev().fold(0, shifted) })
    };
    // Offsets are as wide as the machine's words.
    let (word, tables, sizes) = if *bytes.get(4)? == 1 { (4, 28, 42) } else { (8, 32, 54) };
    let table = |which: usize| {
        let (size, count) = (number(sizes + 4 * which, 2)?, number(sizes + 4 * which + 2, 2)?);
        Some((number(tables + word * which, word)?, size, count))
    };
    let (programs, sections) = (table(0)?, table(1)?);
    let mut end = [programs, sections].iter().map(|(at, size, count)| at.saturating_add(size * count)).max()?;
    for index in 0..programs.2 {
        let at = usize::try_from(programs.0.checked_add(programs.1 * index)?).ok()?;
        let (offset, length) = (number(at.checked_add(word)?, word)?, number(at.checked_add(4 * word)?, word)?);
        end = end.max(offset.saturating_add(length));
    }
    Some(end)
}

/// The SELinux label of the file at `path`, if there is one and it has one.
fn label(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let mut label = vec![0; 4096];
    match lgetxattr(path, LABEL, label.as_mut_slice()) {
        Ok(length) => {
            label.truncate(length);
            Ok(Some(label))
        }
        Err(Errno::NODATA | Errno::NOTSUP | Errno::NOENT) => Ok(None),
        Err(errno) => Err(StoreError::io("read the SELinux label of", path)(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::list;
    use super::*;

    /// The smallest executable that is whole: a header without tables, and a text after it.
    fn elf(text: &str) -> Vec<u8> {
        let mut bytes = std::fs::read(OURSELVES).unwrap()[..20].to_vec();
        bytes.resize(64, 0);
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    fn label_of(path: &Path) -> Option<Vec<u8>> {
        label(path).unwrap()
    }

    #[test]
    fn d16_an_executable_is_replaced_whole_and_only_when_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("bin/meta-cni"));
        std::fs::write(&source, elf("one")).unwrap();
        assert_eq!(put(&source, &target).unwrap(), Put::New);
        let inode = || std::fs::metadata(&target).unwrap().ino();
        let first = inode();
        assert_eq!((put(&source, &target).unwrap(), inode()), (Put::Unchanged, first));
        std::fs::set_permissions(&target, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(put(&source, &target).unwrap(), Put::Replaced, "another mode");
        std::fs::write(&source, elf("two")).unwrap();
        assert_eq!(put(&source, &target).unwrap(), Put::Replaced);
        assert_eq!(std::fs::read(&target).unwrap(), elf("two"));
        assert_eq!(std::fs::metadata(&target).unwrap().mode() & 0o7777, MODE);
        assert_eq!(list(target.parent().unwrap()).unwrap(), ["meta-cni"]);
        // A link is replaced, not what it leads to.
        let other = dir.path().join("other");
        std::fs::write(&other, elf("one")).unwrap();
        std::fs::remove_file(&target).unwrap();
        std::os::unix::fs::symlink(&other, &target).unwrap();
        assert_eq!(put(&source, &target).unwrap(), Put::Replaced);
        assert_eq!(std::fs::read(&other).unwrap(), elf("one"));
    }

    #[test]
    fn d16_what_is_no_executable_is_not_installed() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("meta-cni"));
        assert!(put(&source, &target).unwrap_err().story().ends_with("source does not exist"));
        std::fs::write(&source, "").unwrap();
        assert!(put(&source, &target).unwrap_err().story().contains("is no executable"));
        // Neither read to an end that it has not, nor waited for.
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for no_file in [Path::new("/dev/zero"), &pipe, dir.path()] {
            let story = put(no_file, &target).unwrap_err().story();
            assert_eq!(story, format!("{} is no regular file", no_file.display()));
        }
        // By its size, which it has without a byte of it on disk.
        File::create(&source).unwrap().set_len(1 << 40).unwrap_or_else(|error| panic!("no sparse file: {error}"));
        assert!(put(&source, &target).unwrap_err().story().ends_with("source is larger than 524288 KiB"));
        let mut other = elf("text");
        other[18] ^= 0xff;
        std::fs::write(&source, other).unwrap();
        assert!(put(&source, &target).unwrap_err().story().ends_with("is an executable of another kind of machine"));
        // The table of sections is said to be where nothing is any more, or the header itself is cut.
        let mut cut = elf("text");
        (cut[40], cut[58], cut[60]) = (64, 64, 1);
        for bytes in [&cut[..], &cut[..63], &cut[..20]] {
            std::fs::write(&source, bytes).unwrap();
            assert!(put(&source, &target).unwrap_err().story().contains("was cut off"), "{}", bytes.len());
        }
        assert!(!target.exists());
    }

    #[test]
    fn d16_the_label_of_the_old_file_is_that_of_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("meta-cni"));
        std::fs::write(&source, elf("one")).unwrap();
        std::fs::write(&target, "old").unwrap();
        assert_eq!(label_of(&target), None);
        let label = b"system_u:object_r:container_runtime_exec_t:s0\0";
        let old = File::open(&target).unwrap();
        fsetxattr(&old, LABEL, label, XattrFlags::empty())
            .expect("this test needs root, and a file system with labels");
        assert_eq!(put(&source, &target).unwrap(), Put::Replaced);
        assert_eq!(label_of(&target).as_deref(), Some(label.as_slice()));
    }
}
