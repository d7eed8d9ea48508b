//! CRI-O is not to be had as a package; its habits are: CHECK right after every ADD, DEL with the configuration cached at
//! ADD, GC of every list in the conf dir at start, and SIGKILL for the plugin of an ADD that was cancelled.

use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{EtcCni, Master, Node, POD_ANNOTATIONS, Runtime, on_each_runtime, text};

on_each_runtime! {
    /// A22, A19, A46: CHECK passes right after ADD; DEL with the cached config works when the conf dir says otherwise.
    check_after_add_and_del_from_cache_a19_a22_a46 => check_habits;
    /// A22: CHECK sees that an interface of the pod is gone, whichever network it belongs to.
    check_notices_a_lost_interface_a22 => check_lost_interface;
    /// A28, A30: GC of every list at start, with only the pods of the default network valid, harms no pod.
    gc_of_every_list_harms_nothing_a28_a30 => check_gc;
    /// A1: CRI-O drops a list when VERSION of one of its plugins lacks the list's version.
    list_is_accepted_a1 => check_loads;
}

/// A30: GC finds pods that ended while nobody looked: not in the runtime's list, their namespace gone, and nothing in
/// libcni's cache that would have made libcni itself delete them. A living one stays, listed or not.
#[test]
fn gc_of_dead_pods_leaves_nothing_a30() {
    let node = Node::with_meta_cni(Runtime::Modules);
    let [dead, alive] = [Call::new(&node, 1, "net-a,net-b"), Call::new(&node, 2, "net-a")];
    dead.must("add");
    alive.must("add");
    node.must(&["sh", "-c", "rm /var/lib/cni/results/*"]);
    dead.end();
    let output = node.crio("gc", &["--valid", ""]);
    assert!(output.status.success(), "GC: {}", text(&output.stderr));
    let dead_id = format!("{:064x}", 1);
    let remembered = |id: &str| node.run(&["grep", "-rqF", id, "/var/lib/cni", "/run/meta-cni"]).status.success();
    assert!(!remembered(&dead_id), "something of the dead pod is left: {:#?}", node.left());
    assert!(remembered(&alive.id), "the living pod was taken for dead: {:#?}", node.left());
    node.must(&["ip", "netns", "exec", "pod2", "ip", "link", "show", "net1"]);
    alive.must("del");
    alive.end();
    node.assert_nothing_left();
}

/// A28: what CRI-O lists is all of its own interfaces. A plugin that frees what is not valid, as GC asks of it, frees nothing of a
/// pod that lives, listed or not, and nothing at all while a listed pod is from before meta-cni.
#[test]
fn gc_by_a_plugin_that_frees_takes_nothing_of_the_living_a28() {
    let node = Node::start(Runtime::Modules, "1.1.0", |etc| {
        two_lists(etc);
        etc.write_clearing_network();
    });
    let stale = || node.must(&["sh", "-c", r"printf 'gone\r\nnet1' >/var/lib/cni/networks/net-a/10.89.1.200"]);
    let leases = || node.must(&["sh", "-c", "ls /var/lib/cni/networks/net-a | grep -c ^10.89; true"]).trim().to_owned();
    let told = || node.must(&["sh", "-c", "cat /var/log/cleared 2>/dev/null | wc -l"]).trim().to_owned();
    let gc = |valid: &str| {
        let output = node.crio("gc", &["--valid", valid]);
        assert!(output.status.success(), "GC: {}", text(&output.stderr));
    };
    let pods = [Call::new(&node, 1, "net-a"), Call::new(&node, 2, "net-a,net-a")];
    for pod in &pods {
        pod.must("add");
    }
    let valid = pods.each_ref().map(|pod| format!("{}/eth0", pod.id)).join(",");
    stale();
    assert_eq!(leases(), "4");
    gc(&format!("{valid},{:064x}/eth0", 9));
    assert_eq!((leases(), told()), ("4".to_owned(), "0".to_owned()), "a pod from before meta-cni is listed");
    gc(&valid);
    assert_eq!((leases(), told()), ("3".to_owned(), "1".to_owned()), "the stale one goes");
    // libcni itself deletes what its cache has and the list lacks.
    node.must(&["sh", "-c", "rm /var/lib/cni/results/*"]);
    gc("");
    assert_eq!((leases(), told()), ("3".to_owned(), "2".to_owned()), "unlisted, and alive");
    for pod in pods {
        pod.must("check");
        pod.must("del");
        pod.end();
    }
    assert_eq!(leases(), "0");
}

