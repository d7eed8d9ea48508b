//! A run of our own program that nobody waits for: the sweep, which a plugin call starts and must not be held up by.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::process::{Command, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{chdir, setsid};

use crate::plan::chain::CALLER_VARIABLE;

/// What a call of a runtime has in its environment, and a run that is about no sandbox must not.
const OF_A_CALL: [&str; 6] = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", CALLER_VARIABLE];

/// Starts our program with `args` and `stdin`, and goes on. It has none of our streams, and calls [`settle`] first.
///
/// # Errors
/// The kernel's, when it cannot be started.
pub fn start(args: &[&str], stdin: &[u8]) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).stdin(whole(stdin)?).stdout(Stdio::null()).stderr(Stdio::null());
    for variable in OF_A_CALL {
        command.env_remove(variable);
    }
    // Not waited for: we are about to end, and then it is the first process's child.
    command.spawn().map(drop)
}

/// `bytes` as something to read from. Memory rather than a pipe: that takes all of it at once, whatever its size, so nobody has
/// to wait for a reader.
fn whole(bytes: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create(c"config", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Leaves the session and the directory of whoever started us, so that what becomes of them does not become of us. Done by
/// the child, because a parent that does it for the child has to fork.
pub fn settle() {
    // It leads a group already when a person started it, and then it need not leave.
    let _ = setsid();
    let _ = chdir("/");
}
