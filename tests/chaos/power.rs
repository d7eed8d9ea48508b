//! D14: the power fails. What was not synced may then be empty, cut, zeros, as it was before, under its temporary name, or not
//! there, with its directory or without; the runtime remembers its sandboxes or has lost them too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::boot;
use crate::harness::files_below;
use crate::kernel::isolated;
use crate::kills::{add, log_of, undisturbed};
use crate::oracle::{Excused, lacks, wrong_now};
use crate::sweep::poke;
use crate::world::{Plugins, Pod, Wishes, World};

/// How long until nothing is left.
const SWEPT: Duration = Duration::from_secs(120);

/// In what condition a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Whole,
    Empty,
    /// Cut after so many hundredths.
    Cut(usize),
    Zeros,
    /// The second half is zeros: its pages were not written.
    HalfZeros,
    /// As it was one write before.
    Old,
    /// Under a temporary name of the writer, and not under its own.
    Temporary,
    Missing,
    /// Its directory too.
    WithoutDirectory,
}

const CONDITIONS: [Condition; 12] = [
    Condition::Whole,
    Condition::Empty,
    Condition::Cut(1),
    Condition::Cut(30),
    Condition::Cut(70),
    Condition::Cut(99),
    Condition::Zeros,
    Condition::HalfZeros,
    Condition::Old,
    Condition::Temporary,
    Condition::Missing,
    Condition::WithoutDirectory,
];

/// What is on disk of a pod that is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Primary,
    Additional,
    /// Both records.
    All,
    /// The entry of the queue of a DEL that failed.
    Queue,
    /// host-local's file for the address of the primary network.
    Lease,
}

const OF: [Of; 5] = [Of::Primary, Of::Additional, Of::All, Of::Queue, Of::Lease];

/// Puts the file at `path` into `condition`.
fn put(path: &Path, condition: Condition, old: &[u8]) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let half = bytes.len() / 2;
    let write = |bytes: &[u8]| std::fs::write(path, bytes).unwrap();
    match condition {
        Condition::Whole => {}
        Condition::Empty => write(b""),
        Condition::Cut(hundredths) => write(&bytes[..bytes.len() * hundredths / 100]),
        Condition::Zeros => write(&vec![0; bytes.len()]),
        Condition::HalfZeros => write(&[&bytes[..half], &vec![0; bytes.len() - half]].concat()),
        Condition::Old => write(old),
        Condition::Temporary => {
            let name = path.file_name().unwrap().to_str().unwrap();
            std::fs::rename(path, path.with_file_name(format!(".{name}.q7Rt2x.tmp"))).unwrap();
        }
        Condition::Missing => std::fs::remove_file(path).unwrap(),
        // The directory of all state is a file system here, and only emptied.
        Condition::WithoutDirectory => drop(std::fs::remove_dir_all(path.parent().unwrap())),
    }
}

/// What a node is after a power cut, for every file and condition. Gives how many there were, and what was wrong.
pub fn all() -> (usize, Vec<String>) {
    std::thread::scope(|scope| {
        let nodes = [Plugins::Reference, Plugins::Debian].map(|plugins| {
            let pods = scope.spawn(move || isolated(|kernel| of_pods(&World::new(kernel, plugins))));
            let node = scope.spawn(move || isolated(|kernel| of_the_node(&World::new(kernel, plugins))));
            [pods, node]
        });
        let all =
            nodes.into_iter().flatten().map(|one| one.join().unwrap_or_else(|why| std::panic::resume_unwind(why)));
        all.fold((0, Vec::new()), |(cases, mut wrong), (more, found)| {
            wrong.extend(found);
            (cases + more, wrong)
        })
    })
}

/// Every file of a pod, in every condition, all at once; half of the pods are forgotten by the runtime.
fn of_pods(world: &World<'_>) -> (usize, Vec<String>) {
    let mut wrong = Vec::new();
    let mut pods: Vec<(Pod, Of, Condition, bool)> = Vec::new();
    for (number, (of, condition)) in OF.into_iter().flat_map(|of| CONDITIONS.map(|one| (of, one))).enumerate() {
        let pod = world.pod(Wishes { networks: vec!["net-a"], port: None, default_route: number % 5 == 0 });
        succeed(world, "ADD", &pod, &mut wrong);
        // Each once and in both ways over the two nodes.
        pods.push((pod, of, condition, (number % 2 == 0) == (world.plugins == Plugins::Reference)));
    }
    queue_some(world, &pods);
    boot::kill_all();
    for (pod, ..) in &mut pods {
        world.vanish(pod);
    }
    boot::end(world);
    let mut excused = Excused::default();
    for (pod, of, condition, _) in &pods {
        damage(world, pod, *of, *condition);
        excused.damaged.insert(pod.id.clone());
    }
    boot::start(world);
    let mut up = next_pods(world, &mut wrong);
    for (pod, ..) in pods.iter().filter(|(.., forgotten)| !forgotten) {
        succeed(world, "DEL", pod, &mut wrong);
    }
    settle(world, &mut up, &excused, &mut wrong);
    for (pod, of, condition, forgotten) in &pods {
        if wrong.iter().any(|what| what.contains(&pod.id)) {
            wrong.push(format!("{} is {of:?} {condition:?}, forgotten {forgotten}\n{}", pod.id, log_of(world, pod)));
        }
    }
    (pods.len(), wrong)
}

