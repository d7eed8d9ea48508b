//! `meta-cni cleanup`: takes meta-cni off a node, an explicit act of a person. What lives is either known to libcni afterwards or
//! stands against it; a cleanup that was cut short is gone on with by the next.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::act::live::{Place, is_live, place};
use crate::act::sandbox::{adding, lock as lock_sandbox, note};
use crate::act::undo::finish;
use crate::act::{Acting, Context};
use crate::cni::{CniArgs, CniError, ContainerId, Object, Operation, SearchPath};
use crate::config::apart::{BIN, CONF, not_apart};
use crate::config::places::RUN_DIR;
use crate::config::{MasterConfig, Span};
use crate::exec::Host;
use crate::gather::after;
use crate::install::master::{Dirs, lock};
use crate::install::private::{Back, Restart, back};
use crate::netns;
use crate::plan::cleanup::{Alive, entry};
use crate::plan::foreign::Cached;
use crate::plan::install::{PROGRAM, Places};
use crate::plan::master::FILE_NAME;
use crate::plan::private::Layout;
use crate::plan::record::Record;
use crate::store::atomic::tidy;
use crate::store::foreign::{LIBCNI_CACHE, cached};
use crate::store::lock::Adding;
use crate::store::master::{self, MasterLock, current, remembered};
use crate::store::runtime::{fresh, of_ours};
use crate::store::{StoreError, exists, is_dir, private, removal, remove};
use crate::sweep::{Settings, sweep};

use super::{Exit, Problem};

/// How long ADDs that are under way are waited for.
const ADDS: Span = Span::seconds(30);

