//! Files of ours to which something happened.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::harness::files_below;
use crate::rng::Rng;
use crate::world::World;

/// Damages one record or queue entry of the sandbox; says which and how, if there is one.
pub fn any(world: &World<'_>, id: &str, rng: &mut Rng) -> Option<(PathBuf, String)> {
    let (which, how, bit) = (rng.below(64), rng.below(4), rng.below(8));
    let at = rng.next();
    let dirs = ["attachments", "queue"].map(|dir| world.node.state().join(dir).join(id));
    let files: Vec<PathBuf> = dirs.iter().flat_map(|dir| files_below(dir)).collect();
    let path = files.get(which % files.len().max(1))?.clone();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = usize::try_from(at % bytes.len().max(1) as u64).unwrap();
    let what = match how {
        0 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        1 => {
            bytes.clear();
            "emptied".to_owned()
        }
        2 => {
            bytes.fill(0);
            "zeros".to_owned()
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
            format!("bit {bit} of byte {at} flipped")
        }
    };
    std::fs::write(&path, bytes).unwrap();
    Some((path, what))
}

/// Makes all files of ours, and host-local's, look as if they were written at `time`.
pub fn at_time(world: &World<'_>, time: SystemTime) {
    let mut files = [files_below(&world.node.state()), files_below(&world.node.run_dir())].concat();
    files.extend(files_below("/var/lib/cni/networks".as_ref()));
    // The time at which a sweep is due is of a clock that cannot jump.
    files.retain(|path| !path.ends_with("run/sweep"));
    for path in files {
        // A file may go meanwhile.
        let _ = std::fs::File::open(&path).and_then(|file| file.set_modified(time));
    }
}
