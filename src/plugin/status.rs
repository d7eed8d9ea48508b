//! One STATUS: ready unless a pod without extra networks could not be started (A25-A27). Answers within a second.

use std::time::Duration;

use crate::act::Context;
use crate::cni::{CniError, Code, Operation};
use crate::exec::{Host, Runner as _};
use crate::gather::{Resolver, binaries};
use crate::npwg::Namespace;
use crate::plan::chain::Process;
use crate::plan::outcome::{Cause, Failure};
use crate::plan::status::{Question, questions, verdict};
use crate::store::exists;
use crate::store::verdicts::{keep, last};

/// How long a plugin has for its answer.
const PATIENCE: Duration = Duration::from_millis(900);

/// Says whether this node can start pods.
pub(super) fn status(context: &Context) -> Result<(), CniError> {
    let config = &context.config;
    let not_available = |error: CniError| CniError { code: Code::NOT_AVAILABLE, ..error };
    if let Some(path) = config.readiness_indicator_file.as_ref().filter(|path| !exists(path)) {
        let msg = format!("\"readinessindicatorfile\" {} is not there yet", path.display());
        return Err(CniError::new(Code::NOT_AVAILABLE, msg));
    }
    let resolver = Resolver::new(config);
    let mut networks = vec![resolver.primary_now().map_err(not_available)?];
    // The networks of every pod: those of a pod in no particular namespace.
    if let Ok(namespace) = Namespace::new("default") {
        networks.extend(resolver.of_every_pod(&namespace).map_err(not_available)?);
    }
    networks.extend(resolver.auxiliary().map_err(not_available)?);
    let binaries = binaries(networks.iter().map(|network| &network.list), &context.path);
    let questions = questions(&networks, &binaries, &context.path)?;
    let epoch = context.epoch()?;
    verdict(ask_all(context, questions, &epoch))
}

/// Asks every plugin at once.
fn ask_all(context: &Context, questions: Vec<Question>, epoch: &str) -> Vec<(Question, Result<(), CniError>)> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = questions
            .into_iter()
            .map(|question| {
                let answer = scope.spawn({
                    let question = question.clone();
                    move || ask(context, &question, epoch)
                });
                (question, answer)
            })
            .collect();
        asked.into_iter().map(|(question, answer)| (question, answer.join().unwrap_or(Ok(())))).collect()
    })
}

fn ask(context: &Context, question: &Question, epoch: &str) -> Result<(), CniError> {
    let process = Process {
        plugin: question.plugin.clone(),
        binary: question.binary.clone(),
        env: question.env.clone(),
        stdin: question.stdin.clone(),
        deadline: PATIENCE,
    };
    let answer = match Host::default().run(&process) {
        Ok(_) => Ok(()),
        Err(Failure { cause: Cause::Deadline(_), .. }) => {
            let last = last(&context.config.run_dir, &question.network, &question.plugin, epoch);
            tracing::warn!(plugin = %question.plugin, known = last.is_some(), "no STATUS in time; judged by its last");
            return last.unwrap_or(Ok(()));
        }
        Err(failure) => judged(&failure),
    };
    if let Err(error) = keep(&context.config.run_dir, &question.network, &question.plugin, epoch, &answer) {
        tracing::warn!(error = error.story(), "the answer is not kept");
    }
    answer
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
