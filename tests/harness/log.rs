//! What the scripted plugins remember, joined: each call with when it began and, if it got that far, when it ended.

use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;

/// One call of a scripted plugin.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub kind: String,
    pub operation: String,
    pub env: BTreeMap<String, String>,
    /// Names of all environment variables.
    pub variables: Vec<String>,
    pub stdin: String,
    pub pid: u64,
    pub ppid: u64,
    pub pgid: u64,
    pub sid: u64,
    /// What stdin, stdout and stderr point to.
    pub stdio: Vec<Option<String>>,
    /// Descriptors above 2 and what they point to.
    pub fds: BTreeMap<u32, String>,
    pub begin_ns: u64,
    /// None when the call was killed before it answered.
    pub end_ns: Option<u64>,
    pub grandchild: Option<u64>,
}

impl Recorded {
    /// The plugin configuration it was given.
    pub fn config(&self) -> Value {
        serde_json::from_str(&self.stdin).unwrap_or_else(|e| {
            panic!("{} {} got stdin that is not JSON ({e}): {:?}", self.kind, self.operation, self.stdin)
        })
    }

    /// Name of the network.
    pub fn network(&self) -> String {
        self.config()["name"].as_str().unwrap_or("").to_owned()
    }

    pub fn ifname(&self) -> &str {
        self.env.get("CNI_IFNAME").map_or("", String::as_str)
    }

    pub fn container(&self) -> &str {
        self.env.get("CNI_CONTAINERID").map_or("", String::as_str)
    }

    pub fn prev_result(&self) -> Option<Value> {
        self.config().get("prevResult").cloned()
    }

    /// `ADD eth0 bridge`: enough to state an order of calls.
    pub fn brief(&self) -> String {
        format!("{} {} {}", self.operation, self.ifname(), self.kind)
    }
}

/// The top-level keys of a JSON object with the exact text of their values, in the order they stand.
pub fn fields(text: &str) -> Vec<(String, String)> {
    struct Fields;
    impl<'de> serde::de::Visitor<'de> for Fields {
        type Value = Vec<(String, String)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                fields.push((key, value.get().to_owned()));
            }
            Ok(fields)
        }
    }
    use serde::de::Deserializer as _;
    serde_json::Deserializer::from_str(text)
        .deserialize_map(Fields)
        .unwrap_or_else(|e| panic!("not a JSON object ({e}): {text}"))
}

/// The calls in the log file, oldest first.
pub fn read(log: &Path) -> Vec<Recorded> {
    let mut events = log.as_os_str().to_owned();
    events.push(".events");
    let events = lines(Path::new(&events));
    let mut calls: Vec<Recorded> = lines(log).iter().map(recorded).collect();
    for call in &mut calls {
        for event in events.iter().filter(|e| e["call_pid"] == call.pid) {
            match event["event"].as_str() {
                Some("end") => call.end_ns = event["time_ns"].as_u64(),
                _ => call.grandchild = event["pid"].as_u64(),
            }
        }
    }
    calls.sort_by_key(|call| call.begin_ns);
    calls
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last line may be on its way: a reader can see the first pages of a write before the others.
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    text[..whole]
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", path.display())))
        .collect()
}

fn recorded(line: &Value) -> Recorded {
    let text = |key: &str| line[key].as_str().unwrap_or("").to_owned();
    let number = |key: &str| line[key].as_u64().unwrap_or(0);
    let parse = |value: &Value| serde_json::from_value(value.clone()).unwrap();
    Recorded {
        kind: text("type"),
        operation: text("operation"),
        env: parse(&line["env"]),
        variables: serde_json::from_value(line["variables"].clone()).unwrap(),
        stdin: text("stdin"),
        pid: number("pid"),
        ppid: number("ppid"),
        pgid: number("pgid"),
        sid: number("sid"),
        stdio: serde_json::from_value(line["stdio"].clone()).unwrap(),
        fds: serde_json::from_value(line["fds"].clone()).unwrap(),
        begin_ns: number("time_ns"),
        end_ns: None,
        grandchild: None,
    }
}
