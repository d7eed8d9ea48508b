//! What lines come to, and that there are never too many.

use std::path::Path;

use super::config::{Runtime, View, runtime};
use super::*;

#[test]
fn g3_what_is_surely_wrong_counts_more_than_what_could_not_be_seen() {
    let mut lines = Lines::default();
    assert_eq!(sum(&[]), Sum::Well);
    lines.ok("a", "x");
    lines.note("a", "x");
    lines.unknown("a", "x");
    assert_eq!(sum(&lines.0), Sum::Well);
    lines.unseen("a", "x");
    assert_eq!(sum(&lines.0), Sum::Unseen);
    lines.wrong("a", "x", "y");
    assert_eq!(sum(&lines.0), Sum::Wrong);
}

#[test]
fn g3_lines_are_bounded_in_number_and_length() {
    let mut lines = Lines::default();
    lines.each("a", &[(); 1000], |lines, ()| lines.note("a", "\u{e4}".repeat(10_000)));
    let lines = lines.done();
    assert_eq!((lines.len(), lines.last().unwrap().says.as_str()), (MOST + 1, "984 more"));
    assert_eq!(lines[0].says.chars().count(), LONGEST + 1);
}

#[test]
fn d15_the_runtime_is_to_be_restarted_only_when_our_own_file_is_right() {
    let view = View::Fresh(Runtime { conf_dir: "/a".into(), ..Runtime::default() });
    for (ours, words) in [(Some((Path::new("/a"), "n")), "restart it"), (None, "see what it names")] {
        let mut lines = Lines::default();
        runtime(&view, ours, &mut lines);
        let [line] = lines.done().try_into().unwrap();
        assert!(line.state == State::Wrong && line.remedy.as_ref().unwrap().contains(words), "{line:?}");
    }
}