fn damage(world: &World<'_>, pod: &Pod, of: Of, condition: Condition) {
    let file = |dir: &str, ifname: &str| world.node.state().join(dir).join(&pod.id).join(format!("{ifname}.json"));
    let record = |ifname: &str| {
        let path = file("attachments", ifname);
        let bytes = std::fs::read(&path).unwrap();
        let begun = bytes.split(|byte| *byte == 0x1e).next().unwrap().to_vec();
        (path, begun)
    };
    let records: &[&str] = match of {
        Of::Primary => &["eth0"],
        Of::Additional => &["net1"],
        Of::All if condition == Condition::WithoutDirectory => &["eth0"],
        Of::All => &["net1", "eth0"],
        Of::Queue | Of::Lease => &[],
    };
    for (path, begun) in records.iter().map(|ifname| record(ifname)) {
        put(&path, condition, &begun);
    }
    // That of the network's other addresses is not this pod's.
    if of == Of::Lease && condition != Condition::WithoutDirectory {
        let of_pod = |lease: &PathBuf| std::fs::read_to_string(lease).is_ok_and(|text| text.starts_with(&pod.id));
        let lease = files_below("/var/lib/cni/networks/cluster".as_ref()).into_iter().find(of_pod);
        put(&lease.expect("a lease of a pod that is up"), condition, b"");
    }
    if of == Of::Queue {
        let old = br#"{"version":1,"attempts":7,"error":"an earlier one","epoch":"x:y","due":9999999999}"#;
        put(&file("queue", "net1"), condition, old);
    }
}

/// The DELs of those whose entry in the queue is damaged fail.
fn queue_some(world: &World<'_>, pods: &[(Pod, Of, Condition, bool)]) {
    let (tuning, away) = (world.node.plugins().join("tuning"), world.node.plugins().join("away"));
    std::fs::rename(&tuning, &away).unwrap();
    std::fs::write(&tuning, "#!/bin/sh\nkill -9 $$\n").unwrap();
    std::fs::set_permissions(&tuning, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (pod, ..) in pods.iter().filter(|(_, of, ..)| *of == Of::Queue) {
        let output = world.call("DEL", pod).run();
        assert_ne!(output.exit, Some(0), "a plugin that kills itself failed no DEL: {output:?}");
    }
    std::fs::rename(away, tuning).unwrap();
}

/// The first pods after the boot have all their networks.
fn next_pods(world: &World<'_>, wrong: &mut Vec<String>) -> Vec<Pod> {
    let wishes =
        [vec!["net-a", "net-b"], vec![]].map(|networks| Wishes { networks, port: Some(20_001), default_route: false });
    let mut pods = Vec::new();
    for (at, wishes) in wishes.into_iter().enumerate() {
        let pod = world.pod(Wishes { port: Some(20_001 + u16::try_from(at).unwrap()), ..wishes });
        succeed(world, "ADD", &pod, wrong);
        wrong.extend(lacks(&pod));
        pods.push(pod);
    }
    pods
}

fn succeed(world: &World<'_>, operation: &str, pod: &Pod, wrong: &mut Vec<String>) {
    let output = if operation == "ADD" { add(world, pod) } else { world.call(operation, pod).run() };
    if output.exit != Some(0) {
        wrong.push(format!("{operation} of {} failed: {output:?}", pod.id));
    }
}

/// Nothing is left but `up`; and then nothing at all.
fn settle(world: &World<'_>, up: &mut Vec<Pod>, excused: &Excused, wrong: &mut Vec<String>) {
    for _ in 0..2 {
        let began = Instant::now();
        let found = loop {
            poke(world);
            std::thread::sleep(Duration::from_millis(20));
            let found = wrong_now(world, &up.iter().collect::<Vec<_>>(), excused);
            if found.is_empty() || began.elapsed() > SWEPT {
                break found;
            }
        };
        wrong.extend(found);
        for mut pod in std::mem::take(up) {
            succeed(world, "DEL", &pod, wrong);
            world.vanish(&mut pod);
        }
    }
}

/// The files that pods of the future depend on, in every condition: whatever it is, a pod starts with all networks or says why
/// it does not, and when the file is there again it starts.
fn of_the_node(world: &World<'_>) -> (usize, Vec<String>) {
    let root = world.node.root().to_owned();
    let [last, primary, manifest] =
        ["state/primary.json", "conf/10-primary.conflist", "networks/default/net-a.json"].map(|path| root.join(path));
    let old = older(world, &[&last, &primary, &manifest]);
    let files: [Vec<PathBuf>; 5] =
        // The last is everything of ours: an empty disk, or one full of zeros.
        [vec![last.clone()], vec![primary.clone()], vec![last, primary], vec![manifest], Vec::new()];
    let mut excused = Excused::default();
    let (mut cases, mut wrong) = (0, Vec::new());
    let all = files.iter().flat_map(|files| CONDITIONS.map(|condition| (files, condition))).enumerate();
    // Each once: half of them on the other node.
    for (_, (files, condition)) in all.filter(|(number, _)| (number % 2 == 0) == (world.plugins == Plugins::Debian)) {
        cases += 1;
        let found = of_one(world, (files, condition), &old, &mut excused);
        if !found.is_empty() {
            wrong.push(format!("{files:?} {condition:?} with {:?}: {found:#?}", world.plugins));
        }
        if wrong.len() > 3 {
            break;
        }
    }
    (cases, wrong)
}

/// Those files, valid, as they were before the admin changed the networks.
fn older(world: &World<'_>, files: &[&PathBuf]) -> BTreeMap<PathBuf, Vec<u8>> {
    let changed = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let quote = if text.contains("\\\"") { "\\\"" } else { "\"" };
        let (key, more) = (format!("{quote}isGateway{quote}:true"), format!("{quote}mtu{quote}:1300,"));
        std::fs::write(path, text.replace(&key, &format!("{more}{key}"))).unwrap();
    };
    files[1..].iter().for_each(|path| changed(path));
    let mut pod = world.pod(Wishes { networks: vec!["net-a"], port: None, default_route: false });
    assert_eq!(undisturbed(world, &pod), None, "ADD of a pod of before");
    let output = world.call("DEL", &pod).run();
    assert_eq!(output.exit, Some(0), "DEL of a pod of before: {output:?}");
    world.vanish(&mut pod);
    let bytes = |path: &&PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        assert!(String::from_utf8_lossy(&bytes).contains("1300"), "{} is as it is now", path.display());
        ((*path).clone(), bytes)
    };
    let old = files.iter().map(bytes).collect();
    world.configure();
    old
}

