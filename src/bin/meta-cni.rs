//! The plugin when a runtime calls (`CNI_COMMAND` is set), the operator's command line otherwise.
fn main() {}
