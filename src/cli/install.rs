//! `meta-cni install`: what the runtime is and does is known from the daemon's last look (`runtime.json`), or said by a person.

use crate::config::places::RUN_DIR;
use crate::install::{Failed, InstallArgs, Known, run as install};
use crate::store::program::OURSELVES;
use crate::store::runtime::fresh;

use super::{Exit, Problem};

/// Installs, and says what was done.
pub(super) fn run(args: &InstallArgs) -> Result<(String, Exit), Problem> {
    let run_dir = args.run_dir.clone().unwrap_or_else(|| RUN_DIR.into());
    let known = Known { look: &|| fresh(&run_dir), trusted: false, source: OURSELVES.into() };
    let failed = |Failed { done, why }| Problem { done, ..Problem::new(Exit::Refused, why) };
    let (text, wholly) = install(args, &known).map_err(failed)?;
    Ok((text, if wholly { Exit::Clean } else { Exit::Refused }))
}
