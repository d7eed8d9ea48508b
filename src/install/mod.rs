//! Puts the plugin where the runtime looks for plugins, and writes the master config if there is none and no daemon does it; with
//! `--private-conf-dir` has the runtime read a directory of ours. Says in a line each what it did and what it left. Both programs run
//! it: they differ in how they learn of the runtime.

pub mod master;
pub mod private;
mod restart;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::apart::{BIN, CONF, not_apart};
use crate::config::places::{DAEMON_CONFIG, PROFILES_DIR};
use crate::plan::install::{PROGRAM, Places};
use crate::plan::master::{FILE_NAME, lint};
use crate::plan::private::{Change, DIR, Layout};
use crate::store::atomic::tidy;
use crate::store::master::{self as file, MasterLock, Written, current};
use crate::store::profiles::profiles;
use crate::store::program::{Put, put};
use crate::store::runtime::RuntimeView;
use crate::store::{StoreError, exists, is_dir};

use master::{Dirs, lock, should};

/// What both programs take.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Where the runtime looks for plugins [default: what it says itself, that of the node's distribution, else /opt/cni/bin].
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// Where the runtime looks for configurations [default: likewise, else /etc/cni/net.d].
    #[arg(long, value_name = "DIR")]
    pub conf_dir: Option<PathBuf>,
    /// What is installed [default: the program meta-cni].
    #[arg(long, value_name = "FILE")]
    pub source: Option<PathBuf>,
    /// No master config is written.
    #[arg(long, conflicts_with = "private_conf_dir")]
    pub no_config: bool,
    /// Where records are; said in the master config [default: /var/lib/cni/meta-cni].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where locks are; said in the master config [default: /run/meta-cni].
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Has the runtime read a directory in which only our file is; the primary goes on writing the conf dir.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = DIR)]
    pub private_conf_dir: Option<PathBuf>,
    /// The runtime's own configuration may be edited where a drop-in does not do; a copy is kept beside it.
    #[arg(long, requires = "private_conf_dir")]
    pub edit_runtime_config: bool,
    /// Restarts the runtime when it has to read another directory.
    #[arg(long)]
    pub restart: bool,
    /// The runtime: containerd-1, containerd-2 or crio [default: what it says itself].
    #[arg(long, value_name = "NAME")]
    pub runtime: Option<String>,
    /// The runtime's own configuration [default: /etc/containerd/config.toml, /etc/crio/crio.conf].
    #[arg(long, value_name = "FILE")]
    pub runtime_config: Option<PathBuf>,
    /// Shows what would be done, and touches nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What a program knows of the runtime.
pub struct Known<'a> {
    /// What the runtime says now, if it can be asked.
    pub look: &'a dyn Fn() -> Option<RuntimeView>,
    /// Its directories are those that it says.
    pub trusted: bool,
    /// The program that is installed when nobody says.
    pub source: PathBuf,
}

/// What was done, for people, and whether it was all that was asked for.
pub type Done = Result<(String, bool), Failed>;

/// An installation that could not go on. Done again, it does.
pub struct Failed {
    /// What had been done, a line each.
    pub done: String,
    /// Why, as one sentence, or with what a person can do about it.
    pub why: String,
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self { done: String::new(), why }
    }
}

/// An installation under way.
struct Install<'a> {
    args: &'a InstallArgs,
    known: &'a Known<'a>,
    places: Places,
    dirs: Dirs,
    text: String,
}

/// Installs.
///
/// # Errors
/// [`Failed`]; what is refused before anything is touched has done nothing.
pub fn run(args: &InstallArgs, known: &Known<'_>) -> Done {
    let view = (known.look)();
    let mut text = String::new();
    let mut places = Places::known(is_dir);
    match &view {
        Some(view) if known.trusted => {
            let _ = writeln!(
                text,
                "the runtime is {} {}, at {}",
                view.runtime,
                view.runtime_version,
                view.socket.display()
            );
            let conf_dir = Some(view.conf_dir.as_path()).filter(|dir| dir.is_absolute());
            places = places.or(view.bin_dirs.first().map(PathBuf::as_path), conf_dir);
        }
        None if known.trusted => text.push_str("the runtime cannot be asked: its directories are the usual ones\n"),
        _ => {}
    }
    let places = places.or(args.bin_dir.as_deref(), args.conf_dir.as_deref());
    let dirs = Dirs::of(args.state_dir.as_deref(), args.run_dir.as_deref());
    let private = args.private_conf_dir.iter().map(|dir| (CONF, dir.as_path()));
    let others: Vec<_> =
        [(CONF, places.conf_dir.as_path()), (BIN, &places.bin_dir)].into_iter().chain(private).collect();
    if let Some((_, why)) = not_apart(&dirs.state, &dirs.run, &others) {
        return Err(why.into());
    }
    let mut install = Install { args, known, places, dirs, text };
    // Before anything is touched: what is refused then changed nothing.
    let layout = private::layout(&mut install, view.as_ref())?;
    let change = layout.as_ref().map(|layout| private::change(layout, args.edit_runtime_config)).transpose()?;
    if args.dry_run {
        return install.foretold(layout.as_ref().zip(change.as_ref()));
    }
    // A cleanup holds it from its first step to its last.
    let lock = lock(&install.dirs.run)?;
    match install.act(layout.as_ref().zip(change.as_ref()), &lock) {
        Ok(wholly) => Ok((install.text, wholly)),
        Err(why) => Err(Failed { done: install.text, why }),
    }
}