/// A sandbox as CRI-O would make one, in a namespace of `ip netns`.
pub(crate) struct Call<'n> {
    node: &'n Node,
    id: String,
    netns: String,
    capability_args: String,
}

impl<'n> Call<'n> {
    pub(crate) fn new(node: &'n Node, number: u32, networks: &str) -> Self {
        let name = format!("pod{number}");
        node.must(&["ip", "netns", "add", &name]);
        Self {
            node,
            id: format!("{number:064x}"),
            netns: format!("/run/netns/{name}"),
            capability_args: json!({POD_ANNOTATIONS: {"k8s.v1.cni.cncf.io/networks": networks}}).to_string(),
        }
    }

    pub(crate) fn make(&self, operation: &str, more: &[&str]) -> Output {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=a;K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID=u",
            self.id
        );
        let mut all = vec!["--network", "meta-cni", "--id", &self.id, "--netns", &self.netns, "--args", &args];
        all.extend(["--capability-args", &self.capability_args]);
        all.extend(more);
        self.node.crio(operation, &all)
    }

    /// ADD by a plugin that a tracer kills at the given moment (strace's `inject`).
    pub(crate) fn make_killed_at(&self, moment: &str) -> Output {
        self.node.must(&["sh", "-c", &format!("echo '{moment}' >/var/log/kill-at")]);
        let output = self.make("add", &["--no-check"]);
        self.node.must(&["rm", "/var/log/kill-at"]);
        output
    }

    pub(crate) fn must(&self, operation: &str) -> String {
        let output = self.make(operation, &[]);
        assert!(output.status.success(), "{operation}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn end(self) {
        self.node.must(&["ip", "netns", "delete", self.netns.rsplit('/').next().expect("a path has a last part")]);
    }
}

/// The network of CRI-O's pods, and beside it a list that is nobody's default, as distributions leave them there.
fn two_lists(etc: &EtcCni) {
    etc.write_all(&Master::default());
    etc.write_primary("net.d/10-primary.conflist");
}

fn check_habits(runtime: Runtime) {
    let node = Node::with_meta_cni(runtime);
    let pod = Call::new(&node, 1, "net-a,net-b");
    let result: Value = serde_json::from_str(&pod.must("add")).expect("ADD answers JSON");
    assert_eq!(result["cniVersion"], runtime.cni_version());
    assert_eq!(result["interfaces"].as_array().map(|all| all.iter().any(|i| i["name"] == "eth0")), Some(true));
    pod.must("check");
    // What the conf dir says now is of no interest to a pod that is there.
    node.etc_cni.write("primary.d/10-primary.conflist", &json!({"name": "torn"}));
    node.etc_cni.write_network("default", "net-a", &json!([{"type": "no-such-plugin"}]));
    node.etc_cni.write_master(&Master { capabilities: json!({}) });
    pod.must("check");
    pod.must("del");
    pod.must("del");
    pod.end();
    node.assert_nothing_left();
}

fn check_lost_interface(runtime: Runtime) {
    let node = Node::with_meta_cni(runtime);
    for (number, lost) in [(1, "eth0"), (2, "net1"), (3, "net2")] {
        let pod = Call::new(&node, number, "net-a,net-b");
        pod.must("add");
        node.must(&["ip", "-netns", &format!("pod{number}"), "link", "delete", lost]);
        let output = pod.make("check", &[]);
        assert!(!output.status.success(), "CHECK passed without {lost}");
        assert!(text(&output.stderr).contains(lost), "CHECK names {lost}: {}", text(&output.stderr));
        pod.must("del");
        pod.end();
    }
    node.assert_nothing_left();
}

fn check_gc(runtime: Runtime) {
    let node = Node::start(runtime, runtime.cni_version(), two_lists);
    let pods = [Call::new(&node, 1, "net-a,net-b"), Call::new(&node, 2, "net-a,net-a")];
    for pod in &pods {
        pod.must("add");
    }
    let valid = pods.each_ref().map(|pod| format!("{}/eth0", pod.id)).join(",");
    let output = node.crio("gc", &["--valid", &valid]);
    assert!(output.status.success(), "GC: {}", text(&output.stderr));
    for pod in &pods {
        pod.must("check");
    }
    for pod in pods {
        pod.must("del");
        pod.end();
    }
    node.assert_nothing_left();
}

fn check_loads(runtime: Runtime) {
    let node = Node::with_meta_cni(runtime);
    let output = node.crio("load", &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim(), r#"["meta-cni"]"#);
}
