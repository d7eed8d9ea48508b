//! What the tests of this binary stand on: a private node with a real runtime, the pods on it, and one judgement of
//! "nothing is left" that every test shares.

mod daemon;
mod files;
pub(crate) mod node;
mod pod;

pub(crate) use daemon::{Daemon, Other};
pub(crate) use files::{EtcCni, Master, POD_ANNOTATIONS};
pub(crate) use node::{Node, PRIVATE, Place, Runtime, SHARED, text, wait_until};
pub(crate) use pod::{Pod, Sandbox};

/// Makes one test per runtime out of a function that takes the runtime.
macro_rules! on_each_runtime {
    ($($(#[$doc:meta])* $name:ident => $body:ident;)+) => {$(
        $(#[$doc])*
        mod $name {
            #[test]
            fn debian() {
                super::$body(crate::harness::Runtime::Debian);
            }

            #[test]
            fn modules() {
                super::$body(crate::harness::Runtime::Modules);
            }
        }
    )+};
}
pub(crate) use on_each_runtime;
