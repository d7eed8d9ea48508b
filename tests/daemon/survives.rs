//! D3, D5, D13: many writers, many ends of the daemon.

use std::fs::File;
use std::process::Command;

use fs2::FileExt as _;
use meta_cni::store::master::{Attempt, Places, lock_path, try_lock};
use serde_json::json;

use crate::place::{Place, eventually, wrong};

#[test]
fn d5_a_hundred_kills_and_restarts_among_copies_of_itself_give_the_same_bytes() {
    let place = Place::new();
    place.primary("50-calico.conflist", "portMappings");
    assert_eq!(place.once(&[]).code(), Some(0));
    let first = place.own_text().unwrap();
    let nested = first.replace("\"type\"", &format!(r#""delegates":[{}],"type""#, first.trim()));
    let names = [
        "00-meta-cni.conf",
        "00-meta-cni.conflist.bak",
        "00-meta-cni.conflist.old",
        "00-meta-cni.conflist.cilium_bak",
        ".00-meta-cni.conflist.xYz123.tmp",
        "00-multus.conf",
        "05-any.conflist",
        "10-meta-cni.json",
        "zz-last.conflist",
        "01-copy of ours.conflist",
    ];
    let mut multus = json!({ "type": "multus-shim", "name": "multus-cni-network", "cniVersion": "0.3.1" });
    multus["delegates"] = json!([serde_json::from_str::<serde_json::Value>(&first).unwrap()]);
    for round in 0..100 {
        for (at, name) in names.iter().enumerate() {
            let text = match (round + at) % 4 {
                0 => nested.clone(),
                1 => multus.to_string(),
                2 => first[..(round * 7) % first.len()].to_owned(),
                _ => first.clone(),
            };
            std::fs::write(place.conf(name), text).unwrap();
        }
        match round % 3 {
            0 => std::fs::remove_file(place.own()).unwrap(),
            1 => std::fs::write(place.own(), &nested).unwrap(),
            _ => {}
        }
        let daemon = place.start();
        if round % 4 == 0 {
            // Somewhere on its way.
            std::thread::sleep(std::time::Duration::from_millis(u64::try_from(round).unwrap() / 4));
        } else {
            eventually("the same file", || (place.own_text().as_ref() == Some(&first)).then_some(()));
        }
        daemon.kill();
    }
    assert_eq!(place.once(&[]).code(), Some(0));
    assert_eq!(place.own_text(), Some(first.clone()));
    assert_eq!(wrong(first.as_bytes()), None);
    assert_eq!(place.strays(), Vec::<String>::new());
}

#[test]
fn d13_the_file_stays_through_every_end_and_a_start_changes_nothing() {
    use std::os::unix::fs::MetadataExt as _;
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let daemon = place.start_through(&[], &["--cleanup-config-on-exit"]);
    let text = place.keeps("10-calico.conflist", "mac");
    daemon.says("\"cleanup-config-on-exit\" of Multus has no effect");
    daemon.ready();
    let inode = || std::fs::metadata(place.own()).unwrap().ino();
    let first = inode();
    assert_eq!(daemon.term(), Some(0));
    let daemon = place.start();
    daemon.ready();
    daemon.kill();
    let daemon = place.start();
    daemon.ready();
    daemon.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(daemon.ends(), Some(0));
    assert_eq!((place.own_text(), inode()), (Some(text), first));
}

#[test]
fn d3_a_writer_waits_for_the_lock_names_its_holder_and_gives_up_in_time() {
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let lock = File::create(lock_path(&place.at("run"))).unwrap();
    lock.lock_exclusive().unwrap();
    std::fs::write(lock_path(&place.at("run")), "4711 somebody\n").unwrap();
    let daemon = place.start();
    let missing = eventually("the holder's name", || {
        Some(daemon.get("/readyz")).filter(|(status, text)| *status == 503 && text.contains("4711 somebody"))
    });
    assert!(missing.1.contains("is held by"), "{missing:?}");
    assert!(place.own_text().is_none());
    fs2::FileExt::unlock(&lock).unwrap();
    place.keeps("10-calico.conflist", "mac");
    daemon.ready();
    assert!(daemon.metric("master_config_write_errors_total") >= 1);
}

#[test]
fn d3_a_dead_holder_blocks_nobody() {
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let path = lock_path(&place.at("run"));
    let mut holder = Command::new("flock").arg(&path).args(["sleep", "1000"]).spawn().expect("flock of util-linux");
    eventually("the lock to be taken", || {
        matches!(try_lock(&place.at("run"), "test"), Ok(Attempt::Busy(_))).then_some(())
    });
    // flock runs a child that inherits the lock: both end, as a killed writer would.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id())).unwrap();
    for child in children.split_whitespace() {
        let child = nix::unistd::Pid::from_raw(child.parse().unwrap());
        nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    let _ = holder.kill();
    holder.wait().unwrap();
    assert_eq!(place.once(&[]).code(), Some(0));
    assert!(place.own_text().is_some());
}

#[test]
fn d3_two_daemons_and_four_other_writers_leave_one_whole_file_at_any_time() {
    let place = Place::new();
    place.primary("10-calico.conflist", "mac");
    let (one, two) = (place.start(), place.start());
    let text = place.keeps("10-calico.conflist", "mac");
    let other = text.replace("10-calico", "11-calico");
    let (run, state, conf) = (place.at("run"), place.at("state"), place.at("conf"));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|number| {
                let (run, state, conf, other) = (&run, &state, &conf, &other);
                scope.spawn(move || {
                    let mut written = 0;
                    while written < 50 {
                        let who = format!("writer {number}");
                        if let Attempt::Held(lock) = try_lock(run, &who).unwrap() {
                            // Under the lock nobody else writes: what was written is what is read.
                            lock.write(conf, other, Places { run_dir: run, state_dir: state }).unwrap();
                            let there = std::fs::read_to_string(conf.join("00-meta-cni.conflist")).unwrap();
                            assert_eq!(there, *other);
                            written += 1;
                        }
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            let there = std::fs::read(place.own()).unwrap();
            assert_eq!(wrong(&there), None);
        }
    });
    assert_eq!(place.strays(), Vec::<String>::new());
    drop((one, two));
    let alone = place.start();
    eventually("the right file", || (place.own_text().as_ref() == Some(&text)).then_some(()));
    alone.ready();
}
