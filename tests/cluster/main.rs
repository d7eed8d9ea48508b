//! meta-cni as the network of a Kubernetes cluster: real kubelets start the pods, containerd 2.4 calls the plugin, and what counts
//! is what the API server and the kernel say afterwards.
//!
//! One cluster of two nodes (`tests/cluster/cluster`) serves all tests, one after the other; each leaves it as it was. It is in
//! namespaces of its own, beside one of `make cluster` too. `make cluster-test` runs this binary and is not part of
//! `cargo test`, because Kubernetes has to be built once. `-- NAME` runs some, `META_CNI_CLUSTER_PODS` says how many pods are
//! started at once (100).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::exit,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests make files and processes, and a broken expectation ends the test"
)]

mod burst;
mod cluster;
mod control;
mod freeze;
mod ready;
mod reboot;
mod view;
mod workload;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cluster::Cluster;
use libtest_mimic::{Arguments, Failed, Trial};

/// A test: what it does to the cluster.
type Test = fn(&Cluster);

const TESTS: [(&str, Test); 9] = [
    ("control_a_pod_without_its_network_is_never_ready_a25_b29", control::a_broken_network_is_seen),
    ("ready_when_the_first_primary_comes_d7", ready::a_node_waits_for_its_first_primary),
    ("ready_follows_the_primary_a25_d7_d9", ready::the_node_follows_the_primary),
    ("freeze_is_there_when_an_add_waits_long_in_a_shared_conf_dir", freeze::long_waits_in_a_shared_conf_dir),
    ("freeze_is_not_there_with_our_waits", freeze::our_waits_in_a_shared_conf_dir),
    ("freeze_is_not_there_in_a_private_conf_dir", freeze::long_waits_in_a_private_conf_dir),
    ("host_ports_reach_the_pod_a38_b33", ready::a_host_port_reaches_the_pod),
    ("burst_of_annotated_pods_a44_b18_b27_b31", burst::all_pods_get_all_networks),
    ("reboot_of_a_node_f5_d14", reboot::pods_come_back_and_nothing_leaks),
];

fn main() {
    let mut arguments = Arguments::from_args();
    // One cluster, one test at a time.
    arguments.test_threads = Some(1);
    if arguments.list {
        libtest_mimic::run(&arguments, trials(None)).exit();
    }
    // One line with its place; nobody needs the way there.
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    let cluster = match Cluster::up() {
        Ok(cluster) => Arc::new(cluster),
        Err(reason) => {
            eprintln!("the cluster did not come up: {reason}");
            std::process::exit(1);
        }
    };
    let conclusion = libtest_mimic::run(&arguments, trials(Some(&cluster)));
    drop(cluster);
    conclusion.exit();
}

fn trials(cluster: Option<&Arc<Cluster>>) -> Vec<Trial> {
    let trial = |(name, test): (&str, Test)| {
        let cluster = cluster.cloned();
        Trial::test(name, move || run(cluster.as_deref().expect("a list runs nothing"), test))
    };
    TESTS.into_iter().map(trial).collect()
}

/// What the cluster logged goes with the failure: afterwards the cluster is gone. The next test finds it as it was.
fn run(cluster: &Cluster, test: Test) -> Result<(), Failed> {
    let outcome = catch_unwind(AssertUnwindSafe(|| test(cluster)));
    outcome.map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let said = format!("{}\n{}", said.unwrap_or("a panic without words"), cluster.diagnosis());
        match catch_unwind(AssertUnwindSafe(|| cluster.reset())) {
            Ok(()) => said.into(),
            Err(_) => format!("{said}\n-- the cluster could not be brought back to what it was").into(),
        }
    })
}
