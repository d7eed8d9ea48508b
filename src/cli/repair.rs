//! `meta-cni repair [CONF_DIR]`: mends what `meta-cni validate` finds of nested, cut and left-over files, and keeps all that it
//! changes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::check::rules::nesting::{DELEGATES, META_PLUGIN, MULTUS_IN_MULTUS, NESTED};
use crate::check::{Document, Kind, check, errors, kind_of};
use crate::config::MasterConfig;
use crate::config::places::PROFILES_DIR;
use crate::install::master::{Dirs, lock, should};
use crate::plan::master::FILE_NAME;
use crate::plan::primary::is_config_name;
use crate::plan::repair::{File, Repair, Step, repair};
use crate::profile::Profiles;
use crate::store::aside::{copy_aside, put_aside, write_beside};
use crate::store::master::{MasterLock, Places, Written, is_removing, remembered};
use crate::store::profiles::profiles;
use crate::store::{MOST_CONFIG, Owner, is_dir, list, read, remove};

use super::carets::visible;
use super::{DEFAULT_CONFIG, Exit, Problem};

#[derive(Args)]
pub(super) struct RepairArgs {
    /// The directory of configurations [default: /etc/cni/net.d].
    #[arg(value_name = "CONF_DIR")]
    conf_dir: Option<PathBuf>,
    /// Shows what would be done, and touches nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where records are [default: "stateDir" of the master config].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where locks are [default: "runDir" of the master config].
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

/// Mends, and says what was done.
pub(super) fn run(args: &RepairArgs) -> Result<(String, Exit), Problem> {
    let default = || Path::new(DEFAULT_CONFIG).parent().map(Path::to_owned).unwrap_or_default();
    let dir = args.conf_dir.clone().unwrap_or_else(default);
    if !is_dir(&dir) {
        return Err(Problem::could_not_look(format!("{} is no directory", dir.display())));
    }
    let config = read(&dir.join(FILE_NAME), Owner::Admin, MOST_CONFIG).ok().flatten();
    let config = config.and_then(|bytes| MasterConfig::from_file(&bytes).ok());
    let known = config.as_ref();
    let dirs = Dirs::of(
        args.state_dir.as_deref().or(known.map(|config| config.state_dir.as_path())),
        args.run_dir.as_deref().or(known.map(|config| config.run_dir.as_path())),
    );
    let own = known.map_or(Path::new(PROFILES_DIR), |config| &config.delegate_profiles_dir);
    let mending = Mending { dir: &dir, dirs: &dirs, profiles: profiles(own) };
    if args.dry_run {
        let planned = mending.planned()?;
        let exit = if planned.steps.is_empty() { left(&planned) } else { Exit::Findings };
        return Ok((text(&planned, &|step| Ok(foretold(step))).0, exit));
    }
    let lock = lock(&dirs.run).map_err(|what| Problem::new(Exit::Refused, what))?;
    let planned = mending.planned()?;
    let (text, failed) = text(&planned, &|step| mending.act(step, &lock));
    Ok((text, if failed { Exit::Refused } else { left(&planned) }))
}

/// What would be done in `dir`, one sentence each; nothing is touched.
pub(super) fn foreseen(dir: &Path, dirs: &Dirs, profiles: &Profiles) -> Result<Vec<String>, String> {
    let mending = Mending { dir, dirs, profiles: profiles.clone() };
    mending.planned().map(|planned| planned.steps.iter().map(foretold).collect()).map_err(|problem| problem.what)
}

fn left(planned: &Repair) -> Exit {
    if planned.left.is_empty() { Exit::Clean } else { Exit::Refused }
}

/// The steps, each done by `act`, and whether one failed.
fn text(planned: &Repair, act: &dyn Fn(&Step) -> Result<String, String>) -> (String, bool) {
    let (mut text, mut failed) = (String::new(), false);
    for step in &planned.steps {
        match act(step) {
            Ok(done) => drop(writeln!(text, "{}", visible(&done))),
            Err(why) => {
                let _ = writeln!(text, "not done: {}", visible(&why));
                failed = true;
                break;
            }
        }
    }
    for why in &planned.left {
        let _ = writeln!(text, "left: {}", visible(why));
    }
    if text.is_empty() {
        text.push_str("nothing to mend\n");
    }
    (text, failed)
}

fn foretold(step: &Step) -> String {
    match step {
        Step::Write { name, from, .. } => format!("{from}: the network in it would get a file of its own, {name}"),
        Step::PutAside { name, why, .. } => format!("{name}: {why}; would be put aside"),
        Step::Remove { name } => format!("{name}: the temporary file of a writer that died; would be removed"),
        Step::Restore { why, .. } => format!("{FILE_NAME}: {why}; would be written anew, and what is there kept"),
    }
}

struct Mending<'a> {
    dir: &'a Path,
    dirs: &'a Dirs,
    profiles: Profiles,
}

