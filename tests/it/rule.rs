//! The rules of the house, as data and a scan of `src`: who may import whom, what a pure module may not name, how long a
//! file may be and how it opens. Each rule is also shown a text that breaks it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Module, and the modules that it may import. Imports point up this table, never down or sideways.
const IMPORTS: [(&str, &str); 23] = [
    ("cni", ""),
    ("kernel", ""),
    ("npwg", "cni kernel"),
    ("config", "cni kernel"),
    ("profile", "cni"),
    ("plan", "cni kernel npwg config profile"),
    // What can be wrong, by the rules of those above it: asked by whoever writes, and by the command line.
    ("check", "cni kernel npwg config profile plan"),
    // The kernel's clock, by which all that is on disk is judged.
    ("clock", ""),
    ("exec", "cni plan clock"),
    // The container runtime, asked over its socket: never `plan`, never files. Only the daemon asks.
    ("cri", "cni npwg"),
    ("watch", ""),
    ("store", "cni npwg config profile plan check clock watch"),
    ("netns", "kernel"),
    // The shared first step of an ADD: the plugin gathers to act, the command line to show.
    ("gather", "cni npwg config profile plan exec store watch"),
    // The third step: the plugin acts for the runtime, the sweep for nobody.
    ("act", "cni kernel npwg config profile plan clock exec store netns gather"),
    // The sweep: all four steps, and no request.
    ("sweep", "cni kernel npwg config profile plan clock exec store watch netns gather act"),
    // What both programs do when a person installs: neither plugins nor pods are any of its business.
    ("install", "cni config profile plan store watch"),
    ("exit", ""),
    ("telemetry", ""),
    ("plugin", "cni kernel npwg config profile plan clock exec store watch netns gather act telemetry"),
    (
        "cli",
        "cni kernel npwg config profile plan check clock exec store watch netns gather act sweep install exit telemetry",
    ),
    // Never `exec`, `act` or `netns`: the daemon runs no delegate.
    ("daemon", "cni kernel npwg config profile plan clock store watch cri install exit telemetry"),
    ("bin", "plugin cli daemon telemetry"),
];

/// Modules without I/O, clock or environment, and with `missing_docs` denied.
const PURE: [&str; 7] = ["cni", "kernel", "npwg", "config", "profile", "plan", "check"];

/// What a pure module has no use for.
const IMPURE: [&str; 12] = [
    "std::fs",
    "std::process",
    "std::env",
    "std::net::Tcp",
    "std::os::unix::net",
    "std::thread",
    "Instant",
    "SystemTime",
    "nix::",
    "fs2::",
    "notify::",
    "tempfile::",
];

/// Who reads the wall clock, which anyone may set: for the time in the log, for the name of what is put aside, and for how old a
/// temporary file is. Whatever else has a time has one of a clock that cannot jump.
const WALL_CLOCK: [&str; 4] = ["store/aside.rs", "telemetry.rs", "store/records.rs", "store/sweep.rs"];

/// Crates that the plugin must be free of: it is on the host of every pod.
const NEVER_IN_THE_PLUGIN: [&str; 6] = ["tokio", "hyper", "kube", "rustls", "tonic", "openssl"];

/// Lines of a file, without its tests.
const LONGEST_FILE: usize = 400;

/// What is wrong with a file, one sentence each.
type Rule = fn(&Source) -> Vec<String>;

/// A file of `src`: the module that owns it, its place below `src`, its text.
struct Source {
    place: PathBuf,
    text: String,
}

impl Source {
    fn of(place: &str, text: &str) -> Self {
        Self { place: place.into(), text: text.to_owned() }
    }

