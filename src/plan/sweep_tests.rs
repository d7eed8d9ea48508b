//! Tests of `sweep`.

use super::*;
use crate::cni::Object;
use crate::plan::record::seal;

fn id(text: &str) -> ContainerId {
    ContainerId::new(text).unwrap()
}

fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

/// A record of sandbox `c1`, made by call 7.
fn record(ordinal: usize, state: State) -> Record {
    let ifname = if ordinal == 0 { "eth0".to_owned() } else { format!("net{ordinal}") };
    let state = serde_json::to_string(&state).unwrap();
    let text = format!(
        r#"{{"sandbox":{{"containerID":"c1","netns":"/run/netns/x"}},"netns":{{"dev":4,"ino":9}},"epoch":"e","request":"eth0",
        "of":3,"attachment":{{"ordinal":{ordinal},"role":"additional","network":"n","name":"n","cniVersion":"1.0.0",
        "ifname":"{ifname}","disableCheck":false,"disableGC":false,"args":"","path":[],"deadline":{{"add":1,"del":1}},
        "calls":[]}},"call":{{"pid":7,"seen":70}},"state":{state}}}"#
    );
    let object = Object::parse(text.as_bytes()).unwrap();
    Record::read(seal(&object.to_raw()).unwrap().as_bytes()).unwrap()
}

fn due(at: u64, epoch: &str, call: i32) -> Due {
    let call = Some(ProcessMark { pid: call, seen: 70 });
    Due { version: 1, attempts: 3, epoch: epoch.into(), due: at, call, ..Due::default() }
}

fn facts(records: Vec<(Record, bool)>, queue: Vec<(&str, Due)>) -> Facts {
    let queue = queue.into_iter().map(|(ifname, due)| (name(ifname), due)).collect();
    Facts { id: id("c1"), records, damaged: None, queue, untidy: false }
}

const NOW: Now<'_> = Now { seconds: 100, epoch: "e", everything: false, unseen: false, last: false };

/// What is finished, forgotten, alive and waiting, in short.
fn short(judged: &Judged) -> String {
    let work = judged.work.as_ref();
    let finish =
        work.map_or_else(Vec::new, |work| work.finish.iter().map(|one| one.attachment.ifname.as_str()).collect());
    let forget = work.map_or(0, |work| work.tombstones.len() + work.stale.len());
    format!("{} forget {forget} live {} waiting {}", finish.join(","), judged.live, judged.waiting)
}

#[test]
fn f6_the_next_attempt_is_twice_as_far_away_and_ten_minutes_at_most() {
    let seconds: Vec<u64> = [0, 1, 2, 3, 10, 11, 64, 65, u32::MAX].map(backoff).to_vec();
    assert_eq!(seconds, [1, 1, 2, 4, 512, 600, 600, 600, 600]);
}

#[test]
fn f5_f6_f14_what_becomes_of_a_record() {
    use State::{Attached, Begun, Undone};
    let cases = [
        // Without an entry the namespace alone decides.
        (Attached, true, None, " forget 0 live 1 waiting 0"),
        (Begun, true, None, " forget 0 live 1 waiting 0"),
        (Attached, false, None, "eth0 forget 0 live 0 waiting 0"),
        (Begun, false, None, "eth0 forget 0 live 0 waiting 0"),
        (Undone, true, None, " forget 0 live 1 waiting 0"),
        // Its DEL may come late.
        (Undone, false, None, " forget 0 live 0 waiting 0"),
        // With one that is of this record, its time does.
        (Attached, true, Some(due(100, "e", 7)), "eth0 forget 0 live 0 waiting 0"),
        (Attached, true, Some(due(101, "e", 7)), " forget 0 live 0 waiting 1"),
        (Begun, false, Some(due(101, "e", 7)), " forget 0 live 0 waiting 1"),
        (Begun, true, Some(due(101, "other", 7)), "eth0 forget 0 live 0 waiting 0"),
        // None that an attempt set is so far away.
        (Begun, false, Some(due(700, "e", 7)), " forget 0 live 0 waiting 1"),
        (Begun, false, Some(due(u64::MAX, "e", 7)), "eth0 forget 0 live 0 waiting 0"),
        // One of an earlier record says nothing about what is alive.
        (Attached, true, Some(due(0, "e", 8)), " forget 0 live 1 waiting 0"),
        (Attached, true, Some(Due::default()), " forget 0 live 1 waiting 0"),
        (Attached, false, Some(Due::default()), "eth0 forget 0 live 0 waiting 0"),
        // A tombstone needs no DEL.
        (Undone, true, Some(due(0, "e", 7)), " forget 1 live 1 waiting 0"),
    ];
    for (state, live, entry, expected) in cases {
        let queue = entry.clone().map(|due| ("eth0", due)).into_iter().collect();
        let judged = judge(facts(vec![(record(0, state), live)], queue), NOW);
        assert_eq!(short(&judged), expected, "{state:?} live {live} {entry:?}");
    }
    let everything = Now { everything: true, ..NOW };
    let waiting = facts(vec![(record(0, Begun), true)], vec![("eth0", due(999, "e", 7))]);
    assert_eq!(short(&judge(waiting, everything)), "eth0 forget 0 live 0 waiting 0");
}

