//! The regression guard: what one call of the release binary costs, counted and never timed.
//!
//! `make bench` shows the times. Here only what is the same on every machine decides: system calls, bytes written,
//! peak memory and the size of the binary. Needs root (namespaces), strace and the static release binary.
#![expect(clippy::disallowed_methods, reason = "a program of its own, that starts and watches others")]

#[path = "../benches/rig/mod.rs"]
#[expect(dead_code, reason = "the bench uses the rest")]
mod rig;

use std::collections::BTreeMap;
use std::fs;

use rig::parts::{Parts, scratch};
use rig::sandbox::Sandbox;
use rig::scene::{Delegate, Scene};
use rig::{Error, Result, counted};

/// What is counted and how much of it there may be.
const BUDGETS: [(&str, u64); 16] = [
    ("binary, bytes", 4 << 20),
    ("ADD, 0 extra: peak memory, KiB", 4096),
    ("ADD, 0 extra: system calls", 230),
    ("ADD, 0 extra: bytes written", 4 << 10),
    ("ADD, 0 extra: files written", 5),
    ("DEL, 0 extra: peak memory, KiB", 4096),
    ("DEL, 0 extra: system calls", 165),
    ("DEL, 0 extra: bytes written", 1 << 10),
    ("DEL, 0 extra: files written", 3),
    ("ADD, 2 extra: peak memory, KiB", 4096),
    ("ADD, 2 extra: system calls", 400),
    ("ADD, 2 extra: bytes written", 12 << 10),
    ("ADD, 2 extra: files written", 10),
    ("DEL, 2 extra: peak memory, KiB", 4096),
    ("DEL, 2 extra: system calls", 320),
    ("DEL, 2 extra: bytes written", 1 << 10),
];

#[test]
fn one_call_stays_within_its_budget() {
    let figures = match measure() {
        Ok(figures) => figures,
        Err(error) => panic!("the budgets could not be checked: {}", error.report()),
    };
    let mut over = Vec::new();
    for (name, limit) in BUDGETS {
        let figure = figures[name];
        println!("{name:<40} {figure:>10} of {limit}");
        if figure > limit {
            over.push(format!("{name}: {figure}, at most {limit}"));
        }
    }
    assert!(over.is_empty(), "over budget:\n{}", over.join("\n"));
}

fn measure() -> Result<BTreeMap<String, u64>> {
    let parts = Parts::find_for_counting()?;
    let sandbox = Sandbox::enter(&scratch(), 1)?;
    let file = fs::metadata(&parts.plugin).map_err(Error::doing("looking at the plugin"))?;
    let mut figures = BTreeMap::from([("binary, bytes".to_owned(), file.len())]);
    for networks in [0, 2] {
        let scene = Scene::new(&sandbox, &parts, Delegate::Noop, networks)?;
        let mut note = |operation: &str, what: &str, figure: u64| {
            figures.insert(format!("{operation}, {networks} extra: {what}"), figure);
        };
        for (operation, kib) in counted::lifetime(&sandbox, &scene, counted::peak_memory)? {
            note(operation, "peak memory, KiB", kib);
        }
        let trace = |call: &_| counted::trace(call, sandbox.dir());
        for (operation, trace) in counted::lifetime(&sandbox, &scene, trace)? {
            note(operation, "system calls", trace.total());
            note(operation, "bytes written", trace.bytes_written);
            note(operation, "files written", trace.files_written.len() as u64);
        }
    }
    Ok(figures)
}