    /// The module of `lib.rs` that the file belongs to; `bin` for a program.
    fn module(&self) -> String {
        let first = self.place.components().next().unwrap().as_os_str().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// How many `super::` lead from the top of the file to the crate's root.
    fn depth(&self) -> usize {
        let count = self.place.components().count();
        if self.place.ends_with("mod.rs") { count - 1 } else { count }
    }

    /// A file that holds nothing but tests.
    fn is_test(&self) -> bool {
        let name = self.place.file_stem().unwrap().to_string_lossy().into_owned();
        name == "tests" || name.ends_with("_tests")
    }

    /// The lines before the file's tests.
    fn code(&self) -> Vec<&str> {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.iter().enumerate().position(|(at, line)| {
            *line == "#[cfg(test)]" && lines[at + 1..].iter().take(6).any(|next| next.starts_with("mod "))
        });
        lines[..tests.unwrap_or(lines.len())].to_vec()
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = crate::harness::files_below(&root);
    let rust = files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    rust.map(|path| Source {
        place: path.strip_prefix(&root).unwrap().to_owned(),
        text: std::fs::read_to_string(path).unwrap(),
    })
    .filter(|source| source.place != Path::new("lib.rs"))
    .collect()
}

/// Code without comments and without what stands between quotes.
fn bare(line: &str) -> String {
    let mut bare = String::new();
    for (at, part) in line.replace("\\\"", "").split('"').enumerate() {
        if at % 2 == 0 {
            let (code, comment) = part.split_once("//").map_or((part, false), |(code, _)| (code, true));
            bare.push_str(code);
            if comment {
                break;
            }
        }
    }
    bare
}

/// The modules that a file names, with the line.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // Each inline module is one `super` more; they are opened at the start of a line and, but for tests, not used.
    let mut inline = 0;
    for (number, line) in source.text.lines().enumerate() {
        let line = bare(line);
        inline += usize::from(line.starts_with("mod ") && line.trim_end().ends_with('{'));
        let mut starts = vec!["crate::".to_owned(), "meta_cni::".to_owned()];
        starts.extend(
            (1..=source.depth() + inline).filter(|n| *n == source.depth() + inline).map(|n| "super::".repeat(n)),
        );
        for start in starts {
            for (at, _) in line.match_indices(&start) {
                let before = line[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                let rest = &line[at + start.len()..];
                let names: Vec<&str> = match rest.strip_prefix('{') {
                    Some(group) => group.split('}').next().unwrap_or(group).split(',').collect(),
                    None => vec![rest],
                };
                let first = |name: &str| -> String {
                    name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
                };
                found.extend(
                    names.into_iter().map(first).filter(|name| !name.is_empty()).map(|name| (number + 1, name)),
                );
            }
        }
    }
    found
}

fn wrong_imports(source: &Source) -> Vec<String> {
    let module = source.module();
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{}: module {module} is not in the table of imports", source.place.display())];
    };
    let own = |name: &str| name == module || allowed.split(' ').any(|other| other == name);
    let found = imports(source).into_iter().filter(|(_, name)| !own(name) && name != "self");
    found.map(|(line, name)| format!("{}:{line}: {module} may not import {name}", source.place.display())).collect()
}

fn impure(source: &Source) -> Vec<String> {
    if !PURE.contains(&source.module().as_str()) || source.is_test() {
        return Vec::new();
    }
    let lines = source.code().into_iter().map(bare).enumerate();
    let hits = lines.flat_map(|(at, line)| {
        let words = IMPURE.iter().filter(|word| line.contains(**word)).collect::<Vec<_>>();
        words
            .into_iter()
            .map(|word| format!("{}:{}: {word} in a pure module", source.place.display(), at + 1))
            .collect::<Vec<_>>()
    });
    hits.collect()
}

fn by_the_wall_clock(source: &Source) -> Vec<String> {
    let known = WALL_CLOCK.iter().filter(|place| source.place == Path::new(place)).count();
    let names = ["SystemTime::now", "UNIX_EPOCH.elapsed", "CLOCK_REALTIME"];
    let looks = |line: String| names.iter().map(|name| line.matches(name).count()).sum::<usize>();
    let count = if source.is_test() { known } else { source.code().into_iter().map(bare).map(looks).sum() };
    let wrong = (count != known).then(|| format!("{}: {count} looks at the wall clock", source.place.display()));
    wrong.into_iter().collect()
}

/// How a file opens, and how long it is.
fn ill_formed(source: &Source) -> Vec<String> {
    let place = source.place.display();
    let mut wrong = Vec::new();
    if !source.is_test() && !source.text.starts_with("//! ") {
        wrong.push(format!("{place}: does not open with what it owns (`//!`)"));
    }
    let lines = source.code().len();
    if lines > LONGEST_FILE {
        wrong.push(format!("{place}: {lines} lines without tests, {LONGEST_FILE} at most"));
    }
    let top = source.place.components().count() == 2 && source.place.ends_with("mod.rs");
    if top && PURE.contains(&source.module().as_str()) && !source.text.contains("#![deny(missing_docs)]") {
        wrong.push(format!("{place}: a module of the vocabulary denies missing_docs"));
    }
    wrong
}

fn lean(tree: &str) -> Vec<String> {
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let heavy =
        |name: &str| NEVER_IN_THE_PLUGIN.iter().any(|never| name == *never || name.starts_with(&format!("{never}-")));
    names.filter(|name| heavy(name)).map(|name| format!("the plugin depends on {name}")).collect()
}

#[track_caller]
fn holds(rule: Rule) {
    let sources = sources();
    assert!(sources.len() > 50, "only {} files: the scan looks in the wrong place", sources.len());
    let broken: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn imports_point_up() {
    holds(wrong_imports);
    let seen: BTreeSet<String> = sources().iter().flat_map(imports).map(|(_, name)| name).collect();
    assert!(seen.contains("plan") && seen.contains("store"), "the scan sees no imports: {seen:?}");
}

#[test]
fn the_vocabulary_and_plans_are_pure() {
    holds(impure);
}

#[test]
fn the_wall_clock_is_read_where_nothing_depends_on_it() {
    holds(by_the_wall_clock);
}

#[test]
fn files_are_short_and_say_what_they_own() {
    holds(ill_formed);
}

#[test]
fn the_plugin_is_lean() {
    let tree = |features: &[&str]| {
        let output = Command::new(option_env!("CARGO").unwrap_or("cargo"))
            .args(["tree", "--quiet", "--frozen", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
            .args(features)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("running cargo tree");
        assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let tree = tree(&["--no-default-features"]);
    assert!(tree.contains("serde_json v"), "that is no tree: {tree}");
    assert_eq!(lean(&tree), Vec::<String>::new());
}

#[test]
fn a_text_that_breaks_a_rule_is_seen() {
    let long = "//! Long.\n".to_owned() + &"// line\n".repeat(LONGEST_FILE);
    let rules: [(Rule, &str, &str, bool); 20] = [
        (wrong_imports, "cni/x.rs", "//! x\nuse crate::plan::Plan;\n", true),
        (wrong_imports, "plan/x.rs", "//! x\nlet a = crate::store::exists(x);\n", true),
        (wrong_imports, "plan/mod.rs", "//! x\nuse super::exec::Host;\n", true),
        (wrong_imports, "plan/add.rs", "//! x\nuse super::super::exec::Host;\n", true),
        (wrong_imports, "plan/add.rs", "//! x\nmod tests {\n    use super::super::super::exec::Host;\n}\n", true),
        (wrong_imports, "npwg/x.rs", "//! x\nuse crate::{cni::Object, config::MasterConfig};\n", true),
        (wrong_imports, "newcomer/mod.rs", "//! x\n", true),
        (wrong_imports, "bin/meta-cni.rs", "//! x\nuse meta_cni::store::exists;\n", true),
        (
            wrong_imports,
            "plan/add.rs",
            "//! x\nuse super::super::cni::Host; // crate::store\nlet x = \"crate::exec\";\n",
            false,
        ),
        (wrong_imports, "plan/add.rs", "//! x\nuse super::exec;\nuse nix::crate::store;\n", false),
        (impure, "plan/x.rs", "//! x\nlet now = std::time::Instant::now();\n", true),
        (impure, "cni/x.rs", "//! x\nuse std::fs::read;\n", true),
        (impure, "cni/x.rs", "//! x\n#[cfg(test)]\nmod tests {\n    use std::fs::read;\n}\n", false),
        (impure, "store/x.rs", "//! x\nuse std::fs::read;\n", false),
        (by_the_wall_clock, "exec/x.rs", "//! x\nlet now = SystemTime::now();\n", true),
        (by_the_wall_clock, "telemetry.rs", "//! x\nlet now = SystemTime::now();\n", false),
        (ill_formed, "exec/x.rs", "use crate::plan::Plan;\n", true),
        (ill_formed, "exec/x.rs", &long, true),
        (ill_formed, "npwg/mod.rs", "//! x\npub mod a;\n", true),
        (ill_formed, "npwg/mod.rs", "//! x\n#![deny(missing_docs)]\npub mod a;\n", false),
    ];
    for (rule, place, text, broken) in rules {
        assert_eq!(!rule(&Source::of(place, text)).is_empty(), broken, "{place}: {text}");
    }
    assert_eq!(lean("serde v1.0\nkube-client v0.9\ntokio v1\n").len(), 2);
}
