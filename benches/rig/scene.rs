//! One set of networks and the two ways to attach a pod to them: the delegates called directly, or through the plugin.
//!
//! Both ways run the same binaries with the same complete configurations, in the same order, from the same caller.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::call::Call;
use super::libcni::{Libcni, Lists};
use super::parts::Parts;
use super::sandbox::Sandbox;
use super::{Error, Result};

const NAMESPACE: &str = "bench";
pub const VERSION: &str = "1.0.0";

/// What the networks are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Delegate {
    Noop,
    Bridge,
    Ptp,
}

/// Who calls the delegates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    Bare,
    Plugin,
}

/// A sandbox as the runtime names it.
pub struct Pod {
    pub container: String,
    pub netns: PathBuf,
}

impl Pod {
    pub fn new(sandbox: &Sandbox, subject: Subject, number: usize) -> Self {
        let who = format!("{subject:?}").to_lowercase();
        Self { container: format!("{who}-{number:04}-0123456789abcdef0123456789abcdef"), netns: sandbox.netns(number) }
    }
}

/// What an ADD answered (one text per call) and how long all its calls took.
pub struct Added {
    pub answers: Vec<String>,
    pub took: Duration,
}

pub struct Scene {
    pub delegate: Delegate,
    /// Extra networks; the primary is not counted.
    pub networks: usize,
    /// Everything that the plugin writes is below it.
    pub dir: PathBuf,
    plugin: PathBuf,
    delegate_dir: PathBuf,
    chain: Vec<Value>,
    master: Value,
    /// Set when a process with libcni calls the plugins instead of the bench itself.
    libcni: Option<Libcni>,
}

impl Scene {
    pub fn new(sandbox: &Sandbox, parts: &Parts, delegate: Delegate, networks: usize) -> Result<Self> {
        let (kind, delegate_dir) = match delegate {
            Delegate::Noop => ("noop", &parts.noop_dir),
            Delegate::Bridge => ("bridge", &parts.reference_dir),
            Delegate::Ptp => ("ptp", &parts.reference_dir),
        };
        let dir = sandbox.dir().join(format!("{kind}-{networks}"));
        let leases = sandbox.dir().join("leases");
        let chain: Vec<Value> = (0..=networks).map(|number| delegate.config(number, &leases)).collect();
        write_networks(&dir, &chain)?;
        let mut master = master(&dir, &parts.plugin, networks);
        master["runDir"] = json!(sandbox.volatile().join(format!("{kind}-{networks}")));
        Ok(Self {
            delegate,
            networks,
            plugin: parts.plugin.clone(),
            delegate_dir: delegate_dir.clone(),
            master,
            chain,
            dir,
            libcni: None,
        })
    }

    /// The same scene on a node of its own, with another wish of the pod and, by `edit`, another manifest of its one network.
    pub fn variant(mut self, name: &str, networks: &Value, edit: &dyn Fn(&mut Value)) -> Result<Self> {
        let dir = self.dir.join("variants").join(name);
        write_networks(&dir, &self.chain)?;
        let path = dir.join("networks").join(NAMESPACE).join("net-1.json");
        let text = fs::read_to_string(&path).map_err(Error::doing("reading a manifest"))?;
        let mut manifest: Value = serde_json::from_str(&text).unwrap_or_default();
        edit(&mut manifest);
        fs::write(&path, manifest.to_string()).map_err(Error::doing("writing a manifest"))?;
        let text = networks.as_str().map_or_else(|| networks.to_string(), str::to_owned);
        for (key, path) in [("clusterNetwork", "10-primary.conflist"), ("stateDir", "state"), ("logFile", "log")] {
            self.master[key] = json!(dir.join(path));
        }
        self.master["networkDirs"] = json!([dir.join("networks")]);
        self.master["deviceInfoDir"] = json!(dir.join("devinfo"));
        self.master["runtimeConfig"]["io.kubernetes.cri.pod-annotations"]["k8s.v1.cni.cncf.io/networks"] = json!(text);
        self.dir = dir;
        Ok(self)
    }

