//! Manifests of networks, in both formats.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meta_cni::npwg::{Format, Nad};

fuzz_target!(|manifest: &[u8]| {
    let json = Nad::parse(manifest, Format::Json);
    let yaml = Nad::parse(manifest, Format::Yaml);
    for error in [&json, &yaml].into_iter().filter_map(|answer| answer.as_ref().err()) {
        let message = error.to_string();
        assert!(message.len() <= 1024 && !message.contains('\n'), "{message}");
    }
});
