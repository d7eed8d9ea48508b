//! What a delegate prints: a result of any version, an error, or anything else.
#![no_main]

mod promises;

use libfuzzer_sys::fuzz_target;
use meta_cni::cni::{CniError, CniResult, CniVersion, Code};
use meta_cni::npwg::status::{Entry, annotation, status};
use meta_cni::plan::chain::result_text;
use meta_cni::plan::outcome::answer;

use promises::check_error;

fuzz_target!(|stdout: &[u8]| {
    if let Some(error) = CniError::from_stdout(stdout) {
        check_error(&error);
    }
    for version in [CniVersion::V0_2_0, CniVersion::V0_4_0, CniVersion::NEWEST] {
        match CniResult::parse(stdout, version) {
            Ok((result, _)) => check_result(&result),
            Err(error) => {
                assert_eq!(error.code, Code::BAD_ANSWER);
                check_error(&error);
            }
        }
        match result_text(stdout, version) {
            Ok(text) => check_given(&text, version),
            Err(error) => check_error(&error),
        }
    }
});

/// What is handed to the next plugin, and to the runtime, is a result of the version they speak.
fn check_given(text: &serde_json::value::RawValue, version: CniVersion) {
    let printed = |text: &str| match CniResult::parse(text.as_bytes(), CniVersion::NEWEST) {
        Ok((_, printed)) => printed,
        Err(error) => panic!("we refuse what we pass on: {}: {text}", error.msg),
    };
    assert_eq!(printed(text.get()), version);
    match answer(text, None, version) {
        Ok(text) => assert_eq!(printed(&text), version),
        Err(error) => panic!("accepted, then no answer: {}", error.msg),
    }
}

/// A result can be written in each version, and a second conversion changes nothing.
fn check_result(result: &CniResult) {
    for version in CniVersion::ALL {
        let text = result.to_text(version);
        match CniResult::parse(text.as_bytes(), CniVersion::NEWEST) {
            Ok((again, printed)) => {
                assert_eq!(printed, version);
                assert_eq!(again.to_text(version), text);
            }
            Err(error) => panic!("we refuse what we wrote: {}: {text}", error.msg),
        }
    }
    let entry = Entry { network: "ns/a", ifname: "net1", result: Some(result), seen: None, device_info: None };
    let statuses = status(&[entry, entry]);
    assert_eq!(statuses.iter().filter(|status| status.default).count(), 1);
    assert!(serde_json::from_str::<serde_json::Value>(&annotation(&statuses)).is_ok());
}
