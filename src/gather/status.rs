//! Could a pod without networks of its own be started? Looked at, asked of the networks' plugins, and answered within a second
//! whatever hangs (A25-A27). STATUS of the plugin and `meta-cni status` are this.

use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use crate::cni::{CniError, Code, Operation, PluginType, SearchPath};
use crate::config::MasterConfig;
use crate::config::master::PLUGIN_TYPE;
use crate::exec::{Host, Runner as _};
use crate::npwg::Namespace;
use crate::plan::chain::Process;
use crate::plan::outcome::{Cause, Failure};
use crate::plan::status::{Question, Sight, startable, verdict};
use crate::store::verdicts::{keep, last};
use crate::store::{epoch, exists};

use super::ready::missing;
use super::{Resolver, binaries};

/// How long plugins have for their answers, counted from the beginning.
const PATIENCE: Duration = Duration::from_millis(900);

/// Each of them has this long, however long the look at the node took.
const LEAST: Duration = Duration::from_millis(50);

/// How long all of it takes at most.
const WHOLE: Duration = Duration::from_millis(970);

/// One judgement.
#[derive(Debug, Clone)]
pub struct Judge {
    /// The master config.
    pub config: MasterConfig,
    /// Where plugins are searched.
    pub path: SearchPath,
    /// Answers are kept, as is a primary that was found: for when the next one hangs.
    pub keeps: bool,
    /// When it began.
    pub started: Instant,
}

impl Judge {
    /// Whether a pod without networks of its own could be started. What cannot be looked at in time, on a disk that hangs for
    /// example, is judged by the last answer in this epoch, and without one as ready.
    ///
    /// # Errors
    /// Code 50 or 51 with what stands against it.
    pub fn judge(&self) -> Result<(), CniError> {
        let (sender, receiver) = sync_channel(1);
        let judge = self.clone();
        // Not waited for: a thread that hangs ends with the process.
        let work = move || {
            let _ = sender.send(judge.look());
        };
        if std::thread::Builder::new().name("status".to_owned()).spawn(work).is_err() {
            return self.look();
        }
        let run_dir = &self.config.run_dir;
        let ours = PluginType::new(PLUGIN_TYPE).ok();
        match receiver.recv_timeout(self.left(WHOLE)) {
            Ok(answer) => {
                if self.keeps
                    && let (Some(ours), Ok(epoch)) = (&ours, epoch::epoch(run_dir))
                {
                    kept(keep(run_dir, "", ours, &epoch, &answer));
                }
                answer
            }
            Err(_) => {
                let last = ours.zip(epoch::known(run_dir)).and_then(|(ours, epoch)| last(run_dir, "", &ours, &epoch));
                tracing::warn!(
                    known = last.is_some(),
                    "the node could not be looked at in time; judged by the last answer"
                );
                last.unwrap_or(Ok(()))
            }
        }
    }

    fn look(&self) -> Result<(), CniError> {
        let not_available = |error: CniError| CniError { code: Code::NOT_AVAILABLE, ..error };
        let config = &self.config;
        let resolver = if self.keeps { Resolver::new(config) } else { Resolver::looking(config) };
        let no_indicator = config.readiness_indicator_file.clone().filter(|path| !exists(path));
        let mut networks = Vec::new();
        if no_indicator.is_none() {
            networks.push(resolver.primary_now().map_err(not_available)?);
            // The networks of every pod: those of a pod in no particular namespace.
            if let Ok(namespace) = Namespace::new("default") {
                networks.extend(resolver.of_every_pod(&namespace).map_err(not_available)?);
            }
            networks.extend(resolver.auxiliary().map_err(not_available)?);
        }
        let binaries = binaries(networks.iter().map(|network| &network.list), &self.path);
        let missing = missing(&networks);
        let questions = startable(&Sight { no_indicator, networks, missing, binaries }, &self.path)?;
        let epoch = match self.keeps {
            // Without an epoch no ADD could begin.
            true => epoch::epoch(&config.run_dir).map_err(|error| not_available(error.into()))?,
            false => epoch::known(&config.run_dir).unwrap_or_default(),
        };
        verdict(self.ask_all(questions, &epoch))
    }

    /// What is left of `span` since the beginning.
    fn left(&self, span: Duration) -> Duration {
        #[expect(clippy::disallowed_methods, reason = "the edge of a wait")]
        let now = Instant::now();
        (self.started + span).saturating_duration_since(now)
    }

    /// Asks every plugin at once.
    fn ask_all(&self, questions: Vec<Question>, epoch: &str) -> Vec<(Question, Result<(), CniError>)> {
        std::thread::scope(|scope| {
            let asked: Vec<_> = questions
                .into_iter()
                .map(|question| {
                    let answer = scope.spawn({
                        let question = question.clone();
                        move || self.ask(&question, epoch)
                    });
                    (question, answer)
                })
                .collect();
            asked.into_iter().map(|(question, answer)| (question, answer.join().unwrap_or(Ok(())))).collect()
        })
    }

    fn ask(&self, question: &Question, epoch: &str) -> Result<(), CniError> {
        let process = Process {
            plugin: question.plugin.clone(),
            binary: question.binary.clone(),
            env: question.env.clone(),
            stdin: question.stdin.clone(),
            deadline: self.left(PATIENCE).max(LEAST),
        };
        let answer = match Host::default().run(&process) {
            Ok(_) => Ok(()),
            Err(Failure { cause: Cause::Deadline(_), .. }) => {
                let last = last(&self.config.run_dir, &question.network, &question.plugin, epoch);
                let known = last.is_some();
                tracing::warn!(plugin = %question.plugin, known, "no STATUS in time; judged by its last");
                return last.unwrap_or(Ok(()));
            }
            Err(failure) => judged(&failure),
        };
        if self.keeps {
            kept(keep(&self.config.run_dir, &question.network, &question.plugin, epoch, &answer));
        }
        answer
    }
}

fn kept(done: Result<(), crate::store::StoreError>) {
    if let Err(error) = done {
        tracing::warn!(error = error.story(), "the answer is not kept");
    }
}

/// A plugin that does not know STATUS says nothing about the node.
fn judged(failure: &Failure) -> Result<(), CniError> {
    match &failure.cause {
        Cause::Refused(error) if matches!(error.code, Code::ENVIRONMENT | Code::INCOMPATIBLE_VERSION) => {
            tracing::debug!(plugin = %failure.plugin, "does not know STATUS: {}", error.msg);
            Ok(())
        }
        Cause::Refused(error) => Err(error.clone()),
        _ => Err(failure.cause(Operation::Status)),
    }
}
