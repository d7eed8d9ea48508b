//! What every answer of ours keeps, whatever came in.

use meta_cni::cni::{CniError, CniVersion, Object};

/// An error is one line of at most 512 characters, and a JSON object with its code.
pub fn check_error(error: &CniError) {
    assert!(error.msg.chars().count() <= 512 && !error.msg.chars().any(char::is_control), "{:?}", error.msg);
    let text = error.to_text(CniVersion::NEWEST);
    let Ok(object) = Object::parse(text.as_bytes()) else { panic!("an error that is no JSON object: {text}") };
    assert!(object.has("code") && object.has("msg") && object.has("cniVersion"), "{text}");
}