fn story(error: StoreError) -> String {
    error.story()
}

impl Install<'_> {
    fn say(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    fn source(&self) -> &Path {
        self.args.source.as_deref().unwrap_or(&self.known.source)
    }

    fn foretold(mut self, private: Option<(&Layout, &Change)>) -> Done {
        let target = self.places.bin_dir.join(PROGRAM);
        self.say(&format!("{}: would be made {}", target.display(), self.source().display()));
        match private {
            Some((layout, change)) => private::foretold(&mut self, layout, change),
            None if self.args.no_config => {}
            None => {
                let path = self.places.conf_dir.join(FILE_NAME);
                let there = if exists(&path) { "would be left as it is" } else { "would be written" };
                self.say(&format!("{}: {there}", path.display()));
            }
        }
        Ok((self.text, true))
    }

    fn act(&mut self, private: Option<(&Layout, &Change)>, lock: &MasterLock) -> Result<bool, String> {
        self.program(lock)?;
        match private {
            Some((layout, change)) => private::act(self, layout, change, lock),
            None => Ok(self.args.no_config || self.config(lock)),
        }
    }

    fn program(&mut self, lock: &MasterLock) -> Result<(), String> {
        if let Some(name) = self.places.of {
            self.say(&format!("this is a node of {name}"));
        }
        let target = self.places.bin_dir.join(PROGRAM);
        tidy(&target).map_err(story)?;
        let done = match put(self.source(), &target).map_err(story)? {
            Put::New => "installed",
            Put::Replaced => "replaced",
            Put::Unchanged => "unchanged",
        };
        self.say(&format!("{}: {done}", target.display()));
        if file::end_removing(&self.dirs.run).map_err(story)? {
            self.say("an earlier `meta-cni cleanup` holds nobody from writing the master config any more");
        }
        // Of writers that died: all of them held the lock.
        for name in ["master.json", "private.json"] {
            tidy(&self.dirs.state.join(name)).map_err(story)?;
        }
        lock.tidy(&self.places.conf_dir).map_err(story)
    }

    /// Writes the master config if it is not there and nobody else does; true if there is nothing left to do.
    fn config(&mut self, lock: &MasterLock) -> bool {
        let conf_dir = &self.places.conf_dir;
        let path = conf_dir.join(FILE_NAME).display().to_string();
        let (done, wholly) = match current(conf_dir) {
            _ if exists(Path::new(DAEMON_CONFIG)) => (
                format!("left to meta-cnid, which has a config ({DAEMON_CONFIG}); `meta-cnid --once` writes it now"),
                true,
            ),
            Ok(Some(bytes)) => match lint(&bytes) {
                Ok(_) => ("left as it is".to_owned(), true),
                Err(why) => (format!("left as it is, and cannot be used: {why}; see `meta-cni repair`"), false),
            },
            Err(error) => (format!("left as it is, and cannot be used: {}", error.story()), false),
            Ok(None) => match should(conf_dir, &self.dirs, &profiles(Path::new(PROFILES_DIR))) {
                Ok((text, primary)) => self.written(conf_dir, &text, &primary, lock),
                Err(why) => (no_primary(&why), false),
            },
        };
        self.say(&format!("{path}: {done}"));
        wholly
    }

    fn written(&self, conf_dir: &Path, text: &str, primary: &str, lock: &MasterLock) -> (String, bool) {
        let places = file::Places { run_dir: &self.dirs.run, state_dir: &self.dirs.state };
        match lock.write(conf_dir, text, places) {
            Ok(Written::Changed | Written::Unchanged) => (format!("written; the primary is {primary}"), true),
            Ok(Written::Removing) => ("not written: a cleanup is under way".to_owned(), false),
            Err(error) => (format!("not written: {}", error.story()), false),
        }
    }
}

fn no_primary(why: &str) -> String {
    let what = "not written, because there is no primary network yet: do this again when it is there, or let";
    format!("{what} meta-cnid do it ({why})")
}