    /// The same scene with `program`, which plays CRI-O's habits, as the caller.
    pub fn through_libcni(mut self, program: &Path) -> Result<Self> {
        let plugin_dir = self.plugin.parent().unwrap_or(Path::new("/"));
        let plugin_path = format!("{}:{}", self.delegate_dir.display(), plugin_dir.display());
        let lists = Lists { master: &self.master, bare: &self.chain };
        self.libcni = Some(Libcni::new(program, &self.dir, plugin_path, lists)?);
        Ok(self)
    }

    pub fn add(&self, subject: Subject, pod: &Pod) -> Result<Added> {
        let calls = self.add_calls(subject, pod);
        let begin = Instant::now();
        let answers = calls.iter().map(Call::run).collect::<Result<Vec<_>>>()?;
        let took = begin.elapsed();
        Ok(Added { answers, took })
    }

    pub fn del(&self, subject: Subject, pod: &Pod, added: &Added) -> Result<Duration> {
        let calls = self.del_calls(subject, pod, &added.answers);
        let begin = Instant::now();
        for call in &calls {
            call.run()?;
        }
        Ok(begin.elapsed())
    }

    pub fn add_calls(&self, subject: Subject, pod: &Pod) -> Vec<Call> {
        if let Some(libcni) = &self.libcni {
            return vec![libcni.call("add", subject, pod)];
        }
        match subject {
            Subject::Plugin => vec![self.plugin_call("ADD", pod, self.master.to_string())],
            Subject::Bare => (0..self.chain.len())
                .map(|number| self.bare_call("ADD", pod, number, self.chain[number].to_string()))
                .collect(),
        }
    }

    /// With the results of ADD, as every runtime gives them; the networks in reverse.
    pub fn del_calls(&self, subject: Subject, pod: &Pod, answers: &[String]) -> Vec<Call> {
        if let Some(libcni) = &self.libcni {
            return vec![libcni.call("del", subject, pod)];
        }
        let with = |config: &str, number: usize| match answers.get(number) {
            Some(answer) => with_prev_result(config, answer),
            None => config.to_owned(),
        };
        match subject {
            Subject::Plugin => {
                vec![self.plugin_call("DEL", pod, with(&self.master.to_string(), 0))]
            }
            Subject::Bare => (0..self.chain.len())
                .rev()
                .map(|number| {
                    let config = with(&self.chain[number].to_string(), number);
                    self.bare_call("DEL", pod, number, config)
                })
                .collect(),
        }
    }

    /// Records and queued DELs that a complete DEL must not leave.
    pub fn left_over(&self) -> usize {
        ["attachments", "queue"].iter().map(|name| count_files(&self.dir.join("state").join(name))).sum()
    }

    fn plugin_call(&self, operation: &str, pod: &Pod, stdin: String) -> Call {
        self.call(&self.plugin, operation, pod, ("eth0", stdin))
    }

    fn bare_call(&self, operation: &str, pod: &Pod, number: usize, stdin: String) -> Call {
        let program = self.delegate_dir.join(self.delegate.kind());
        self.call(&program, operation, pod, (&ifname(number), stdin))
    }

    fn call(&self, program: &Path, operation: &str, pod: &Pod, (ifname, stdin): (&str, String)) -> Call {
        let env = vec![
            ("CNI_COMMAND", operation.to_owned()),
            ("CNI_CONTAINERID", pod.container.clone()),
            ("CNI_NETNS", pod.netns.display().to_string()),
            ("CNI_IFNAME", ifname.to_owned()),
            ("CNI_ARGS", cni_args(pod)),
            ("CNI_PATH", self.delegate_dir.display().to_string()),
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ];
        Call { program: program.to_path_buf(), args: Vec::new(), env, stdin }
    }
}

