//! One call of the plugin, as a runtime makes it: environment, stdin, stdout, exit code, and how long it took.
//! The environment holds nothing but what the call sets and `PATH`.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A pipe that is not let go this long after the plugin ended is held by somebody. Generous, because a reader of ours may
/// wait as long for a processor on a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// A plugin that does not answer within this time hangs, and the test says so.
const PATIENCE: Duration = Duration::from_secs(300);

const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// What a test does with the config just before the plugin starts.
type Hook = Arc<dyn Fn(&Value) + Send + Sync>;

/// A call being put together.
#[derive(Clone)]
pub struct Call {
    before: Option<Hook>,
    program: PathBuf,
    through: Vec<String>,
    arguments: Vec<String>,
    env: BTreeMap<String, String>,
    config: Value,
    stdin: Option<Vec<u8>>,
}

/// A call under way.
pub struct Running {
    pipes: Vec<String>,
    operation: String,
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    began: Instant,
}

/// What came of a call.
#[derive(Debug)]
pub struct Output {
    /// None when a signal ended it.
    pub exit: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
    /// What the plugin's own stdin, stdout and stderr were, as `/proc/<pid>/fd` names them.
    pub pipes: Vec<String>,
    /// `CNI_COMMAND` of the call.
    pub operation: String,
    /// False when somebody still held stdout after the plugin had ended: that would hang a runtime.
    pub released: bool,
}

impl Call {
    pub fn new(program: &Path, config: Value) -> Self {
        let env = std::env::var("PATH").map(|path| ("PATH".to_owned(), path));
        Self {
            before: None,
            program: program.to_owned(),
            through: Vec::new(),
            arguments: Vec::new(),
            env: env.into_iter().collect(),
            config,
            stdin: None,
        }
    }

    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.env.remove(key);
        self
    }

    /// Arguments, for the command line.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self
    }

    /// Starts it by another program, which is given the plugin's path after its own arguments: a tracer.
    pub fn through(mut self, command: &[&str]) -> Self {
        self.through = command.iter().map(ToString::to_string).collect();
        self
    }

    /// More pairs for `CNI_ARGS`.
    pub fn more_args(mut self, text: &str) -> Self {
        let args = self.env.entry("CNI_ARGS".into()).or_default();
        args.push(';');
        args.push_str(text);
        self
    }

    /// Sets a top-level key of the config; `null` removes it.
    pub fn set(mut self, key: &str, value: Value) -> Self {
        if value.is_null() {
            self.config.as_object_mut().unwrap().remove(key);
        } else {
            self.config[key] = value;
        }
        self
    }

    /// One key of `runtimeConfig`.
    pub fn runtime_config(mut self, key: &str, value: Value) -> Self {
        if !self.config["runtimeConfig"].is_object() {
            self.config["runtimeConfig"] = json!({});
        }
        self.config["runtimeConfig"][key] = value;
        self
    }

    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        let mut annotations = self.config["runtimeConfig"][ANNOTATIONS].take();
        if !annotations.is_object() {
            annotations = json!({});
        }
        annotations[key] = value.into();
        self = self.runtime_config(ANNOTATIONS, annotations);
        self
    }

    /// The pod's annotation that asks for networks.
    pub fn networks(self, text: &str) -> Self {
        self.annotation("k8s.v1.cni.cncf.io/networks", text)
    }

    /// Exact stdin instead of the config.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Lets `hook` see the config just before the plugin starts.
    pub fn before(mut self, hook: impl Fn(&Value) + Send + Sync + 'static) -> Self {
        self.before = Some(Arc::new(hook));
        self
    }

    /// The config that would be sent.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Runs it to the end.
    pub fn run(&self) -> Output {
        self.start().wait()
    }

    /// Starts it and lets it run.
    pub fn start(&self) -> Running {
        if let Some(hook) = &self.before {
            hook(&self.config);
        }
        let began = Instant::now();
        let mut command = match self.through.split_first() {
            None => Command::new(&self.program),
            Some((tracer, arguments)) => {
                let mut command = Command::new(tracer);
                command.args(arguments).arg(&self.program);
                command
            }
        };
        let mut child = command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("starting {}: {e}", self.program.display()));
        let pipes = vec![name_of(&child.stdin), name_of(&child.stdout), name_of(&child.stderr)];
        let stdin = self.stdin.clone().unwrap_or_else(|| self.config.to_string().into_bytes());
        let mut pipe = child.stdin.take().unwrap();
        // A plugin may answer without reading everything; then the pipe breaks, and that is its right.
        std::thread::spawn(move || pipe.write_all(&stdin));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let operation = self.env.get("CNI_COMMAND").cloned().unwrap_or_default();
        Running { pipes, operation, child, stdout, stderr, began }
    }
}

fn name_of(pipe: &Option<impl AsRawFd>) -> String {
    let number = pipe.as_ref().unwrap().as_raw_fd();
    std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap().display().to_string()
}

fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok(count) = pipe.read(&mut buffer)
            && count > 0
        {
            let _ = tell.send(buffer[..count].to_vec());
        }
    });
    told
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, as a runtime does when the pod is deleted meanwhile.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn wait(mut self) -> Output {
        let status = self.status();
        let elapsed = self.began.elapsed();
        let (stdout, released) = drain(&self.stdout);
        let (stderr, _) = drain(&self.stderr);
        Output {
            pipes: std::mem::take(&mut self.pipes),
            operation: std::mem::take(&mut self.operation),
            exit: status.code(),
            signal: status.signal(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            elapsed,
            released,
        }
    }

    fn status(&mut self) -> ExitStatus {
        if let Some(status) = self.child.try_wait().unwrap() {
            return status;
        }
        // Asking again and again would cost more than the plugin does.
        let process = rustix::process::Pid::from_child(&self.child);
        let process = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).unwrap();
        let mut ends = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
        let patience = rustix::event::Timespec::try_from(PATIENCE.saturating_sub(self.began.elapsed())).unwrap();
        while rustix::event::poll(&mut ends, Some(&patience)) == Err(rustix::io::Errno::INTR) {}
        // Of one that is traced by another process the end is told to that one first.
        while self.began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.kill();
        let _ = self.child.wait();
        panic!("the plugin did not answer within {PATIENCE:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was written, and whether the other end was let go soon after the process ended.
fn drain(pipe: &Receiver<Vec<u8>>) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let until = Instant::now() + SOON;
    loop {
        match pipe.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(more) => bytes.extend(more),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return (bytes, true),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return (bytes, false),
        }
    }
}

impl Output {
    /// The answer as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("stdout is not JSON ({e}): {self:?}"))
    }

    /// The call must have succeeded; gives its answer, `null` when there is none.
    pub fn success(&self) -> Value {
        assert_eq!(self.exit, Some(0), "the call failed: {self:?}");
        assert!(self.released, "somebody still holds the plugin's stdout: {self:?}");
        let answers = matches!(self.operation.as_str(), "ADD" | "VERSION");
        assert_eq!(!self.stdout.is_empty(), answers, "ADD and VERSION answer on stdout, the others do not: {self:?}");
        if self.stdout.trim().is_empty() { Value::Null } else { self.json() }
    }
}
