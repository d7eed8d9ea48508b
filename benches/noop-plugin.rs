//! The delegate that does nothing: reads its configuration to the end and answers ADD with one fixed, valid result.
//!
//! It stands for any delegate in the bench and in the budget test, so that what is measured is what the plugin adds.
//! It never touches the network namespace, never writes a file and never parses what it reads.
#![expect(clippy::disallowed_methods, reason = "a plugin of its own: its environment is its input")]

use std::env;
use std::io::{self, Read, Write};

const VERSIONS: &str = r#"{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0","1.1.0"]}"#;

fn main() -> io::Result<()> {
    io::stdin().lock().read_to_end(&mut Vec::with_capacity(4096))?;
    let answer = match env::var("CNI_COMMAND").as_deref() {
        Ok("ADD") => added(),
        Ok("VERSION") => VERSIONS.to_owned(),
        _ => return Ok(()),
    };
    io::stdout().lock().write_all(answer.as_bytes())
}

fn added() -> String {
    let ifname = env::var("CNI_IFNAME").unwrap_or_default();
    let netns = env::var("CNI_NETNS").unwrap_or_default();
    format!(
        concat!(
            r#"{{"cniVersion":"1.0.0","#,
            r#""interfaces":[{{"name":"{}","mac":"0a:58:0a:f4:00:02","sandbox":"{}"}}],"#,
            r#""ips":[{{"address":"10.244.0.2/24","gateway":"10.244.0.1","interface":0}}],"dns":{{}}}}"#
        ),
        ifname, netns
    )
}
