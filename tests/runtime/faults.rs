//! When things go wrong around the plugin: refusals that a person has to read, a runtime that dies, pods that are older
//! than meta-cni.

use serde_json::json;

use crate::harness::{Master, Node, Pod, Runtime, on_each_runtime, wait_until};

on_each_runtime! {
    /// A12, B29, F3, G4: a pod that asks for a network that nobody knows is refused in one line, and nothing is left.
    unknown_network_is_refused_a12_b29_g4 => check_unknown_network;
    /// A8, A12, F3: the last network fails after the others were attached: they are undone.
    failing_network_undoes_the_others_a8_a12 => check_failing_network;
    /// G4: a runtime that does not send the pod's annotations is told which key its config lacks.
    no_annotations_from_the_runtime_names_the_key_g4 => check_no_annotations;
    /// A42, A46, F1: what DEL needs outlives the runtime.
    runtime_killed_between_add_and_del_a42_f1 => check_runtime_killed;
    /// F9: the runtime gives a pod up while one of its networks still works on it: all of it ends, nothing is left.
    cancelled_while_a_delegate_hangs_f9 => check_cancelled;
    /// A16: a second DEL of the same sandbox is a success.
    del_twice_a16 => check_del_twice;
    /// F13: a pod that the bare primary started is deleted completely when meta-cni has become the network.
    pod_older_than_meta_cni_f13 => check_older_pod;
}

/// One line for a person: not longer than the limit, naming what it is about.
fn assert_readable(error: &str, names: &[&str]) {
    assert!(!error.contains('\n'), "more than one line: {error}");
    // containerd puts its own words, with the sandbox's ID, before ours.
    assert!(error.len() <= 1024, "{} bytes: {error}", error.len());
    for name in names {
        assert!(error.contains(name), "no word of {name}: {error}");
    }
}

fn check_unknown_network(runtime: Runtime) {
    let node = Node::with_meta_cni(runtime);
    let refused = Pod::new("a").networks("net-a,net-x").run(&node).err().expect("there is no net-x");
    assert_readable(&refused, &["net-x"]);
    node.assert_nothing_left();
    // And the same name is free for the pod once it asks for what there is.
    Pod::new("a").networks("net-a").run(&node).expect("starting the mended pod").delete();
    node.assert_nothing_left();
}

fn check_failing_network(runtime: Runtime) {
    let node = Node::start(runtime, runtime.cni_version(), |etc| {
        etc.write_all(&Master::default());
        // The second plugin of the network fails, so both an earlier network and the same network's first plugin are undone.
        let range = json!([[{"subnet": "10.89.2.128/25"}]]);
        let plugins = json!([
            {"type": "macvlan", "master": "uplink0", "ipam": {"type": "host-local", "ranges": range}},
            {"type": "tuning", "sysctl": {"net.core.no_such_key": "1"}},
        ]);
        etc.write_network("default", "net-bad", &plugins);
    });
    let pod = Pod::new("a").networks("net-a,net-b,net-bad");
    let refused = pod.run(&node).err().expect("net-bad sets what the kernel does not have");
    assert_readable(&refused, &["net-bad", "tuning", "net3", "no_such_key"]);
    node.assert_nothing_left();
}

fn check_no_annotations(runtime: Runtime) {
    let node = Node::start(runtime, runtime.cni_version(), |etc| {
        etc.write_all(&Master { capabilities: json!({"portMappings": true}) });
    });
    let refused = Pod::new("a").networks("net-a").run(&node).err().expect("the annotations are unknown");
    assert_readable(&refused, &["io.kubernetes.cri.pod-annotations"]);
    node.assert_nothing_left();
}

fn check_runtime_killed(runtime: Runtime) {
    let node = Node::with_meta_cni(runtime);
    let pod = Pod::new("a").networks("net-a,net-b").run(&node).expect("starting the pod");
    node.crash_runtime();
    node.start_runtime();
    pod.status();
    pod.delete();
    node.assert_nothing_left();
}

fn check_cancelled(runtime: Runtime) {
    let node = Node::with_meta_cni(runtime);
    node.etc_cni.write_slow_network();
    let request = Pod::new("a").networks("net-a,net-slow").request(&node);
    let mut client = node.cri_client("RunPodSandbox", &request).spawn().expect("starting the CRI client");
    wait_until("the slow network is being attached", || node.runs("sleep 601"));
    client.kill().expect("killing the CRI client");
    client.wait().expect("waiting for the CRI client");
    wait_until("the delegate has ended", || !node.runs("sleep 601"));
    wait_until("nothing is left", || node.left().is_empty());
    Pod::new("a").networks("net-a").run(&node).expect("starting the pod again").delete();
    node.assert_nothing_left();
}

fn check_del_twice(runtime: Runtime) {
    let node = Node::with_meta_cni(runtime);
    let pod = Pod::new("a").networks("net-a").run(&node).expect("starting the pod");
    pod.stop();
    node.assert_nothing_left();
    pod.stop();
    pod.delete();
    node.assert_nothing_left();
}

fn check_older_pod(runtime: Runtime) {
    let primary = "net.d/10-primary.conflist";
    let node = Node::start(runtime, runtime.cni_version(), |etc| etc.write_primary(primary));
    let pod = Pod::new("old").host_port(8080, 80).run(&node).expect("starting a pod with the bare primary");
    node.etc_cni.write_all(&Master::default());
    node.etc_cni.remove(primary);
    // The runtime has read the new conf dir once a pod gets two interfaces.
    let new = Pod::new("new").networks("net-a");
    wait_until("the runtime has read its conf dir", || node.network_name() == "meta-cni");
    let new = new.run(&node).expect("starting a pod with meta-cni");
    assert_eq!(new.interfaces(), ["eth0", "net1"]);
    pod.delete();
    new.delete();
    node.assert_nothing_left();
}
