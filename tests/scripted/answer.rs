//! What the scripted plugin prints: the script's answer, or a sensible one in the version of its configuration.
//! Never decides whether the call fails by itself; that is the script's word alone.

use crate::{Given, Step, filler, variable};
use serde_json::{Map, Value, json};

pub struct Answer {
    pub stdout: Vec<u8>,
    pub exit: u8,
}

/// `failing` is false once the calls that `fail_first` wants to fail are over.
pub fn make(given: &Given, step: &Step, failing: bool) -> Result<Answer, String> {
    let exit = step.number("exit").and_then(|n| u8::try_from(n).ok());
    if failing {
        let error = step.0.get("error").and_then(Value::as_object);
        let raw = if let Some(error) = error { Some(line(&error_object(given, error))) } else { raw_stdout(step)? };
        if let Some(stdout) = raw {
            let exit = exit.unwrap_or(u8::from(error.is_some()));
            return Ok(Answer { stdout, exit });
        }
        let dies = exit.is_some_and(|code| code != 0) || step.0.contains_key("signal");
        if dies && step.0.get("result").is_none() {
            let exit = exit.unwrap_or(1);
            return Ok(Answer { stdout: Vec::new(), exit });
        }
    }
    let stdout = match (given.operation.as_str(), step.0.get("result")) {
        (_, Some(told)) => line(&filled(given, told)),
        ("ADD", None) => line(&add_result(given, step)),
        ("VERSION", None) => line(&version(given, step)),
        _ => Vec::new(),
    };
    let exit = if failing { exit.unwrap_or(0) } else { 0 };
    Ok(Answer { stdout, exit })
}

fn line(value: &Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

fn raw_stdout(step: &Step) -> Result<Option<Vec<u8>>, String> {
    if let Some(text) = step.text("stdout") {
        return Ok(Some(text.as_bytes().to_vec()));
    }
    if let Some(count) = step.number("stdout_bytes") {
        return Ok(Some(filler(count)));
    }
    let Some(hex) = step.text("stdout_hex") else {
        return Ok(None);
    };
    (0..hex.len() / 2)
        .map(|i| {
            let digits = hex.get(2 * i..2 * i + 2).unwrap_or("");
            u8::from_str_radix(digits, 16).map_err(|e| format!("stdout_hex: {e}"))
        })
        .collect::<Result<Vec<u8>, _>>()
        .map(Some)
}

fn error_object(given: &Given, error: &Map<String, Value>) -> Value {
    let mut object = error.clone();
    let version = config_version(given).unwrap_or("0.1.0");
    object.entry("cniVersion").or_insert_with(|| version.into());
    object.entry("code").or_insert_with(|| 100.into());
    object.entry("msg").or_insert_with(|| "the script said no".into());
    Value::Object(object)
}

fn config_version(given: &Given) -> Option<&str> {
    given.config.get("cniVersion").and_then(Value::as_str)
}

/// The result as told, with the words a test cannot know filled in.
fn filled(given: &Given, told: &Value) -> Value {
    match told {
        Value::String(text) => match text.as_str() {
            "$IFNAME" => variable("CNI_IFNAME").into(),
            "$NETNS" => variable("CNI_NETNS").into(),
            "$CONTAINERID" => variable("CNI_CONTAINERID").into(),
            "$CNIVERSION" => config_version(given).unwrap_or("0.1.0").into(),
            _ => told.clone(),
        },
        Value::Array(items) => items.iter().map(|v| filled(given, v)).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), filled(given, value))).collect::<Map<_, _>>().into()
        }
        _ => told.clone(),
    }
}

fn add_result(given: &Given, step: &Step) -> Value {
    let previous = given.config.get("prevResult").filter(|p| p.is_object());
    if let Some(previous) = previous
        && !step.flag("ignore_prev")
    {
        return previous.clone();
    }
    let ifname = variable("CNI_IFNAME");
    let network = given.config.get("name").and_then(Value::as_str);
    let key = format!("{}/{ifname}/{}", variable("CNI_CONTAINERID"), network.unwrap_or(""));
    let [a, b, ..] = fingerprint(&key).to_le_bytes();
    let address = format!("10.88.{a}.{b}/16");
    let Some(version) = config_version(given).filter(|v| !v.is_empty()) else {
        return json!({ "ip4": { "ip": address } });
    };
    if version.starts_with("0.1.") || version.starts_with("0.2.") {
        return json!({ "cniVersion": version, "ip4": { "ip": address, "gateway": "10.88.0.1" }, "dns": {} });
    }
    let mut ip = json!({ "interface": 0, "address": address, "gateway": "10.88.0.1" });
    if version.starts_with("0.") {
        ip["version"] = "4".into();
    }
    let mac = format!("0a:58:0a:58:{a:02x}:{b:02x}");
    json!({
        "cniVersion": version,
        "interfaces": [{ "name": ifname, "mac": mac, "sandbox": variable("CNI_NETNS") }],
        "ips": [ip],
        "routes": [],
        "dns": {}
    })
}

/// FNV-1a: addresses differ between attachments and are the same whenever the test is run.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn version(given: &Given, step: &Step) -> Value {
    let all = json!(["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    json!({
        "cniVersion": config_version(given).unwrap_or("1.1.0"),
        "supportedVersions": step.0.get("versions").cloned().unwrap_or(all),
    })
}
