//! The life of an attachment, exhaustively: the plugin is killed before each step of an ADD, of an ADD that is taken back and of
//! a DEL, and then the runtime goes on in each way in which a runtime may. Run against the real code with scripted plugins.
//!
//! What must come of it follows from what is on record when the plugin dies: each plugin of an attachment on record is DELeted
//! once, the last first, with the bytes of its ADD; no plugin of any other; and nothing is left. The configuration on disk is
//! another one after the kill, so that bytes can come from the record alone.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fault::{Fault, perform, trace};
use crate::harness::{Call, Node, Output, Recorded, Sandbox, fields, files_below};
use crate::world::plugin;

/// The call that is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    Add,
    /// The last of three attachments refuses, so that all is taken back.
    AddThatFails,
    Del,
    /// The sweep, of a sandbox whose namespace is gone.
    Sweep,
}

/// What the runtime does then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Del,
    DelTwice,
    AddAndDel,
    GcAndDel,
    /// The namespace goes first.
    VanishAndDel,
    /// The namespace goes, and the runtime has forgotten all of it.
    Nothing,
}

const KILLED: [Killed; 4] = [Killed::Add, Killed::AddThatFails, Killed::Del, Killed::Sweep];
const THEN: [Then; 6] = [Then::Del, Then::DelTwice, Then::AddAndDel, Then::GcAndDel, Then::VanishAndDel, Then::Nothing];

/// System calls by which something changes that another process can see.
const STEPS: [&str; 17] = [
    "linkat",
    "link",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "rmdir",
    "write",
    "pwrite64",
    "flock",
    "ftruncate",
    "clone",
    "vfork",
    "wait4",
    "exit_group",
];

/// Plugins of each attachment, in order.
const CHAINS: [(&str, &[&str]); 3] = [("eth0", &["main"]), ("net1", &["extra", "tune"]), ("net2", &["last"])];

/// Writes the networks, with a mark in every plugin's configuration.
fn configure(node: &Node, mark: &str, refuses: bool) {
    let plugin = |kind: &str| {
        let script = if refuses && kind == "last" { json!({ "ADD": { "error": { "code": 100 } } }) } else { json!({}) };
        json!({ "type": kind, "mark": mark, "script": script })
    };
    let list = |name: &str, kinds: &[&str]| {
        let plugins: Vec<Value> = kinds.iter().map(|kind| plugin(kind)).collect();
        json!({ "cniVersion": "1.1.0", "name": name, "plugins": plugins })
    };
    node.primary(&list("cluster", CHAINS[0].1));
    node.nad("default", "net-a", &list("net-a", CHAINS[1].1));
    node.nad("default", "net-b", &list("net-b", CHAINS[2].1));
}

struct Case {
    node: Node,
    sandbox: Sandbox,
    killed: Killed,
}

impl Case {
    fn new(killed: Killed) -> Self {
        let node = Node::with_plugin(&plugin());
        node.master(&json!({ "cniVersion": "1.1.0", "sweepInterval": "1s" }));
        configure(&node, "first", killed == Killed::AddThatFails);
        let mut case = Self { node, sandbox: Sandbox::new(), killed };
        if matches!(killed, Killed::Del | Killed::Sweep) {
            assert_eq!(case.run("ADD").exit, Some(0));
        }
        if killed == Killed::Sweep {
            case.sandbox.netns.vanish();
            // That of the ADD just now is over, and another one due.
            eventually_over(&case.node);
            let _ = std::fs::remove_file(case.node.run_dir().join("sweep"));
        }
        case
    }

    fn call(&self, operation: &str) -> Call {
        self.node.call(operation, &self.sandbox).networks("net-a,net-b")
    }

    fn run(&self, operation: &str) -> Output {
        self.call(operation).run()
    }

    /// The call that is killed.
    fn victim(&self) -> Call {
        match self.killed {
            Killed::Add | Killed::AddThatFails => self.call("ADD"),
            Killed::Del => self.call("DEL"),
            Killed::Sweep => {
                let sweep = self.node.node_call("").without("CNI_COMMAND");
                sweep.arguments(&["gc", "--queued", "--config", "-"])
            }
        }
    }

    /// Interface and state of each record, in the order of ADD.
    fn on_record(&self) -> Vec<(&'static str, String)> {
        let dir = self.node.state().join("attachments").join(&self.sandbox.id);
        let state = |ifname: &&'static str| {
            let text = std::fs::read_to_string(dir.join(format!("{ifname}.json"))).ok()?;
            let mut whole = text.split('\u{1e}').filter_map(|text| serde_json::from_str::<Value>(text).ok());
            Some((*ifname, whole.next_back()?["record"]["state"].as_str()?.to_owned()))
        };
        CHAINS.iter().map(|(ifname, _)| ifname).filter_map(state).collect()
    }

    /// ADDs and DELs that plugins remember.
    fn calls(&self) -> Vec<Recorded> {
        let mut calls = self.node.calls();
        calls.retain(|call| ["ADD", "DEL"].contains(&call.operation.as_str()));
        calls
    }

    fn dels(&self) -> Vec<Recorded> {
        self.node.calls_of("DEL")
    }
}

