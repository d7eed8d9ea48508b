//! Keeps the master config right: one question, "what should be on disk now?", asked at the start, after any event and on a slow
//! tick (P10). Gather, plan, act, report, for ever.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::boot_seconds;
use crate::cni::PluginType;
use crate::plan::master::{self, Appended, Sight, Spoken};
use crate::profile::Profiles;
use crate::store::life::Life;
use crate::store::lock::{Adding, adding};
use crate::store::master::{MasterLock, Places, Written, lock};
use crate::store::primary::LastGood;
use crate::store::profiles::profiles;
use crate::store::{StoreError, primary, sweep};
use crate::watch::lookout::Lookout;

use super::calm::{Line, Teller};
use super::config::{Config, PrimaryPlace};
use super::fights::Fights;
use super::gather::{Own, Seen, look, places};
use super::hostexec;
use super::moving::{decided, home, settings, settle};
use super::ready::Readiness;
use super::shared::Shared;

/// How long the lock of a writer is waited for.
const LOCK: Duration = Duration::from_secs(5);

/// How long a change waits for ADDs to end: longer than any single one can take.
const LONGEST_ADD: Duration = Duration::from_secs(240);

/// How soon something that is waited for without an event is looked at again.
const SOON: Duration = Duration::from_millis(250);

/// A look that takes longer is paced.
const SHORT: Duration = Duration::from_millis(50);

/// How soon a write that failed is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// For how long a sweep that is due is left to plugin calls, which are where the runtime is: what the daemon starts does only
/// what a runtime asked for where no pod is to be seen, and must not keep them from the rest.
const LEFT_TO_CALLS: Duration = Duration::from_secs(60);

/// How long the answers of plugins to VERSION are taken for true: a plugin may be upgraded.
const VERSIONS_LAST: Duration = Duration::from_secs(600);

/// The loop's state. Everything in it can be lost: it only makes the loop calmer.
pub(super) struct Keeper {
    pub config: Config,
    pub lookout: Lookout,
    shared: Arc<Shared>,
    started: Instant,
    fights: Fights,
    /// What plugins said, and when they were asked.
    spoken: (Spoken, Duration),
    /// The text that was last on disk as it should be.
    satisfied: Option<String>,
    /// Since when a change waits for ADDs to end.
    deferred: Option<Duration>,
    teller: Teller,
    /// Whether the primary can serve, as last seen.
    readiness: Readiness,
    life: Life,
}

/// What should be on disk.
struct Should {
    /// The text; `None`: what is there stays, also nothing.
    be: Option<String>,
    /// What is missing for it, or wrong, one sentence each.
    missing: Vec<String>,
    /// What a person should know.
    notes: Vec<String>,
}

/// What came of acting.
enum Done {
    /// It is as it should be.
    Right,
    /// There is nothing to do now.
    Left,
    /// To be looked at again after this long, without an event.
    Again(Duration, String),
    Failed(String),
}

impl Keeper {
    pub fn new(config: Config, shared: Arc<Shared>) -> Self {
        Self {
            config,
            lookout: Lookout::default(),
            started: shared.started,
            shared,
            fights: Fights::default(),
            spoken: (Spoken::new(), Duration::ZERO),
            satisfied: None,
            deferred: None,
            teller: Teller::default(),
            readiness: Readiness::default(),
            life: Life::default(),
        }
    }

    /// What others have appended is asked for its versions again.
    pub fn forget_versions(&mut self) {
        self.spoken.0.clear();
    }

    /// Removes what writers that died left behind, before anything else.
    pub fn tidy(&self) {
        let tidied = self.lock().and_then(|lock| lock.tidy(home(&self.config)).map_err(|error| error.story()));
        if let Err(error) = tidied {
            tracing::warn!(error, "temporary files of dead writers were not looked for");
        }
    }

