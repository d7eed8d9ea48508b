//! The daemon, one per node. Its work comes with a later release; until then it says so and exits.
fn main() {}