impl Mending<'_> {
    fn planned(&self) -> Result<Repair, Problem> {
        let names = list(self.dir).map_err(|error| Problem::could_not_look(error.story()))?;
        let names = names.into_iter().filter(|name| !is_dir(&self.dir.join(name)));
        let files: Vec<File> = names.map(|name| self.file(name)).collect();
        Ok(repair(&files, remembered(&self.dirs.state).as_deref(), &self.profiles))
    }

    fn file(&self, name: String) -> File {
        if !is_config_name(&name) && !name.starts_with(FILE_NAME) {
            return File { name, ..File::default() };
        }
        let path = self.dir.join(&name);
        let Ok(Some(text)) = read(&path, Owner::File, MOST_CONFIG) else { return File { name, ..File::default() } };
        let document = Document { file: name.clone(), text, paths: vec![path], ..Document::default() };
        let findings = check(&document, &self.profiles);
        let any = |codes: [&str; 2]| findings.iter().any(|finding| codes.contains(&finding.code));
        File {
            name,
            ours: kind_of(&document.text) == Kind::Master,
            nested: any([NESTED.code, MULTUS_IN_MULTUS.code]),
            meta: any([DELEGATES.code, META_PLUGIN.code]),
            text: Some(document.text),
        }
    }

    fn act(&self, step: &Step, lock: &MasterLock) -> Result<String, String> {
        let story = |error: crate::store::StoreError| error.story();
        match step {
            Step::Write { name, text, from } => {
                let found = errors(Kind::Network, &Document::of(name, text.as_bytes()), &self.profiles);
                if let Some(refused) = found.into_iter().find(|finding| finding.refused) {
                    return Err(format!("{from}: the network in it cannot be used: {}", refused.message));
                }
                write_beside(self.dir, name, text).map_err(story)?;
                Ok(format!("{from}: the network in it has a file of its own now, {name}"))
            }
            Step::PutAside { name, why, judged } => {
                let kept = put_aside(self.dir, name, judged.as_deref()).map_err(story)?;
                Ok(format!("{name}: {why}; put aside as {kept}"))
            }
            Step::Remove { name } => {
                remove(&self.dir.join(name)).map_err(story)?;
                Ok(format!("{name}: the temporary file of a writer that died; removed"))
            }
            Step::Restore { text, why } => self.restore(text.as_deref(), why, lock),
        }
    }

    fn restore(&self, text: Option<&str>, why: &str, lock: &MasterLock) -> Result<String, String> {
        if is_removing(&self.dirs.run) {
            return Err(format!("{FILE_NAME}: {why}; a cleanup is under way"));
        }
        let text = match text {
            Some(text) => text.to_owned(),
            None => {
                let made = should(self.dir, self.dirs, &self.profiles);
                made.map_err(|no| format!("{FILE_NAME}: {why}; it stays, because there is no primary network: {no}"))?.0
            }
        };
        let kept = copy_aside(self.dir, FILE_NAME).map_err(|error| error.story())?;
        let places = Places { run_dir: &self.dirs.run, state_dir: &self.dirs.state };
        match lock.write(self.dir, &text, places).map_err(|error| error.story())? {
            Written::Removing => Err(format!("{FILE_NAME}: {why}; a cleanup is under way")),
            Written::Changed | Written::Unchanged => {
                let kept = kept.map_or_else(String::new, |kept| format!("; what was there is kept as {kept}"));
                Ok(format!("{FILE_NAME}: {why}; written anew{kept}"))
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test is the owner of the files")]
mod tests {
    use super::*;

    #[test]
    fn e7_a_file_that_its_owner_rewrote_after_it_was_judged_is_told_and_stays() {
        let node = tempfile::tempdir().unwrap();
        let (dir, run) = (node.path().join("conf"), node.path().join("run"));
        std::fs::create_dir(&dir).unwrap();
        let dirs = Dirs::of(Some(&node.path().join("state")), Some(&run));
        let mending = Mending { dir: &dir, dirs: &dirs, profiles: Profiles::with_overrides(Vec::new()) };
        let path = dir.join("00-multus.conf");
        std::fs::write(&path, "{\"cniVersion\":").unwrap();
        let planned = mending.planned().ok().unwrap();
        let whole = r#"{"cniVersion":"0.3.1","name":"multus-cni-network","type":"multus"}"#;
        std::fs::write(&path, whole).unwrap();
        let lock = lock(&run).unwrap();
        let (said, failed) = text(&planned, &|step| mending.act(step, &lock));
        assert!(failed && said.starts_with("not done: "), "{said}");
        assert!(said.ends_with(" was rewritten meanwhile; run `meta-cni repair` again\n"), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        assert_eq!(list(&dir).unwrap(), ["00-multus.conf"]);
    }
}