    /// Watches, asks, and does what is to be done; gives how long to wait at least and at most until it is asked again.
    pub fn once(&mut self) -> (Duration, Duration) {
        let began = self.now();
        if let Err(error) = self.life.show(&self.config.master.run_dir) {
            tracing::debug!(error = error.story(), "that the daemon runs is not shown");
        }
        let _said_by_the_round = self.decide();
        let watched: BTreeSet<_> = self.readiness.places().collect();
        self.lookout.over(&places(&self.config).into_iter().chain(watched.iter().cloned()).collect());
        let (least, mut most) = self.round();
        // What was found to matter only now is to be watched before it is waited for.
        if self.readiness.places().any(|place| !watched.contains(&place)) {
            most = Duration::ZERO;
        }
        self.sweep_if_due();
        // In a storm about half of the time at most is spent on looking; what is short is not paced.
        let took = self.now().saturating_sub(began).saturating_sub(SHORT);
        (least.max(took.min(AFTER_FAILURE)), most)
    }

    /// Sees whether there is a private conf dir; why that is not known, which leaves it as it was.
    fn decide(&mut self) -> Option<String> {
        let decided = decided(&self.config).map(|layout| self.config.layout = layout);
        decided.err()
    }

    /// Gather, plan, act, report.
    pub fn round(&mut self) -> (Duration, Duration) {
        let undecided = self.decide();
        let profiles = profiles(&self.config.master.delegate_profiles_dir);
        let seen = look(&self.config, &profiles);
        let mut should = self.should(&seen, &profiles);
        let done = self.act(&seen, &should, &profiles);
        if let (Done::Right, Some(text)) = (&done, &should.be) {
            match settle(&self.config, text, || self.lock()) {
                Ok(note) => should.notes.extend(note),
                Err(why) => should.notes.push(format!("our file where the runtime is to leave: {why}")),
            }
        }
        let now = self.now();
        should.missing.extend(undecided);
        should.missing.extend(self.readiness.words(&self.config, &seen, &profiles, now));
        let waits = match &done {
            Done::Again(soon, _) => (Duration::ZERO, (*soon).min(self.config.tick)),
            Done::Failed(_) => (AFTER_FAILURE, self.config.tick),
            Done::Right | Done::Left => (Duration::ZERO, self.config.tick),
        };
        self.report(&seen, should, done);
        waits
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn should(&mut self, seen: &Seen, profiles: &Profiles) -> Should {
        let leave = |why: String| Should { be: None, missing: vec![why], notes: Vec::new() };
        let last_good = || seen.remembered.clone().filter(|text| master::lint(text.as_bytes()).is_ok());
        match &seen.primary {
            _ if seen.removing => leave("a cleanup is under way (`removing`): nothing is written".to_owned()),
            Sight::Absent(why) if matches!(seen.own, Own::Damaged(_)) => {
                Should { be: last_good(), ..leave(format!("waiting for the primary: {why}")) }
            }
            Sight::Absent(why) => leave(format!("waiting for the primary: {why}")),
            Sight::Unusable(why) => {
                let be = if seen.own.bytes().is_none() { last_good() } else { None };
                Should { be, ..leave(format!("the primary cannot be used, so the last good state stays: {why}")) }
            }
            Sight::Found(found) => match &seen.not_ready {
                // One that was written is put back all the same: without it pods would start without their networks.
                Some(path) if seen.own == Own::Missing && seen.remembered.is_none() => {
                    leave(format!("waiting for \"readinessindicatorfile\" {}", path.display()))
                }
                _ => {
                    let (appended, mut notes) = appended(seen, profiles);
                    self.ask_versions(seen, &appended);
                    let made = master::master(&settings(&self.config), found, &appended, &self.spoken.0);
                    notes.extend(made.notes);
                    Should { be: Some(made.text), missing: Vec::new(), notes }
                }
            },
        }
    }

    /// Asks appended plugins which versions they speak, once in a while. Not while our file is missing: it is written first.
    fn ask_versions(&mut self, seen: &Seen, appended: &[Appended]) {
        let now = self.now();
        let stale = now.saturating_sub(self.spoken.1) > VERSIONS_LAST;
        let asked = |plugin: &&PluginType| stale || !self.spoken.0.contains_key(*plugin);
        let asked: BTreeSet<PluginType> =
            appended.iter().map(|appended| &appended.plugin.plugin).filter(asked).cloned().collect();
        if asked.is_empty() || seen.own.bytes().is_none() {
            return;
        }
        master::renew(&mut self.spoken.0, hostexec::versions(&self.config, &asked));
        self.spoken.1 = now;
    }

    fn act(&mut self, seen: &Seen, should: &Should, profiles: &Profiles) -> Done {
        let Some(text) = &should.be else {
            // What is written after this is no restoration: it was not to be there.
            self.satisfied = None;
            // No event tells of the end of a cleanup: too much happens in `runDir` to watch it.
            return if seen.removing { Done::Again(SOON, String::new()) } else { Done::Left };
        };
        if let Some(bytes) = seen.own.bytes()
            && master::says_the_same(bytes, text.as_bytes())
        {
            self.deferred = None;
            self.satisfied = Some(text.clone());
            return Done::Right;
        }
        if let Own::Whole { .. } = seen.own
            && let Some(wait) = self.wait_for_adds()
        {
            return wait;
        }
        let restores = self.satisfied.as_ref() == Some(text);
        let pause = if restores { self.fights.pause(self.now()) } else { Duration::ZERO };
        if !pause.is_zero() {
            // Without the seconds, which would make a new line of it at each look.
            let what = "the master config is not in place: somebody keeps taking it, and it is restored once a minute";
            return Done::Again(pause, what.to_owned());
        }
        let places = Places { run_dir: &self.config.master.run_dir, state_dir: &self.config.master.state_dir };
        let written =
            self.lock().and_then(|lock| lock.write(home(&self.config), text, places).map_err(|error| error.story()));
        match written {
            Ok(Written::Removing) => Done::Again(SOON, "a cleanup has begun: nothing is written".to_owned()),
            Ok(written) => {
                self.wrote(written, restores, seen, profiles);
                self.deferred = None;
                self.satisfied = Some(text.clone());
                // A plugin whose versions were not asked for, because the file had to be there first.
                if should.notes.is_empty() { Done::Right } else { Done::Again(Duration::ZERO, String::new()) }
            }
            Err(why) => Done::Failed(format!("the master config cannot be written: {why}")),
        }
    }

    /// While ADDs are under way a file event in the conf dir may hold up a whole runtime.
    fn wait_for_adds(&mut self) -> Option<Done> {
        let now = self.now();
        match adding(&self.config.master.run_dir, Adding::None) {
            Ok(Some(_)) => None,
            Ok(None) if now.saturating_sub(*self.deferred.get_or_insert(now)) > LONGEST_ADD => None,
            Ok(None) => {
                self.shared.count(|counters| counters.deferred += 1);
                Some(Done::Again(SOON, "a change of the master config waits for ADDs that are under way".to_owned()))
            }
            Err(error) => {
                tracing::warn!(error = error.story(), "whether ADDs are under way is not known");
                None
            }
        }
    }

    fn wrote(&mut self, written: Written, restores: bool, seen: &Seen, profiles: &Profiles) {
        if written == Written::Unchanged {
            return;
        }
        self.shared.count(|counters| counters.writes += 1);
        let path = home(&self.config).join(master::FILE_NAME);
        if !restores {
            let now = self.now();
            if let Some(often) = self.teller.often("master config written", now) {
                tracing::info!(path = %path.display(), "master config written{often}");
            }
            return;
        }
        self.shared.count(|counters| counters.restorations += 1);
        let culprit = profiles.culprit(master::FILE_NAME, seen.names.iter().map(String::as_str));
        let culprit =
            culprit.unwrap_or_else(|| "who did it is not known; an installer or another CNI's agent".to_owned());
        tracing::warn!(path = %path.display(), culprit, "master config restored: somebody else took or changed it");
        if self.fights.restored(self.now()) {
            tracing::error!(
                culprit,
                "the master config was restored three times within a minute; from now on once a minute"
            );
            self.shared.update(|state| state.fight = Some(culprit));
        }
    }

    fn lock(&self) -> Result<MasterLock, String> {
        lock(&self.config.master.run_dir, "meta-cnid", LOCK)
    }

    fn report(&mut self, seen: &Seen, should: Should, done: Done) {
        let mut missing = should.missing;
        match done {
            Done::Again(_, why) if !why.is_empty() => missing.push(why),
            Done::Failed(why) => {
                self.shared.count(|counters| counters.write_errors += 1);
                missing.push(why);
            }
            Done::Right => self.keep_primary(seen),
            Done::Again(..) | Done::Left => {}
        }
        let invalid = matches!(seen.primary, Sight::Unusable(_));
        let polling = self.lookout.polling().map(|why| format!("{why}; files are looked at every 250 ms"));
        let mut says: BTreeSet<String> = should.notes.into_iter().chain(polling.clone()).collect();
        says.extend(missing.iter().cloned());
        let now = self.now();
        for _ in self.teller.new_in(&says).iter().filter(|what| invalid && missing.contains(what)) {
            self.shared.count(|counters| counters.invalid_primaries += 1);
        }
        for line in self.teller.lines(says, missing.is_empty(), now) {
            match line {
                Line::Warn(what) => tracing::warn!("{what}"),
                Line::Info(what) => tracing::info!("{what}"),
            }
        }
        let fights = self.fights.is_on(now);
        self.shared.update(|state| {
            state.beat = now;
            state.counters.looks += 1;
            state.polling = polling;
            state.missing = missing;
            if !fights {
                state.fight = None;
            }
            if let Sight::Found(found) = &seen.primary {
                let chosen = Some((found.from.clone(), found.list.name.to_string()));
                if state.primary != chosen {
                    if let Some(often) =
                        self.teller.often(&format!("primary chosen: {} ({})", found.from, found.list.name), now)
                    {
                        tracing::info!(file = found.from, network = %found.list.name, "primary chosen{often}");
                    }
                    state.primary = chosen;
                }
            }
        });
    }

    /// The plugin's last good configuration, for when the file is torn before any ADD has seen it.
    fn keep_primary(&self, seen: &Seen) {
        let Sight::Found(found) = &seen.primary else { return };
        let file = Path::new(&found.from).file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let of_a_directory = matches!(&self.config.primary, PrimaryPlace::Pinned(_)) && found.reference != found.from;
        let good = LastGood {
            source: found.reference.clone(),
            file: file.filter(|_| of_a_directory),
            config: found.text.clone(),
        };
        if let Err(error) = primary::keep(&self.config.master.state_dir, &good) {
            tracing::warn!(error = error.story(), "the last good primary is not kept");
        }
    }

    /// On a node whose pods rest no plugin call would start a sweep.
    fn sweep_if_due(&self) {
        let run_dir = &self.config.master.run_dir;
        let now = boot_seconds();
        let late = now.saturating_sub(LEFT_TO_CALLS.as_secs());
        let Some(text) = self.satisfied.as_ref().filter(|_| sweep::is_due(run_dir, late)) else { return };
        // As a plugin call does it: the first of many starts it, and has ten seconds.
        let claimed = sweep::claim(run_dir, now, now + 10).unwrap_or_else(|error: StoreError| {
            tracing::warn!(error = error.story(), "a sweep is due and cannot be started");
            false
        });
        if claimed && let Err(error) = hostexec::sweep(&self.config, text) {
            tracing::warn!(%error, "a sweep is due and cannot be started");
        }
    }
}

/// What others appended: by the file that is there, else by the one last written.
fn appended(seen: &Seen, profiles: &Profiles) -> (Vec<Appended>, Vec<String>) {
    let there = seen.own.bytes().and_then(|bytes| master::appended(bytes, profiles));
    there.or_else(|| master::appended(seen.remembered.as_ref()?.as_bytes(), profiles)).unwrap_or_default()
}
