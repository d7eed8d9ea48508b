//! Unique interface names: all fixed before anything runs (design of names; B9-B11, D16 of the users' pains).
//!
//! Requested names come first; an unnamed element gets `net<N>` with N its position, as in Multus, or the next free
//! number above. A requested name that is taken is refused; a generated one moves on.

use std::collections::BTreeSet;

use crate::cni::IfName;

/// Why the names of a pod's interfaces cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameClash {
    /// Two elements want the same name, or one wants the primary's.
    #[error("interface name \"{0}\" is asked for twice; name each interface once")]
    Twice(IfName),
    /// There is a link of that name in the namespace already.
    #[error("interface \"{0}\" already exists in the pod's namespace, and is left as it is")]
    Exists(IfName),
}

/// The names of all attachments: `primary`'s, then one for each of `requests` by position, none of them in `taken`.
///
/// # Errors
/// The first [`NameClash`], with the position it concerns (0 is the primary).
pub fn names(
    primary: &IfName,
    requests: &[Option<IfName>],
    taken: &BTreeSet<String>,
) -> Result<Vec<IfName>, (usize, NameClash)> {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let wanted = std::iter::once(Some(primary)).chain(requests.iter().map(Option::as_ref));
    for (position, name) in wanted.enumerate().filter_map(|(at, name)| Some((at, name?))) {
        if !used.insert(name.as_str()) {
            return Err((position, NameClash::Twice(name.clone())));
        }
        if taken.contains(name.as_str()) {
            return Err((position, NameClash::Exists(name.clone())));
        }
    }
    let mut generated: BTreeSet<String> = BTreeSet::new();
    let mut names = vec![primary.clone()];
    for (at, request) in requests.iter().enumerate() {
        names.push(match request {
            Some(name) => name.clone(),
            None => {
                let free =
                    |name: &String| !used.contains(name.as_str()) && !taken.contains(name) && !generated.contains(name);
                let name = (at + 1..).map(|number| format!("net{number}")).find(free).unwrap_or_default();
                generated.insert(name.clone());
                // `net` and a number below 10^11 is always a valid name: there are not that many taken ones.
                IfName::new(name).map_err(|_| (at + 1, NameClash::Twice(primary.clone())))?
            }
        });
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(requests: &[&str], taken: &[&str], expected: Result<&[&str], (usize, &str)>) {
        let requests: Vec<_> = requests.iter().map(|name| IfName::new(*name).ok()).collect();
        let taken = taken.iter().map(|name| (*name).to_owned()).collect();
        let got = names(&IfName::new("eth0").unwrap(), &requests, &taken);
        let got = got.map(|names| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>());
        let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(
            got.map_err(|(at, clash)| (at, clash.to_string())),
            expected.map_err(|(at, text)| (at, text.to_owned()))
        );
    }

    #[test]
    fn unnamed_elements_are_numbered_by_position() {
        check(&[], &[], Ok(&["eth0"]));
        check(&["", ""], &[], Ok(&["eth0", "net1", "net2"]));
        check(&["a", ""], &[], Ok(&["eth0", "a", "net2"]));
    }

    #[test]
    fn b10_a_generated_name_moves_on_from_one_that_is_taken() {
        check(&["net2", ""], &[], Ok(&["eth0", "net2", "net3"]));
        check(&["", "net1"], &[], Ok(&["eth0", "net2", "net1"]));
        check(&["", ""], &["net1"], Ok(&["eth0", "net2", "net3"]));
        check(&["", "", ""], &["net2"], Ok(&["eth0", "net1", "net3", "net4"]));
    }

    #[test]
    fn b10_a_requested_name_that_is_taken_is_refused() {
        let twice = "interface name \"a\" is asked for twice; name each interface once";
        check(&["a", "a"], &[], Err((2, twice)));
        check(&["eth0"], &[], Err((1, "interface name \"eth0\" is asked for twice; name each interface once")));
        let exists = "interface \"a\" already exists in the pod's namespace, and is left as it is";
        check(&["a"], &["a"], Err((1, exists)));
        let primary = "interface \"eth0\" already exists in the pod's namespace, and is left as it is";
        check(&[""], &["eth0"], Err((0, primary)));
    }
}
