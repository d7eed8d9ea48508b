//! A network namespace with a thread that stays inside. Entering one costs the kernel 8 ms, so nothing here enters twice.

use crate::kernel::bind;
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};

type Job = Box<dyn FnOnce() + Send>;

/// A namespace that has a file as `ip netns` makes it.
pub struct Place {
    pub path: PathBuf,
    work: Sender<Job>,
}

impl Place {
    /// A new namespace.
    pub fn fresh(name: &str) -> Self {
        Self::of(name, true)
    }

    /// The calling thread's own.
    pub fn here(name: &str) -> Self {
        Self::of(name, false)
    }

    fn of(name: &str, fresh: bool) -> Self {
        let path = Path::new("/run/netns").join(name);
        std::fs::write(&path, "").unwrap();
        let (work, jobs) = channel::<Job>();
        std::thread::spawn(move || jobs.into_iter().for_each(|job| job()));
        let place = Self { path: path.clone(), work };
        place.run(move || {
            if fresh {
                unshare(CloneFlags::CLONE_NEWNET).expect("making a network namespace");
            }
            bind(Path::new("/proc/thread-self/ns/net"), &path);
            without_delays();
        });
        place
    }

    /// What `act` gives inside.
    pub fn run<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        let job = move || drop(tell.send(catch_unwind(AssertUnwindSafe(act))));
        self.work.send(Box::new(job)).expect("the thread of a namespace");
        told.recv().expect("an answer from the thread of a namespace").unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// What a program that must succeed prints inside.
    pub fn said(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        let output = self.run(move || command.output());
        let output = output.unwrap_or_else(|error| panic!("this test needs the program {program}: {error}"));
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The answers of iproute2 to commands of one process; `family` is none, `-4` or `-6`.
    pub fn ip(&self, family: Option<&str>, commands: &[&str]) -> Vec<Vec<Value>> {
        let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(file.path(), commands.join("\n") + "\n").unwrap();
        let options = ["-json", "-details", "-batch", file.path().to_str().unwrap()];
        let options: Vec<&str> = family.into_iter().chain(options).collect();
        let text = self.said("ip", &options);
        let answers = serde_json::Deserializer::from_str(&text).into_iter();
        answers.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{commands:?}: {error}: {text}"))
    }
}

/// Nobody else has the addresses of these namespaces: the second of waiting for that to turn out is saved.
fn without_delays() {
    for (key, value) in [("dad_transmits", "0"), ("accept_dad", "0"), ("router_solicitation_delay", "0")] {
        for scope in ["all", "default"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/{key}"), value).unwrap();
        }
    }
}
