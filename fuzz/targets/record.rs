//! Records of attachments, and what libcni and Multus kept. The input is taken as a file, and as the content of a sealed one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meta_cni::cni::{IfName, Object, Operation};
use meta_cni::plan::chain::process;
use meta_cni::plan::foreign::{from_cache, from_multus};
use meta_cni::plan::record::{Record, seal, unseal};
use serde_json::value::RawValue;

fuzz_target!(|bytes: &[u8]| {
    let _ = unseal::<Record>(bytes);
    if let Ok(content) = serde_json::from_slice::<&RawValue>(bytes) {
        let Ok(sealed) = seal(&content) else { panic!("JSON that cannot be sealed") };
        if let Ok(record) = unseal::<Record>(sealed.as_bytes()) {
            check_record(&record);
        }
    }
    let _ = from_cache(bytes, "c1");
    if let Ok(primary) = IfName::new("eth0") {
        let _ = from_multus(bytes, &primary);
    }
});

fn check_record(record: &Record) {
    let Ok(text) = seal(record) else { panic!("a record that cannot be written") };
    match unseal::<Record>(text.as_bytes()) {
        Ok(again) => assert_eq!(seal(&again).ok().as_deref(), Some(text.as_str())),
        Err(error) => panic!("written and not read: {error}: {text}"),
    }
    for index in 0..=record.attachment.calls.len() {
        let run = process(Operation::Del, &record.sandbox, &record.attachment, index, record.result.as_deref());
        assert_eq!(run.is_some(), index < record.attachment.calls.len());
        if let Some(run) = run {
            assert!(Object::parse(run.stdin.as_ref()).is_ok(), "what a delegate is given is not JSON");
        }
    }
}
