//! The variables that a runtime sets, one in a line.
#![no_main]

mod promises;

use libfuzzer_sys::fuzz_target;
use meta_cni::cni::{Code, Invocation, Operation, Request};

use promises::check_error;

fuzz_target!(|environment: &str| {
    let variable = |key: &str| {
        let mut pairs = environment.split('\n').filter_map(|line| line.split_once('='));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
    };
    match Invocation::parse(&variable, Vec::new()) {
        Ok(call) => {
            for key in call.request.operation().required() {
                assert!(variable(key).is_some_and(|value| !value.is_empty()), "{key} is required and missing");
            }
            if let Request::Add { attachment, .. } | Request::Check { attachment, .. } = &call.request {
                assert_eq!(variable("CNI_IFNAME").as_deref(), Some(attachment.ifname.as_str()));
                assert_eq!(variable("CNI_CONTAINERID").as_deref(), Some(attachment.container_id.as_str()));
            }
            assert_eq!(call.args.as_str(), variable("CNI_ARGS").unwrap_or_default());
            assert!(Operation::ALL.contains(&call.request.operation()));
        }
        Err(error) => {
            assert_eq!(error.code, Code::ENVIRONMENT);
            check_error(&error);
        }
    }
});
