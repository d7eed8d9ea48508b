//! The delegate that does what it is told and remembers what it was given.
//!
//! Tests install this binary under any plugin type name. What it answers is data: the key `script` of the plugin
//! configuration, and for operations that key does not mention the file `<type>.script.json` beside the binary. Both are
//! objects keyed by operation (`ADD`, `DEL`, ...); see `Step` for what an operation can be told. Each call is appended to
//! `calls.jsonl` beside the binary (key `log` of the script names another file; an empty name logs nothing), and what
//! happens later in the call to `<log>.events`. It never touches the network and accepts any stdin.
#![expect(
    clippy::disallowed_methods,
    reason = "a plugin of its own, not part of meta-cni: it reads its environment and writes its log"
)]

#[path = "scripted/answer.rs"]
mod answer;
#[path = "scripted/record.rs"]
mod record;

use serde_json::{Map, Value};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Exit code when the plugin itself could not do what its script says; no script should use it.
const SCRIPT_FAILED: u8 = 97;

/// Everything one call was given.
struct Given {
    dir: PathBuf,
    kind: String,
    operation: String,
    stdin: String,
    config: Value,
}

/// What an operation is told; every key is optional.
struct Step(Map<String, Value>);

impl Step {
    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key).and_then(Value::as_u64)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }

    fn flag(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or(false)
    }
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|a| a == "--hold") {
        return hold(&args);
    }
    match play(args.first()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "scripted-plugin: {error}");
            ExitCode::from(SCRIPT_FAILED)
        }
    }
}

/// The grandchild: stays alive for a while and holds every descriptor it inherited.
fn hold(args: &[OsString]) -> ExitCode {
    let number = |at: usize| args.get(at).and_then(|a| a.to_str()).and_then(|a| a.parse::<u64>().ok()).unwrap_or(0);
    if number(3) == 1 {
        let _ = nix::unistd::setsid();
    }
    std::thread::sleep(Duration::from_millis(number(2)));
    ExitCode::SUCCESS
}

fn play(argv0: Option<&OsString>) -> Result<u8, String> {
    let given = gather(argv0)?;
    let file_script = beside(&given);
    let script = given.config.get("script").unwrap_or(&Value::Null);
    let log = script
        .get("log")
        .or_else(|| file_script.get("log"))
        .and_then(Value::as_str)
        .map_or_else(|| given.dir.join("calls.jsonl"), PathBuf::from);
    let step = [script, &file_script]
        .into_iter()
        .find_map(|s| s.get(&given.operation).and_then(Value::as_object))
        .cloned()
        .map_or_else(|| Step(Map::new()), Step);
    let log = record::Log::new(log);
    log.call(&given)?;
    act(&given, &step, &log)
}

fn gather(argv0: Option<&OsString>) -> Result<Given, String> {
    let path = argv0
        .map(PathBuf::from)
        .filter(|p| p.is_absolute())
        .map_or_else(std::env::current_exe, Ok)
        .map_err(|e| format!("finding my own path: {e}"))?;
    let mut stdin = Vec::new();
    // A runtime may give no stdin at all; that is something to remember, not a failure.
    let _ = std::io::stdin().lock().read_to_end(&mut stdin);
    Ok(Given {
        dir: path.parent().map(PathBuf::from).unwrap_or_default(),
        kind: path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        operation: variable("CNI_COMMAND"),
        config: serde_json::from_slice(&stdin).unwrap_or(Value::Null),
        stdin: String::from_utf8_lossy(&stdin).into_owned(),
    })
}

fn variable(name: &str) -> String {
    std::env::var_os(name).map(|v| v.to_string_lossy().into_owned()).unwrap_or_default()
}

fn beside(given: &Given) -> Value {
    let path = given.dir.join(format!("{}.script.json", given.kind));
    std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or(Value::Null)
}

/// Device information, grandchild, wait, block, stderr, stdout, signal, exit code: always in this order.
fn act(given: &Given, step: &Step, log: &record::Log) -> Result<u8, String> {
    let failing = match step.number("fail_first") {
        Some(n) => log.count(given)? <= n,
        None => !step.flag("fail_if_netns") || !variable("CNI_NETNS").is_empty(),
    };
    if let Some(text) = step.text("device_info") {
        let file = given.config["runtimeConfig"]["CNIDeviceInfoFile"].as_str().ok_or("no CNIDeviceInfoFile")?;
        std::fs::write(file, text).map_err(|e| format!("writing {file}: {e}"))?;
    }
    if let Some(grandchild) = step.0.get("spawn_grandchild") {
        let pid = spawn_grandchild(grandchild)?;
        log.event(given, "grandchild", pid)?;
    }
    if let Some(ms) = step.number("sleep_ms") {
        std::thread::sleep(Duration::from_millis(ms));
    }
    if let Some(path) = step.text("block_until_file") {
        while !std::path::Path::new(path).exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let stderr = match step.0.get("stderr") {
        Some(Value::Number(n)) => filler(n.as_u64().unwrap_or(0)),
        Some(Value::String(text)) => text.clone().into_bytes(),
        _ => Vec::new(),
    };
    // The reader may be gone or have stopped reading; a plugin cannot help that.
    let _ = std::io::stderr().write_all(&stderr);
    let answer = answer::make(given, step, failing)?;
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(&answer.stdout);
    let _ = stdout.flush();
    log.event(given, "end", std::process::id())?;
    if failing && let Some(number) = step.number("signal") {
        die_by(number)?;
    }
    Ok(answer.exit)
}

fn filler(count: u64) -> Vec<u8> {
    vec![b'x'; usize::try_from(count).unwrap_or(0)]
}

fn die_by(number: u64) -> Result<(), String> {
    let signal = i32::try_from(number)
        .ok()
        .and_then(|n| nix::sys::signal::Signal::try_from(n).ok())
        .ok_or_else(|| format!("{number} is not a signal"))?;
    nix::sys::signal::raise(signal).map_err(|e| format!("raising {signal}: {e}"))?;
    std::thread::sleep(Duration::from_secs(60));
    Err(format!("survived {signal}"))
}

/// `{"ms": N, "setsid": true}` or `{"ms": N, "same_group": false}`: who stays behind, and in whose group.
fn spawn_grandchild(told: &Value) -> Result<u32, String> {
    use std::os::unix::process::CommandExt;
    let ms = told.get("ms").and_then(Value::as_u64).unwrap_or(1000);
    let is = |key: &str| told.get(key).and_then(Value::as_bool);
    let setsid = is("setsid").unwrap_or(false);
    let exe = std::env::current_exe().map_err(|e| format!("finding my own path: {e}"))?;
    let mut command = Command::new(exe);
    command.arg("--hold").arg(ms.to_string()).arg(u8::from(setsid).to_string());
    if is("same_group") == Some(false) {
        command.process_group(0);
    }
    let child = command.spawn().map_err(|e| format!("starting the grandchild: {e}"))?;
    // Whoever ends our group now must not reach a grandchild that was told to leave it.
    for _ in 0..60_000 {
        if !setsid || record::session_of(child.id()) == Some(u64::from(child.id())) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(child.id())
}
