//! A real containerd that is killed at random instants, with the plugins that it runs and without: RunPodSandbox,
//! StopPodSandbox and RemovePodSandbox of several pods at once, in the middle of their ADDs and DELs and between them.
//!
//! Then it is started again and removes what it remembers; the namespaces that it has forgotten go, as at a boot, and the sweep
//! that a plugin call starts does the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cri::{Master, Node, POD_ANNOTATIONS, Pod, Runtime, Sandbox};
use crate::harness::files_below;
use crate::rng::Rng;

/// How long one call of the runtime takes, roughly: kills are spread over it.
const LENGTH: Duration = Duration::from_millis(400);

/// How long until nothing is left.
const SWEPT: Duration = Duration::from_secs(120);

/// What pods ask for; `net1` and so on in this order.
const WISHES: [&[&str]; 5] = [&[], &["net-a"], &["net-b"], &["net-a", "net-b"], &["net-b", "net-a"]];

/// Which network an address is of.
const SUBNETS: [(&str, [u8; 3]); 3] = [("primary", [10, 88, 0]), ("net-a", [10, 89, 1]), ("net-b", [10, 89, 2])];

/// What came of a run.
#[derive(Debug, Default)]
pub struct Played {
    pub steps: usize,
    /// SIGKILLs of containerd.
    pub runtimes: usize,
    /// SIGKILLs of plugins, ours and others'.
    pub plugins: usize,
    pub started: usize,
    /// Namespaces that containerd had made and forgot when it was killed.
    pub forgotten: usize,
    pub longest: Duration,
    pub wrong: Vec<String>,
    pub story: String,
}

struct Run {
    node: Node,
    runtime: Runtime,
    /// What each pod that was ever asked for asks for, by its name.
    asked: BTreeMap<String, (&'static [&'static str], bool)>,
    played: Played,
}

/// Plays rounds, each of a seed of its own, the first of `seed`, until `until`.
pub fn play(runtime: Runtime, seed: u64, until: Instant) -> Played {
    let node = Node::start(runtime, runtime.cni_version(), |etc| {
        etc.write_all(&Master::default());
        etc.write(
            "net.d/00-meta-cni.conflist",
            &json!({"cniVersion": runtime.cni_version(), "name": "meta-cni", "plugins": [{
                "type": "meta-cni", "capabilities": {POD_ANNOTATIONS: true, "portMappings": true},
                "clusterNetwork": "/etc/cni/primary.d/10-primary.conflist",
                "addBudget": "3s", "sweepInterval": "1s", "logLevel": "debug",
            }]}),
        );
    });
    let mut run = Run { node, runtime, asked: BTreeMap::new(), played: Played::default() };
    for round in 0.. {
        writeln!(run.played.story, "--seed {}:", seed + round).unwrap();
        run.round(&mut Rng::new(seed + round), round);
        if !run.played.wrong.is_empty() || Instant::now() > until {
            break;
        }
        run.played.story.clear();
    }
    if !run.played.wrong.is_empty() {
        for log in ["containerd.log", "var-log/meta-cni.log"] {
            let all = std::fs::read_to_string(run.node.folder(log)).unwrap_or_default();
            let lines: Vec<&str> = all.lines().collect();
            let end = lines[lines.len().saturating_sub(80)..].join("\n");
            write!(run.played.story, "\nthe end of {log}:\n{end}\n").unwrap();
        }
    }
    run.played
}

impl Run {
    fn tell(&mut self, what: &str) {
        writeln!(self.played.story, "  {what}").unwrap();
    }

    fn round(&mut self, rng: &mut Rng, round: u64) {
        for step in 0..3 + rng.below(4) {
            self.step(rng, &format!("{round}-{step}"));
            self.judge();
            if !self.played.wrong.is_empty() {
                return;
            }
        }
        self.settle();
    }

