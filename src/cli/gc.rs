//! `meta-cni gc`: the sweep. By a person: everything now, and what came of it. `--queued`: what is due, without a word, as plugin
//! calls start it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::act::Context;
use crate::cni::{CniArgs, CniError, Object, SearchPath};
use crate::config::MasterConfig;
use crate::exec::detached::settle;
use crate::store::{MOST_STATE, Owner};
use crate::sweep::{Action, Report, Settings, What, sweep, sweeper};
use crate::telemetry::{self, Level, LogSettings};

use super::{Common, Exit, Output, Problem, at_most, default_config};

/// The configuration of who starts it detached.
const STDIN: &str = "-";

#[derive(Args)]
pub(super) struct GcArgs {
    #[command(flatten)]
    common: Common,
    /// Where locks are [default: "runDir" of the master config].
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Searched for plugins before anything else; may be given more than once.
    #[arg(long, value_name = "DIR")]
    bin_dir: Vec<PathBuf>,
    /// Only what is due, and without a word: how plugin calls start it.
    #[arg(long)]
    queued: bool,
    /// Only DELs that a runtime asked for when no attachment that was made since the kernel started is alive as seen from here: how the
    /// daemon starts it, which may be in a container.
    #[arg(long, requires = "queued")]
    wary: bool,
    /// Shows what would be done, and touches nothing.
    #[arg(long)]
    dry_run: bool,
    /// Also when no attachment that was made since the kernel started is alive as seen from here.
    #[arg(long)]
    force: bool,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    output: Output,
}

/// Sweeps and prints. `path` is `CNI_PATH`.
pub(super) fn run(args: &GcArgs, path: Option<&str>) -> Result<(String, Exit), Problem> {
    if args.queued {
        settle();
    }
    let mut config = config(args)?;
    log(&config, args.dry_run);
    config.move_to(args.common.state_dir.as_deref(), args.run_dir.as_deref());
    let given = SearchPath::parse(path.unwrap_or_default());
    let path = SearchPath::default().and_all(&args.bin_dir).and_all(given.dirs());
    let context = Context::new(config, CniArgs::default(), path);
    // Nobody types the configuration that it is given on stdin.
    let detached = args.queued && !args.wary && args.common.config.as_deref() == Some(Path::new(STDIN));
    let GcArgs { queued, wary, dry_run, force, .. } = *args;
    let settings = Settings { queued, detached, wary, dry_run, force, last: false };
    let report = sweep(&context, settings);
    // Nobody reads what one that was started by a call would print.
    let report = report.inspect_err(|error| tracing::error!(code = error.code.0, "no sweep: {}", error.msg))?;
    let Some(report) = report else { return another(&context, args.queued) };
    let exit = exit(&report, args.dry_run);
    let text = match (args.queued && !args.dry_run, args.output) {
        (true, _) => String::new(),
        (false, Output::Json) => serde_json::to_string_pretty(&report).unwrap_or_default() + "\n",
        (false, Output::Human) => human(&report, args.dry_run),
    };
    Ok((text, exit))
}

/// Another sweep is under way: whoever is at it does what this one would do. One that takes long is named, for while it is stuck
/// nothing is swept.
fn another(context: &Context, queued: bool) -> Result<(String, Exit), Problem> {
    let (who, age) = sweeper(context).map_or_else(Default::default, |(pid, age)| {
        (format!(": process {pid}, which has run for {} s", age.as_secs()), age)
    });
    if !queued {
        return Err(Problem::new(Exit::Refused, format!("another sweep is under way{who}")));
    }
    if age > context.config.sweep_interval.0 {
        tracing::warn!("nothing is swept, because an earlier sweep has not ended{who}; if it is stuck, end it");
    }
    Ok((String::new(), Exit::Clean))
}

/// The master config: from a file as a person has it, or as a runtime gave it to a plugin call. A primary network is not needed.
fn config(args: &GcArgs) -> Result<MasterConfig, Problem> {
    let path = &args.common.config.clone().unwrap_or_else(default_config);
    let piped = path == Path::new(STDIN);
    let owner = if piped { Owner::Anybody } else { Owner::Admin };
    let bytes = at_most(path, owner, MOST_STATE)?;
    let of_a_runtime = piped && Object::parse(&bytes).is_ok_and(|object| !object.has("plugins"));
    let config = if of_a_runtime { MasterConfig::from_stdin(&bytes) } else { MasterConfig::from_file(&bytes) };
    config.map_err(|error| Problem::new(Exit::Findings, format!("{}: {}", path.display(), CniError::from(error).msg)))
}

/// What the sweep does is in the node's log, like what the plugin does. A dry run does nothing.
fn log(config: &MasterConfig, dry_run: bool) {
    if !dry_run {
        let settings = LogSettings {
            file: config.log_file.clone(),
            to_stderr: config.log_to_stderr,
            level: config.log_level.as_deref().and_then(Level::parse).unwrap_or_default(),
            ..LogSettings::default()
        };
        telemetry::init(&settings, "-");
    }
}

fn exit(report: &Report, dry_run: bool) -> Exit {
    let failed = report.actions.iter().any(|action| action.error.is_some());
    match (dry_run, failed || report.left > 0) {
        (true, _) if !report.actions.is_empty() => Exit::Findings,
        (false, true) => Exit::Refused,
        _ if !report.unknown.is_empty() => Exit::Findings,
        _ => Exit::Clean,
    }
}

fn human(report: &Report, dry_run: bool) -> String {
    let mut text = String::new();
    for action in &report.actions {
        let _ = writeln!(text, "{}", line(action, dry_run));
    }
    for id in &report.busy {
        let _ = writeln!(text, "{id}: busy, so not gone");
    }
    for id in &report.unknown {
        let _ = writeln!(text, "{id}: its records are damaged and nothing says whether it is alive; left for its DEL");
    }
    let _ = writeln!(text, "alive: {}, waiting for the next attempt: {}", report.live, report.waiting);
    if report.released + report.kept > 0 {
        let Report { released, kept, .. } = report;
        let _ = writeln!(
            text,
            "addresses without a record: {released} released, {kept} kept, because nothing says that their pod is gone"
        );
    }
    if report.left > 0 {
        let _ = writeln!(text, "sandboxes left for the next run: {}", report.left);
    }
    text
}

fn line(action: &Action, dry_run: bool) -> String {
    let interface = action.ifname.as_ref().map_or_else(String::new, |ifname| format!(" {ifname}"));
    let network = action.network.as_ref().map_or_else(String::new, |network| format!(" (network {network:?})"));
    let did = match (action.what, dry_run) {
        (What::Delete, false) => "deleted",
        (What::Delete, true) => "would be deleted",
        (What::Quarantine, false) => "damaged: put aside, and deleted by what else is known",
        (What::Quarantine, true) => "damaged: would be put aside, and deleted by what else is known",
        (What::Forget, false) => "stood for nothing: removed",
        (What::Forget, true) => "stands for nothing: would be removed",
    };
    match &action.error {
        None => format!("{}{interface}{network}: {did}", action.sandbox),
        Some(error) => format!("{}{interface}{network}: not done, to be tried again: {error}", action.sandbox),
    }
}
