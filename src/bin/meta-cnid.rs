//! The daemon, one per node.
#![expect(clippy::disallowed_methods, reason = "the program's edge: arguments, the environment")]

use std::process::ExitCode;

fn main() -> ExitCode {
    // systemd says so of a stderr that is the journal's.
    let under_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    meta_cni::daemon::main(std::env::args_os(), under_journal)
}
