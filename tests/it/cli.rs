//! G2: the command line. What `plan` shows is what ADD does, byte for byte; what `status` shows is what is on disk; and
//! exit codes tell.

use crate::harness::{Node, Recorded, Sandbox, plugin_under_test};
use crate::kernel::isolated;
use crate::scene::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a command printed, and its exit code.
#[derive(Debug)]
struct Said {
    stdout: String,
    stderr: String,
    exit: Option<i32>,
}

fn meta_cni<'a>(args: impl IntoIterator<Item = &'a str>) -> Said {
    let output = Command::new(plugin_under_test()).env_clear().args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { stdout: text(output.stdout), stderr: text(output.stderr), exit: output.status.code() }
}

#[track_caller]
fn clean(said: Said) -> String {
    assert_eq!((said.exit, said.stderr.as_str()), (Some(0), ""), "{said:?}");
    said.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The examples where a node has them, in a mount namespace of the test's own.
fn install_examples(examples: &Path) {
    for hidden in ["/etc", "/opt"] {
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), hidden, Some("tmpfs"), flags, None::<&str>).unwrap();
    }
    for dir in ["/etc/cni/primary.d", "/etc/cni/net.d", "/etc/cni/meta-cni/networks/default", "/opt/cni/bin"] {
        std::fs::create_dir_all(dir).unwrap();
    }
    std::fs::copy(examples.join("00-meta-cni.conflist"), "/etc/cni/net.d/00-meta-cni.conflist").unwrap();
    std::fs::copy(examples.join("10-primary.conflist"), "/etc/cni/primary.d/10-primary.conflist").unwrap();
    for entry in std::fs::read_dir(examples.join("networks/default")).unwrap().flatten() {
        std::fs::copy(entry.path(), Path::new("/etc/cni/meta-cni/networks/default").join(entry.file_name())).unwrap();
    }
    for plugin in ["bridge", "portmap", "macvlan", "tuning", "bandwidth"] {
        std::fs::copy("/bin/true", Path::new("/opt/cni/bin").join(plugin)).unwrap();
    }
}

#[test]
fn g2_plan_of_the_examples_is_what_the_golden_files_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    isolated(|_| {
        install_examples(&root.join("examples"));
        for pod in ["alice", "bob", "carol"] {
            let manifest = root.join(format!("examples/pods/{pod}.yaml"));
            for (output, ending) in [("human", "txt"), ("json", "json")] {
                let shown = clean(meta_cni(["plan", "--pod", text(&manifest), "--output", output]));
                let golden = root.join(format!("tests/it/golden/{pod}.{ending}"));
                if std::env::var_os("BLESS").is_some() {
                    std::fs::write(&golden, &shown).unwrap();
                }
                let expected = std::fs::read_to_string(&golden).unwrap_or_default();
                assert_eq!(shown, expected, "{} (BLESS=1 rewrites it)", golden.display());
            }
        }
        let written = ["/var/lib/cni/meta-cni", "/run/meta-cni", "/var/log/meta-cni.log"];
        assert!(!written.iter().any(|path| Path::new(path).exists()), "plan writes nothing");
    });
}

/// A node whose networks use everything that a plan has, its master config in a file, and a pod that asks for them.
fn elaborate() -> (Node, PathBuf, PathBuf) {
    let node = Node::new();
    node.primary(&json!({ "cniVersion": "1.0.0", "name": "cluster", "plugins": [
        { "type": "main", "zeta": 1.50, "capabilities": { "io.kubernetes.cri.pod-annotations": true } },
        { "type": "chained", "capabilities": { "portMappings": true } },
    ] }));
    node.nad(
        "default",
        "net-a",
        &json!({ "cniVersion": "0.4.0", "name": "a", "plugins": [
        { "type": "extra", "capabilities": { "ips": true, "mac": true }, "args": { "cni": { "x": "1", "y": "2" } } },
    ] }),
    );
    node.nad("other", "net-b", &json!({ "cniVersion": "1.1.0", "type": "single", "unknown": [null, 1e3] }));
    let asks = json!([
        { "name": "net-a", "ips": ["10.1.2.3/24"], "mac": "02:00:00:00:00:01", "cni-args": { "y": "3" } },
        { "name": "net-b", "namespace": "other", "interface": "data0" },
        { "name": "net-a" },
    ]);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": "planned-pod", "namespace": "default", "annotations": { "k8s.v1.cni.cncf.io/networks": asks.to_string() },
    } });
    let pod = node.write("pod.json", &pod.to_string());
    let config = node.write("master.conf", &node.master_config().to_string());
    (node, config, pod)
}

