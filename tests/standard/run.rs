//! One case: a row in one combination, from an empty node to an empty node.

use crate::combination::Combination;
use crate::harness::Output;
use crate::kernel::isolated;
use crate::pod::{LINKS, Pod};
use crate::row::{Outcome, Row};
use crate::view::{Traces, files_of};
use serde_json::Value;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::path::PathBuf;

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Where the calling thread panicked.
pub fn note_place(place: Option<&Location<'_>>) {
    let place = place.map_or_else(String::new, ToString::to_string);
    PLACE.with(|cell| *cell.borrow_mut() = place);
}

/// Runs the case; the text says where and why it failed.
pub fn run(row: &Row, combination: Combination) -> Result<(), String> {
    isolated(|_| {
        let case = || judge(&Pod::new(row, combination));
        catch_unwind(AssertUnwindSafe(case)).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            PLACE.with(|place| format!("{}: {}", place.borrow(), text.unwrap_or_default()))
        })
    })
}

fn judge(pod: &Pod<'_>) {
    pod.row.prepare.iter().for_each(|act| act(pod));
    let traces = || Traces::of(&pod.node, &pod.sandbox, &pod.host, &pod.netns);
    let before = match (pod.row.prepare.is_empty(), pod.row.needs_the_world_outside()) {
        (false, _) => traces(),
        (true, true) => Traces::none(&LINKS),
        (true, false) => Traces::none(&[]),
    };
    match &pod.row.outcome {
        Outcome::Attached => {
            let output = pod.must("ADD");
            assert_eq!(output.json()["cniVersion"], pod.combination.version, "A13");
            attached(pod);
        }
        Outcome::Refused(code, words) => {
            for elements in pod.row.asks() {
                refused(&pod.call_asking("ADD", &elements).run(), *code, words, &elements);
            }
            assert_eq!(traces(), before, "refused, and yet something was touched");
            pod.must("DEL");
            return assert_eq!(files_of(&pod.node, &pod.sandbox), Vec::<PathBuf>::new(), "left after DEL");
        }
        Outcome::Undone(code, words) => {
            refused(&pod.call("ADD").run(), *code, words, &pod.row.wants);
            pod.row.proofs.iter().for_each(|proof| proof(pod));
        }
    }
    match &pod.row.ending {
        Some(ending) => ending(pod),
        None => drop(pod.must("DEL")),
    }
    let mut after = traces();
    after.bridges.clone_from(&before.bridges);
    assert_eq!(after, before, "left after DEL");
    pod.must("DEL");
    assert_eq!(files_of(&pod.node, &pod.sandbox), Vec::<PathBuf>::new(), "left after the second DEL");
}

/// The kernel shows what was asked for, before and after a CHECK.
fn attached(pod: &Pod<'_>) {
    let row = pod.row;
    for (ifname, addresses) in &row.shows {
        assert_eq!(pod.link(ifname).addresses, *addresses, "addresses of {ifname}");
    }
    for (ifname, address) in &row.reaches {
        pod.reaches(ifname, address);
    }
    row.proofs.iter().for_each(|proof| proof(pod));
    if pod.combination.has_check() {
        pod.must("CHECK");
    }
}

#[track_caller]
fn refused(output: &Output, code: u64, words: &[String], asked: &[Value]) {
    assert_ne!(output.exit, Some(0), "{asked:?} succeeded where it must fail: {output:?}");
    let answer: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(answer["code"], code, "{answer}");
    for word in words {
        assert!(answer["msg"].as_str().unwrap_or_default().contains(word.as_str()), "no {word:?} in {answer}");
    }
}
