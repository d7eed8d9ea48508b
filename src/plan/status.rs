//! One STATUS as data: which plugins are asked, and what their answers mean for the node (A25-A27).

use std::path::PathBuf;

use crate::cni::{CniError, Code, NetworkConfigList, Operation, PluginType, SearchPath};

use super::add::{Binaries, Network};
use super::chain::env_of_node;

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
pub fn questions(networks: &[Network], binaries: &Binaries, path: &SearchPath) -> Result<Vec<Question>, CniError> {
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