/// What a human plan says of one plugin: variables and stdin.
fn planned_calls(human: &str) -> Vec<(Vec<String>, String)> {
    let mut calls: Vec<(Vec<String>, String)> = Vec::new();
    for line in human.lines() {
        if let Some(stdin) = line.strip_prefix("    stdin ") {
            let stdin = stdin.strip_suffix("  (with prevResult of the plugin before)").unwrap_or(stdin);
            calls.last_mut().unwrap().1 = stdin.to_owned();
        } else if let Some(variable) = line.strip_prefix("    ") {
            calls.last_mut().unwrap().0.push(variable.to_owned());
        } else if line.starts_with("  ") {
            calls.push((vec![format!("binary {}", line.trim())], String::new()));
        }
    }
    calls
}

/// The same of a call that was made. `prevResult` is the one thing that no plan can hold.
fn real_call(node: &Node, call: &Recorded) -> (Vec<String>, String) {
    let variables = call.env.iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| format!("{key}={value}"));
    let mut all = vec![format!("binary {}", node.plugins().join(&call.kind).display())];
    all.extend(variables);
    let fields = crate::harness::fields(&call.stdin).into_iter().filter(|(key, _)| key != "prevResult");
    let fields: Vec<String> = fields.map(|(key, value)| format!("{}:{value}", Value::from(key))).collect();
    (all, format!("{{{}}}", fields.join(",")))
}

#[test]
fn g2_plan_shows_what_add_then_calls_byte_for_byte() {
    isolated(|kernel| {
        let (node, config, pod) = elaborate();
        let plugins = node.plugins();
        let base = ["plan", "--config", text(&config), "--pod", text(&pod), "--bin-dir", text(&plugins)];
        let human = clean(meta_cni(base));
        let plan: Value = serde_json::from_str(&clean(meta_cni(base.into_iter().chain(["--output", "json"])))).unwrap();
        assert_eq!(node.order(), Vec::<String>::new(), "plan runs nothing");
        assert_eq!(crate::harness::files_below(&node.state()), Vec::<PathBuf>::new(), "plan writes nothing");

        // The sandbox that a plan is of, so that nothing has to be left out of the comparison.
        let sandbox = Sandbox::new();
        let netns = kernel.netns("planned");
        let args =
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=planned-pod;K8S_POD_INFRA_CONTAINER_ID=planned";
        let annotations =
            serde_json::from_str::<Value>(&std::fs::read_to_string(&pod).unwrap()).unwrap()["metadata"]["annotations"]
                .take();
        let add = node
            .call("ADD", &sandbox)
            .env("CNI_CONTAINERID", "planned")
            .env("CNI_NETNS", text(&netns))
            .env("CNI_ARGS", args)
            .runtime_config("io.kubernetes.cri.pod-annotations", annotations);
        succeeded(&add.run());
        let real: Vec<_> = node.calls().iter().map(|call| real_call(&node, call)).collect();
        let mut planned = planned_calls(&human);
        planned.iter_mut().for_each(|(variables, _)| variables.sort());
        let mut sorted = real;
        sorted.iter_mut().for_each(|(variables, _)| variables.sort());
        assert_eq!(planned.len(), 5);
        assert_eq!(planned, sorted);

        for attachment in plan["attachments"].as_array().unwrap() {
            let ifname = attachment["ifname"].as_str().unwrap();
            let path = node.state().join(format!("attachments/planned/{ifname}.json"));
            assert_eq!(&record(&path)["attachment"], attachment, "the record holds the plan's own attachment");
        }
        let names: Vec<&str> =
            plan["attachments"].as_array().unwrap().iter().map(|a| a["ifname"].as_str().unwrap()).collect();
        assert_eq!(names, ["eth0", "net1", "data0", "net3"]);
    });
}

