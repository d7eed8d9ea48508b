//! F3: ADDs that fail, a thousand in a row, leave nothing: no lease, no link, no record, no lock.

use crate::harness::{Node, Sandbox, files_below};
use crate::kernel::isolated;
use crate::scene::*;
use serde_json::{Value, json};

/// Why the second network of a pod cannot be attached: what `extra` does, and the code that the runtime gets.
fn refusals() -> [(Value, u64); 4] {
    [
        (json!({ "ADD": { "error": { "code": 99, "msg": "no" } } }), 99),
        (json!({ "ADD": { "signal": 9 } }), 704),
        (json!({ "ADD": { "exit": 3 } }), 705),
        (json!({ "ADD": { "stdout": "no result" } }), 702),
    ]
}

/// A network for each refusal; gives their names and codes.
fn refusing(node: &Node) -> Vec<(String, u64)> {
    let networks = refusals().into_iter().enumerate().map(|(number, (script, code))| {
        // A log of a thousand calls would be read again and again.
        let mut script = script;
        script["log"] = "".into();
        let name = format!("net-{number}");
        node.nad("default", &name, &scripted(&name, "extra", &script));
        (name, code)
    });
    networks.collect()
}

/// What the node keeps besides what belongs to it as a node.
fn left(node: &Node) -> Vec<std::path::PathBuf> {
    let mut left = [files_below(&node.state()), files_below(&node.run_dir())].concat();
    let of_the_node = [node.state().join("primary.json")]
        .into_iter()
        .chain(["epoch", "adding", "sweep"].map(|name| node.run_dir().join(name)));
    let of_the_node: Vec<_> = of_the_node.collect();
    left.retain(|path| !of_the_node.contains(path));
    left
}

/// Fails `count` ADDs of as many sandboxes one after the other.
fn fails_in_a_row(count: usize) {
    let node = node_with(&json!({ "log": "" }));
    let networks = refusing(&node);
    let mut pod = Sandbox::new();
    let first = pod.id.clone();
    for number in 0..count {
        // A sandbox that failed is not tried again: the runtime makes another one.
        pod.id = format!("{first}-{number}");
        let (network, code) = &networks[number % networks.len()];
        refused(&node.call("ADD", &pod).networks(network).run(), *code);
        assert_eq!(left(&node).len(), 3, "two tombstones, their lock and nothing else: {:?}", left(&node));
        succeeded(&node.call("DEL", &pod).run());
        assert_eq!(left(&node), Vec::<std::path::PathBuf>::new(), "after {} ADDs", number + 1);
    }
    for dir in ["attachments", "queue", "quarantine"] {
        let entries = std::fs::read_dir(node.state().join(dir)).map_or(0, Iterator::count);
        assert_eq!(entries, 0, "directories of sandboxes are left in {dir}");
    }
}

#[test]
fn f3_a_thousand_failed_adds_leave_nothing() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| fails_in_a_row(250));
        }
    });
}

#[test]
fn f3_failed_adds_with_real_delegates_leave_no_lease_and_no_link() {
    isolated(|_| {
        let node = real_node();
        let networks = refusing(&node);
        let mut pod = Sandbox::new();
        let first = pod.id.clone();
        for number in 0..100 {
            pod.id = format!("{first}-{number}");
            let (network, code) = &networks[number % networks.len()];
            refused(&node.call("ADD", &pod).networks(network).run(), *code);
            // Before any DEL: the ADD itself took everything back.
            assert_eq!(leases(), Vec::<String>::new(), "after {} ADDs", number + 1);
            assert_eq!(host_veths(), Vec::<String>::new());
            assert_eq!(pod.netns.links(), Vec::<String>::new());
            succeeded(&node.call("DEL", &pod).run());
        }
        assert_eq!(left(&node), Vec::<std::path::PathBuf>::new());
    });
}

#[test]
fn f3_the_same_sandbox_failing_again_and_again_leaves_nothing() {
    isolated(|_| {
        let node = real_node();
        let networks = refusing(&node);
        let pod = Sandbox::new();
        for number in 0..20 {
            let (network, code) = &networks[number % networks.len()];
            refused(&node.call("ADD", &pod).networks(network).run(), *code);
            assert_eq!((leases().len(), host_veths().len()), (0, 0));
        }
        succeeded(&node.call("DEL", &pod).run());
        assert_eq!(left(&node), Vec::<std::path::PathBuf>::new());
    });
}
