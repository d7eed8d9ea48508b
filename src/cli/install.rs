//! `meta-cni install`: puts this program where the runtime looks for plugins, and writes the master config if there is none and
//! no daemon does it. Says in a line each what it did and what it left.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::places::{DAEMON_CONFIG, PROFILES_DIR};
use crate::plan::install::{PROGRAM, Places};
use crate::plan::master::{FILE_NAME, lint};
use crate::store::atomic::tidy;
use crate::store::master::{self as file, MasterLock, Written, current};
use crate::store::profiles::profiles;
use crate::store::program::{Put, put};
use crate::store::{exists, is_dir};

use super::master::{Dirs, lock, should};
use super::{Exit, Problem};

/// This program, also when its file has been replaced.
const OURSELVES: &str = "/proc/self/exe";

#[derive(Args)]
pub(super) struct InstallArgs {
    /// Where the runtime looks for plugins [default: that of the node's distribution, else /opt/cni/bin].
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Where the runtime looks for configurations [default: that of the node's distribution, else /etc/cni/net.d].
    #[arg(long, value_name = "DIR")]
    conf_dir: Option<PathBuf>,
    /// What is installed [default: this program].
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,
    /// No master config is written.
    #[arg(long)]
    no_config: bool,
    /// Where records are; said in the master config [default: /var/lib/cni/meta-cni].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where locks are; said in the master config [default: /run/meta-cni].
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

/// Installs, and says what was done.
pub(super) fn run(args: &InstallArgs) -> Result<(String, Exit), Problem> {
    let places = Places::known(is_dir).or(args.bin_dir.as_deref(), args.conf_dir.as_deref());
    let dirs = Dirs::of(args.state_dir.as_deref(), args.run_dir.as_deref());
    // A cleanup holds it from its first step to its last.
    let lock = lock(&dirs.run)?;
    let mut text = String::new();
    if let Some(name) = places.of {
        let _ = writeln!(text, "this is a node of {name}");
    }
    let target = places.bin_dir.join(PROGRAM);
    let refused = |error: crate::store::StoreError| Problem { exit: Exit::Refused, what: error.story() };
    tidy(&target).map_err(refused)?;
    let done = match put(args.source.as_deref().unwrap_or(Path::new(OURSELVES)), &target).map_err(refused)? {
        Put::New => "installed",
        Put::Replaced => "replaced",
        Put::Unchanged => "unchanged",
    };
    let _ = writeln!(text, "{}: {done}", target.display());
    if file::end_removing(&dirs.run).map_err(refused)? {
        let _ = writeln!(text, "an earlier `meta-cni cleanup` holds nobody from writing the master config any more");
    }
    lock.tidy(&places.conf_dir).map_err(refused)?;
    let exit = if args.no_config { Exit::Clean } else { config(&places.conf_dir, &dirs, &lock, &mut text) };
    Ok((text, exit))
}

/// Writes the master config if it is not there and nobody else does.
fn config(conf_dir: &Path, dirs: &Dirs, lock: &MasterLock, text: &mut String) -> Exit {
    let path = conf_dir.join(FILE_NAME).display().to_string();
    let (done, exit) = match current(conf_dir) {
        _ if exists(Path::new(DAEMON_CONFIG)) => (
            format!("left to meta-cnid, which has a config ({DAEMON_CONFIG}); `meta-cnid --once` writes it now"),
            Exit::Clean,
        ),
        Ok(Some(bytes)) => match lint(&bytes) {
            Ok(_) => ("left as it is".to_owned(), Exit::Clean),
            Err(why) => (format!("left as it is, and cannot be used: {why}; see `meta-cni repair`"), Exit::Refused),
        },
        Err(error) => (format!("left as it is, and cannot be used: {}", error.story()), Exit::Refused),
        Ok(None) => written(conf_dir, dirs, lock),
    };
    let _ = writeln!(text, "{path}: {done}");
    exit
}

fn written(conf_dir: &Path, dirs: &Dirs, lock: &MasterLock) -> (String, Exit) {
    let (text, primary) = match should(conf_dir, dirs, &profiles(Path::new(PROFILES_DIR))) {
        Ok(found) => found,
        Err(why) => {
            let what = "not written, because there is no primary network yet: do this again when it is there, or let";
            return (format!("{what} meta-cnid do it ({why})"), Exit::Refused);
        }
    };
    let places = file::Places { run_dir: &dirs.run, state_dir: &dirs.state };
    match lock.write(conf_dir, &text, places) {
        Ok(Written::Changed | Written::Unchanged) => (format!("written; the primary is {primary}"), Exit::Clean),
        Ok(Written::Removing) => ("not written: a cleanup is under way".to_owned(), Exit::Refused),
        Err(error) => (format!("not written: {}", error.story()), Exit::Refused),
    }
}
