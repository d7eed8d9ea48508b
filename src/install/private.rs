//! `--private-conf-dir`, and its way back. Killed after any step, the runtime reads a directory in which our file is; doing it again
//! goes on. In order: what was decided, our file in the directory to come, the runtime's configuration, the restart; and when the
//! runtime says that it reads it, the old file goes.

use std::path::{Component, Path};
use std::time::{Duration, Instant};

use crate::config::places::PROFILES_DIR;
use crate::plan::master::{FILE_NAME, lint};
use crate::plan::primary::is_config_name;
use crate::plan::private::{Change, Kind, Layout, budget, with_budget};
use crate::store::master::{MasterLock, Places, Written, current};
use crate::store::profiles::profiles;
use crate::store::runtime::RuntimeView;
use crate::store::{exists, identity, list, private, removal};
use crate::watch;

use super::master::should;
use super::restart::restart;
use super::{Install, no_primary, story};

/// How long a runtime that was restarted may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is to be: what was decided, or is now; `None` in a shared conf dir.
pub(super) fn layout(install: &mut Install<'_>, view: Option<&RuntimeView>) -> Result<Option<Layout>, String> {
    let decided = private::layout(&install.dirs.state).map_err(story)?;
    let args = install.args;
    let layout = match (decided, &args.private_conf_dir) {
        (None, None) => return Ok(None),
        // It is being undone, which `meta-cni cleanup` goes on with.
        (Some(decided), None) if decided.back => return Ok(None),
        (Some(decided), to) if to.as_ref().is_none_or(|to| *to == decided.to) => Layout { back: false, ..decided },
        (Some(decided), _) => return Err(format!("the private conf dir is {} already", decided.to.display())),
        (None, Some(to)) => {
            let runtime = kind(install, view)?;
            let generated = view.is_some_and(|view| view.socket.to_string_lossy().contains("/k3s/"));
            if args.runtime_config.is_none() && (generated || install.places.of == Some("K3s")) {
                return Err(
                    "K3s and RKE2 make containerd's configuration anew at each start: set conf_dir in its template, \
                    or say which file it is (--runtime-config)"
                        .to_owned(),
                );
            }
            let config = args.runtime_config.clone().unwrap_or_else(|| runtime.config().to_owned());
            if let Some(path) = [to, &config].into_iter().find(|path| !path.is_absolute()) {
                return Err(format!("{} is not an absolute path", path.display()));
            }
            fit(to)?;
            let plain = |path: &Path| path.components().collect();
            Layout { from: plain(&install.places.conf_dir), to: plain(to), runtime, config, back: false }
        }
    };
    let there = identity(&layout.from);
    if layout.from == layout.to || (there.is_some() && there == identity(&layout.to)) {
        return Err(format!("{} is where the primary writes, and cannot be private", layout.to.display()));
    }
    install.places.conf_dir.clone_from(&layout.from);
    Ok(Some(layout))
}

/// Whether a directory can be private: by another name it may be any, and what others have there comes before our file or after it.
fn fit(to: &Path) -> Result<(), String> {
    if to.components().any(|part| part == Component::ParentDir) {
        return Err(format!("{} has a \"..\" in it: say where it leads", to.display()));
    }
    if !exists(to) {
        return Ok(());
    }
    let other = |name: &String| name != FILE_NAME && is_config_name(name);
    match list(to).map_err(story)?.into_iter().find(other) {
        Some(name) => Err(format!(
            "{} holds {name:?}, and a private conf dir holds nothing but {FILE_NAME}: say another one, or remove that file",
            to.display()
        )),
        None => Ok(()),
    }
}

fn kind(install: &Install<'_>, view: Option<&RuntimeView>) -> Result<Kind, String> {
    if let Some(name) = &install.args.runtime {
        return Kind::named(name)
            .ok_or_else(|| format!("--runtime {name:?} is none of containerd-1, containerd-2, crio"));
    }
    let said = view.and_then(|view| Kind::of(&view.runtime, &view.runtime_version));
    said.ok_or_else(|| {
        "which runtime this is is not known: say --runtime containerd-1, containerd-2 or crio, run meta-cnid, or `meta-cnid install`, \
         which ask it"
            .to_owned()
    })
}

/// What it takes in the runtime's configuration.
pub(super) fn change(layout: &Layout, may_edit: bool) -> Result<Change, String> {
    let text = private::config(&layout.config).map_err(story)?;
    layout.change(text.as_deref(), may_edit)
}

pub(super) fn foretold(install: &mut Install<'_>, layout: &Layout, change: &Change) {
    install.say(&format!("{}: would be there", layout.to.join(FILE_NAME).display()));
    if let Some((path, text)) = &change.drop_in {
        install.say(&format!("{}: would say\n{text}", path.display()));
    }
    if let Some(text) = &change.config {
        install.say(&format!("{}: would be edited, and say\n{text}", layout.config.display()));
    }
    let restarts = if install.args.restart { "would be restarted" } else { "would have to be restarted" };
    install.say(&format!("{} {restarts}, if it does not read {} already", layout.runtime.unit(), layout.to.display()));
}

