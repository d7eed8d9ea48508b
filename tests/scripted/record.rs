//! The scripted plugin's memory: one line per call in the log, appended in a single write so that plugins which run at
//! once never mix their lines. What happens after the call began (its end, its grandchild) goes to `<log>.events`.

use crate::Given;
use serde_json::{Map, Value, json};
use std::fs::OpenOptions;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

pub struct Log(Option<PathBuf>);

impl Log {
    pub fn new(path: PathBuf) -> Self {
        Self(Some(path).filter(|p| !p.as_os_str().is_empty()))
    }

    /// What this call was given, before anything is done with it.
    pub fn call(&self, given: &Given) -> Result<(), String> {
        let Some(path) = &self.0 else { return Ok(()) };
        let stat = stat_of("self").unwrap_or_default();
        let line = json!({
            "time_ns": now(),
            "type": given.kind,
            "operation": given.operation,
            "env": environment(),
            "variables": std::env::vars_os().map(|(k, _)| lossy(&k)).collect::<Vec<_>>(),
            "stdin": given.stdin,
            "pid": std::process::id(),
            "ppid": stat.get(1),
            "pgid": stat.get(2),
            "sid": stat.get(3),
            "stdio": (0..3).map(target).collect::<Vec<_>>(),
            "fds": descriptors(),
            "netns_self": std::fs::read_link("/proc/self/ns/net").map(|l| lossy(l.as_os_str())).ok(),
            "has_prev_result": given.config.get("prevResult").is_some(),
        });
        append(path, &line).map(drop)
    }

    pub fn event(&self, given: &Given, event: &str, pid: u32) -> Result<(), String> {
        let Some(path) = &self.0 else { return Ok(()) };
        let line = json!({
            "time_ns": now(), "event": event, "pid": pid, "call_pid": std::process::id(),
            "type": given.kind, "operation": given.operation,
        });
        append(&with(path, ".events"), &line).map(drop)
    }

    /// How many calls of this operation for this network, with this one. The end of an appended line is unique, so
    /// callers at once count correctly without a lock.
    pub fn count(&self, given: &Given) -> Result<u64, String> {
        let network = given.config.get("name").and_then(Value::as_str);
        let name = format!(".count-{}-{}-{}", given.kind, given.operation, network.unwrap_or("").replace('/', "_"));
        let base = self.0.clone().unwrap_or_else(|| given.dir.join("calls"));
        append(&with(&base, &name), &Value::Null).map(|end| end / 5)
    }
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn append(path: &Path, line: &Value) -> Result<u64, String> {
    let say = |e: std::io::Error| format!("appending to {}: {e}", path.display());
    let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(say)?;
    let mut bytes = line.to_string().into_bytes();
    bytes.push(b'\n');
    file.write_all(&bytes).map_err(say)?;
    file.stream_position().map_err(say)
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

fn lossy(text: &std::ffi::OsStr) -> String {
    text.to_string_lossy().into_owned()
}

fn environment() -> Map<String, Value> {
    std::env::vars_os()
        .map(|(key, value)| (lossy(&key), lossy(&value)))
        .filter(|(key, _)| key.starts_with("CNI_") || key.starts_with("META_CNI"))
        .map(|(key, value)| (key, Value::String(value)))
        .collect()
}

fn target(fd: u32) -> Option<String> {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).ok().map(|link| lossy(link.as_os_str()))
}

/// Descriptors above stderr with what they point to; the one that lists them is gone by the time it is looked up.
fn descriptors() -> Map<String, Value> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return Map::new();
    };
    let numbers: Vec<u32> =
        entries.flatten().filter_map(|e| e.file_name().to_str().and_then(|n| n.parse().ok())).collect();
    numbers
        .into_iter()
        .filter(|fd| *fd > 2)
        .filter_map(|fd| Some((fd.to_string(), Value::String(target(fd)?))))
        .collect()
}

/// Parent, process group and session, which follow the state in `/proc/<pid>/stat`; index 0 is the state's place.
fn stat_of(pid: &str) -> Option<Vec<u64>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    let fields = after_name.split(' ').take(4);
    Some(fields.map(|f| f.parse().unwrap_or(0)).collect())
}

pub fn session_of(pid: u32) -> Option<u64> {
    stat_of(&pid.to_string())?.get(3).copied()
}
