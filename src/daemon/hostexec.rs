//! The daemon's only spawn: the host's `meta-cni`, with two fixed argument lists. It never runs a delegate.
//!
//! In a container the program runs in PID 1's mount namespace and cgroups (`enterHost`), entered by a thread of its own that
//! ends afterwards; the daemon itself stays where it is.
#![expect(clippy::disallowed_methods, reason = "the one place of the daemon that starts a process: Command, the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::cni::{CniVersion, PluginType};
use crate::exit::Exit;
use crate::plan::master::Spoken;

use super::config::Config;
use super::host;

/// How long `probe` may take: it gives each plugin two seconds, all at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer at most.
const MOST: u64 = 1 << 20;

/// What `meta-cni probe` is asked on stdin.
#[derive(Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Plugin types.
    pub plugins: BTreeSet<PluginType>,
    /// Searched for them before anything else.
    pub path: Vec<PathBuf>,
    /// Signs of readiness that are looked for.
    pub ready: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Answer {
    plugins: BTreeMap<PluginType, Said>,
    /// One that is older does not say.
    missing: Option<BTreeSet<PathBuf>>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    versions: Vec<String>,
}

/// The versions that `plugins` speak, as far as they say so.
pub(super) fn versions(config: &Config, plugins: &BTreeSet<PluginType>) -> Spoken {
    let path = config.master.bin_dir.clone().into_iter().collect();
    let mut answer = match probe(config, &Asked { plugins: plugins.clone(), path, ready: Vec::new() }) {
        Ok(answer) => answer.plugins,
        Err(error) => {
            tracing::warn!(%error, "plugins could not be asked for their versions");
            BTreeMap::new()
        }
    };
    let mut spoken = |plugin: &PluginType| {
        let said = answer.remove(plugin).map(|said| said.versions).unwrap_or_default();
        let versions: BTreeSet<_> = said.iter().filter_map(|text| CniVersion::parse(text).ok()).collect();
        (!versions.is_empty()).then_some(versions)
    };
    plugins.iter().map(|plugin| (plugin.clone(), spoken(plugin))).collect()
}

/// Those of `paths` that are not there on the host; `None` when that is not known.
pub(super) fn missing(config: &Config, paths: Vec<PathBuf>) -> Option<BTreeSet<PathBuf>> {
    let asked = Asked { plugins: BTreeSet::new(), path: Vec::new(), ready: paths };
    let answer =
        probe(config, &asked).inspect_err(|error| tracing::warn!(%error, "signs of readiness could not be looked for"));
    answer.ok()?.missing
}

fn probe(config: &Config, asked: &Asked) -> io::Result<Answer> {
    let said = run(config, &["probe"], &serde_json::to_string(asked).unwrap_or_default())?;
    serde_json::from_slice(&said).map_err(io::Error::other)
}

/// Sweeps, as a plugin call that finds it due would; `master` is our plugin's configuration. Nobody waits for what it does.
///
/// # Errors
/// The kernel's, when it cannot be started.
pub(super) fn sweep(config: &Config, master: &str) -> io::Result<()> {
    run(config, &["gc", "--queued", "--config", "-", "--wary"], master).map(drop)
}

/// That it was said that the host's program is older than this one.
static OLDER: Once = Once::new();

/// Runs the program; gives its stdout. A sweep is waited for by a thread, so that it leaves no zombie.
fn run(config: &Config, args: &'static [&'static str], stdin: &str) -> io::Result<Vec<u8>> {
    let (config, stdin) = (config.clone(), stdin.to_owned());
    let waits = args == ["probe"];
    let work = move || -> io::Result<Vec<u8>> {
        if config.on_host {
            host::enter()?;
        }
        let mut child = spawn(&config, args, waits)?;
        if config.on_host
            && let Err(error) = host::adopt(child.id())
        {
            tracing::warn!(%error, "what the daemon runs stays in its cgroup");
        }
        // It begins its work when it has read this.
        if let Some(mut pipe) = child.stdin.take() {
            // One that does not read says so with its answer.
            let _ = pipe.write_all(stdin.as_bytes());
        }
        if waits {
            return answer(&mut child);
        }
        if child.wait()?.code() == Some(Exit::Usage as i32) {
            OLDER.call_once(|| {
                tracing::warn!("the host's meta-cni does not know what this daemon asks of it, and sweeps nothing: install the newer one");
            });
        }
        Ok(Vec::new())
    };
    let told = move || {
        work().inspect_err(|error| {
            // Who asked for an answer says so itself.
            if !waits {
                tracing::warn!(%error, "the host's meta-cni could not be run");
            }
        })
    };
    let thread = std::thread::Builder::new().name("hostexec".to_owned()).stack_size(128 << 10).spawn(told)?;
    if !waits {
        return Ok(Vec::new());
    }
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that ran it has ended")))
}

fn spawn(config: &Config, args: &[&str], waits: bool) -> io::Result<Child> {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("meta-cni")));
    let dirs = config.master.bin_dir.iter().map(|dir| dir.join("meta-cni"));
    let places: Vec<PathBuf> = match &config.program {
        Some(program) => vec![program.clone()],
        None => dirs.chain(["/opt/cni/bin/meta-cni".into()]).chain(beside).collect(),
    };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for place in &places {
        let mut command = Command::new(place);
        command.args(args).stdin(Stdio::piped()).stderr(Stdio::null()).process_group(0).env_remove("NOTIFY_SOCKET");
        command.env_remove("CNI_COMMAND").stdout(if waits { Stdio::piped() } else { Stdio::null() });
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
            started => return started,
        }
    }
    Err(io::Error::new(last.kind(), format!("no program meta-cni at any of {places:?}: {last}")))
}

/// What it prints, at most [`MOST`] bytes within [`PATIENCE`]; it and all it started have ended then.
fn answer(child: &mut Child) -> io::Result<Vec<u8>> {
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
    let Some(stdout) = child.stdout.take() else { return Err(io::Error::other("no stdout")) };
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let reader = std::thread::Builder::new().stack_size(128 << 10).spawn(move || {
        let mut said = Vec::new();
        let read = stdout.take(MOST).read_to_end(&mut said).map(|_| said);
        // Who asked may have given up.
        let _ = sender.send(read);
    })?;
    let deadline = Instant::now() + PATIENCE;
    let said = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    if said.is_err() && group.as_raw() > 1 {
        // Its own group: whatever it started goes with it.
        let _ = killpg(group, Signal::SIGKILL);
    }
    let status = child.wait()?;
    let _ = reader.join();
    match said {
        Ok(said) if status.success() => said,
        Ok(_) => Err(io::Error::other(format!("it failed: {status}"))),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}