#[derive(Args)]
pub(super) struct CleanupArgs {
    /// Pods that have additional networks lose them.
    #[arg(long)]
    force: bool,
    /// For the preStop hook of a DaemonSet: only if the daemon says that the DaemonSet is going.
    #[arg(long)]
    hook: bool,
    /// Restarts the runtime, if it has to read another directory first.
    #[arg(long)]
    restart: bool,
    /// It has been restarted since a cleanup asked for it; where a daemon runs, that is known.
    #[arg(long, conflicts_with = "restart")]
    restarted: bool,
    /// Where the plugin is [default: what the runtime said, that of the node's distribution, else /opt/cni/bin].
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Where the master config is [default: likewise, else /etc/cni/net.d].
    #[arg(long, value_name = "DIR")]
    conf_dir: Option<PathBuf>,
    /// Where records are [default: "stateDir" of the master config].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where locks are [default: "runDir" of the master config].
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

impl CleanupArgs {
    fn who(&self) -> Restart {
        match (self.restart, self.restarted) {
            (true, _) => Restart::Ours,
            (_, true) => Restart::Done,
            _ => Restart::Theirs,
        }
    }
}

/// Cleans up, and says what was done. `path` is `CNI_PATH`.
pub(super) fn run(args: &CleanupArgs, path: Option<&str>) -> Result<(String, Exit), Problem> {
    if args.hook {
        let text = "no daemon says that its DaemonSet is being deleted: everything stays\n";
        return Ok((text.to_owned(), Exit::Clean));
    }
    let mut places = places(args);
    let config = config(args, &places)?;
    if let Some((_, why)) =
        not_apart(&config.state_dir, &config.run_dir, &[(CONF, &places.conf_dir), (BIN, &places.bin_dir)])
    {
        return Err(refused(format!("{why}; nothing was done")));
    }
    let lock = lock(&config.run_dir).map_err(refused)?;
    let given = SearchPath::parse(path.unwrap_or_default()).and(&places.bin_dir);
    let context = Context::new(config, CniArgs::default(), given);
    // From here to the end no ADD comes in between.
    let Some(_none_adding) = adding(&context, Adding::None, after(ADDS))? else {
        return Err(refused("pods are being added: try again"));
    };
    let alive = alive(&context, false)?;
    if !alive.additional.is_empty() && !args.force {
        let named = alive.named().join("\n  ");
        return Err(refused(format!(
            "these live attachments would be lost; nothing was done (--force deletes them first):\n  {named}"
        )));
    }
    unrecorded(&context, args.force)?;
    let dir = &context.config.run_dir;
    let layout = private::layout(&context.config.state_dir).map_err(story)?;
    let mut text = String::new();
    if layout.is_none() {
        here(dir, &places.conf_dir)?;
    }
    if let Some(layout) = &layout {
        places.conf_dir.clone_from(&layout.from);
        // First the runtime reads the primary's directory again: until then our file stays in both.
        if let Some(why) = shared(&context, layout, args.who(), &lock, &mut text)? {
            return Ok((format!("{text}{why}\n"), Exit::Refused));
        }
    }
    removal::begin(dir).map_err(story)?;
    let done = taken_off(&context, &places, args.force, layout.as_ref(), &mut text);
    drop(lock);
    match done {
        Ok(()) => Ok((text, Exit::Clean)),
        Err(Problem { exit, what, .. }) => {
            let until = "nobody writes the master config until a cleanup is done, or `meta-cni install` ends it";
            Err(Problem { exit, what: format!("{what}; {until}"), done: text })
        }
    }
}

/// Where it was installed: what the runtime said of itself stands over the usual places, as it did for `meta-cnid install`. A master
/// config that stayed would refuse every pod.
fn places(args: &CleanupArgs) -> Places {
    let known = Places::known(is_dir);
    let run_dir = args.run_dir.as_deref().unwrap_or(Path::new(RUN_DIR));
    let known = match of_ours(run_dir) {
        Some(view) => {
            let bin_dir = view.bin_dirs.iter().find(|dir| removal::is_program(&dir.join(PROGRAM)));
            known.or(bin_dir.map(PathBuf::as_path), Some(&view.conf_dir))
        }
        None => known,
    };
    known.or(args.bin_dir.as_deref(), args.conf_dir.as_deref())
}

/// The runtime is not known to have our file from another directory: there it would stay, and no pod would start without the plugin.
fn here(run_dir: &Path, conf_dir: &Path) -> Result<(), Problem> {
    let other = |dir: &PathBuf| dir.components().ne(conf_dir.components()) && exists(&dir.join(FILE_NAME));
    match fresh(run_dir).map(|view| view.conf_dir).filter(other) {
        Some(dir) => Err(refused(format!(
            "the runtime reads {dir}, where {FILE_NAME} is, not {}; nothing was done: say --conf-dir {dir}",
            conf_dir.display(),
            dir = dir.display()
        ))),
        None => Ok(()),
    }
}

/// Undoes a private conf dir; why the rest has to wait, if it has to.
fn shared(
    context: &Context,
    layout: &Layout,
    who: Restart,
    lock: &MasterLock,
    text: &mut String,
) -> Result<Option<String>, Problem> {
    let (state_dir, run_dir) = (&context.config.state_dir, &context.config.run_dir);
    let mut say = |line: &str| _ = writeln!(text, "{line}");
    let undone = back(layout, lock, master::Places { run_dir, state_dir }, (who, fresh(run_dir)), &mut say);
    let waits = undone.map_err(|why| Problem { done: text.clone(), ..refused(why) })? == Back::Restart;
    let unit = layout.runtime.unit();
    Ok(waits.then(|| {
        format!(
            "{unit} has to read {} again before anything is removed: restart it and do this again (with --restarted \
             where no daemon runs), or say --restart",
            layout.from.display()
        )
    }))
}

fn taken_off(
    context: &Context,
    places: &Places,
    force: bool,
    layout: Option<&Layout>,
    text: &mut String,
) -> Result<(), Problem> {
    let swept = sweep(context, Settings { force, last: true, ..Settings::default() })?
        .ok_or_else(|| refused("a sweep is under way"))?;
    let failed = swept.actions.iter().filter_map(|action| action.error.as_ref());
    let failed: Vec<String> = failed.cloned().collect();
    if !failed.is_empty() || swept.left + swept.busy.len() > 0 {
        let why = "what is left of pods that are gone could not all be finished; do this again";
        return Err(refused(format!("{why}: {}", failed.join("; "))));
    }
    let alive = alive(context, true)?;
    let errors = detached(context, &alive.additional);
    if !errors.is_empty() {
        return Err(refused(format!("not deleted, so nothing else was done: {}", errors.join("; "))));
    }
    for line in alive.named() {
        let _ = writeln!(text, "{line}: deleted");
    }
    for record in &alive.primary {
        removal::export(LIBCNI_CACHE.as_ref(), &entry(record)).map_err(story)?;
    }
    let _ = writeln!(text, "pods whose primary network the runtime deletes by itself now: {}", alive.primary.len());
    let masters = [Some(&places.conf_dir), layout.map(|layout| &layout.to)];
    let there = masters.into_iter().flatten().map(|dir| dir.join(FILE_NAME)).filter(|path| exists(path));
    let there: Vec<_> = there.collect();
    removal::master(&places.conf_dir).map_err(story)?;
    if let Some(layout) = layout {
        private::forget(&context.config.state_dir, layout).map_err(story)?;
    }
    for path in there {
        let _ = writeln!(text, "{}: removed", path.display());
    }
    for record in &alive.primary {
        dropped(context, record).map_err(story)?;
    }
    let target = places.bin_dir.join(PROGRAM);
    tidy(&target).map_err(story)?;
    if removal::is_program(&target) {
        remove(&target).map_err(story)?;
        let _ = writeln!(text, "{}: removed", target.display());
    }
    for path in removal::state(&context.config.state_dir, &context.config.run_dir).map_err(story)? {
        let _ = writeln!(text, "{}: not meta-cni's, left", path.display());
    }
    Ok(())
}

/// The record of a primary that was exported goes, and so does what libcni has of it under our name.
fn dropped(context: &Context, record: &Record) -> Result<(), StoreError> {
    let id = &record.sandbox.container_id;
    removal::forget(LIBCNI_CACHE.as_ref(), &format!("{}-{id}-{}", context.config.name, record.request))?;
    context.records.remove(id, &record.attachment.ifname)
}

/// The attachments that are alive. `strict`: a record that cannot be read stands against going on.
fn alive(context: &Context, strict: bool) -> Result<Alive, Problem> {
    let mut all = Vec::new();
    for id in context.records.sandboxes().map_err(story)? {
        let found = context.records.of(&id).map_err(story)?;
        if let Some(one) = found.damaged.first().filter(|_| strict) {
            let why = format!("{} {}", one.path.display(), one.why);
            return Err(refused(format!("what sandbox {id} has is not known, so delete its pod first: {why}")));
        }
        all.extend(found.records.into_iter().filter(is_live));
    }
    Ok(Alive::of(all))
}

/// Refuses for living sandboxes that libcni has as ours and nothing is on record of, unless by `force`: the state is lost, or elsewhere.
fn unrecorded(context: &Context, force: bool) -> Result<(), Problem> {
    if force {
        return Ok(());
    }
    let Context { config, records, .. } = context;
    let known = records.sandboxes().map_err(story)?;
    let is_known = |one: &Cached| known.iter().any(|id| id.as_str() == one.container_id);
    // The path of an old entry may lead to the host's own by now (`/proc/<pid>/ns/net`).
    let own = netns::own().ok();
    let living = |one: &Cached| matches!(place(&one.netns), Place::Is(now) if own != Some(now));
    let ours = |one: &Cached| !is_known(one) && living(one) && one.is_ours();
    let named: Vec<String> = cached(LIBCNI_CACHE.as_ref())
        .into_iter()
        .filter(ours)
        .map(|one| {
            let pod = one.pod().map_or_else(String::new, |pod| format!("pod {pod}, "));
            format!("{pod}sandbox {}: {}", one.container_id, one.ifname)
        })
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    Err(refused(format!(
        "nothing is on record in {} of what these living sandboxes have; nothing was done (--state-dir says where it is; if it is lost, \
         delete their pods first, or --force leaves what they have):\n  {}",
        config.state_dir.display(),
        named.join("\n  ")
    )))
}

/// Deletes attachments, sandbox by sandbox, by their records; gives what went wrong.
fn detached(context: &Context, records: &[Record]) -> Vec<String> {
    let mut sandboxes: BTreeMap<&ContainerId, Vec<&Record>> = BTreeMap::new();
    for record in records {
        sandboxes.entry(&record.sandbox.container_id).or_default().push(record);
    }
    let done = sandboxes.into_iter().map(|(id, records)| of_sandbox(context, id, &records));
    done.filter_map(|done| done.err().map(|error| error.msg)).collect()
}

fn of_sandbox(context: &Context, id: &ContainerId, records: &[&Record]) -> Result<(), CniError> {
    let deadline = after(context.config.del_budget);
    let lock = lock_sandbox(context, id, Operation::Gc, deadline)?;
    let marks = note(Some(&lock), false);
    let host = Host { marks: Some(&marks) };
    let acting = Acting { context, host: &host, lock: Some(&lock), epoch: context.epoch()?, patience: 0 };
    records.iter().try_for_each(|record| finish(&acting, (*record).clone(), None, deadline).map(drop))
}

/// The master config, that which was last written when it is gone already, or the defaults; the command line stands over it.
fn config(args: &CleanupArgs, places: &Places) -> Result<MasterConfig, Problem> {
    let dirs = Dirs::of(args.state_dir.as_deref(), args.run_dir.as_deref());
    let here = current(&places.conf_dir).ok().flatten();
    let last = || remembered(&dirs.state).map(String::into_bytes);
    let config = here.or_else(last).and_then(|bytes| MasterConfig::from_file(&bytes).ok());
    let mut config = match config {
        Some(config) => config,
        None => {
            let primary = places.conf_dir.to_string_lossy();
            MasterConfig::of(&Object::default(), PROGRAM, &primary).map_err(CniError::from)?
        }
    };
    config.move_to(args.state_dir.as_deref(), args.run_dir.as_deref());
    Ok(config)
}

fn refused(what: impl Into<String>) -> Problem {
    Problem::new(Exit::Refused, what)
}

fn story(error: StoreError) -> Problem {
    refused(error.story())
}