/// Does it; true if there is nothing left to do.
pub(super) fn act(
    install: &mut Install<'_>,
    layout: &Layout,
    change: &Change,
    lock: &MasterLock,
) -> Result<bool, String> {
    let ours = layout.to.join(FILE_NAME).display().to_string();
    let text = match text(install, layout) {
        Ok(text) => text,
        Err(why) => {
            install.say(&format!("{ours}: {why}"));
            return Ok(false);
        }
    };
    private::decide(&install.dirs.state, layout).map_err(story)?;
    let (said, right) = match text {
        Some(text) => install.written(&layout.to, &text, &lint(text.as_bytes()).unwrap_or_default(), lock),
        None => ("left as it is".to_owned(), true),
    };
    install.say(&format!("{ours}: {said}"));
    if !right {
        return Ok(false);
    }
    let reads = |dir: &Path| (install.known.look)().is_some_and(|view| view.conf_dir == dir);
    // Until the runtime is restarted it reads the other one.
    let mut moved = reads(&layout.to);
    let wholly = moved || install.config(lock);
    let config = private::config(&layout.config).map_err(story)?;
    private::apply(layout, change, config.as_deref(), &mut |line| install.say(line)).map_err(story)?;
    if !moved && install.args.restart {
        restart(layout.runtime.unit())?;
        install.say(&format!("{}: restarted", layout.runtime.unit()));
        moved = after_restart(install, &layout.to);
    }
    if moved {
        left(install, layout)?;
        return Ok(wholly);
    }
    install.say(&format!(
        "{} is to be restarted; then it reads {} (`meta-cni install` again, or meta-cnid, then removes the file in {})",
        layout.runtime.unit(),
        layout.to.display(),
        layout.from.display()
    ));
    Ok(wholly)
}

/// Our file as it is to be in the private conf dir; `None`: it is there.
fn text(install: &Install<'_>, layout: &Layout) -> Result<Option<String>, String> {
    let good = |dir: &Path| current(dir).ok().flatten().filter(|bytes| lint(bytes).is_ok());
    if good(&layout.to).is_some() {
        return Ok(None);
    }
    if let Some(text) = good(&layout.from).and_then(|bytes| with_budget(&bytes)) {
        return Ok(Some(text));
    }
    let mut dirs = install.dirs.clone();
    budget(&mut dirs.keys);
    let should = should(&layout.from, &dirs, &profiles(Path::new(PROFILES_DIR)));
    should.map(|(text, _)| Some(text)).map_err(|why| no_primary(&why))
}

#[expect(clippy::disallowed_methods, reason = "the wait for a runtime has a deadline")]
fn after_restart(install: &Install<'_>, dir: &Path) -> bool {
    // Who does not know how the runtime is now does not wait for it.
    let question = || (install.known.look)().filter(|view| view.conf_dir == dir);
    let known = install.known.trusted || (install.known.look)().is_some();
    known && watch::until(&[install.dirs.run.join("runtime.json")], Instant::now() + PATIENCE, question).is_some()
}

/// The runtime reads the private conf dir: nobody reads our file in the other one any more.
fn left(install: &mut Install<'_>, layout: &Layout) -> Result<(), String> {
    let old = layout.from.join(FILE_NAME);
    if exists(&old) {
        removal::master(&layout.from).map_err(story)?;
        install.say(&format!("{}: removed, the runtime reads {}", old.display(), layout.to.display()));
    }
    Ok(())
}

/// What is left to do before a private conf dir is undone.
#[derive(Debug, PartialEq, Eq)]
pub enum Back {
    /// Nothing: the runtime reads the conf dir again.
    Done,
    /// The runtime has to be restarted first.
    Restart,
}

/// Who restarts the runtime when its configuration is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// We do.
    Ours,
    /// Somebody did, they say, since we told them to.
    Done,
    /// Somebody is to.
    Theirs,
}

/// The way back: our file is in the conf dir again, then the runtime's configuration is as it was. A runtime that is known to
/// read the conf dir has been restarted; one of which nothing is known, when somebody says so who could know.
///
/// # Errors
/// The step that failed; done again, it goes on. What was done before is told to `say`.
pub fn back(
    layout: &Layout,
    lock: &MasterLock,
    places: Places<'_>,
    (who, view): (Restart, Option<RuntimeView>),
    say: &mut dyn FnMut(&str),
) -> Result<Back, String> {
    if let Some(bytes) = current(&layout.to).ok().flatten()
        && let Ok(text) = String::from_utf8(bytes)
        && current(&layout.from).ok().flatten().is_none_or(|bytes| lint(&bytes).is_err())
        && lint(text.as_bytes()).is_ok()
        && lock.write(&layout.from, &text, places).map_err(story)? == Written::Changed
    {
        say(&format!("{}: written until the runtime reads it again", layout.from.join(FILE_NAME).display()));
    }
    private::decide(places.state_dir, &Layout { back: true, ..layout.clone() }).map_err(story)?;
    let restored = private::restore(layout).map_err(story)?;
    // One that was cut short before has told nobody to restart the runtime, which cannot have read what was restored only now.
    let again = layout.back && restored.is_empty();
    restored.iter().for_each(|line| say(line));
    let reads = view.map(|view| view.conf_dir == layout.from);
    if who == Restart::Ours && reads != Some(true) {
        restart(layout.runtime.unit())?;
        say(&format!("{}: restarted", layout.runtime.unit()));
        return Ok(Back::Done);
    }
    match reads {
        Some(true) => Ok(Back::Done),
        None if again && who == Restart::Done => Ok(Back::Done),
        _ => Ok(Back::Restart),
    }
}
