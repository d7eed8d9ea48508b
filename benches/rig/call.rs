//! One call of one plugin as a runtime makes it: environment, standard input, answer.
//!
//! Started by posix_spawn (a `Command` without `pre_exec`), so the caller's size does not show in the times.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Error, Result};

/// Everything that one call needs, made before the clock starts.
#[derive(Clone)]
pub struct Call {
    pub program: PathBuf,
    /// Arguments; only a program that wraps the plugin has any.
    pub args: Vec<OsString>,
    pub env: Vec<(&'static str, String)>,
    pub stdin: String,
}

impl Call {
    /// Runs it to its end and gives what it printed.
    pub fn run(&self) -> Result<String> {
        let mut child = self.spawn()?;
        self.feed(&mut child)?;
        self.collect(child)
    }

    /// The same call, run by another program: `strace -f -o FILE <plugin>`.
    pub fn within(&self, wrapper: &str, args: &[&str]) -> Self {
        let mut all: Vec<OsString> = args.iter().map(OsString::from).collect();
        all.push(self.program.clone().into_os_string());
        Self { program: PathBuf::from(wrapper), args: all, ..self.clone() }
    }

    pub fn spawn(&self) -> Result<Child> {
        Command::new(&self.program)
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(key, value)| (*key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::doing(format!("starting {}", self.program.display())))
    }

    pub fn feed(&self, child: &mut Child) -> Result<()> {
        let Some(mut stdin) = child.stdin.take() else {
            return Ok(());
        };
        match stdin.write_all(self.stdin.as_bytes()) {
            // A plugin may answer without reading; its answer says whether that was right.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(Error::doing("giving a plugin its configuration")),
        }
    }

    pub fn collect(&self, child: Child) -> Result<String> {
        let output = child.wait_with_output().map_err(Error::doing("waiting for a plugin"))?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(Error::Failed {
            program: self.program.display().to_string(),
            operation: self.operation().to_owned(),
            answer: format!("{}: {} {}", output.status, stdout.trim(), stderr.trim()),
        })
    }

    fn operation(&self) -> &str {
        let command = self.env.iter().find(|(key, _)| *key == "CNI_COMMAND");
        command.map_or("", |(_, value)| value)
    }
}
