//! Asks the container runtime for its own view, again and again, and keeps the answer for everybody (`<runDir>/runtime.json`). A task
//! of the daemon's other thread: the loop never waits for a runtime.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::boot_seconds;
use crate::cri::{Answer, CriError, ask};
use crate::store::StoreError;
use crate::store::epoch::epoch;
use crate::store::master::is_removing;
use crate::store::runtime::{RuntimeView, write};
use crate::telemetry;
use crate::watch::lookout::Waker;

/// The longest between two questions: what was said counts for a minute.
const LONGEST: Duration = Duration::from_secs(20);

/// What the task works with.
pub(super) struct Asking {
    /// Where the runtime listens, if somebody said so.
    pub socket: Option<PathBuf>,
    /// How often it is asked.
    pub tick: Duration,
    /// Where the answer is kept.
    pub run_dir: PathBuf,
    /// The loop, for which it matters which directory the runtime reads.
    pub waker: Waker,
}

impl Asking {
    /// Asks for ever.
    pub(super) async fn forever(self) {
        let mut said = None;
        let mut conf_dir = None;
        loop {
            let asked = ask(self.socket.as_deref()).await;
            let says = match &asked {
                Ok(answer) => format!("the runtime is {} {}", answer.runtime, answer.version),
                Err(error) => format!("what the runtime says of its network is not known: {error}"),
            };
            // Once for each change; a node may have no runtime that can be asked.
            if said.as_ref() != Some(&says) {
                match asked {
                    Err(CriError::None(_)) | Ok(_) => tracing::info!("{says}"),
                    Err(_) => tracing::warn!("{says}"),
                }
                said = Some(says);
            }
            if let Ok(answer) = asked {
                if conf_dir != answer.conf_dir {
                    conf_dir.clone_from(&answer.conf_dir);
                    self.keep(answer);
                    self.waker.wake();
                } else {
                    self.keep(answer);
                }
            }
            tokio::time::sleep(self.tick.min(LONGEST)).await;
        }
    }

    fn keep(&self, answer: Answer) {
        // A cleanup takes the file away, for good.
        if is_removing(&self.run_dir) {
            return;
        }
        let kept = view(answer, || epoch(&self.run_dir)).and_then(|view| write(&self.run_dir, &view));
        if let Err(error) = kept {
            tracing::warn!(error = error.story(), "what the runtime says is not kept");
        }
    }
}

/// The answer with when it was given.
pub(super) fn view(
    answer: Answer,
    epoch: impl FnOnce() -> Result<String, StoreError>,
) -> Result<RuntimeView, StoreError> {
    Ok(RuntimeView {
        version: 1,
        epoch: epoch()?,
        time: telemetry::now(),
        boot: boot_seconds(),
        socket: answer.socket,
        runtime: answer.runtime,
        runtime_version: answer.version,
        network_ready: answer.network_ready,
        reason: answer.reason,
        message: answer.message,
        conf_dir: answer.conf_dir.unwrap_or_default(),
        bin_dirs: answer.bin_dirs,
        network: answer.network,
        load_error: answer.load_error,
    })
}
