//! The whole multi-network standard (B1-B34) over real plugins, as one table: what the kernel shows is what was asked for.
//!
//! A row is one behaviour, with its statements in its name. It runs in every combination it can be written in:
//!
//! - `conf` or `conflist`: a network of several plugins is a list only;
//! - `comma` or `json`: the annotation's short form has names, namespaces and interfaces only;
//! - CNI 0.3.1, 0.4.0, 1.0.0, 1.1.0, of the networks and of the master config, with the reference plugins of
//!   `tests/tools/plugins`; and once with Debian's plugins for 1.0.0.
//!
//! Addresses, routes, rules, neighbours, qdiscs and NAT rules are read from the kernel, and a TCP connection proves each path.
//! After every row DEL leaves neither of these, nor a lease, a record or a lock. `cargo test --test standard -- B14` runs
//! some. Each case has a mount and a network namespace of its own, so the suite needs root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::exit,
    reason = "tests make files and processes, and a broken expectation ends the test"
)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../harness/kernel.rs"]
mod kernel;

mod combination;
mod network;
mod path;
mod place;
mod pod;
mod row;
mod run;
mod view;

mod addresses;
mod chains;
mod every_pod;
mod interfaces;
mod isolation;
mod lifecycle;
mod routes;
mod sources;
mod status;

use libtest_mimic::{Arguments, Trial};
use row::Row;
use std::sync::Arc;

fn main() {
    let mut arguments = Arguments::from_args();
    // Half of a case is waiting for the kernel to make and end namespaces.
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    arguments.test_threads.get_or_insert(2 * processors);
    // The report shows each failure once, with its place; the default hook would print it a second time in between.
    std::panic::set_hook(Box::new(|info| run::note_place(info.location())));
    let trials = rows().into_iter().flat_map(trials_of).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// The table.
fn rows() -> Vec<Row> {
    [
        sources::rows(),
        addresses::rows(),
        interfaces::rows(),
        chains::rows(),
        isolation::rows(),
        every_pod::rows(),
        lifecycle::rows(),
        routes::rows(),
        routes::status_rows(),
        status::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn trials_of(row: Row) -> Vec<Trial> {
    row.states_what_it_can_be_written_in();
    let row = Arc::new(row);
    let trial = |combination| {
        let row = Arc::clone(&row);
        Trial::test(format!("{}::{combination}", row.name), move || run::run(&row, combination).map_err(Into::into))
    };
    row.axes.combinations().into_iter().map(trial).collect()
}
