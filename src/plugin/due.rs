//! The end of every call: is a sweep due? One look at one file. If so it is started, detached: nobody waits for it.

use crate::clock::boot_seconds;
use crate::cni::Object;
use crate::config::MasterConfig;
use crate::exec::detached;
use crate::store::removal::is_done;
use crate::store::sweep::{claim, is_due};

/// Seconds that a sweep which was started has to begin, before another call starts one.
const CLAIM: u64 = 10;

/// What a runtime puts into the configuration for one call, and is nobody else's.
const OF_THE_CALL: [&str; 3] = ["runtimeConfig", "prevResult", "cni.dev/valid-attachments"];

/// Starts a sweep if one is due and no other call is just starting it. `stdin` is the configuration as the runtime gave it.
pub(super) fn start_if_due(config: &MasterConfig, stdin: &[u8]) {
    let now = boot_seconds();
    // After a cleanup there is nothing to sweep, and a new epoch would let ADDs begin again.
    if !is_due(&config.run_dir, now) || is_done(&config.run_dir) {
        return;
    }
    match claim(&config.run_dir, now, now + CLAIM) {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => return tracing::warn!(error = error.story(), "a sweep is due and cannot be started"),
    }
    let Ok(mut object) = Object::parse(stdin) else { return };
    object.retain(|key| !OF_THE_CALL.contains(&key));
    match detached::start(&["gc", "--queued", "--config", "-"], object.to_text().as_bytes()) {
        Ok(()) => tracing::debug!("a sweep is due; started"),
        Err(error) => tracing::warn!(%error, "a sweep is due and cannot be started"),
    }
}
