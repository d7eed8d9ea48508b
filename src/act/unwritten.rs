//! Leases that host-local made and was killed before it wrote whose they are: no DEL can ever release them (F2).

use std::time::{Duration, Instant};

use crate::plan::leases::Place;
use crate::store::leases::release_unwritten;

/// How long a host-local that is at work is waited for. It holds its lock for less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often its lock is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Releases what dead plugins reserved for nobody in `places`. What cannot be looked at now is left for the next who looks.
#[expect(clippy::disallowed_methods, reason = "waiting for a lock")]
pub fn release(places: &[Place<'_>]) {
    let until = Instant::now() + PATIENCE;
    for place in places {
        let released = loop {
            match release_unwritten(&place.dir) {
                Ok(None) if Instant::now() < until => std::thread::sleep(RETRY),
                released => break released,
            }
        };
        let dir = place.dir.display();
        match released {
            Ok(Some(0)) => {}
            Ok(Some(count)) => {
                tracing::warn!(count, %dir, "addresses that a killed plugin had reserved for nobody are released")
            }
            Ok(None) => tracing::warn!(%dir, "leases are in use, and were not looked through"),
            Err(error) => tracing::warn!(error = error.story(), "leases cannot be looked through"),
        }
    }
}