    /// Some calls at once, and what is killed meanwhile.
    fn step(&mut self, rng: &mut Rng, name: &str) {
        self.played.steps += 1;
        let mut calls: Vec<(String, Child)> = Vec::new();
        for number in 0..1 + rng.below(2) {
            let (wishes, port) = (*rng.pick(&WISHES), rng.chance(30));
            let name = format!("pod-{name}-{number}");
            let mut pod = Pod::new(&name).networks(&wishes.join(","));
            if port {
                pod = pod.host_port(20_000 + u16::try_from(self.asked.len()).unwrap(), 80);
            }
            let request = pod.request(&self.node);
            self.asked.insert(name.clone(), (wishes, port));
            calls.push((format!("run {name}"), self.call("RunPodSandbox", &request)));
        }
        for (id, name, _) in self.known() {
            let method = *rng.pick(&["StopPodSandbox", "StopPodSandbox", "RemovePodSandbox", ""]);
            if !method.is_empty() {
                calls.push((format!("{method} {name}"), self.call(method, &json!({ "podSandboxId": id }))));
            }
        }
        let names: Vec<&str> = calls.iter().map(|(what, _)| what.as_str()).collect();
        let (kind, wait) = (rng.below(10), rng.time(LENGTH));
        let story =
            format!("{}, then {}", names.join(", "), ["the runtime dies", "a plugin dies", "nothing"][kind / 4]);
        self.tell(&format!("{story} after {wait:?}"));
        if kind < 8 {
            std::thread::sleep(wait);
        }
        let crashed = kind < 4;
        if crashed {
            self.node.crash_runtime();
            self.played.runtimes += 1;
        }
        if (2..8).contains(&kind) {
            self.kill_a_plugin(rng);
        }
        for (what, call) in calls {
            let output = call.wait_with_output().expect("a call of the runtime");
            self.played.started += usize::from(output.status.success() && what.starts_with("run "));
            let why = String::from_utf8_lossy(&output.stderr).chars().take(300).collect::<String>();
            self.tell(&format!("  {what}: {}", if output.status.success() { "done" } else { why.trim() }));
        }
        if crashed {
            self.node.start_runtime();
        }
    }

    fn call(&self, method: &str, request: &Value) -> Child {
        let mut client = self.node.cri_client(method, request);
        client.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starting the CRI client")
    }

    /// SIGKILL for meta-cni, or what it runs, if something of it runs.
    fn kill_a_plugin(&mut self, rng: &mut Rng) {
        let programs = *rng.pick(&["meta-cni", "bridge|macvlan|portmap", "host-local"]);
        let began = Instant::now();
        let mut found = String::new();
        while found.is_empty() && began.elapsed() < LENGTH {
            found = String::from_utf8_lossy(&self.node.run(&["pgrep", "-x", programs]).stdout).into_owned();
        }
        let pids: Vec<&str> = found.split_whitespace().collect();
        if !pids.is_empty() && self.node.run(&["kill", "-KILL", *rng.pick(&pids)]).status.success() {
            self.played.plugins += 1;
            self.tell(&format!("  {programs} is killed"));
        }
    }

    /// Sandboxes that the runtime knows: ID, name of the pod, ready.
    fn known(&self) -> Vec<(String, String, bool)> {
        let list = self.node.cri("ListPodSandbox", &json!({})).expect("listing sandboxes");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // Ready is the first of the states, and left out as such.
        let one = |item: &Value| (text(&item["id"]), text(&item["metadata"]["name"]), item["state"].is_null());
        items.iter().map(one).collect()
    }

    fn ready(&self) -> Vec<(Sandbox<'_>, String)> {
        let ready = self.known().into_iter().filter(|(.., ready)| *ready);
        ready.map(|(id, name, _)| (Sandbox::of(&self.node, &id).expect("a sandbox that is ready"), name)).collect()
    }

    /// No pod is up without all its networks.
    fn judge(&mut self) {
        let mut wrong = Vec::new();
        for (sandbox, name) in self.ready() {
            let has: Vec<(String, Option<&str>)> = sandbox
                .links()
                .into_iter()
                .map(|(link, _, addresses)| (link, addresses.first().and_then(|address| network_of(address))))
                .collect();
            let (wishes, _) = self.asked[&name];
            let others = wishes.iter().enumerate().map(|(at, network)| (format!("net{}", at + 1), Some(*network)));
            let wanted: Vec<_> = std::iter::once(("eth0".to_owned(), Some("primary"))).chain(others).collect();
            if has != wanted {
                wrong.push(format!("{name} is ready with {has:?} instead of {wanted:?}"));
            }
        }
        self.played.wrong.extend(wrong);
    }

