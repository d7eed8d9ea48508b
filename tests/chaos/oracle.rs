//! What is on the node, and what should be: from the kernel, the leases and the files, never from what a result says.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::files_below;
use crate::world::{NETWORKS, Pod, World, links};

/// Where host-local keeps its leases.
const LEASES: &str = "/var/lib/cni/networks";

/// How long the kernel may take to end a namespace, or a process that was killed.
const SETTLES: Duration = Duration::from_secs(60);

/// A lease of host-local: network, address, container ID, interface.
pub type Lease = (String, Ipv4Addr, String, String);

/// Every lease on the node.
pub fn leases() -> BTreeSet<Lease> {
    let lease = |network: &str, path: &Path| {
        let address: Ipv4Addr = path.file_name()?.to_str()?.parse().ok()?;
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines().map(|line| line.trim().to_owned());
        Some((network.to_owned(), address, lines.next().unwrap_or_default(), lines.next().unwrap_or_default()))
    };
    let of = |network: &'static str| {
        let files = files_below(&Path::new(LEASES).join(network));
        files.into_iter().filter_map(move |path| lease(network, &path))
    };
    NETWORKS.iter().flat_map(|(network, _)| of(network)).collect()
}

/// What a pod that is up lacks of what it asked for.
pub fn lacks(pod: &Pod) -> Vec<String> {
    let has = pod.addresses();
    let wrong = |ifname: &str, network: &str| {
        let address = has.iter().find(|(name, _)| name == ifname).and_then(|(_, address)| *address);
        address.and_then(World::network_of) != Some(network)
    };
    let wanted = pod.wishes.interfaces();
    let mut lacks: Vec<String> = wanted
        .iter()
        .filter(|(ifname, network)| wrong(ifname, network))
        .map(|(ifname, network)| format!("{} is up without {network} on {ifname}: {has:?}", pod.name))
        .collect();
    if pod.wishes.default_route && !has_default_route(pod, "net1") {
        lacks.push(format!("{} is up without its default route by net1", pod.name));
    }
    lacks
}

fn has_default_route(pod: &Pod, ifname: &str) -> bool {
    let Some(place) = &pod.place else { return false };
    let table = place.run(|| std::fs::read_to_string("/proc/thread-self/net/route").unwrap());
    let defaults = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (link, to) = (words.next()?, words.next()?);
        (to == "00000000").then_some(link)
    });
    defaults.eq([ifname])
}

/// Rules and chains of portmap: `(chains, text)`.
pub fn nat() -> (usize, String) {
    let output = Command::new("iptables-save").args(["-t", "nat"]).output().expect("running iptables-save");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text.lines().filter(|line| line.starts_with(":CNI-DN-") || line.starts_with(":CNI-SN-")).count(), text)
}