fn of_one(
    world: &World<'_>,
    (files, condition): (&[PathBuf], Condition),
    old: &BTreeMap<PathBuf, Vec<u8>>,
    excused: &mut Excused,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut pod = world.pod(Wishes { networks: vec!["net-a"], port: None, default_route: false });
    excused.damaged.insert(pod.id.clone());
    succeed(world, "ADD", &pod, &mut wrong);
    boot::kill_all();
    world.vanish(&mut pod);
    boot::end(world);
    let ours = files_below(&world.node.state());
    let damaged = if files.is_empty() { &ours[..] } else { files };
    let kept: Vec<(&PathBuf, Vec<u8>)> = damaged.iter().map(|path| (path, std::fs::read(path).unwrap())).collect();
    for (path, bytes) in &kept {
        if path.exists() {
            put(path, condition, old.get(*path).unwrap_or(bytes));
        }
    }
    boot::start(world);
    world.node.master(&json!({ "addBudget": "500ms" }));
    for networks in [vec!["net-a", "net-b"], vec![]] {
        let mut pod = world.pod(Wishes { networks, port: None, default_route: false });
        let output = add(world, &pod);
        if output.exit == Some(0) {
            wrong.extend(lacks(&pod));
        } else if !is_clear(&output.stdout, &pod) {
            wrong.push(format!("an ADD that does not say why: {output:?}"));
        } else if files.iter().all(|path| path.starts_with(world.node.state())) {
            wrong.push(format!("an ADD failed although everything that the admin wrote is there: {output:?}"));
        }
        succeed(world, "DEL", &pod, &mut wrong);
        world.vanish(&mut pod);
    }
    for path in files.iter().filter(|path| !path.starts_with(world.node.state())) {
        // That of another program's writer, which nobody but that removes.
        let name = path.file_name().unwrap().to_str().unwrap();
        let _ = std::fs::remove_file(path.with_file_name(format!(".{name}.q7Rt2x.tmp")));
    }
    // As an installer would, and who writes manifests.
    world.configure();
    let mut up = next_pods(world, &mut wrong);
    settle(world, &mut up, excused, &mut wrong);
    wrong
}

/// One line that names the network or the file.
fn is_clear(stdout: &str, pod: &Pod) -> bool {
    let answer: serde_json::Value = serde_json::from_str(stdout).unwrap_or_default();
    let msg = answer["msg"].as_str().unwrap_or_default();
    let of = if msg.contains("net-a") { !pod.wishes.networks.is_empty() } else { msg.contains("primary") };
    answer["code"].as_u64().is_some_and(|code| code != 0) && !msg.contains('\n') && msg.len() <= 512 && of
}