impl Delegate {
    fn kind(self) -> &'static str {
        match self {
            Self::Noop => "noop-plugin",
            Self::Bridge => "bridge",
            Self::Ptp => "ptp",
        }
    }

    /// The complete configuration of one network, as the delegate gets it when called directly.
    fn config(self, number: usize, leases: &Path) -> Value {
        let name = network_name(number);
        let mut config = json!({"cniVersion": VERSION, "name": name, "type": self.kind()});
        if self == Self::Bridge {
            config["bridge"] = json!(format!("bench{number}"));
            config["isGateway"] = json!(true);
        }
        if self != Self::Noop {
            config["ipam"] = json!({
                "type": "host-local",
                "dataDir": leases,
                "ranges": [[{"subnet": format!("10.{}.0.0/16", 200 + number)}]],
            });
        }
        config
    }
}

/// What a runtime says about the pod.
pub fn cni_args(pod: &Pod) -> String {
    format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME=pod;\
         K8S_POD_INFRA_CONTAINER_ID={id};K8S_POD_UID=uid-{id}",
        id = pod.container
    )
}

/// `VERSION` of a program: what starting it costs.
pub fn version_call(program: &Path) -> Call {
    Call {
        program: program.to_path_buf(),
        args: Vec::new(),
        env: vec![("CNI_COMMAND", "VERSION".to_owned())],
        stdin: format!(r#"{{"cniVersion":"{VERSION}"}}"#),
    }
}

fn network_name(number: usize) -> String {
    match number {
        0 => "primary".to_owned(),
        _ => format!("net-{number}"),
    }
}

fn ifname(number: usize) -> String {
    match number {
        0 => "eth0".to_owned(),
        _ => format!("net{number}"),
    }
}

/// The primary's list and a manifest for each extra network, where the master config says.
fn write_networks(dir: &Path, chain: &[Value]) -> Result<()> {
    let manifests = dir.join("networks").join(NAMESPACE);
    fs::create_dir_all(&manifests).map_err(Error::doing("making the networks' directory"))?;
    let write =
        |path: PathBuf, value: &Value| fs::write(path, value.to_string()).map_err(Error::doing("writing a network"));
    for (number, config) in chain.iter().enumerate() {
        let name = network_name(number);
        if number == 0 {
            let list = json!({"cniVersion": VERSION, "name": name, "plugins": [config]});
            write(dir.join("10-primary.conflist"), &list)?;
            continue;
        }
        let manifest = json!({
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"config": config.to_string()},
        });
        write(manifests.join(format!("{name}.json")), &manifest)?;
    }
    Ok(())
}

/// The plugin's own configuration, as containerd completes it. libcni finds a plugin by the name of its file.
fn master(dir: &Path, plugin: &Path, networks: usize) -> Value {
    let kind = plugin.file_name().unwrap_or_default().to_string_lossy();
    let names: Vec<String> = (1..=networks).map(network_name).collect();
    let mut annotations = json!({"kubernetes.io/config.source": "api"});
    if networks > 0 {
        annotations["k8s.v1.cni.cncf.io/networks"] = json!(names.join(","));
    }
    json!({
        "cniVersion": VERSION,
        "name": "meta-cni",
        "type": kind,
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
        "clusterNetwork": dir.join("10-primary.conflist"),
        "networkDirs": [dir.join("networks")],
        "confDir": dir.join("conf"),
        "stateDir": dir.join("state"),
        "delegateProfilesDir": dir.join("delegates"),
        "logFile": dir.join("log"),
        "runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations},
    })
}

/// Puts the result in as the last key; the rest of the configuration keeps its bytes.
fn with_prev_result(config: &str, answer: &str) -> String {
    let open = config.trim_end();
    let open = open.strip_suffix('}').unwrap_or(open);
    format!(r#"{open},"prevResult":{}}}"#, answer.trim())
}

fn count_files(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.path() {
            path if path.is_dir() => count_files(&path),
            _ => 1,
        })
        .sum()
}
