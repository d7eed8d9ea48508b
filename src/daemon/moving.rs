//! A private conf dir (`meta-cni install --private-conf-dir`): in which directory our file is kept, and what becomes of it in the one
//! that the runtime is to leave. There it stays right until the runtime says that it reads the other.

use std::path::Path;

use crate::plan::master::{FILE_NAME, Settings, lint, says_the_same};
use crate::plan::private::{Layout, budget};
use crate::store::lock::{Adding, adding};
use crate::store::master::{MasterLock, Places, current};
use crate::store::{exists, private, removal, runtime};

use super::config::Config;

/// What was decided for this conf dir; why that is not known, for people.
pub(super) fn decided(config: &Config) -> Result<Option<Layout>, String> {
    let layout = private::layout(&config.master.state_dir);
    let same = |layout: &Layout| layout.from.components().eq(config.conf_dir.components());
    layout
        .map(|layout| layout.filter(same))
        .map_err(|error| format!("whether there is a private conf dir is not known: {}", error.story()))
}

/// Where our file is kept.
pub(super) fn home(config: &Config) -> &Path {
    config.layout.as_ref().map_or(&config.conf_dir, |layout| layout.ways().0)
}

/// What goes into the master config there.
pub(super) fn settings(config: &Config) -> Settings {
    let mut settings = config.settings.clone();
    if config.layout.as_ref().is_some_and(|layout| !layout.back) {
        budget(&mut settings.keys);
    }
    settings
}

/// Sees to our file in the directory that the runtime is to leave; `text` is what it says in the other. What is still to be done, as
/// one sentence for people.
pub(super) fn settle(
    config: &Config,
    text: &str,
    lock: impl FnOnce() -> Result<MasterLock, String>,
) -> Result<Option<String>, String> {
    let Some((home, other)) = config.layout.as_ref().map(Layout::ways) else { return Ok(None) };
    let run_dir = &config.master.run_dir;
    let view = runtime::fresh(run_dir);
    let reads = |dir: &Path| view.as_ref().is_some_and(|view| view.conf_dir.components().eq(dir.components()));
    let path = other.join(FILE_NAME);
    // Under the lock: `install` and `cleanup` decide under it, and the way may be another by now.
    let same = || decided(config).as_ref() == Ok(&config.layout);
    if reads(home) {
        if exists(&path) {
            let _lock = lock()?;
            if !same() {
                return Ok(None);
            }
            removal::master(other).map_err(|error| error.story())?;
            tracing::info!(path = %path.display(), "removed: the runtime reads the other directory now");
        }
        return Ok(None);
    }
    let there = current(other).ok().flatten();
    let right = there.as_ref().is_some_and(|there| says_the_same(there, text.as_bytes()));
    let whole = there.as_ref().is_some_and(|there| lint(there).is_ok());
    // Of a runtime that says nothing nobody knows whether it still reads it: what is gone there stays gone.
    let wanted = !right && (reads(other) || exists(&path));
    // A file event may hold up ADDs that are under way.
    let may = !whole || matches!(adding(run_dir, Adding::None), Ok(Some(_)));
    if wanted && may {
        let places = Places { run_dir, state_dir: &config.master.state_dir };
        let lock = lock()?;
        if same() {
            lock.write(other, text, places).map_err(|error| error.story())?;
        }
    }
    Ok(reads(other)
        .then(|| format!("the runtime reads {} until it is restarted, then {}", other.display(), home.display())))
}
