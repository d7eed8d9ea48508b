//! meta-cni under real runtimes: a private containerd with runc and the reference plugins, once as Debian packages them
//! and once as their modules are today, driven over the CRI socket as kubelet does, and libcni with CRI-O's habits. Some have the
//! daemon beside the runtime, and others who write the conf dir.
//! Every test has a node of its own (network, mount and PID namespace), so nothing here meets the machine's network.
//! Needs root and what `make test` installs; says so when something is missing, and never skips.
#![expect(clippy::disallowed_methods, reason = "a test reads the node's files and starts programs on it")]
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "helpers of tests are tests; clippy exempts only #[test]"
)]

mod crio;
mod exclusive;
mod faults;
mod harness;
mod kill;
mod pods;
mod primary;
#[cfg(feature = "daemon")]
mod private;
mod rewrites;
mod rollout;
mod status;
#[cfg(feature = "daemon")]
mod view;
