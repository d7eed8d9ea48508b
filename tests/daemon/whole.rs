//! D1: who reads our file in a tight loop never sees it absent, empty or otherwise than whole.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use meta_cni::store::master::{Attempt, Places, Written, try_lock};

use crate::place::{Place, eventually, wrong};

/// Reads `path` until `over`; gives how often, and panics at the first thing that is wrong.
fn observe(path: &std::path::Path, over: &AtomicBool, reads: &AtomicU64) {
    while !over.load(Ordering::Relaxed) {
        let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if let Some(why) = wrong(&text) {
            panic!("{why}: {:?}", String::from_utf8_lossy(&text));
        }
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends the observer also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn d1_ten_thousand_rewrites_are_never_seen_half_done() {
    // In memory: what is proved is the order of steps, and no disk syncs 10 000 times in a test.
    let place = Place::under(std::path::Path::new("/dev/shm"));
    place.primary("10-calico.conflist", "mac");
    assert_eq!(place.once(&[]).code(), Some(0));
    let text = place.own_text().unwrap();
    let texts = [text.replace("10-calico", "10-calico-with-a-longer-name"), text];
    let (run, state, conf) = (place.at("run"), place.at("state"), place.at("conf"));
    let (over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _over = Over(&over);
        let observer = scope.spawn(|| observe(&place.own(), &over, &reads));
        for number in 0..10_000 {
            // A process that another test starts has the lock's descriptor until it is another program.
            let lock = eventually("the lock", || match try_lock(&run, "test").unwrap() {
                Attempt::Held(lock) => Some(lock),
                Attempt::Busy(_) => None,
            });
            let places = Places { run_dir: &run, state_dir: &state };
            assert_eq!(lock.write(&conf, &texts[number % 2], places).unwrap(), Written::Changed);
            assert!(!observer.is_finished(), "the observer has seen something");
        }
    });
    assert!(reads.load(Ordering::Relaxed) > 1000, "the observer was hardly there: {reads:?}");
    assert_eq!(place.strays(), Vec::<String>::new());
}

#[test]
fn d1_the_daemons_own_rewrites_are_never_seen_half_done() {
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    place.keeps("10-calico.conflist", "mac");
    let (over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _over = Over(&over);
        let observer = scope.spawn(|| observe(&place.own(), &over, &reads));
        for number in 0..200 {
            let capability = format!("c{number}");
            place.primary("10-calico.conflist", &capability);
            place.keeps("10-calico.conflist", &capability);
            assert!(!observer.is_finished(), "the observer has seen something");
        }
    });
    assert!(daemon.metric("master_config_writes_total") >= 200);
    assert!(reads.load(Ordering::Relaxed) > 200, "the observer was hardly there: {reads:?}");
}
