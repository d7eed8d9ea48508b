//! Could a pod without networks of its own be started? The one judgement, for STATUS, `meta-cni status` and the daemon; and one
//! STATUS as data: which plugins are asked, and what their answers mean for the node (A25-A27).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cni::{CniError, Code, NetworkConfigList, Operation, PluginType, SearchPath};

use crate::profile::ready::Signs;

use super::add::{Binaries, Network};
use super::chain::env_of_node;

/// What such a pod needs, as it is on the node now.
#[derive(Debug)]
pub struct Sight {
    /// `readinessindicatorfile`, if it is asked for and not there.
    pub no_indicator: Option<PathBuf>,
    /// The networks of every pod, the primary first.
    pub networks: Vec<Network>,
    /// Signs of theirs that are not there.
    pub missing: BTreeSet<PathBuf>,
    /// Executables of their plugins.
    pub binaries: Binaries,
}

/// Whom to ask for more, when nothing on the node itself stands against such a pod.
///
/// # Errors
/// Code 50 with what does.
pub fn startable(sight: &Sight, path: &SearchPath) -> Result<Vec<Question>, CniError> {
    let not_available = |what: String| CniError::new(Code::NOT_AVAILABLE, what);
    if let Some(path) = &sight.no_indicator {
        return Err(not_available(no_indicator(path)));
    }
    let unready = |network: &Network| unready(&network.display, &network.signs, &sight.missing);
    if let Some(what) = sight.networks.iter().find_map(unready) {
        return Err(not_available(what));
    }
    questions(&sight.networks, &sight.binaries, path)
}

/// Says that `readinessindicatorfile` is not there.
#[must_use]
pub fn no_indicator(path: &Path) -> String {
    format!("\"readinessindicatorfile\" {} is not there yet", path.display())
}

/// Says which signs `network` needs and has not; nothing when it has them.
#[must_use]
pub fn unready(network: &str, signs: &Signs, missing: &BTreeSet<PathBuf>) -> Option<String> {
    let missing: Vec<String> =
        signs.needs.iter().filter(|path| missing.contains(*path)).map(|path| path.display().to_string()).collect();
    let what = format!("network {network:?} is not ready: {} is not there yet", missing.join(" and "));
    let hint = format!("its software ({}) makes it when it is up", signs.profile);
    (!missing.is_empty()).then(|| format!("{what}; {hint}"))
}

/// A plugin that is asked for its STATUS.
#[derive(Debug, Clone)]
pub struct Question {
    /// How people know its network.
    pub network: String,
    /// The plugin.
    pub plugin: PluginType,
    /// Its executable.
    pub binary: PathBuf,
    /// Its whole configuration.
    pub stdin: String,
    /// Variables to set over the inherited ones; `None` removes one.
    pub env: Vec<(&'static str, Option<String>)>,
}

/// The plugins of `networks` that have STATUS: those of lists from 1.1.0 (A27).
///
/// # Errors
/// Code 50 when a plugin without which no pod can start is missing, whatever its list's version.
fn questions(networks: &[Network], binaries: &Binaries, path: &SearchPath) -> Result<Vec<Question>, CniError> {
    let mut questions = Vec::new();
    for network in networks {
        for (index, plugin) in network.list.plugins.iter().enumerate() {
            let binary = match binaries.get(&plugin.plugin) {
                Some(Ok(binary)) => binary.clone(),
                Some(Err(missing)) => {
                    let why = missing.error(&plugin.plugin);
                    let context = format!("network {:?} ({})", network.display, plugin.plugin);
                    return Err(CniError { code: Code::NOT_AVAILABLE, ..why }.in_context(&context));
                }
                None => continue,
            };
            if network.list.cni_version.has_gc_and_status() {
                questions.push(Question {
                    network: network.display.clone(),
                    plugin: plugin.plugin.clone(),
                    binary,
                    stdin: stdin(&network.list, index),
                    env: env_of_node(Operation::Status, path),
                });
            }
        }
    }
    Ok(questions)
}

/// The answer for the runtime from the answers of the plugins: the first that is not ready, 51 only when it said so.
///
/// # Errors
/// Code 50 or 51, with the plugin's own words.
pub fn verdict(answers: Vec<(Question, Result<(), CniError>)>) -> Result<(), CniError> {
    for (question, answer) in answers {
        if let Err(error) = answer {
            let code = if error.code == Code::LIMITED { Code::LIMITED } else { Code::NOT_AVAILABLE };
            let context = format!("network {:?} ({}): STATUS", question.network, question.plugin);
            return Err(CniError { code, ..error.in_context(&context) });
        }
    }
    Ok(())
}

fn stdin(list: &NetworkConfigList, index: usize) -> String {
    list.execution_config(index).unwrap_or_default().to_text()
}