/// Everything that is wrong on the node when exactly `up` are attached and nothing is under way; waits a moment for what the
/// kernel does in its own time.
pub fn wrong(world: &World<'_>, up: &[&Pod], excused: &Excused) -> Vec<String> {
    let began = Instant::now();
    loop {
        let wrong = wrong_now(world, up, excused);
        if wrong.is_empty() || began.elapsed() > SETTLES {
            return wrong;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What is not looked at.
#[derive(Debug, Clone, Default)]
pub struct Excused {
    /// Quarantine may have something of these sandboxes, and of no others.
    pub damaged: BTreeSet<String>,
    /// Whose DEL never comes: for a day the sweep does not know that, and keeps the tombstones of an ADD that was undone.
    pub forgotten: BTreeSet<String>,
    /// All of these is kept, if the log says so: their records were lost, and the runtime has forgotten them since the kernel
    /// started, so that nobody knows that they are dead.
    pub kept: BTreeSet<String>,
    /// Rules of the node are asked for by a process, which a quick look can do without.
    pub rules: bool,
}

/// As [`wrong`], at this moment.
pub fn wrong_now(world: &World<'_>, up: &[&Pod], excused: &Excused) -> Vec<String> {
    let mut wrong: Vec<String> = up.iter().flat_map(|pod| lacks(pod)).collect();
    let mut live: BTreeSet<Lease> = BTreeSet::new();
    for pod in up {
        for (ifname, address) in pod.addresses() {
            let Some(address) = address else { continue };
            let network = World::network_of(address).unwrap_or_default().to_owned();
            live.insert((network, address, pod.id.clone(), ifname));
        }
    }
    let (kept, reserved): (BTreeSet<Lease>, BTreeSet<Lease>) =
        leases().into_iter().partition(|(_, _, id, _)| excused.kept.contains(id));
    wrong.extend(unsaid(world, &kept, excused));
    wrong.extend(reserved.difference(&live).map(|lease| format!("leaked lease {lease:?}")));
    wrong.extend(live.difference(&reserved).map(|lease| format!("address without a lease {lease:?}")));
    let veths: Vec<String> = links().into_iter().filter(|name| name.starts_with("veth")).collect();
    let wanted: usize = up.iter().map(|pod| pod.wishes.veths()).sum();
    if veths.len() != wanted {
        wrong.push(format!("{} veths instead of {wanted}: {veths:?}", veths.len()));
    }
    wrong.extend(files(world, up, excused));
    wrong.extend(processes().into_iter().map(|process| format!("still runs: {process}")));
    wrong.extend(locks(world));
    if !excused.rules {
        let (chains, text) = nat();
        let wanted = up.iter().map(|pod| pod.wishes.port_maps()).sum::<usize>() + chains_of(&text, &excused.kept);
        if chains != wanted {
            wrong.push(format!("{chains} chains of port maps instead of {wanted}:\n{text}"));
        }
        let known =
            |line: &str| up.iter().any(|pod| line.contains(&pod.id)) || excused.kept.iter().any(|id| line.contains(id));
        let own = |line: &&str| line.contains("id: ") && !known(line);
        wrong.extend(text.lines().filter(own).map(|line| format!("leaked rule {line}")));
    }
    wrong
}

/// What is kept although it may be dead, and the log does not say so.
fn unsaid(world: &World<'_>, leases: &BTreeSet<Lease>, excused: &Excused) -> Vec<String> {
    let records = world.node.state().join("attachments");
    let there = |id: &&String| leases.iter().any(|(_, _, of, _)| of == *id) || records.join(id).exists();
    let mut kept = excused.kept.iter().filter(there).peekable();
    let log = if kept.peek().is_some() { world.node.log() } else { String::new() };
    let is_said = |id: &&String| log.lines().any(|line| line.contains(*id) && line.contains("is kept"));
    kept.filter(|id| !is_said(id)).map(|id| format!("kept, and the log says nothing of it: {id}")).collect()
}

/// How many chains lead to the ports of these sandboxes.
fn chains_of(rules: &str, ids: &BTreeSet<String>) -> usize {
    let of = rules.lines().filter(|line| line.starts_with("-A") && ids.iter().any(|id| line.contains(id)));
    let words = of.flat_map(str::split_whitespace);
    words.filter(|word| word.starts_with("CNI-DN-") || word.starts_with("CNI-SN-")).collect::<BTreeSet<_>>().len()
}

/// True if the file is of a sandbox of which it may be kept.
fn is_kept(world: &World<'_>, path: &Path, excused: &Excused) -> bool {
    let parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let is_of = |ids: &BTreeSet<String>| {
        ids.iter().find(|id| parts.iter().any(|part| part.strip_suffix(".lock").unwrap_or(part) == **id)).cloned()
    };
    let is_tombstone = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.rsplit('\u{1e}').next().is_some_and(|last| last.contains("\"state\":\"undone\""))
    };
    is_of(&excused.kept).is_some()
        || is_of(&excused.forgotten).is_some_and(|id| {
            let records = files_below(&world.node.state().join("attachments").join(id));
            !records.is_empty()
                && records.iter().all(|path| is_tombstone(path))
                && !path.starts_with(world.node.state().join("queue"))
        })
}

/// Files that should not be there, or are missing.
fn files(world: &World<'_>, up: &[&Pod], excused: &Excused) -> Vec<String> {
    let (state, run) = (world.node.state(), world.node.run_dir());
    let mut wanted: BTreeSet<_> = up
        .iter()
        .flat_map(|pod| {
            let dir = state.join("attachments").join(&pod.id);
            pod.wishes.interfaces().into_iter().map(move |(ifname, _)| dir.join(format!("{ifname}.json")))
        })
        .collect();
    wanted.extend(up.iter().map(|pod| run.join("sandboxes").join(format!("{}.lock", pod.id))));
    let always =
        [state.join("primary.json"), run.join("epoch"), run.join("adding"), run.join("sweep"), run.join("sweeping")];
    let is_excused = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let quarantined = path.starts_with(state.join("quarantine"))
            && excused.damaged.iter().any(|id| name.starts_with(&format!("{id}.")));
        quarantined || is_kept(world, path, excused) || (path.starts_with(run.join("status")) && !name.starts_with('.'))
    };
    let mut wrong = Vec::new();
    for path in [files_below(&state), files_below(&run)].concat() {
        if !wanted.remove(&path) && !always.contains(&path) && !is_excused(&path) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let text: String = text.chars().filter(|one| !one.is_control()).take(600).collect();
            wrong.push(format!("file left: {}: {text}", path.display()));
        }
    }
    wrong.extend(wanted.into_iter().map(|path| format!("file missing: {}", path.display())));
    for dir in [state.join("attachments"), state.join("queue")] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if files_below(&entry.path()).is_empty() {
                wrong.push(format!("empty directory left: {}", entry.path().display()));
            }
        }
    }
    wrong
}

/// Locks that somebody holds.
fn locks(world: &World<'_>) -> Vec<String> {
    let run = world.node.run_dir();
    let mut files = files_below(&run.join("sandboxes"));
    files.extend([run.join("adding"), run.join("sweeping")]);
    let held = |path: &Path| {
        let Ok(file) = std::fs::OpenOptions::new().write(true).open(path) else { return false };
        matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock))
    };
    files.into_iter().filter(|path| held(path)).map(|path| format!("lock held: {}", path.display())).collect()
}

/// IDs and command lines of what runs on the node: everything in its mount namespace but the test's own threads.
pub fn running() -> Vec<(i32, String)> {
    let own = std::fs::read_link("/proc/thread-self/ns/mnt").unwrap();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let here = all.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        (std::fs::read_link(entry.path().join("ns/mnt")).ok()? == own).then_some(pid)
    });
    let told = |pid: i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (pid, String::from_utf8_lossy(&line).replace('\0', " "))
    };
    here.map(told).collect()
}

fn processes() -> Vec<String> {
    running().into_iter().map(|(pid, line)| format!("{pid} {line}")).collect()
}
