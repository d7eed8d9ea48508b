//! The verdicts that every check shares: what a refusal looks like (A7, A9, A10, G4), that nothing stays attached, and
//! that nothing is left on the node.

use crate::harness::{Output, files_below};
use crate::world::World;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Characters a message may have (G4).
const LONGEST: usize = 512;

/// Ours must have a version (A9) and a whole story (G4) in every error. Another subject that lacks them is told so by the
/// checks of that name alone: or that gap would hide what else it does right and wrong.
pub static STRICT: OnceLock<bool> = OnceLock::new();

fn strict() -> bool {
    STRICT.get().copied().unwrap_or(true)
}

/// An error as the runtime sees it.
#[derive(Debug)]
pub struct Refusal {
    pub code: u64,
    pub msg: String,
    pub details: String,
    pub version: String,
}

impl Refusal {
    /// Message and details together: where a runtime's user would look.
    pub fn says(&self, word: &str) -> bool {
        self.msg.contains(word) || self.details.contains(word)
    }

    /// As `names`, of a subject whose every error must tell the whole story (G4).
    pub fn tells(&self, words: &[&str]) {
        if strict() {
            self.names(words);
        }
    }

    /// The message names every one of these.
    pub fn names(&self, words: &[&str]) {
        for word in words {
            assert!(self.msg.contains(word), "the message does not name {word:?}: {self:?}");
        }
    }
}

/// The call failed in the one way a plugin may fail: exactly one JSON object on stdout, non-zero exit, one short line.
pub fn refused(output: &Output) -> Refusal {
    assert_eq!(output.signal, None, "died instead of answering: {output:?}");
    assert_ne!(output.exit, Some(0), "succeeded where it must fail: {output:?}");
    assert!(output.released, "somebody still holds the plugin's stdout: {output:?}");
    let Ok(Value::Object(answer)) = serde_json::from_str::<Value>(&output.stdout) else {
        panic!("stdout is not exactly one JSON object: {output:?}");
    };
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let code = answer.get("code").and_then(Value::as_u64);
    let refusal = Refusal {
        code: code.unwrap_or_else(|| panic!("no code in the error: {output:?}")),
        msg: text("msg"),
        details: text("details"),
        version: text("cniVersion"),
    };
    assert_ne!(refusal.code, 0, "code 0 is no error: {refusal:?}");
    assert!(!refusal.msg.trim().is_empty(), "no message: {refusal:?}");
    assert!(!refusal.msg.contains(['\n', '\r']), "more than one line: {refusal:?}");
    assert!(refusal.msg.chars().count() <= LONGEST, "a message of {} characters", refusal.msg.chars().count());
    assert!(!strict() || !refusal.version.is_empty(), "the error has no cniVersion (A9): {output:?}");
    refusal
}

/// Refused with this code.
pub fn refused_with(output: &Output, code: u64) -> Refusal {
    let refusal = refused(output);
    assert_eq!(refusal.code, code, "{refusal:?}");
    refusal
}

/// Refused before anything ran, as in `refused_untouched`; the code is judged only of a subject that has codes (A7).
pub fn rejected(world: &World, output: &Output, code: u64) -> Refusal {
    let code = if strict() { code } else { refused(output).code };
    refused_untouched(world, output, code)
}

/// Refused before anything ran, and nothing remembers it. A lock file may wait for the DEL that every runtime sends.
pub fn refused_untouched(world: &World, output: &Output, code: u64) -> Refusal {
    let refusal = refused_with(output, code);
    assert_eq!(world.node.order(), Vec::<String>::new(), "delegates ran");
    none_left_in(world, &[world.node.state()]);
    refusal
}

/// An ADD that failed after delegates ran: each of those got its DEL, and the runtime's DEL finds nothing to do.
pub fn refused_undone(world: &World, output: &Output, code: u64) -> Refusal {
    let refusal = refused_with(output, code);
    undone(world);
    refusal
}

/// Every ADD was followed by a DEL of the same plugin; DEL of the failed ADD leaves nothing on the node.
pub fn undone(world: &World) {
    nothing_attached(world);
    let before = world.node.order().len();
    world.del();
    let order = world.node.order();
    assert_eq!(order.len(), before, "the DEL of an ADD that was undone ran delegates (F14): {order:?}");
    nothing_left(world);
}

/// Each plugin that was asked to ADD was asked to DEL afterwards.
pub fn nothing_attached(world: &World) {
    let calls = world.node.calls();
    for (at, add) in calls.iter().enumerate().filter(|(_, call)| call.operation == "ADD") {
        let undone = calls[at..].iter().any(|del| {
            del.operation == "DEL"
                && (&del.kind, del.ifname(), del.container()) == (&add.kind, add.ifname(), add.container())
        });
        assert!(undone, "{} was attempted and never undone: {:?}", add.brief(), world.node.order());
    }
}

/// No file of the node speaks of this sandbox.
pub fn nothing_left(world: &World) {
    none_left_in(world, &[world.node.state(), world.node.run_dir()]);
}

fn none_left_in(world: &World, dirs: &[PathBuf]) {
    let left: Vec<_> = dirs
        .iter()
        .flat_map(|dir| files_below(dir))
        .filter(|path| path.to_string_lossy().contains(&world.sandbox.id))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let records = world.node.records();
    assert!(records.is_empty(), "records left behind: {records:?}");
}
