//! The daemon, one per node: it will keep the master config right and tell others what the plugin did. That work comes
//! with a later release; until then the program says so and exits, so that nobody takes it for a daemon that works.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "the program's edge")]

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--version" | "-V") => {
            println!("meta-cnid {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("meta-cnid: the daemon is not part of this release; meta-cni works without it");
            ExitCode::from(4)
        }
    }
}