#[test]
fn g2_plan_tells_by_its_exit_code_what_is_wrong() {
    let (node, config, pod) = elaborate();
    let plugins = node.plugins();
    let pod_asking = |networks: &str| {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "annotations": { "k8s.v1.cni.cncf.io/networks": networks } } });
        node.write(&format!("pods/{}.json", networks.len()), &pod.to_string())
    };
    let unknown = pod_asking("net-x");
    let malformed = pod_asking("[{\"name\": 1}]");
    let torn = node.write("torn.conf", "{\"name\":");
    let no_pod = node.write("service.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n");
    let nowhere = node.root().join("nowhere");
    let plan = |config: &Path, pod: &Path| {
        meta_cni(["plan", "--config", text(config), "--pod", text(pod), "--bin-dir", text(&plugins)])
    };
    for (what, said, exit, word) in [
        ("an unknown network", plan(&config, &unknown), 1, "net-a"),
        ("a malformed annotation", plan(&config, &malformed), 1, "annotation"),
        ("a torn master config", plan(&torn, &pod), 1, "torn.conf"),
        ("no pod", plan(&config, &no_pod), 1, "Service"),
        ("no config there", plan(&nowhere, &pod), 3, "nowhere"),
        ("no pod there", plan(&config, &nowhere), 3, "nowhere"),
        ("no --pod", meta_cni(["plan", "--config", text(&config)]), 2, "--pod"),
        ("an unknown option", meta_cni(["plan", "--frobnicate"]), 2, "--frobnicate"),
        ("no command", meta_cni([]), 2, "Usage"),
        ("a plugin that is nowhere", meta_cni(["plan", "--config", text(&config), "--pod", text(&pod)]), 1, "main"),
    ] {
        assert_eq!((said.exit, said.stdout.as_str()), (Some(exit), ""), "{what}: {said:?}");
        assert!(said.stderr.contains(word), "{what}: {said:?}");
    }
    let version = clean(meta_cni(["--version"]));
    assert_eq!(version.trim(), concat!("meta-cni ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn status_shows_the_attachments_and_the_annotation() {
    let (node, config, _) = elaborate();
    let sandbox = Sandbox::new();
    let state = node.state();
    let status = |more: &[&str]| {
        let base = ["status", "--container", &sandbox.id, "--state-dir", text(&state)];
        meta_cni(base.into_iter().chain(more.iter().copied()))
    };
    let unknown = status(&[]);
    assert_eq!((unknown.exit, unknown.stdout.as_str()), (Some(3), ""), "{unknown:?}");

    let go = node.root().join("go");
    node.script("extra", &json!({ "ADD": { "block_until_file": go } }));
    let add = node.call("ADD", &sandbox).networks("net-a").start();
    eventually("the second delegate", || node.calls().into_iter().find(|call| call.kind == "extra"));
    let half = status(&[]);
    assert_eq!(half.exit, Some(1), "{half:?}");
    assert!(half.stdout.lines().any(|line| line.contains("net1") && line.contains("begun")), "{half:?}");
    std::fs::write(go, "").unwrap();
    succeeded(&add.wait());

    let human = clean(status(&[]));
    for words in
        [["eth0", "cluster"], ["net1", "default/net-a"], ["attached", "main, chained"], [&*sandbox.pod, &*sandbox.id]]
    {
        assert!(human.lines().any(|line| words.iter().all(|word| line.contains(word))), "{words:?} in\n{human}");
    }
    let json = clean(status(&["--output", "json"]));
    let entries: Vec<Value> = serde_json::from_str(&json).unwrap();
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| (entry["name"].clone(), entry["interface"].clone(), entry["default"].clone()))
        .collect();
    assert_eq!(
        seen,
        [(json!("cluster"), json!("eth0"), json!(true)), (json!("default/net-a"), json!("net1"), json!(false))]
    );
    assert!(
        entries
            .iter()
            .all(|entry| entry["ips"][0].as_str().is_some_and(|ip| ip.starts_with("10.88.") && !ip.contains('/'))),
        "{json}"
    );
    let by_config = meta_cni(["status", "--container", &sandbox.id, "--config", text(&config), "--output", "json"]);
    assert_eq!(clean(by_config), json, "the state directory is the master config's");

    std::fs::write(record_path(&node, &sandbox, "net1"), "{").unwrap();
    let damaged = status(&[]);
    assert_eq!(damaged.exit, Some(1), "{damaged:?}");
    assert!(
        damaged.stdout.lines().any(|line| line.starts_with("damaged: ") && line.contains("net1.json")),
        "{damaged:?}"
    );
    assert_eq!(status(&["--output", "json"]).exit, Some(1));

    succeeded(&node.call("DEL", &sandbox).run());
    assert_eq!(status(&[]).exit, Some(3));
    for bad in ["", "a/b", "../x"] {
        assert_eq!(meta_cni(["status", "--container", bad]).exit, Some(2), "{bad:?}");
    }
}
