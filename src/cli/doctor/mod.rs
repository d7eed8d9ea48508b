//! `meta-cni status` without a sandbox: what is wrong with this node, each thing in a line with its remedy (G3). It reads, asks the
//! daemon and the networks' plugins how they are, and writes nothing.

mod config;
mod daemon;
mod networks;
mod state;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use crate::check::doctor::{Line, Lines, State, Sum, sum};
use crate::cni::{CniError, SearchPath};
use crate::config::MasterConfig;
use crate::config::places::RUN_DIR;
use crate::gather::search_path;
use crate::plan::master::FILE_NAME;
use crate::store::profiles::profiles;
use crate::store::{MOST_CONFIG, Owner, exists, read, runtime};

use super::carets::visible;
use super::{DEFAULT_CONFIG, Exit, Output, Problem};

/// What the command line says.
pub(super) struct Asked<'a> {
    /// `--config`.
    pub config: Option<&'a Path>,
    /// `--state-dir`.
    pub state_dir: Option<&'a Path>,
    /// `--run-dir`.
    pub run_dir: Option<&'a Path>,
    /// `--bin-dir`.
    pub bin_dirs: &'a [PathBuf],
    /// `CNI_PATH`.
    pub path: Option<&'a str>,
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
    started: Instant,
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    exit: u8,
    lines: &'a [Line],
}

/// Looks, judges and prints.
pub(super) fn run(asked: &Asked<'_>, output: Output) -> Result<(String, Exit), Problem> {
    let lines = lines(&node(asked)?);
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

fn lines(node: &Node) -> Vec<Line> {
    let profiles = profiles(&node.config.delegate_profiles_dir);
    let mut lines = Lines::default();
    config::pods(node, &mut lines);
    config::master(node, &profiles, &mut lines);
    config::daemon(node, &profiles, &mut lines);
    config::primary(node, &profiles, &mut lines);
    config::runtime(node, &mut lines);
    networks::all(node, &mut lines);
    state::all(node, &profiles, &mut lines);
    lines.done()
}

#[expect(clippy::disallowed_methods, reason = "the judgement of the node has a deadline")]
fn node(asked: &Asked<'_>) -> Result<Node, Problem> {
    let run_dir = asked.run_dir.unwrap_or(Path::new(RUN_DIR));
    let file = asked.config.map_or_else(|| file(run_dir), Path::to_owned);
    let file = std::path::absolute(&file).unwrap_or(file);
    let bytes = read(&file, Owner::Admin, MOST_CONFIG).ok().flatten();
    let found = bytes.and_then(|bytes| MasterConfig::from_file(&bytes).and_then(MasterConfig::with_primary).ok());
    let usable = found.is_some();
    let mut config = found.map_or_else(|| without_a_file(&file), Ok)?;
    if let Some(dir) = asked.state_dir {
        dir.clone_into(&mut config.state_dir);
    }
    if let Some(dir) = asked.run_dir {
        dir.clone_into(&mut config.run_dir);
    }
    let first = asked.bin_dirs.iter().fold(SearchPath::default(), |path, dir| path.and(dir));
    let given = SearchPath::parse(asked.path.unwrap_or_default());
    let path = search_path(given, &config).dirs().iter().fold(first, |path, dir| path.and(dir));
    Ok(Node { file, config, usable, path, started: Instant::now() })
}

/// The master config's file when nobody says: the runtime knows which directory it reads.
fn file(run_dir: &Path) -> PathBuf {
    let view = runtime::read(run_dir).ok().flatten().filter(|view| view.conf_dir.is_absolute());
    let told = view.map(|view| view.conf_dir.join(FILE_NAME)).filter(|path| exists(path));
    told.unwrap_or_else(|| DEFAULT_CONFIG.into())
}

/// What a master config without any key of its own would say.
fn without_a_file(file: &Path) -> Result<MasterConfig, Problem> {
    let dir = file.parent().unwrap_or(Path::new("/")).to_string_lossy();
    let mut object = crate::cni::Object::default();
    for (key, value) in [("cniVersion", "1.0.0"), ("name", "meta-cni"), ("type", "meta-cni"), ("clusterNetwork", &*dir)]
    {
        object.set_text(key, value);
    }
    let config = MasterConfig::from_stdin(object.to_text().as_bytes());
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
