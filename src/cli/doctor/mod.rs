//! `meta-cni status` without a sandbox: what is wrong with this node, each thing in a line with its remedy (G3). It reads, asks the
//! daemon and the networks' plugins how they are, and writes nothing.

mod config;
mod daemon;
mod networks;
mod state;

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::check::doctor::{Line, Lines, State, Sum, sum};
use crate::cni::{CniError, Object, SearchPath};
use crate::config::MasterConfig;
use crate::config::master::PLUGIN_TYPE;
use crate::config::places::RUN_DIR;
use crate::gather::search_path;
use crate::plan::master::FILE_NAME;
use crate::profile::Profiles;
use crate::store::profiles::sifted;
use crate::store::{MOST_CONFIG, Owner, StoreError, read, runtime};

use super::carets::visible;
use super::{DEFAULT_CONFIG, Exit, Output, Problem};

/// How long each part of a look may take: a disk may hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// The parts of a look, in the order in which they are to be read.
const PARTS: [(&str, Part); 7] = [
    ("pods", config::pods),
    ("master config", config::master),
    ("daemon", config::daemon),
    ("primary", config::primary),
    ("runtime", config::runtime),
    ("networks", networks::all),
    ("state", state::all),
];

/// Looks at one part of a node, and says what it saw.
type Part = fn(&Node, &mut Lines);

/// What the command line says.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `--run-dir`.
    pub run_dir: Option<PathBuf>,
    /// `--bin-dir`.
    pub bin_dirs: Vec<PathBuf>,
    /// `CNI_PATH`.
    pub path: Option<String>,
}

/// The node, as far as the command line and the master config say where things are.
struct Node {
    /// The master config's file.
    file: PathBuf,
    /// What it says; what one for its directory would say when it cannot be used.
    config: MasterConfig,
    /// It can be used.
    usable: bool,
    /// Where plugins are searched.
    path: SearchPath,
    /// The profiles in force.
    profiles: Profiles,
    /// Why each of the node's own that is not in force is not.
    refused_profiles: Vec<String>,
    started: Instant,
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    exit: u8,
    lines: &'a [Line],
}

/// Looks, judges and prints.
pub(super) fn run(asked: Asked, output: Output) -> Result<(String, Exit), Problem> {
    let lines = lines(asked)?;
    let exit = match sum(&lines) {
        Sum::Well => Exit::Clean,
        Sum::Wrong => Exit::Findings,
        Sum::Unseen => Exit::CouldNotLook,
    };
    let text = match output {
        Output::Human => human(&lines),
        Output::Json => {
            let report = Report { version: 1, exit: exit as u8, lines: &lines };
            serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
        }
    };
    Ok((text, exit))
}

/// Looks at one part after the other. One that hangs is said, and is the last.
fn lines(asked: Asked) -> Result<Vec<Line>, Problem> {
    let (sender, receiver) = sync_channel(PARTS.len() + 1);
    let look = move || {
        // Who asked may have given up.
        let tell = |seen| sender.send(seen).is_ok();
        match node(&asked) {
            Err(problem) => drop(tell(Err(problem))),
            Ok(node) => {
                let part = |(_, look): &(_, Part)| {
                    let mut lines = Lines::default();
                    look(&node, &mut lines);
                    lines.done()
                };
                let _ = tell(Ok(Vec::new())) && PARTS.iter().all(|one| tell(Ok(part(one))));
            }
        }
    };
    let started = std::thread::Builder::new().name("look".to_owned()).spawn(look);
    started.map_err(|error| Problem::could_not_look(format!("no thread can be started: {error}")))?;
    let hangs =
        || format!("could not be looked at within {} s: something hangs, a disk for example", PATIENCE.as_secs());
    let timeout = |_| Problem::could_not_look(format!("the master config {}", hangs()));
    let mut all = receiver.recv_timeout(PATIENCE).map_err(timeout)??;
    for (about, _) in PARTS {
        match receiver.recv_timeout(PATIENCE) {
            Ok(lines) => all.extend(lines?),
            Err(_) => {
                let mut lines = Lines::default();
                lines.unseen(about, hangs());
                all.extend(lines.done());
                break;
            }
        }
    }
    Ok(all)
}

#[expect(clippy::disallowed_methods, reason = "the judgement of the node has a deadline")]
fn node(asked: &Asked) -> Result<Node, Problem> {
    let run_dir = asked.run_dir.as_deref().unwrap_or(Path::new(RUN_DIR));
    let file = asked.config.clone().unwrap_or_else(|| file(run_dir));
    let file = std::path::absolute(&file).unwrap_or(file);
    let bytes = match read(&file, Owner::Admin, MOST_CONFIG) {
        // Nothing that follows would be true.
        Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
            let what = format!("cannot open {}: {source}; run it as root, where the runtime runs", file.display());
            return Err(Problem::could_not_look(what));
        }
        bytes => bytes.ok().flatten(),
    };
    let found = bytes.and_then(|bytes| MasterConfig::from_file(&bytes).and_then(MasterConfig::with_primary).ok());
    let usable = found.is_some();
    let mut config = found.map_or_else(|| without_a_file(&file), Ok)?;
    config.move_to(asked.state_dir.as_deref(), asked.run_dir.as_deref());
    let given = SearchPath::parse(asked.path.as_deref().unwrap_or_default());
    let path = SearchPath::default().and_all(&asked.bin_dirs).and_all(search_path(given, &config).dirs());
    let (profiles, refused_profiles) = sifted(&config.delegate_profiles_dir);
    Ok(Node { file, config, usable, path, profiles, refused_profiles, started: Instant::now() })
}

/// The master config's file when nobody says: the runtime knows which directory it reads.
fn file(run_dir: &Path) -> PathBuf {
    let told = runtime::of_ours(run_dir).map(|view| view.conf_dir.join(FILE_NAME));
    told.unwrap_or_else(|| DEFAULT_CONFIG.into())
}

/// What a master config without any key of its own would say.
fn without_a_file(file: &Path) -> Result<MasterConfig, Problem> {
    let dir = file.parent().unwrap_or(Path::new("/")).to_string_lossy();
    let config = MasterConfig::of(&Object::default(), PLUGIN_TYPE, &dir);
    config.map_err(|error| Problem::could_not_look(CniError::from(error).msg))
}

fn human(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { about, state, says, remedy } in lines {
        let state = match state {
            State::Ok => "ok",
            State::Note => "note",
            State::Unknown => "unknown",
            State::Unseen => "unseen",
            State::Wrong => "WRONG",
        };
        let remedy = remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
        let _ = writeln!(text, "{state:<7} {about}: {}", visible(&format!("{says}{remedy}")));
    }
    let count = |state| lines.iter().filter(|line| line.state == state).count();
    let _ = writeln!(text, "{} wrong, {} that could not be looked at", count(State::Wrong), count(State::Unseen));
    text
}
