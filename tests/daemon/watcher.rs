//! D15: whatever happens to the directories and to inotify, what is on disk is seen.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::place::{Place, Running, eventually, primary, put};

#[test]
fn d15_a_directory_that_is_missing_at_the_start_and_one_that_is_replaced() {
    let place = Place::new();
    std::fs::remove_dir(place.at("conf")).unwrap();
    let daemon = place.start();
    daemon.says("waiting for the primary");
    std::fs::create_dir(place.at("conf")).unwrap();
    place.primary("10-calico.conflist", "mac");
    place.keeps("10-calico.conflist", "mac");
    for round in 0..5 {
        let capability = format!("c{round}");
        // As an installer does that builds a new one beside it.
        std::fs::create_dir(place.at("conf.new")).unwrap();
        put(&place.at("conf.new"), "10-calico.conflist", &primary(&capability));
        std::fs::rename(place.at("conf"), place.at(&format!("conf.{round}"))).unwrap();
        std::fs::rename(place.at("conf.new"), place.at("conf")).unwrap();
        place.keeps("10-calico.conflist", &capability);
        // And the new one is watched.
        let capability = format!("d{round}");
        place.primary("10-calico.conflist", &capability);
        place.keeps("10-calico.conflist", &capability);
    }
    daemon.ready();
    assert_eq!(daemon.metric("watch_polling"), 0);
}

/// Waits until the daemon has looked at what it wrote itself: the next look is that after the next event.
fn settled(daemon: &Running) {
    eventually("the end of looking", || {
        let looks = daemon.metric("looks_total");
        std::thread::sleep(Duration::from_millis(200));
        (daemon.metric("looks_total") == looks).then_some(())
    });
}

#[test]
fn d15_links_are_swapped_as_config_maps_do_it() {
    let mut place = Place::new();
    let mount = place.at("primary");
    std::fs::create_dir(&mount).unwrap();
    place.config(&json!({ "multusAutoconfigDir": mount }));
    let turn = |round: usize| {
        let version = mount.join(format!("..v{round}"));
        std::fs::create_dir(&version).unwrap();
        std::fs::write(version.join("10-calico.conflist"), primary(&format!("c{round}"))).unwrap();
        symlink(format!("..v{round}"), mount.join("..data_tmp")).unwrap();
        std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    turn(0);
    symlink("..data/10-calico.conflist", mount.join("10-calico.conflist")).unwrap();
    let daemon = place.start();
    let has = |capability: &str| {
        eventually(capability, || {
            let ours = serde_json::from_str::<serde_json::Value>(&place.own_text()?).ok()?["plugins"][0].clone();
            (ours["capabilities"][capability] == json!(true)).then_some(ours["clusterNetwork"].clone())
        })
    };
    assert_eq!(has("c0"), json!(mount.join("10-calico.conflist")));
    for round in 1..6 {
        settled(&daemon);
        turn(round);
        has(&format!("c{round}"));
    }
    // A link that leads out of the directory: what it leads to is watched too.
    std::fs::create_dir(place.at("elsewhere")).unwrap();
    put(&place.at("elsewhere"), "real", &primary("far"));
    symlink(place.at("elsewhere/real"), mount.join("05-calico.conflist")).unwrap();
    has("far");
    settled(&daemon);
    put(&place.at("elsewhere"), "real", &primary("farther"));
    has("farther");
    drop(daemon);
}

/// Starts the daemon in a user namespace of its own, in which `limit` is this.
fn limited(place: &Place, limit: &str, value: usize) -> Running {
    let script = format!("echo {value} > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
    place.start_through(&["unshare", "--user", "--map-root-user", "sh", "-c", &script], &[])
}

#[test]
fn d15_without_inotify_instances_or_watches_files_are_polled() {
    for (limit, value, says) in
        [("max_inotify_instances", 0, "no inotify instance"), ("max_inotify_watches", 1, "cannot be watched")]
    {
        let place = Place::new();
        let daemon = limited(&place, limit, value);
        daemon.says("waiting for the primary");
        eventually("polling", || (daemon.metric("watch_polling") == 1).then_some(()));
        daemon.says(says);
        place.primary("10-calico.conflist", "mac");
        place.keeps("10-calico.conflist", "mac");
        std::fs::remove_file(place.own()).unwrap();
        place.keeps("10-calico.conflist", "mac");
        assert_eq!(daemon.said(says), 1, "said once: {}", daemon.log());
    }
}

#[test]
fn d15_a_queue_that_overflows_loses_nothing() {
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    place.keeps("10-calico.conflist", "mac");
    daemon.ready();
    daemon.signal(Signal::SIGSTOP);
    let most: usize =
        std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    // Each file is made, opened and closed, and none is the same event as the last.
    for number in 0..most / 2 {
        let path = place.conf(&format!("note-{}", number % 64));
        std::fs::write(&path, "x").unwrap();
        std::fs::remove_file(&path).unwrap();
    }
    place.primary("10-calico.conflist", "ips");
    std::fs::remove_file(place.own()).unwrap();
    daemon.signal(Signal::SIGCONT);
    place.keeps("10-calico.conflist", "ips");
    place.primary("10-calico.conflist", "dns");
    place.keeps("10-calico.conflist", "dns");
}

/// CPU time of a process until now, and its resident memory in KiB.
pub fn used(daemon: &Running) -> (Duration, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    (Duration::from_millis(ticks * 10), line.split_whitespace().nth(1).unwrap().parse().unwrap())
}

#[test]
fn d15_a_storm_of_ten_thousand_files_is_borne_and_what_is_right_stands_at_its_end() {
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start();
    place.keeps("10-calico.conflist", "mac");
    daemon.ready();
    let start = Instant::now();
    let (before, _) = used(&daemon);
    for number in 0..10_000 {
        // Configurations, each a candidate, and each comes after the one that is known.
        let text = format!(r#"{{"name":"n{number}","type":"bridge"}}"#);
        std::fs::write(place.conf(&format!("50-{number}.conf")), text).unwrap();
        if number % 1000 == 500 {
            // It may not be there again yet.
            let _ = std::fs::remove_file(place.own());
            place.primary("10-calico.conflist", &format!("c{number}"));
        }
    }
    place.keeps("10-calico.conflist", "c9500");
    let stormed = start.elapsed();
    place.primary("10-calico.conflist", "ips");
    place.keeps("10-calico.conflist", "ips");
    daemon.ready();
    let (after, most) = used(&daemon);
    println!(
        "storm: {stormed:?}, CPU {:?}, at most {most} KiB, {} looks",
        after - before,
        daemon.metric("looks_total")
    );
    assert!(daemon.metric("looks_total") < 5_000, "a burst is one question");
    assert!(most < 60 << 10, "{most} KiB");
    for number in 0..10_000 {
        std::fs::remove_file(place.conf(&format!("50-{number}.conf"))).unwrap();
    }
    place.primary("10-calico.conflist", "dns");
    place.keeps("10-calico.conflist", "dns");
}