/// Waits until no sweep runs.
fn eventually_over(node: &Node) {
    let until = Instant::now() + Duration::from_secs(60);
    let root = node.plugins().display().to_string();
    while Instant::now() < until && !running(&root).is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `DEL net1 tune` and so on: what takes those attachments back, the last first.
fn deletes(ifnames: &[&str]) -> Vec<String> {
    let chains = CHAINS.iter().rev().filter(|(ifname, _)| ifnames.contains(ifname));
    chains.flat_map(|(ifname, kinds)| kinds.iter().rev().map(move |kind| format!("DEL {ifname} {kind}"))).collect()
}

fn adds() -> Vec<String> {
    CHAINS.iter().flat_map(|(ifname, kinds)| kinds.iter().map(move |kind| format!("ADD {ifname} {kind}"))).collect()
}

/// Kills the call at that point, goes on, and gives what is not as it must be.
fn check(killed: Killed, fault: &Fault, then: Then) -> Result<bool, String> {
    let mut case = Case::new(killed);
    let done = perform(&case.victim(), fault);
    let died = done.output.signal == Some(9);
    // What the plugin had started goes on, and remembers its call when it likes: who called whom would be a matter of luck.
    // That a DEL ends it is shown elsewhere.
    none_runs(&case.sandbox.id)?;
    let on_record = case.on_record();
    let standing: Vec<&str> =
        on_record.iter().filter(|(_, state)| state != "undone").map(|(ifname, _)| *ifname).collect();
    configure(&case.node, "later", false);
    let wrong = follow(&mut case, then, &on_record, &standing);
    let found = wrong.err().or_else(|| judge_bytes(&case, then, !on_record.is_empty()).err());
    let found = found.or_else(|| left(&case).err());
    match found {
        None => Ok(died),
        Some(what) => Err(format!(
            "{killed:?} killed at {fault:?} (died: {died}), then {then:?}: {what}\non record: {on_record:?}\ncalls: {:#?}\nlog:\n{}",
            case.node.order(),
            case.node.log()
        )),
    }
}

fn expect(what: &str, got: &[Recorded], wanted: &[String]) -> Result<(), String> {
    // The ADD of a plugin that outlived its caller for a moment may be remembered late.
    let got: Vec<String> = got.iter().map(Recorded::brief).collect();
    if got == wanted { Ok(()) } else { Err(format!("{what}: called {got:?} instead of {wanted:?}")) }
}

fn succeeded(output: &Output) -> Result<(), String> {
    if output.exit == Some(0) { Ok(()) } else { Err(format!("failed: {output:?}")) }
}

/// Goes on as `then` says; the plugins' DELs must be those that follow from what was on record.
fn follow(case: &mut Case, then: Then, on_record: &[(&'static str, String)], standing: &[&str]) -> Result<(), String> {
    let before = case.dels().len();
    let since = |case: &Case, before: usize| case.dels().split_off(before);
    // Without any record the current primary is asked, once, because the pod may be older than we are.
    let wanted = if on_record.is_empty() { deletes(&["eth0"]) } else { deletes(standing) };
    match then {
        Then::Del | Then::DelTwice | Then::GcAndDel | Then::VanishAndDel => {
            if then == Then::GcAndDel {
                let gc = case.node.node_call("GC").set("cni.dev/valid-attachments", json!([]));
                succeeded(&gc.run())?;
                expect("GC of what is alive", &since(case, before), &[])?;
            }
            if then == Then::VanishAndDel {
                case.sandbox.netns.vanish();
            }
            succeeded(&case.run("DEL"))?;
            expect("DEL", &since(case, before), &wanted)?;
            if then == Then::DelTwice {
                let before = case.dels().len();
                succeeded(&case.run("DEL"))?;
                expect("the second DEL", &since(case, before), &deletes(&["eth0"]))?;
            }
        }
        Then::AddAndDel => {
            let add = case.run("ADD");
            let whole = standing.len() == CHAINS.len() && on_record.iter().all(|(_, state)| state == "attached");
            if whole {
                if add.exit == Some(0) || !add.stdout.contains("attached already") {
                    return Err(format!("an ADD of what is attached: {add:?}"));
                }
                expect("ADD of what is attached", &since(case, before), &[])?;
            } else {
                succeeded(&add)?;
                expect("left-overs", &since(case, before), &deletes(standing))?;
                let calls = case.calls();
                let last: Vec<Recorded> = calls[calls.len().saturating_sub(adds().len())..].to_vec();
                expect("the second ADD", &last, &adds())?;
            }
            let before = case.dels().len();
            succeeded(&case.run("DEL"))?;
            expect("DEL", &since(case, before), &deletes(&["eth0", "net1", "net2"]))?;
        }
        Then::Nothing => {
            case.sandbox.netns.vanish();
            // As after a reboot: a sweep is due now.
            let _ = std::fs::remove_file(case.node.run_dir().join("sweep"));
            // For a day a DEL may come for what an ADD took back itself, or until a boot.
            if on_record.iter().any(|(_, state)| state == "undone") {
                let _ = std::fs::remove_file(case.node.run_dir().join("epoch"));
            }
            let until = Instant::now() + Duration::from_secs(60);
            while left(case).is_err() && Instant::now() < until {
                succeeded(&case.node.node_call("STATUS").run())?;
                std::thread::sleep(Duration::from_millis(5));
            }
            expect("the sweep", &since(case, before), &deletes(standing))?;
        }
    }
    Ok(())
}

/// Each DEL has the bytes of the ADD that it takes back.
fn judge_bytes(case: &Case, then: Then, recorded: bool) -> Result<(), String> {
    let mut calls = case.node.calls();
    if then == Then::DelTwice {
        // The second found no record, and asked the primary of now.
        calls.pop();
    }
    let bytes = |call: &Recorded| {
        let mut all = fields(&call.stdin);
        all.retain(|(key, _)| key != "prevResult");
        all
    };
    // One whose caller died before it wrote a word was given nothing, and did nothing.
    calls.retain(|call| !call.stdin.is_empty());
    for (at, del) in calls.iter().enumerate().filter(|(_, call)| call.operation == "DEL") {
        let add =
            calls[..at].iter().filter(|call| call.operation == "ADD").rfind(|add| add.brief()[3..] == del.brief()[3..]);
        if let Some(add) = add
            && recorded
            && bytes(add) != bytes(del)
        {
            return Err(format!("{} was given {} and its ADD {}", del.brief(), del.stdin, add.stdin));
        }
    }
    Ok(())
}

/// Nothing of the sandbox: no file, no lock, no process.
fn left(case: &Case) -> Result<(), String> {
    let mut files = [files_below(&case.node.state()), files_below(&case.node.run_dir())].concat();
    let names = ["primary.json", "epoch", "adding", "sweep", "sweeping"];
    files.retain(|path| {
        !names.iter().any(|name| path.ends_with(name)) && !path.starts_with(case.node.run_dir().join("status"))
    });
    let dirs = ["attachments", "queue"].map(|dir| case.node.state().join(dir).join(&case.sandbox.id));
    files.extend(dirs.into_iter().filter(|dir| dir.exists()));
    if !files.is_empty() {
        return Err(format!("left: {files:?}"));
    }
    none_runs(&case.sandbox.id)
}

/// Waits a moment until no process of the sandbox runs.
fn none_runs(id: &str) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let running = running(id);
        if running.is_empty() {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(60) {
            return Err(format!("still runs: {running:?}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Processes that were started for the sandbox.
fn running(id: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let own = |dir: &std::path::Path| {
        let environment = std::fs::read(dir.join("environ")).unwrap_or_default();
        environment.windows(id.len()).any(|window| window == id.as_bytes())
    };
    all.map(|entry| entry.path())
        .filter(|dir| dir.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit()) && own(dir))
        .map(|dir| dir.display().to_string())
        .collect()
}

/// What was tried.
#[derive(Debug, Default)]
pub struct Checked {
    pub cases: usize,
    pub kills: usize,
    pub points: usize,
    pub wrong: Vec<String>,
}

/// Every step x every continuation; with `every`, every system call, each with one continuation after the other in turn.
pub fn all(workers: usize, every: bool) -> Checked {
    let mut cases = Vec::new();
    let mut points = 0;
    for killed in KILLED {
        for (name, count) in moments(killed).into_iter().filter(|(name, _)| every != STEPS.contains(&name.as_str())) {
            for at in 1..=count {
                points += 1;
                let fault = Fault::KillAt(name.clone(), at);
                let chosen = match (killed, every) {
                    // The namespace is gone already, and no ADD can come any more.
                    (Killed::Sweep, true) => vec![Then::Nothing],
                    (Killed::Sweep, false) => vec![Then::Nothing, Then::Del],
                    (_, true) => vec![THEN[points % THEN.len()]],
                    (_, false) => THEN.to_vec(),
                };
                cases.extend(chosen.into_iter().map(|then| (killed, fault.clone(), then)));
            }
        }
    }
    let (next, checked) = (AtomicUsize::new(0), Mutex::new(Checked { points, ..Checked::default() }));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((killed, fault, then)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = check(*killed, fault, *then);
                    let mut checked = checked.lock().unwrap();
                    checked.cases += 1;
                    match result {
                        Ok(died) => checked.kills += usize::from(died),
                        Err(what) => checked.wrong.push(what),
                    }
                    if checked.wrong.len() >= 3 {
                        return;
                    }
                }
            });
        }
    });
    checked.into_inner().unwrap()
}

/// The system calls of an undisturbed call, each with how often.
fn moments(killed: Killed) -> Vec<(String, usize)> {
    let case = Case::new(killed);
    trace(&case.victim(), killed != Killed::AddThatFails)
}
