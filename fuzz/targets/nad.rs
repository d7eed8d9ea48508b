//! Manifests of networks and pods, in both formats. JSON that is also taken as YAML says the same in both.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use meta_cni::npwg::{Format, ManifestError, Nad, Pod};

fn check<T: Debug + PartialEq>(parse: fn(&[u8], Format) -> Result<T, ManifestError>, manifest: &[u8]) {
    let answers = (parse(manifest, Format::Json), parse(manifest, Format::Yaml));
    for error in [&answers.0, &answers.1].into_iter().filter_map(|answer| answer.as_ref().err()) {
        let message = error.to_string();
        assert!(message.len() <= 1024 && !message.contains('\n'), "{message}");
    }
    if let (Ok(json), Ok(yaml)) = answers {
        assert_eq!(json, yaml);
    }
}

fuzz_target!(|manifest: &[u8]| {
    check(Nad::parse, manifest);
    check(Pod::parse, manifest);
});
