//! The same pods attached by libcni with CRI-O's habits: one process that runs ADD and CHECK, one that runs DEL.
//!
//! Bare is one list with all delegates in it, so that both subjects cost one start of that process. A list has one
//! interface name only; that suits the no-op delegate with any number of networks, and a real one without extra.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::call::Call;
use super::scene::{Pod, Subject, VERSION, cni_args};
use super::{Error, Result};

pub struct Libcni {
    program: PathBuf,
    dir: PathBuf,
    plugin_path: String,
    capability_args: String,
}

/// What the two subjects' lists are made of.
pub struct Lists<'a> {
    /// The plugin's configuration with its runtimeConfig, which libcni gives as arguments instead.
    pub master: &'a Value,
    pub bare: &'a [Value],
}

impl Libcni {
    /// Writes both lists below `dir`.
    pub fn new(program: &Path, dir: &Path, plugin_path: String, lists: Lists<'_>) -> Result<Self> {
        let mut master = lists.master.clone();
        let capability_args = master["runtimeConfig"].take().to_string();
        if let Some(keys) = master.as_object_mut() {
            keys.remove("runtimeConfig");
        }
        let libcni = Self { program: program.to_path_buf(), dir: dir.join("libcni"), plugin_path, capability_args };
        libcni.write(Subject::Plugin, &[master])?;
        libcni.write(Subject::Bare, lists.bare)?;
        Ok(libcni)
    }

    pub fn call(&self, operation: &str, subject: Subject, pod: &Pod) -> Call {
        let netns = pod.netns.display().to_string();
        let conf_dir = self.conf_dir(subject).display().to_string();
        let cache_dir = self.dir.join("cache").display().to_string();
        let args = cni_args(pod);
        let args = [
            operation,
            "--conf-dir",
            &conf_dir,
            "--cache-dir",
            &cache_dir,
            "--plugin-path",
            &self.plugin_path,
            "--id",
            &pod.container,
            "--netns",
            &netns,
            "--args",
            &args,
            "--capability-args",
            &self.capability_args,
        ];
        Call {
            program: self.program.clone(),
            args: args.iter().map(OsString::from).collect(),
            env: vec![("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())],
            stdin: String::new(),
        }
    }

    fn write(&self, subject: Subject, plugins: &[Value]) -> Result<()> {
        let dir = self.conf_dir(subject);
        fs::create_dir_all(&dir).map_err(Error::doing("making libcni's conf dir"))?;
        let name = format!("{subject:?}").to_lowercase();
        let list = json!({"cniVersion": VERSION, "name": name, "plugins": plugins});
        fs::write(dir.join("10-bench.conflist"), list.to_string()).map_err(Error::doing("writing libcni's list"))
    }

    fn conf_dir(&self, subject: Subject) -> PathBuf {
        self.dir.join(format!("{subject:?}").to_lowercase())
    }
}
