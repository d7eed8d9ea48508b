//! The plugin when a runtime calls (`CNI_COMMAND` is set), the operator's command line otherwise.
#![expect(clippy::disallowed_methods, reason = "the program's edge: environment, stdin, stdout, exit code")]

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use meta_cni::{cli, plugin};

/// musl's own maps and unmaps single pages for what a call allocates.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    if std::env::var_os("CNI_COMMAND").is_none() {
        let path = std::env::var_os("CNI_PATH").map(|path| path.to_string_lossy().into_owned());
        return cli::main(std::env::args_os(), path.as_deref()).into();
    }
    std::panic::set_hook(Box::new(|panic| {
        let _ = std::io::stdout().write_all(plugin::defect(&panic.to_string()).as_bytes());
        std::process::exit(1);
    }));
    // Each is looked up once: every look goes through the whole environment.
    let variables = plugin::VARIABLES.map(|key| (key, std::env::var_os(key)));
    let variable = |key: &str| {
        let found = variables.iter().find(|(name, _)| *name == key).and_then(|(_, value)| value.as_ref());
        found.map(|value| value.to_string_lossy().into_owned())
    };
    let mut stdin = Vec::new();
    let read = std::io::stdin().take(plugin::MOST_STDIN + 1).read_to_end(&mut stdin);
    let answer = plugin::run(&variable, read.map(|_| stdin));
    let mut stdout = std::io::stdout();
    match stdout.write_all(answer.stdout.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) if answer.success => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
