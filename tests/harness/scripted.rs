//! Where the binaries are: the plugin under test and the scripted plugin, which is built when it is missing or older than
//! its source, because `cargo test --test NAME` does not build examples.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The plugin that cargo built for these tests.
pub fn plugin_under_test() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_meta-cni"))
}

/// The scripted plugin's binary.
pub fn scripted_plugin() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let profile = plugin_under_test().parent().unwrap().to_owned();
        let binary = profile.join("examples").join("scripted-plugin");
        if is_stale(&binary) {
            build(&profile);
        }
        assert!(
            binary.exists(),
            "no scripted plugin at {}: run `cargo build --example scripted-plugin`",
            binary.display()
        );
        binary
    })
}

fn is_stale(binary: &Path) -> bool {
    let built = binary.metadata().and_then(|m| m.modified());
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    ["scripted-plugin.rs", "scripted/answer.rs", "scripted/record.rs"].iter().any(|source| {
        let changed = tests.join(source).metadata().and_then(|m| m.modified());
        match (&built, changed) {
            (Ok(built), Ok(changed)) => changed > *built,
            (Err(_), _) => true,
            (Ok(_), Err(_)) => false,
        }
    })
}

fn build(profile: &Path) {
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo
        .args(["build", "--quiet", "--example", "scripted-plugin"])
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    if let Some(target) = profile.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    let status = cargo.status().expect("running cargo build --example scripted-plugin");
    assert!(status.success(), "cargo build --example scripted-plugin: {status}");
}

/// Puts the scripted plugin into `dir` under the name of a plugin type. A hard link, because a file that was just
/// written may still be open for writing in a process that another test started ("text file busy").
pub fn install(dir: &Path, kind: &str) {
    let path = dir.join(kind);
    if path.exists() {
        return;
    }
    let linked = std::fs::hard_link(scripted_plugin(), &path);
    if linked.is_err() {
        std::os::unix::fs::symlink(scripted_plugin(), &path)
            .unwrap_or_else(|e| panic!("installing {}: {e}", path.display()));
    }
}
