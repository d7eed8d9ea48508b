//! `meta-cnid install`: as `meta-cni install`, with the directories that the runtime says over CRI.
#![expect(clippy::print_stderr, reason = "a command talks to people")]

use std::io::Write as _;
use std::path::Path;

use crate::cri::ask;
use crate::exit::Exit;
use crate::install::{Failed, InstallArgs, Known, run as install};
use crate::plan::install::PROGRAM;
use crate::store::program::OURSELVES;
use crate::store::resolved;

use super::runtime::view;

/// Installs, and says what was done. `socket`: where the runtime is, if somebody said so.
pub(super) fn run(args: &InstallArgs, socket: Option<&Path>) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("meta-cnid: {error}");
            return Exit::CouldNotLook;
        }
    };
    let look = || match runtime.block_on(ask(socket)) {
        Ok(answer) => view(answer, || Ok(String::new())).ok(),
        Err(error) => {
            tracing::debug!(%error, "the runtime is not asked");
            None
        }
    };
    // The plugin lies beside the daemon, wherever both were put.
    let beside = resolved(Path::new(OURSELVES)).and_then(|path| Some(path.parent()?.join(PROGRAM)));
    let known = Known { look: &look, trusted: true, source: beside.unwrap_or_else(|| PROGRAM.into()) };
    let (text, wholly, why) = match install(args, &known) {
        Ok((text, wholly)) => (text, wholly, None),
        Err(Failed { done, why }) => (done, false, Some(why)),
    };
    let mut stdout = std::io::stdout();
    let said = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    if let Some(why) = why {
        eprintln!("meta-cnid: {why}");
    }
    if wholly && said.is_ok() { Exit::Clean } else { Exit::Refused }
}
