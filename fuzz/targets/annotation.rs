//! The networks annotation and the one for the default network. What is accepted is written and read again as the same.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use meta_cni::npwg::{Namespace, default_network, error::MOST_ELEMENTS, parse};

fuzz_target!(|text: &str| {
    let Ok(namespace) = Namespace::new("pod-ns") else { unreachable!() };
    let _ = default_network(Some(text), &namespace);
    let parsed = match parse(text, &namespace) {
        Ok(parsed) => parsed,
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() <= 1024 && !message.contains('\n'), "{message}");
            return;
        }
    };
    assert!(parsed.selections.len() <= MOST_ELEMENTS);
    let names: Vec<_> = parsed.selections.iter().filter_map(|selection| selection.interface.as_ref()).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "interface names are distinct");
    assert!(parsed.selections.iter().filter(|selection| selection.default_route.is_some()).count() <= 1);
    for warning in &parsed.warnings {
        assert!(!warning.to_string().contains('\n'));
    }
    let Ok(written) = serde_json::to_string(&parsed.selections) else { panic!("accepted and cannot be written") };
    match parse(&written, &namespace) {
        Ok(again) => assert_eq!(again.selections, parsed.selections),
        Err(error) => panic!("accepted, written, refused: {error}: {written}"),
    }
});
