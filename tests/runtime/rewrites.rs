//! D1: who reads the conf dir as a runtime does, while the daemon rewrites its file as often as it can.
//!
//! `META_CNI_REWRITES=10000` makes as many as the statement says; without it there are fewer, so that every test run has time for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Daemon, Node, Other, Place, Runtime, on_each_runtime, wait_until};

/// How often the file is replaced, unless the environment says otherwise.
const REWRITES: u64 = 1_000;

on_each_runtime! {
    /// D1: rewrites by the daemon, under the eyes of libcni's loader in a tight loop and of the runtime itself: no load
    /// fails, and our list comes first in each, in the conf dir in which the primary is too.
    rewrites_are_never_seen_half_done_by_libcni_and_the_runtime_d1 => check_rewrites;
}

/// What the runtime said of its conf dir, by its verbose status.
#[derive(Default)]
struct Told {
    asked: u64,
    texts: BTreeSet<String>,
    wrong: Vec<String>,
}

fn check_rewrites(runtime: Runtime) {
    let rewrites =
        std::env::var("META_CNI_REWRITES").map_or(REWRITES, |count| count.parse().expect("a number of rewrites"));
    // In memory: what is judged is the order of steps, and no disk syncs 10 000 times in a test.
    let place = Place { folders: PathBuf::from("/dev/shm"), ..Place::default() };
    let node = Node::start_at(runtime, runtime.cni_version(), &place, |etc| etc.write_daemon(&json!({"tick": "60m"})));
    let primary = |number: u64| {
        let mut primary = node.etc_cni.primary("primary", "cni0", "10.88.0.0/24");
        // A length of its own, too: what is cut or has a tail would show.
        primary["plugins"][0]["capabilities"] =
            json!({format!("c{number}-{}", "x".repeat(number as usize % 700)): true});
        node.etc_cni.write("net.d/10-primary.conflist", &primary);
    };
    let daemon = Daemon::start(&node);
    primary(0);
    wait_until("the runtime has loaded our list", || node.network_name() == "meta-cni");
    // Before that there was nothing to load.
    let log = || fs::read_to_string(node.folder("containerd.log")).expect("reading the runtime's log");
    let before = log().len();

    let mut observer = Other::start(&node, &["watch", "/etc/cni/net.d", "00-meta-cni.conflist", "meta-cni"]);
    let over = AtomicBool::new(false);
    let began = Instant::now();
    let told = std::thread::scope(|scope| {
        let _over = Over(&over);
        let told = scope.spawn(|| listen(&node, &over));
        for number in 1..=rewrites {
            primary(number);
            let key = format!("c{number}-");
            let end = Instant::now() + Duration::from_secs(180);
            while !node.etc_cni.master().is_some_and(|text| text.contains(&key)) {
                assert!(Instant::now() < end, "rewrite {number} did not come");
                std::thread::yield_now();
            }
            assert!(number % 100 != 0 || observer.runs(), "the observer has ended");
        }
        over.store(true, Ordering::Relaxed);
        told.join().expect("asking the runtime")
    });
    let took = began.elapsed().as_secs_f64();
    let writes = daemon.metric("master_config_writes_total");
    let saw = observer.finish();
    println!(
        "{runtime:?}: {writes} writes in {took:.1} s; libcni's loader: {} loads, {} contents; the runtime was asked {} times and had \
         loaded {} contents",
        saw["loads"],
        saw["contents"],
        told.asked,
        told.texts.len()
    );
    assert!(writes > rewrites, "{writes} writes");
    assert_eq!(saw["faults"], json!([]), "of {} loads", saw["loads"]);
    assert!(saw["contents"].as_u64() > Some(rewrites / 10), "the observer was hardly there: {saw}");
    assert_eq!(told.wrong, Vec::<String>::new());
    assert!(told.texts.len() > 5, "the runtime has loaded {} contents", told.texts.len());
    let log = log();
    let failed: Vec<&str> =
        log[before..].lines().filter(|line| line.contains("failed to reload cni configuration")).collect();
    assert!(failed.is_empty(), "{} loads of the runtime failed: {:#?}", failed.len(), &failed[..1]);
}

/// Asks the runtime until it is over.
fn listen(node: &Node, over: &AtomicBool) -> Told {
    let mut told = Told::default();
    while !over.load(Ordering::Relaxed) {
        let loaded = node.loaded();
        told.asked += 1;
        if loaded.last != "OK" || loaded.name != "meta-cni" {
            told.wrong.push(format!("{}: {:?} {}", told.asked, loaded.last, loaded.name));
        }
        told.texts.insert(loaded.text);
        std::thread::sleep(Duration::from_millis(50));
    }
    told
}

/// Ends who listens, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
