//! What a meta-plugin must do, judged from outside: environment and stdin in, stdout, exit code and delegates' memory out.
//!
//! The plugin's path is an argument, so that the suite can be pointed at any meta-plugin:
//!
//! ```text
//! cargo test --test conformance                                              # the plugin of this package
//! cargo test --test conformance -- --plugin /opt/cni/bin/multus --subject multus
//! ```
//!
//! `--subject` says how the plugin is configured. `meta-cni` takes the pod's annotations from the runtime and networks
//! from a directory; `multus` takes both from an API server, so the suite plays one for it. What needs configuration that
//! the subject does not have shows as ignored, with the reason in brackets. A check carries the ids of the statements it
//! proves in its name. Each must be able to fail: rows that expect a refusal stand beside rows that expect success, and a
//! plugin that does nothing and exits 0 (`--plugin /bin/true`) passes none.
//!
//! The delegates are the scripted plugin; network namespaces are real, so the suite needs root. Nothing else is needed.
//!
//! What Multus 4.3.0 (thin) does with it, by statement (checks passed of checks judged; 80 of 534 need our own keys):
//!
//! - passes: A1 A3 A6 A12 A16 A18 A21 A25 A33 A35 A40, B4 B11 B12 B15 B18 B27 B29 B30 B31;
//! - partly: A2 1/7, A5 35/39, A7 3/67, A10 5/7, A13 7/40, A26 1/2, A27 1/4, A30 1/2, A32 1/2, A34 5/6, A38 1/2, A41 1/2, A44 1/5,
//!   B1 42/48, B2 14/15, B3 3/5, B5 11/12, B7 5/7, B8 2/4, B9 4/12, B13 1/4, B14 1/4, B19 1/2, B32 6/7, F9 1/4, F11 4/66;
//! - fails: A4 A8 A9 A11 A14 A19 A20 A22 A23 A24 A28 A29 A31 A36 A37 A39 A43 A45, B10 B33, D6, F6 F14, G4.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::exit,
    reason = "tests make files and processes, and a broken expectation ends the test"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod add;
mod annotation;
mod apiserver;
mod bad_config;
mod bad_delegate;
mod check;
mod concurrency;
mod del;
mod delegate;
mod environment;
mod gc;
mod hostile;
mod judge;
mod networks;
mod protocol;
mod recursion;
mod result;
mod status;
mod subdir;
mod world;

use libtest_mimic::{Arguments, Failed, Trial};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use world::{Kind, Subject};

/// What a check needs of its subject.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// Keys of the master config that only meta-cni has.
    OwnKeys,
}

/// One check: a name that carries statement ids, and a function that panics when the subject fails.
pub struct Check {
    name: String,
    needs: Needs,
    run: Box<dyn Fn(&Subject) + Send>,
}

/// A check.
pub fn check(name: impl Into<String>, needs: Needs, run: impl Fn(&Subject) + Send + 'static) -> Check {
    Check { name: name.into(), needs, run: Box::new(run) }
}

thread_local! {
    static WHERE: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() {
    let (subject, rest) = arguments();
    let arguments = Arguments::from_iter(rest);
    println!("subject: {} ({})", subject.plugin.display(), subject.kind.name());
    // The report shows each failure once, with its place; the default hook would print it a second time in between.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, ToString::to_string);
        WHERE.with(|cell| *cell.borrow_mut() = place);
    }));
    let _ = judge::STRICT.set(subject.kind == Kind::MetaCni);
    let subject = Arc::new(subject);
    let trials = checks().into_iter().map(|check| trial(check, Arc::clone(&subject))).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn checks() -> Vec<Check> {
    [
        protocol::checks(),
        environment::checks(),
        result::checks(),
        add::checks(),
        del::checks(),
        check::checks(),
        status::checks(),
        gc::checks(),
        subdir::checks(),
        delegate::checks(),
        bad_delegate::checks(),
        bad_config::checks(),
        annotation::checks(),
        networks::checks(),
        recursion::checks(),
        concurrency::checks(),
        hostile::checks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn trial(check: Check, subject: Arc<Subject>) -> Trial {
    let lacks = subject.kind == Kind::Multus && check.needs != Needs::Nothing;
    let reason = match check.needs {
        Needs::Nothing => "",
        Needs::OwnKeys => "needs meta-cni's keys",
    };
    Trial::test(check.name, move || {
        catch_unwind(AssertUnwindSafe(|| (check.run)(&subject))).map_err(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default();
            Failed::from(WHERE.with(|place| format!("{}: {text}", place.borrow())))
        })
    })
    .with_ignored_flag(lacks)
    .with_kind(if lacks { reason } else { "" })
}

/// Our own two options, and what is left for libtest.
fn arguments() -> (Subject, Vec<String>) {
    let mut plugin = harness::plugin_under_test();
    let mut kind = Kind::MetaCni;
    let mut rest = Vec::new();
    let mut given = std::env::args();
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--plugin" => plugin = given.next().map(PathBuf::from).expect("--plugin PATH"),
            "--subject" => kind = Kind::named(&given.next().expect("--subject meta-cni|multus")),
            _ => rest.push(argument),
        }
    }
    let plugin = plugin.canonicalize().unwrap_or_else(|e| panic!("--plugin {}: {e}", plugin.display()));
    (Subject { plugin, kind }, rest)
}
