//! What `meta-cni validate` and every writer ask: any bytes are judged, within bounds, and exactly what the run time refuses is
//! said to be refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meta_cni::check::{Document, Kind, Severity, check, directory, errors, kind_of};
use meta_cni::cni::NetworkConfigList;
use meta_cni::config::MasterConfig;
use meta_cni::plan::primary::{Candidate, choose, guard};
use meta_cni::profile::Profiles;

fuzz_target!(|text: &[u8]| {
    let profiles = Profiles::with_overrides(Vec::new());
    let document = Document { paths: vec!["/conf/10-x.conflist".into()], ..Document::of("10-x.conflist", text) };
    let findings = check(&document, &profiles);
    assert!(findings.len() <= 100);
    for finding in &findings {
        assert!(finding.span.start <= finding.span.end && finding.span.end <= text.len(), "{finding:?}");
        assert!(finding.message.chars().count() <= 512 && !finding.message.contains(char::is_control), "{finding:?}");
        assert!(!finding.refused || finding.line > 0, "{finding:?}");
        assert!(!finding.refused || finding.severity == Severity::Error || finding.code == "MC-054", "{finding:?}");
    }
    let candidate = Candidate { file_name: "10-x.conflist".to_owned(), content: Ok(text.to_vec()) };
    let chosen = choose(vec![candidate], &profiles).primary.is_some();
    let refused = match kind_of(text) {
        Kind::Network => !chosen,
        Kind::Master => {
            assert!(!chosen, "our own file is chosen as the primary");
            !served(text)
        }
    };
    assert_eq!(findings.iter().any(|finding| finding.refused), refused, "{findings:?}");
    let written = errors(Kind::Master, &document, &profiles);
    assert!(!written.is_empty() || served(text), "an unusable master config would be written");
    drop(directory("/conf".as_ref(), &[document], &profiles));
});

/// True if the plugin takes `text` as its master config.
fn served(text: &[u8]) -> bool {
    let Ok(config) = MasterConfig::from_file(text).and_then(MasterConfig::with_primary) else { return false };
    let inline =
        |text: String| NetworkConfigList::parse(text.as_bytes(), None).is_ok() && guard(text.as_bytes()).is_ok();
    config.cluster_network.is_some() || config.delegates.iter().all(|delegate| inline(delegate.to_text()))
}
