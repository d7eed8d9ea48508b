//! `meta-cni probe`: asks plugins on this host which CNI versions they speak, and looks for signs of readiness, for the daemon: it runs
//! no plugin itself, and may be in a container. Question and answer are JSON, on stdin and stdout.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cni::{Object, Operation, PluginType, SearchPath};
use crate::config::places::BIN_DIR;
use crate::exec::{Host, Runner as _, find};
use crate::plan::chain::{Process, env_of_node};
use crate::store::{MOST_CONFIG, Owner, exists};

use super::{Exit, Problem, at_most};

/// How long a plugin may take to say what it speaks.
const PATIENCE: Duration = Duration::from_secs(2);

/// Plugins asked, and paths looked at, at most.
const MOST: usize = 64;

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    plugins: BTreeSet<PluginType>,
    #[serde(default)]
    path: Vec<PathBuf>,
    /// Signs of readiness.
    #[serde(default)]
    ready: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Answer {
    plugins: BTreeMap<PluginType, Said>,
    /// Those of `ready` that are not there.
    missing: Vec<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Versions(Vec<String>),
    Error(String),
}

/// Asks and prints. `path` is `CNI_PATH`.
pub(super) fn run(path: Option<&str>) -> Result<(String, Exit), Problem> {
    let bytes = at_most(Path::new("-"), Owner::Anybody, MOST_CONFIG)?;
    let asked: Asked = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(Exit::Usage, format!("probe: stdin is no question: {error}")))?;
    let given = SearchPath::parse(path.unwrap_or_default());
    let path = SearchPath::default().and_all(&asked.path).and_all(given.dirs()).and(Path::new(BIN_DIR));
    let plugins: Vec<PluginType> = asked.plugins.into_iter().take(MOST).collect();
    let said: Vec<Said> = std::thread::scope(|scope| {
        let asking: Vec<_> = plugins.iter().map(|plugin| scope.spawn(|| ask(plugin, &path))).collect();
        let lost = || Said::Error("it could not be asked".to_owned());
        asking.into_iter().map(|asking| asking.join().unwrap_or_else(|_| lost())).collect()
    });
    let missing = asked.ready.into_iter().take(MOST).filter(|path| !exists(path)).collect();
    let answer = Answer { plugins: plugins.into_iter().zip(said).collect(), missing };
    Ok((serde_json::to_string(&answer).unwrap_or_default() + "\n", Exit::Clean))
}

fn ask(plugin: &PluginType, path: &SearchPath) -> Said {
    let binary = match find(plugin, path.dirs()) {
        Ok(binary) => binary,
        Err(missing) => return Said::Error(missing.error(plugin).msg),
    };
    let process = Process {
        plugin: plugin.clone(),
        binary,
        env: env_of_node(Operation::Version, path),
        stdin: r#"{"cniVersion":"1.0.0"}"#.to_owned(),
        deadline: PATIENCE,
    };
    let stdout = match Host::default().run(&process) {
        Ok(stdout) => stdout,
        Err(failure) => return Said::Error(failure.cause(Operation::Version).msg),
    };
    let versions = Object::parse(&stdout).ok().and_then(|answer| answer.get("supportedVersions", "a list").ok()?);
    versions.map_or_else(|| Said::Error("its answer has no \"supportedVersions\"".to_owned()), Said::Versions)
}
