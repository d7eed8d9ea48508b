//! The daemon, one per node: keeps the master config right and says how it is. It never runs a delegate, and pods start and stop
//! without it.
//!
//! `keep` is the loop, in the four steps of every operation; `serve` the other thread. Nothing is removed when it ends.

mod calm;
mod config;
mod fights;
mod flags;
mod gather;
mod health;
mod host;
mod hostexec;
mod install;
mod keep;
mod moving;
mod ready;
mod runtime;
mod serve;
mod shared;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser as _;
use sd_notify::NotifyState;

use crate::cni::Object;
use crate::exit::Exit;
use crate::store::{MOST_CONFIG, Owner, read};
use crate::telemetry::{self, Level};

use config::{Config, LogFormat};
use flags::{CONFIG, Command, Flags};
use keep::Keeper;
use runtime::Asking;
use serve::{Server, Wishes};
use shared::Shared;

/// How often the loop says that it lives while there is nothing to do.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Runs until it is told to end. `under_journal`: stderr leads to the journal.
pub fn main(args: impl IntoIterator<Item = OsString>, under_journal: bool) -> ExitCode {
    let flags = match Flags::try_parse_from(args) {
        Ok(flags) => flags,
        Err(error) => {
            // Help and version are no errors; clap knows which stream each belongs to.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Clean }.into();
        }
    };
    if let Some(Command::Install(args)) = &flags.command {
        return install::run(args, flags.cri_socket.as_deref().map(config::socket)).into();
    }
    let over = flags.keys();
    let config = match load(&flags, &over) {
        Ok(config) => config,
        Err((exit, why)) => {
            telemetry::to_stderr(Level::Info, telemetry::Style::Text);
            tracing::error!("{why}");
            return exit.into();
        }
    };
    let style = match config.log_format {
        LogFormat::Json => telemetry::Style::Json,
        LogFormat::Text if !under_journal => telemetry::Style::Text,
        LogFormat::Text | LogFormat::Journal => telemetry::Style::Journal,
    };
    let level = config.log_level.as_deref().and_then(Level::parse).unwrap_or_default();
    telemetry::to_stderr(level, style);
    run(&flags, &over, config).into()
}

fn load(flags: &Flags, over: &Object) -> Result<Config, (Exit, String)> {
    let path = flags.config.as_deref().unwrap_or(Path::new(CONFIG));
    let text = match read(path, Owner::Admin, MOST_CONFIG) {
        Ok(Some(text)) => text,
        Ok(None) if flags.config.is_none() => Vec::new(),
        Ok(None) => return Err((Exit::CouldNotLook, format!("{} does not exist", path.display()))),
        Err(error) => return Err((Exit::CouldNotLook, error.story())),
    };
    Config::parse(&text, over).map_err(|error| (Exit::Usage, format!("{}: {error}", path.display())))
}

fn run(flags: &Flags, over: &Object, config: Config) -> Exit {
    #[expect(clippy::disallowed_methods, reason = "the program's start")]
    let shared = Arc::new(Shared::new(std::time::Instant::now()));
    let wishes = Arc::new(Wishes::default());
    say(&config);
    let mut keeper = Keeper::new(config, Arc::clone(&shared));
    if flags.once {
        return once(&mut keeper, &shared);
    }
    let server = Server {
        shared: Arc::clone(&shared),
        wishes: Arc::clone(&wishes),
        waker: keeper.lookout.waker(),
        address: keeper.config.health,
        told_in: keeper.config.master.run_dir.join("meta-cnid.health"),
        asking: Asking {
            socket: keeper.config.cri_socket.clone(),
            tick: keeper.config.tick,
            run_dir: keeper.config.master.run_dir.clone(),
            waker: keeper.lookout.waker(),
        },
    };
    if let Err(error) = serve::start(server) {
        tracing::error!(%error, "the daemon cannot start");
        return Exit::CouldNotLook;
    }
    keeper.tidy();
    let mut is_ready = false;
    loop {
        let (mut least, mut most) = keeper.once();
        notify(&shared, &mut is_ready);
        // In slices, so that others see that it lives.
        while !wishes.stop.load(Ordering::SeqCst) && !keeper.lookout.wait(least, most.min(SIGN_OF_LIFE)) {
            most = most.saturating_sub(SIGN_OF_LIFE);
            if most.is_zero() {
                break;
            }
            least = Duration::ZERO;
            shared.update(|state| state.beat = shared.started.elapsed());
            notify(&shared, &mut is_ready);
        }
        if wishes.stop.load(Ordering::SeqCst) {
            // Whatever was being written is written: the loop does one thing at a time.
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
            tracing::info!("told to end; the master config stays");
            return Exit::Clean;
        }
        if wishes.reload.swap(false, Ordering::SeqCst) {
            reload(flags, over, &mut keeper);
        }
    }
}

/// One round, for who starts it again when it matters: nothing is watched, nothing is served.
fn once(keeper: &mut Keeper, shared: &Shared) -> Exit {
    keeper.tidy();
    keeper.round();
    if shared.now().0.missing.is_empty() { Exit::Clean } else { Exit::Refused }
}

/// What a person should know of the config.
fn say(config: &Config) {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), conf_dir = %config.conf_dir.display(), "the daemon starts");
    for warning in config.warnings.iter().cloned().chain(config.master.warnings.iter().map(ToString::to_string)) {
        tracing::warn!("{warning}");
    }
}

fn reload(flags: &Flags, over: &Object, keeper: &mut Keeper) {
    match load(flags, over) {
        Ok(config) => {
            let old = &keeper.config;
            if fixed(&config) != fixed(old) {
                tracing::warn!(
                    "\"health\", \"criSocket\", \"logFormat\", the level of the daemon's log, and where \"runDir\" has its `runtime.json` \
                     and `meta-cnid.health`, change with its next start"
                );
            }
            say(&config);
            keeper.config = config;
            keeper.forget_versions();
            keeper.tidy();
        }
        Err((_, why)) => tracing::error!("the config stays as it was: {why}"),
    }
}

/// What the other thread was started with.
fn fixed(config: &Config) -> impl PartialEq + '_ {
    (config.health, config.log_format, &config.cri_socket, &config.log_level, &config.master.run_dir)
}

/// Tells systemd, if it asked to be told.
fn notify(shared: &Shared, is_ready: &mut bool) {
    let (state, _) = shared.now();
    let status = match state.missing.first() {
        None => "the master config is in place and right",
        Some(missing) => missing.as_str(),
    };
    let mut said = vec![NotifyState::Status(status), NotifyState::Watchdog];
    if !std::mem::replace(is_ready, true) {
        // Ready says that it keeps watch; a primary may take its time.
        said.insert(0, NotifyState::Ready);
    }
    if let Err(error) = sd_notify::notify(&said) {
        tracing::debug!(%error, "systemd is not told");
    }
}
