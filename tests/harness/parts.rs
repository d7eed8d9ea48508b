//! The real plugins that tests run: those that `tests/tools` builds from source.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Where the reference plugins are; built now if no run has built them yet.
pub fn reference_plugins() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/build");
        let output = Command::new(&tool).arg("plugins").stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", tool.display()));
        assert!(output.status.success(), "tests/tools/build plugins: {}", String::from_utf8_lossy(&output.stderr));
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    })
}