#[test]
fn f14_a_tombstone_outlives_the_namespace_by_a_day_of_its_epoch() {
    let forgets = |now: Now<'_>| {
        let tombstone = (record(0, State::Undone), false);
        short(&judge(facts(vec![tombstone], vec![]), now)) == " forget 1 live 0 waiting 0"
    };
    // The call was seen 0.7 s after the boot.
    assert!(!forgets(Now { seconds: 86_399, ..NOW }) && forgets(Now { seconds: 86_400, ..NOW }));
    assert!(!forgets(Now { everything: true, ..NOW }), "nor for a person");
    assert!(forgets(Now { epoch: "another", ..NOW }));
}

#[test]
fn a19_what_is_finished_is_finished_backwards() {
    let records = [1, 0, 2].map(|ordinal| (record(ordinal, State::Attached), false)).to_vec();
    assert_eq!(short(&judge(facts(records, vec![]), NOW)), "net2,net1,eth0 forget 0 live 0 waiting 0");
}

#[test]
fn a17_damaged_records_are_touched_only_if_their_sandbox_is_gone() {
    for (fate, works, unknown) in [(Fate::Gone, true, false), (Fate::Live, false, false), (Fate::Unknown, false, true)]
    {
        let queue = vec![("eth0", due(0, "e", 7))];
        let judged = judge(Facts { damaged: Some((name("eth0"), fate)), ..facts(vec![], queue) }, NOW);
        assert_eq!((judged.work.is_some(), judged.unknown), (works, unknown), "{fate:?}");
        assert!(judged.work.is_none_or(|work| work.stale.is_empty()), "its entry stays with it");
    }
}

#[test]
fn a_run_is_bounded_and_what_failed_most_often_comes_last() {
    let sandbox = |number: usize, attempts: u32| {
        let entry = Due { attempts, ..due(0, "e", 7) };
        let facts = facts(vec![(record(0, State::Begun), false)], vec![("eth0", entry)]);
        Facts { id: id(&format!("c{number:03}")), ..facts }
    };
    let all = (0..70).map(|number| sandbox(number, u32::from(number == 0) * 9)).collect();
    let sweep = plan(all, NOW);
    assert_eq!((sweep.works.len(), sweep.left, sweep.seen.len()), (64, 6, 70));
    let few = plan(vec![sandbox(0, 9), sandbox(1, 0)], NOW);
    let order: Vec<&str> = few.works.iter().map(|work| work.id.as_str()).collect();
    assert_eq!(order, ["c001", "c000"]);
}

#[test]
fn f5_a_sandbox_at_which_each_run_dies_keeps_no_other_from_being_finished() {
    let dead = |name: &str| Facts { id: id(name), ..facts(vec![(record(0, State::Begun), false)], vec![]) };
    // Nothing was written down of a run that died: the facts are the same each time.
    let first = |seconds| plan(["a", "b", "c"].map(dead).into(), Now { seconds, ..NOW }).works.remove(0).id;
    let firsts: BTreeSet<_> = (100..103).map(first).collect();
    assert_eq!(firsts, ["a", "b", "c"].map(id).into());
}

#[test]
fn what_needs_no_plugin_comes_last_and_makes_no_run_due_at_once() {
    let named = |number: usize, facts: Facts| Facts { id: id(&format!("c{number:03}")), ..facts };
    let untidy = |number| named(number, Facts { untidy: true, ..facts(vec![], vec![]) });
    let stale = |number| named(number, facts(vec![], vec![("eth0", due(0, "e", 7))]));
    let dead = |number| named(number, facts(vec![(record(0, State::Begun), false)], vec![]));
    let all = (0..30).map(untidy).chain((30..60).map(stale)).chain((60..100).map(dead)).collect();
    let sweep = plan(all, NOW);
    let first: Vec<&str> = sweep.works.iter().map(|work| work.id.as_str()).take(40).collect();
    assert_eq!((first[0], first[39], sweep.works.len(), sweep.left), ("c060", "c099", 64, 0));
    let sweep = plan((0..10).map(untidy).chain((10..80).map(dead)).collect(), NOW);
    assert_eq!((sweep.works.len(), sweep.left), (64, 6));
}

#[test]
fn f6_the_next_run_is_due_with_the_earliest_thing() {
    let entry = |at: u64| (id("c1"), name("eth0"), due(at, "e", 7));
    let seen = [(id("c1"), name("eth0"))];
    let rest = |at: Option<u64>, seen: &[(ContainerId, IfName)], left, busy| {
        let queue: Vec<_> = at.map(entry).into_iter().collect();
        next(100, &Rest { queue: &queue, seen, began: 90, left, busy, interval: 600 })
    };
    assert_eq!(rest(None, &[], false, false), 700);
    assert_eq!(rest(Some(130), &seen, false, false), 130);
    assert_eq!(rest(Some(130), &seen, true, false), 100);
    assert_eq!(rest(Some(130), &seen, false, true), 110);
    // One that came due while the run was at others is due now.
    assert_eq!(rest(Some(95), &seen, false, false), 100);
    // What this run had a look at is not due at once again; what came meanwhile is.
    assert_eq!(rest(Some(50), &seen, false, false), 700);
    assert_eq!(rest(Some(50), &[], false, false), 100);
    // Of another epoch, whose clock went further.
    assert_eq!(rest(Some(u64::MAX), &seen, false, false), 700);
    assert_eq!(next(100, &Rest { queue: &[], seen: &[], began: 90, left: false, busy: false, interval: 0 }), 101);
}
