//! Restarts the container runtime, when a person asked for it: pods go on, their shims are other processes.
#![expect(clippy::disallowed_methods, reason = "the one place of an installation that starts a process")]

use std::process::{Command, Stdio};

/// Where systemd is when it is process 1 (`sd_booted(3)`).
const SYSTEMD: &str = "/run/systemd/system";

/// Restarts `unit`.
///
/// # Errors
/// Why not, as one sentence; all that came before is done.
pub(super) fn restart(unit: &str) -> Result<(), String> {
    let again = format!("all but the restart is done; restart {unit} and do this again");
    if !crate::store::is_dir(std::path::Path::new(SYSTEMD)) {
        return Err(format!("{unit} is not restarted, because this node has no systemd: {again}"));
    }
    let mut command = Command::new("systemctl");
    command.args(["restart", unit]).env_remove("NOTIFY_SOCKET").stdin(Stdio::null()).stdout(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("`systemctl restart {unit}` failed: {}; {again}", said.trim()))
        }
        Err(error) => Err(format!("systemctl cannot be run: {error}; {again}")),
    }
}
