//! What every operation has at hand: the configuration, the search path, the records, the clock's start.
#![expect(clippy::disallowed_methods, reason = "a call's clock starts here")]

use std::time::{Duration, Instant};

use crate::cni::{CniArgs, CniError, SearchPath};
use crate::config::MasterConfig;
use crate::exec::cancel::own_mark;
use crate::gather::search_path;
use crate::plan::record::ProcessMark;
use crate::store::records::Records;

/// One call.
pub struct Context {
    /// The master config.
    pub config: MasterConfig,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// `CNI_PATH` with `binDir`.
    pub path: SearchPath,
    /// The records of this node.
    pub records: Records,
    /// When it began.
    pub started: Instant,
    /// The process of this call.
    pub call: ProcessMark,
}

impl Context {
    /// A call that begins now.
    #[must_use]
    pub fn new(config: MasterConfig, args: CniArgs, path: SearchPath) -> Self {
        Self {
            path: search_path(path, &config),
            records: Records::new(&config.state_dir),
            config,
            args,
            started: Instant::now(),
            call: own_mark(),
        }
    }

    /// When waits of an ADD end.
    #[must_use]
    pub fn add_deadline(&self) -> Instant {
        self.started + self.config.add_budget.0
    }

    /// What is left until `deadline`, at least a second: what must be tried is tried.
    #[must_use]
    pub fn left(deadline: Instant) -> Duration {
        Self::remaining(deadline).max(Duration::from_secs(1))
    }

    /// What is left until `deadline`: for what can be done another time.
    #[must_use]
    pub fn remaining(deadline: Instant) -> Duration {
        deadline.saturating_duration_since(Instant::now())
    }

    /// The epoch of this node, which is not made if there is none; empty then.
    #[must_use]
    pub fn known_epoch(&self) -> String {
        crate::store::epoch::known(&self.config.run_dir).unwrap_or_default()
    }

    /// The epoch of this node (docs/state.md).
    ///
    /// # Errors
    /// Code 5 when its file can be neither read nor made.
    pub fn epoch(&self) -> Result<String, CniError> {
        Ok(crate::store::epoch::epoch(&self.config.run_dir)?)
    }
}
