//! The module `netns` against real kernel objects, judged by iproute2. Every test makes its own namespaces.

#[path = "../harness/kernel.rs"]
mod kernel;

mod addresses;
mod announce;
mod change;
mod identity;
mod links;
mod routes;