    /// The runtime removes what is not ready, then everything; what it forgot goes; and each time nothing is left too much.
    fn settle(&mut self) {
        for all in [false, true] {
            let began = Instant::now();
            let up: Vec<String> = self.ready().into_iter().map(|(sandbox, _)| sandbox.id).collect();
            loop {
                // Each time: kubelet goes on too until the runtime knows of nothing that is not up.
                for (id, name, _) in self.known().into_iter().filter(|(id, ..)| all || !up.contains(id)) {
                    self.remove(&id, &name);
                }
                self.forget();
                self.poke();
                let wrong = self.wrong();
                if wrong.is_empty() {
                    break;
                }
                if began.elapsed() > SWEPT {
                    let namespaces = self.node.must(&["ls", "-l", "/run/netns"]);
                    self.tell(&format!("the runtime knows {:?}, and there are {namespaces}", self.known()));
                    self.played.wrong.extend(wrong);
                    break;
                }
            }
            self.played.longest = self.played.longest.max(began.elapsed());
            self.tell(&format!("removed, all: {all}, clean after {:?}", began.elapsed()));
        }
    }

    /// As kubelet does: again until it succeeds.
    fn remove(&mut self, id: &str, name: &str) {
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            let began = Instant::now();
            while let Err(why) = self.node.cri(method, &json!({ "podSandboxId": id })) {
                self.tell(&format!("  {method} of {name}: {why}"));
                if began.elapsed() > SWEPT {
                    self.played.wrong.push(format!("{method} of {name} never succeeds: {why}"));
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Namespaces that no sandbox of the runtime has go.
    fn forget(&mut self) {
        let known: BTreeSet<String> = self
            .known()
            .iter()
            .filter_map(|(id, ..)| {
                self.node.cri("PodSandboxStatus", &json!({ "podSandboxId": id, "verbose": true })).ok()
            })
            .map(|status| status["info"]["info"].as_str().unwrap_or_default().to_owned())
            .collect();
        let all = self.node.must(&["ls", "/run/netns"]);
        let all: Vec<&str> = all.split_whitespace().collect();
        for name in all.iter().filter(|name| !known.iter().any(|info| info.contains(**name))) {
            let path = format!("/run/netns/{name}");
            // One whose mount is gone already is a file.
            let _ = self.node.run(&["umount", "-l", &path]);
            self.node.must(&["rm", "-f", &path]);
            self.played.forgotten += 1;
            self.tell(&format!("  the runtime has forgotten {name}"));
        }
    }

    /// A plugin call, by which a sweep is started.
    fn poke(&mut self) {
        if self.runtime == Runtime::Modules {
            self.node.cri("Status", &json!({})).expect("asking the runtime for its status");
            return;
        }
        let name = format!("poke-{}", self.asked.len());
        self.asked.insert(name.clone(), (&[], false));
        match Pod::new(&name).run(&self.node) {
            Ok(sandbox) => sandbox.delete(),
            Err(why) => self.played.wrong.push(format!("a pod without networks does not start: {why}")),
        }
    }

    /// What is on the node too much, or missing, when exactly the sandboxes that are ready are attached.
    fn wrong(&self) -> Vec<String> {
        let ready = self.ready();
        let mut live = BTreeSet::new();
        let mut ports = BTreeSet::new();
        for (sandbox, name) in &ready {
            for (link, _, addresses) in sandbox.links() {
                live.extend(addresses.iter().map(|address| (address.clone(), sandbox.id.clone(), link.clone())));
            }
            if self.asked[name].1 {
                ports.insert(sandbox.ip.clone());
            }
        }
        let mut wrong = self.of_leases(&live);
        wrong.extend(self.of_rules(&ports));
        wrong.extend(self.of_files(&live));
        let links = self.node.must(&["ip", "-o", "link", "show", "type", "veth"]);
        let veths = links.lines().filter(|line| !line.contains("uplink")).count();
        let wanted = live.iter().filter(|(address, ..)| network_of(address) != Some("net-b")).count();
        if veths != wanted {
            wrong.push(format!("{veths} veths instead of {wanted}: {links}"));
        }
        wrong.extend(self.of_processes());
        wrong
    }

    fn of_leases(&self, live: &BTreeSet<(String, String, String)>) -> Vec<String> {
        let mut reserved = BTreeSet::new();
        for path in files_below(&self.node.folder("var-lib-cni/networks")) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.parse::<Ipv4Addr>().is_ok() {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let mut lines = text.lines().map(|line| line.trim().to_owned());
                reserved.insert((name, lines.next().unwrap_or_default(), lines.next().unwrap_or_default()));
            }
        }
        let leaked = reserved.difference(live).map(|lease| format!("leaked lease {lease:?}"));
        leaked.chain(live.difference(&reserved).map(|lease| format!("address without a lease {lease:?}"))).collect()
    }

    /// Every rule with a pod's address is of a pod that has a port, and every such pod has one.
    fn of_rules(&self, ports: &BTreeSet<String>) -> Vec<String> {
        let text = self.node.must(&["nft", "list", "ruleset"]);
        let is_pods = |word: &&str| network_of(word).is_some() && !word.ends_with(".1") && !word.ends_with(".0");
        let words = text.split(|one: char| !one.is_ascii_digit() && one != '.');
        let found: BTreeSet<String> = words.filter(is_pods).map(str::to_owned).collect();
        if found == *ports { Vec::new() } else { vec![format!("rules for {found:?} instead of {ports:?}")] }
    }

    /// Records are those of what is up; nothing is queued, put aside or half written; no lock is held.
    fn of_files(&self, live: &BTreeSet<(String, String, String)>) -> Vec<String> {
        let state = self.node.folder("var-lib-cni/meta-cni");
        let run = self.node.folder("run/meta-cni");
        let mut wanted: BTreeSet<_> =
            live.iter().map(|(_, id, link)| state.join("attachments").join(id).join(format!("{link}.json"))).collect();
        wanted.extend(live.iter().map(|(_, id, _)| run.join("sandboxes").join(format!("{id}.lock"))));
        let always = [state.join("primary.json"), run.join("epoch"), run.join("adding"), run.join("sweep")];
        let mut wrong = Vec::new();
        for path in [files_below(&state), files_below(&run)].concat() {
            let held = std::fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .is_ok_and(|file| matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)));
            if held {
                wrong.push(format!("lock held: {}", path.display()));
            }
            let known = always.contains(&path) || path == run.join("sweeping") || path.starts_with(run.join("status"));
            if !wanted.remove(&path) && !known {
                let text: String = std::fs::read_to_string(&path).unwrap_or_default().chars().take(400).collect();
                wrong.push(format!("file left: {}: {text}", path.display()));
            }
        }
        wrong.extend(wanted.into_iter().map(|path| format!("file missing: {}", path.display())));
        wrong
    }

    /// Plugins that still run, and processes that nobody waits for.
    fn of_processes(&self) -> Vec<String> {
        let all = self.node.must(&["ps", "-eo", "stat=,comm="]);
        let plugins = ["meta-cni", "bridge", "macvlan", "portmap", "host-local"];
        let found = all.lines().filter_map(|line| {
            let (state, name) = line.trim().split_once(' ')?;
            let is_ours = plugins.contains(&name.trim().trim_end_matches(" <defunct>"));
            is_ours.then(|| format!("still there: {state} {name}"))
        });
        found.collect()
    }
}

/// The network of an address.
fn network_of(address: &str) -> Option<&'static str> {
    let [a, b, c, _] = address.parse::<Ipv4Addr>().ok()?.octets();
    SUBNETS.iter().find(|(_, subnet)| *subnet == [a, b, c]).map(|(name, _)| *name)
}
