//! The part of the bench that counts instead of timing: start, size, memory, instructions, system calls, writes.
//!
//! Without strace the system calls are left out and that is said; the rest goes on.

use std::fs;

use crate::report::{self, Budget};
use crate::rig::parts::Parts;
use crate::rig::sandbox::Sandbox;
use crate::rig::scene::{Delegate, Scene, version_call};
use crate::rig::{Error, Result, counted, steps};
use crate::timed;

/// Calls that make or change a name on the disk, besides writing.
const NAMES: [&str; 9] = ["rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "rmdir"];
const SYNCS: [&str; 3] = ["fsync", "fdatasync", "syncfs"];

pub fn part(sandbox: &Sandbox, parts: &Parts, starts: usize) -> Result<()> {
    report::heading(&format!("VERSION, {starts} rounds (bare is the no-op delegate)"));
    let noop = version_call(&parts.noop_dir.join("noop-plugin"));
    let pair = timed::start(&noop, &version_call(&parts.plugin), starts)?;
    report::row("start to end", &pair, Budget::None);

    println!("\none call of the plugin, counted (delegates are not)");
    let micros = pair.plugin.percentile(0.5) * 1e3;
    report::figure("start (VERSION), p50", micros, "us", report::START);
    let file = fs::metadata(&parts.plugin).map_err(Error::doing("looking at the plugin"))?;
    report::figure("binary", in_kib(file.len()), "KiB", report::SIZE);
    for networks in [0, 2, 8] {
        let scene = Scene::new(sandbox, parts, Delegate::Noop, networks)?;
        memory(sandbox, &scene)?;
        // Stepping through a long call takes long; two points show the slope.
        if networks < 8 {
            instructions(sandbox, &scene)?;
        }
        system_calls(sandbox, &scene)?;
    }
    Ok(())
}

fn memory(sandbox: &Sandbox, scene: &Scene) -> Result<()> {
    for (operation, kib) in counted::lifetime(sandbox, scene, counted::peak_memory)? {
        let name = label(operation, scene, "peak memory");
        report::figure(&name, as_figure(kib), "KiB", report::MEMORY);
    }
    Ok(())
}

fn instructions(sandbox: &Sandbox, scene: &Scene) -> Result<()> {
    for (operation, count) in counted::lifetime(sandbox, scene, steps::instructions)? {
        let name = label(operation, scene, "instructions in user space");
        report::figure(&name, as_figure(count) / 1e3, "k", Budget::None);
    }
    Ok(())
}

fn system_calls(sandbox: &Sandbox, scene: &Scene) -> Result<()> {
    let measure = |call: &_| counted::trace(call, sandbox.dir());
    let traces = match counted::lifetime(sandbox, scene, measure) {
        Err(Error::Unfit(why)) => {
            report::note(&format!("system calls not counted: {why}"));
            return Ok(());
        }
        traces => traces?,
    };
    for (operation, trace) in traces {
        let name = label(operation, scene, "system calls");
        report::figure(&name, as_figure(trace.total()), "", Budget::None);
        report::note(&trace.most_frequent(12));
        report::note(&format!(
            "{} bytes into {} files; {} names made, changed or removed; {} syncs",
            trace.bytes_written,
            trace.files_written.len(),
            trace.of(&NAMES),
            trace.of(&SYNCS),
        ));
    }
    Ok(())
}

fn label(operation: &str, scene: &Scene, what: &str) -> String {
    format!("{operation}, {} extra: {what}", scene.networks)
}

fn in_kib(bytes: u64) -> f64 {
    as_figure(bytes.div_ceil(1024))
}

#[expect(clippy::cast_precision_loss, reason = "for reading; counts stay far below 2^52")]
fn as_figure(count: u64) -> f64 {
    count as f64
}
