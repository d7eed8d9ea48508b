//! `meta-cni validate [FILE|DIR|-]...`: what is wrong with configurations, by the rules that the plugin itself goes by
//! (`check`). Files are read and nothing is written.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::check::{Document, Finding, Kind, Severity, check, directory, kind_of};
use crate::config::MasterConfig;
use crate::config::places::PROFILES_DIR;
use crate::plan::primary::is_config_name;
use crate::profile::Profiles;
use crate::store::confdir::file;
use crate::store::profiles::profiles;
use crate::store::{MOST_CONFIG, Owner, StoreError, is_dir, list, read, resolved};

use super::carets::{render, visible};
use super::{Common, DEFAULT_CONFIG, Exit, Output, Problem};

/// Bytes of all configurations in one directory at most.
const MOST_OF_A_DIRECTORY: usize = 64 << 20;

#[derive(Args)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    common: Common,
    /// Files, directories, or `-` for standard input [default: the directory of --config].
    #[arg(value_name = "FILE|DIR|-")]
    paths: Vec<PathBuf>,
    /// How to print; json is a list of findings (docs/config.md).
    #[arg(long, value_enum, default_value = "human")]
    output: Output,
}

/// What a path on the command line is.
enum Input {
    File(Document),
    Directory(PathBuf, Vec<Document>),
}

impl Input {
    fn documents(&self) -> &[Document] {
        match self {
            Self::File(document) => std::slice::from_ref(document),
            Self::Directory(_, documents) => documents,
        }
    }
}

/// Reads, judges and prints.
pub(super) fn run(args: &ValidateArgs) -> Result<(String, Exit), Problem> {
    let conf_dir = || args.common.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG)).parent().map(Path::to_owned);
    let paths = if args.paths.is_empty() { conf_dir().into_iter().collect() } else { args.paths.clone() };
    let mut inputs = Vec::new();
    let mut unseen = false;
    for path in paths {
        match input(&path) {
            Ok(input) => inputs.push(input),
            Err(error) => {
                unseen = true;
                eprintln!("meta-cni: {}", visible(&error));
            }
        }
    }
    let documents: Vec<&Document> = inputs.iter().flat_map(Input::documents).collect();
    let profiles = profiles(&profiles_in(&documents));
    let findings: Vec<Finding> = inputs.iter().flat_map(|input| judged(input, &profiles)).collect();
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(&findings).unwrap_or_default() + "\n",
        Output::Human => human(&findings, &documents),
    };
    let exit = match findings.iter().any(|finding| finding.severity == Severity::Error) {
        _ if unseen => Exit::CouldNotLook,
        true => Exit::Findings,
        false => Exit::Clean,
    };
    Ok((text, exit))
}

/// What there is to say about the file at `path`, and about its directory as far as that concerns it; `None` when it is not there.
pub(super) fn findings(path: &Path, profiles: &Profiles) -> Result<Option<Vec<Finding>>, String> {
    let Some(own) = document(path, Owner::File).map_err(|error| error.story())? else { return Ok(None) };
    if let Some(why) = own.refused {
        return Err(why);
    }
    let mut findings = check(&own, profiles);
    let dir = path.parent().unwrap_or(Path::new("/"));
    let of_file = |finding: &Finding| finding.file == own.file;
    findings.extend(directory(dir, &in_directory(dir)?, profiles).into_iter().filter(of_file));
    Ok(Some(findings))
}

fn judged(input: &Input, profiles: &Profiles) -> Vec<Finding> {
    let mut findings: Vec<Finding> = input.documents().iter().flat_map(|document| check(document, profiles)).collect();
    if let Input::Directory(path, documents) = input {
        findings.extend(directory(path, documents, profiles));
    }
    findings
}

/// The profiles that the first master config says are in force.
fn profiles_in(documents: &[&Document]) -> PathBuf {
    let mut masters = documents.iter().filter(|document| kind_of(&document.text) == Kind::Master);
    let config = masters.find_map(|document| MasterConfig::from_file(&document.text).ok());
    config.map_or_else(|| PROFILES_DIR.into(), |config| config.delegate_profiles_dir)
}

fn input(path: &Path) -> Result<Input, String> {
    if path == Path::new("-") {
        return match read(Path::new("/dev/stdin"), Owner::Anybody, MOST_CONFIG) {
            Ok(text) => Ok(Input::File(Document::of("-", &text.unwrap_or_default()))),
            Err(error @ StoreError::Refused { .. }) => {
                Ok(Input::File(Document { refused: Some(error.story()), ..Document::of("-", b"") }))
            }
            Err(error) => Err(error.story()),
        };
    }
    if is_dir(path) {
        return in_directory(path).map(|documents| Input::Directory(whole_path(path), documents));
    }
    match document(path, Owner::Anybody) {
        Ok(Some(document)) => Ok(Input::File(document)),
        Ok(None) => Err(format!("{} does not exist", path.display())),
        Err(error) => Err(error.story()),
    }
}

/// The configurations of a directory, by file name, as runtimes see them.
fn in_directory(dir: &Path) -> Result<Vec<Document>, String> {
    let mut documents = Vec::new();
    let mut size = 0;
    for name in list(dir).map_err(|error| error.story())?.into_iter().filter(|name| is_config_name(name)) {
        let path = dir.join(name);
        match document(&path, Owner::File) {
            Ok(Some(document)) => documents.push(document),
            Ok(None) => continue,
            Err(error) => documents.push(unread(&path, &error)),
        }
        size += documents.last().map_or(0, |document| document.text.len());
        if size > MOST_OF_A_DIRECTORY {
            return Err(format!(
                "{} holds more than {} MiB of configurations",
                dir.display(),
                MOST_OF_A_DIRECTORY >> 20
            ));
        }
    }
    Ok(documents)
}

/// The file at `path` and what is known of it; `None` when it is not there.
fn document(path: &Path, owner: Owner) -> Result<Option<Document>, StoreError> {
    let text = match read(path, owner, MOST_CONFIG) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(error @ StoreError::Refused { .. }) => return Ok(Some(unread(path, &error))),
        Err(error) => return Err(error),
    };
    let mut document = Document { text, ..named(path) };
    match file(path) {
        Ok(whole) => document.more = whole.into_iter().flat_map(|whole| whole.more).map(|file| file.plugin).collect(),
        // Whose a file is matters where the plugin reads it, and there it is root who asks.
        Err(error) if nix::unistd::geteuid().is_root() => document.refused = Some(error.story()),
        Err(_) => {}
    }
    Ok(Some(document))
}

fn unread(path: &Path, error: &StoreError) -> Document {
    Document { refused: Some(error.story()), ..named(path) }
}

fn named(path: &Path) -> Document {
    let paths = std::iter::once(whole_path(path)).chain(resolved(path)).collect();
    Document { file: path.display().to_string(), paths, ..Document::default() }
}

fn whole_path(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn human(findings: &[Finding], documents: &[&Document]) -> String {
    let mut text = String::new();
    for finding in findings {
        let of = documents.iter().find(|document| document.file == finding.file);
        text.push_str(&render(finding, of.map_or(&[], |document| &document.text)));
        text.push('\n');
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let many = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let counts = [
        many(documents.len(), "file"),
        many(count(Severity::Error), "error"),
        many(count(Severity::Warning), "warning"),
        many(count(Severity::Note), "note"),
    ];
    text + &counts.join(", ") + "\n"
}
