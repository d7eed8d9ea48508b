//! How fast and how small it is, for people: `META_CNID_BIN=target/release/meta-cnid cargo test --test daemon report --
//! --ignored --nocapture`; `META_CNID_ROUNDS` for other than 1 000 rounds. Nothing is judged, because the time is that of the machine.

use std::time::{Duration, Instant};

use crate::place::Place;
use crate::watcher::used;

/// Waits without a pause, so that what is measured is not the pause.
fn spin(mut question: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !question() {
        assert!(start.elapsed() < Duration::from_secs(60), "it did not come");
        std::thread::yield_now();
    }
    start.elapsed()
}

fn line(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what}: {} times, p50 {:?}, p99 {:?}, most {:?}", times.len(), at(50), at(99), at(100));
}

#[test]
#[ignore = "a report for people; its figures depend on the machine"]
fn report_of_latencies_memory_and_cpu() {
    let place = Place::new();
    let daemon = place.start();
    daemon.says("waiting for the primary");
    let rounds = std::env::var("META_CNID_ROUNDS").map_or(1000, |rounds| rounds.parse().unwrap());
    let mut times = Vec::new();
    for round in 0..rounds {
        // Another text each time: the same one again might be a restoration, and the fourth of those waits.
        place.primary("10-calico.conflist", &format!("c{round}"));
        times.push(spin(|| place.own().exists()));
        std::fs::remove_file(place.conf("10-calico.conflist")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        std::fs::remove_file(place.own()).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    line("primary complete -> master config in place", times);
    place.primary("10-calico.conflist", "mac");
    let text = place.keeps("10-calico.conflist", "mac");
    let mut daemon = daemon;
    let mut times = Vec::new();
    for round in 0..rounds {
        if round % 2 == 0 {
            // A third time within a minute would be a fight.
            daemon.kill();
            daemon = place.start();
            daemon.ready();
        }
        match round % 4 {
            0 | 1 => std::fs::remove_file(place.own()).unwrap(),
            2 => std::fs::write(place.own(), "{").unwrap(),
            _ => std::fs::rename(place.own(), place.conf("00-meta-cni.conflist.bak")).unwrap(),
        }
        times.push(spin(|| place.own_text().as_ref() == Some(&text)));
    }
    line("damaged -> restored", times);
    daemon.ready();
    let (before, _) = used(&daemon);
    std::thread::sleep(Duration::from_secs(30));
    let (after, most) = used(&daemon);
    println!("idle for 30 s: CPU {:?}; at most {most} KiB resident since its start", after - before);
}
