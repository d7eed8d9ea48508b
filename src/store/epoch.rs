//! The epoch of this node: `<kernel boot id>:<token>`. It changes with a reboot, and with one of a node that is a container.

use std::path::Path;

use super::atomic::write_new;
use super::{Owner, StoreError, read, remove, remove_if_empty};

/// The epoch, if there is one; nothing is made or mended.
#[must_use]
pub fn known(run_dir: &Path) -> Option<String> {
    let token = read(&run_dir.join("epoch"), Owner::Us, 256).ok().flatten().and_then(token)?;
    Some(format!("{}:{token}", kernel_random("boot_id").ok()?))
}

/// The epoch; makes the token when it is missing.
///
/// # Errors
/// [`StoreError`] when the kernel's boot ID or the token cannot be read, or the token cannot be made.
pub fn epoch(run_dir: &Path) -> Result<String, StoreError> {
    let boot = kernel_random("boot_id")?;
    let path = run_dir.join("epoch");
    loop {
        let found = match read(&path, Owner::Us, 256) {
            Err(StoreError::Refused { .. }) => Some(Vec::new()),
            found => found?,
        };
        if let Some(bytes) = found {
            if let Some(token) = token(bytes) {
                return Ok(format!("{boot}:{token}"));
            }
            // Damaged: another token is another epoch, which costs a sweep and loses nothing.
            remove_if_empty(&path);
            remove(&path)?;
        }
        let token = kernel_random("uuid")?.replace('-', "");
        // Another process may be faster; its token is as good.
        write_new(&path, token.as_bytes())?;
    }
}

fn token(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn kernel_random(name: &str) -> Result<String, StoreError> {
    let path = Path::new("/proc/sys/kernel/random").join(name);
    std::fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(StoreError::io("read", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_stays_until_its_token_goes() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let first = epoch(&run).unwrap();
        assert_eq!(epoch(&run).unwrap(), first);
        assert_eq!(known(&run), Some(first.clone()));
        std::fs::remove_file(run.join("epoch")).unwrap();
        assert_eq!(known(&run), None);
        let second = epoch(&run).unwrap();
        assert_ne!(second, first);
        for damage in ["damaged".to_owned(), "x".repeat(300)] {
            std::fs::write(run.join("epoch"), &damage).unwrap();
            assert_eq!(known(&run), None);
            assert_eq!(std::fs::read_to_string(run.join("epoch")).unwrap(), damage, "a look mends nothing");
            assert_ne!(epoch(&run).unwrap(), second);
        }
        std::fs::remove_file(run.join("epoch")).unwrap();
        std::fs::create_dir(run.join("epoch")).unwrap();
        assert_ne!(epoch(&run).unwrap(), second);
        std::fs::remove_file(run.join("epoch")).unwrap();
        std::os::unix::fs::symlink("/nowhere", run.join("epoch")).unwrap();
        assert_ne!(epoch(&run).unwrap(), second);
        assert_eq!(super::super::list(&run).unwrap(), ["epoch"]);
    }
}
