//! Whether what a network needs beside its configuration is there: waited for by an ADD, looked at by everybody else.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cni::{CniError, Code};
use crate::config::Span;
use crate::plan::add::Network;
use crate::plan::status::{no_indicator, unready};
use crate::store::exists;
use crate::watch;

use super::primary::{Resolver, after};

impl Resolver<'_> {
    /// Waits for `readinessindicatorfile` until `deadline`.
    ///
    /// # Errors
    /// Code 11 when it is not there by then.
    pub fn ready(&self, deadline: Instant) -> Result<(), CniError> {
        let Some(path) = &self.config.readiness_indicator_file else { return Ok(()) };
        if wait(std::slice::from_ref(path), deadline).is_empty() {
            return Ok(());
        }
        Err(CniError::new(Code::TRY_AGAIN, no_indicator(path)))
    }
}

/// Waits until `network` can serve by its signs: for what it needs until `deadline`; for what makes it likely a while, and then
/// its plugin is left to say what is missing.
///
/// # Errors
/// Code 11 when what it needs is not there by then.
pub fn can_serve(network: &Network, deadline: Instant) -> Result<(), CniError> {
    let signs = &network.signs;
    let missing = wait(&signs.needs, deadline);
    if let Some(what) = unready(&network.display, signs, &missing) {
        return Err(CniError::new(Code::TRY_AGAIN, what));
    }
    let likely = deadline.min(after(Span(Duration::from_secs(signs.wait_s))));
    for path in wait(&signs.awaits, likely) {
        let (profile, path) = (&signs.profile, path.display());
        tracing::warn!(network = network.display, profile, "{path} is not there; the plugin is run all the same");
    }
    Ok(())
}

/// Those of the signs of `networks` that are not there.
#[must_use]
pub fn missing<'a>(networks: impl IntoIterator<Item = &'a Network>) -> BTreeSet<PathBuf> {
    let paths = networks.into_iter().flat_map(|network| network.signs.paths().collect::<Vec<_>>());
    paths.filter(|path| !exists(path)).map(PathBuf::from).collect()
}

/// Those of `paths` that are not there by `deadline`.
fn wait(paths: &[PathBuf], deadline: Instant) -> BTreeSet<PathBuf> {
    let look = || paths.iter().filter(|path| !exists(path)).cloned().collect::<BTreeSet<_>>();
    let mut missing = look();
    if !missing.is_empty() {
        tracing::info!("waiting for {missing:?}");
        watch::until(paths, deadline, || {
            missing = look();
            missing.is_empty().then_some(())
        });
    }
    missing
}
