//! The operator's command line: `cleanup`, `gc`, `install`, `plan`, `repair`, `status`, `validate`. It reads configuration and state with the plugin's own code, so what it
//! shows is what the plugin does.
#![expect(clippy::print_stderr, reason = "the command line talks to people")]

mod carets;
mod cleanup;
mod doctor;
mod gc;
mod install;
mod plan;
mod probe;
mod repair;
mod status;
mod validate;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cni::{CniError, Code};
use crate::config::MasterConfig;
use crate::config::places::STATE_DIR;
use crate::exit::Exit;
use crate::plan::master::FILE_NAME;
use crate::plan::private::DIR;
use crate::store::{MOST_CONFIG, Owner, exists, read};

/// Where the master config is when nobody says.
const DEFAULT_CONFIG: &str = "/etc/cni/net.d/00-meta-cni.conflist";

#[derive(Parser)]
#[command(
    name = "meta-cni",
    version,
    about = "A CNI meta-plugin: the cluster's primary network and every network a pod asks for.
Run by a container runtime (CNI_COMMAND is set) it is a CNI plugin; run by hand it shows what that plugin would do and did."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows which plugins would be called for a pod, with which names, configuration and arguments; runs nothing.
    Plan(plan::PlanArgs),
    /// Takes meta-cni off this node: pods keep their primary network, and those with others stand against it.
    Cleanup(cleanup::CleanupArgs),
    /// Finishes what is left of sandboxes that are gone; plugin calls start it by themselves.
    Gc(gc::GcArgs),
    /// Puts this program where the runtime looks for plugins, and writes the master config if there is none.
    Install(crate::install::InstallArgs),
    /// Asks plugins which CNI versions they speak, for the daemon: JSON on stdin and stdout.
    #[command(hide = true)]
    Probe,
    /// Mends nested, cut and left-over files in a directory of configurations, and keeps all that it changes.
    Repair(repair::RepairArgs),
    /// Says what is wrong with this node and what to do about it; of one sandbox, its attachments and its network status.
    Status(status::StatusArgs),
    /// Looks for what is wrong in configurations: where it is, what follows from it, what to do about it.
    Validate(validate::ValidateArgs),
}

/// What every command takes.
#[derive(Args)]
struct Common {
    /// The master config (a conflist or a single configuration) [default: /etc/cni/net.d/00-meta-cni.conflist].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where records are [default: "stateDir" of the master config].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Human,
    Json,
}

/// Why a command could not do its work.
struct Problem {
    exit: Exit,
    what: String,
    /// What had been done before, a line each.
    done: String,
}

impl Problem {
    fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), done: String::new() }
    }

    fn could_not_look(what: impl Into<String>) -> Self {
        Self::new(Exit::CouldNotLook, what)
    }
}

impl From<CniError> for Problem {
    fn from(error: CniError) -> Self {
        // What is wrong can be mended here, but for files that cannot be read and networks that are not there yet.
        let exit = if matches!(error.code, Code::IO | Code::TRY_AGAIN) { Exit::CouldNotLook } else { Exit::Findings };
        let details = if error.details.is_empty() { String::new() } else { format!(" ({})", error.details) };
        Self::new(exit, format!("{}{details}", error.msg))
    }
}

/// Runs the command in `args`. `path` is `CNI_PATH`, if it is set.
pub fn main(args: impl IntoIterator<Item = OsString>, path: Option<&str>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap knows which stream each belongs to.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Clean };
        }
    };
    let done = match cli.command {
        Command::Plan(args) => plan::run(&args),
        Command::Cleanup(args) => cleanup::run(&args, path),
        Command::Gc(args) => gc::run(&args, path),
        Command::Install(args) => install::run(&args),
        Command::Probe => probe::run(path),
        Command::Repair(args) => repair::run(&args),
        Command::Status(args) => status::run(&args, path),
        Command::Validate(args) => validate::run(&args),
    };
    let (text, exit, problem) = match done {
        Ok((text, exit)) => (text, exit, None),
        Err(Problem { exit, what, done }) => (done, exit, Some(what)),
    };
    let mut stdout = std::io::stdout();
    let said = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match problem {
        Some(what) => eprintln!("meta-cni: {what}"),
        // Nobody reads on, or nothing can be written: either way it was not wholly said.
        None if said.is_err() => return Exit::Refused,
        None => {}
    }
    exit
}

impl Common {
    /// The master config, with what the command line says over it.
    fn master(&self) -> Result<MasterConfig, Problem> {
        let default = default_config();
        let path = self.config.as_deref().unwrap_or(&default);
        let bytes = bytes_of(path, Owner::Admin)?;
        let config = MasterConfig::from_file(&bytes).and_then(MasterConfig::with_primary);
        let mut config = config.map_err(|error| {
            Problem::new(Exit::Findings, format!("{}: {}", path.display(), CniError::from(error).msg))
        })?;
        config.move_to(self.state_dir.as_deref(), None);
        Ok(config)
    }

    /// Where records are.
    fn records_in(&self) -> Result<PathBuf, Problem> {
        match (&self.state_dir, &self.config) {
            (Some(dir), _) => Ok(dir.clone()),
            (None, Some(_)) => Ok(self.master()?.state_dir),
            (None, None) => Ok(self.master().map_or_else(|_| STATE_DIR.into(), |config| config.state_dir)),
        }
    }
}

/// The master config when nobody says which: in the conf dir, or in the private one.
fn default_config() -> PathBuf {
    let private = Path::new(DIR).join(FILE_NAME);
    if !exists(Path::new(DEFAULT_CONFIG)) && exists(&private) { private } else { DEFAULT_CONFIG.into() }
}

fn bytes_of(path: &Path, owner: Owner) -> Result<Vec<u8>, Problem> {
    at_most(path, owner, MOST_CONFIG)
}

fn at_most(path: &Path, owner: Owner, most: u64) -> Result<Vec<u8>, Problem> {
    let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
    match read(path, owner, most) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Problem::could_not_look(format!("{} does not exist", path.display()))),
        Err(error) => Err(Problem::could_not_look(error.story())),
    }
}
