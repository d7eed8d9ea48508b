//! A17, F4, F5: addresses that no record tells of. Real bridge and host-local: what is reserved and which links there are is
//! what counts.

use crate::harness::{Node, Sandbox, files_below};
use crate::kernel::{ip, isolated};
use crate::scene::*;
use meta_cni::act::Context;
use meta_cni::act::leases::{Earlier, all_known, of_earlier_epochs};
use meta_cni::cni::{CniArgs, SearchPath};
use meta_cni::config::MasterConfig;
use meta_cni::plan::leases::places;
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Where host-local keeps its leases unless it is told otherwise.
const NETWORKS: &str = "/var/lib/cni/networks";

/// A node of real plugins with the networks `default/net-a` and `default/net-b`; net-b keeps its leases elsewhere.
fn node() -> Node {
    let node = real_node();
    node.nad_text("default", "net-a", &bridge("net-a", 2).to_string());
    let mut elsewhere = bridge("net-b", 3);
    elsewhere["plugins"][0]["ipam"]["dataDir"] = "/var/lib/ipam".into();
    node.nad_text("default", "net-b", &elsewhere.to_string());
    node
}

fn added(node: &Node) -> Sandbox {
    let sandbox = Sandbox::new();
    succeeded(&node.call("ADD", &sandbox).networks("net-a,net-b").run());
    sandbox
}

/// Every lease, `net-b`'s too, that is the sandbox's.
fn leases_of(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut files = [files_below(Path::new(NETWORKS)), files_below(Path::new("/var/lib/ipam"))].concat();
    files.retain(|file| std::fs::read_to_string(file).is_ok_and(|text| text.starts_with(&sandbox.id)));
    files
}

/// Damages one record.
type Damage = fn(&Path);

const CUT: Damage = |path| {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 3]).unwrap();
};

const FLIPPED: Damage = |path| {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[200] ^= 4;
    std::fs::write(path, bytes).unwrap();
};

/// Of the sandbox only what stands in the quarantine is left, with a reason for each file.
#[track_caller]
fn only_quarantine_left(node: &Node, sandbox: &Sandbox, damaged: usize) {
    let quarantine = node.state().join("quarantine");
    let left = left_of(node, sandbox);
    assert!(left.iter().all(|path| path.starts_with(&quarantine)), "{left:?}");
    let reasons: Vec<_> = left.iter().filter(|path| path.extension().is_some_and(|end| end == "reason")).collect();
    assert_eq!((left.len(), reasons.len()), (2 * damaged, damaged), "{left:?}");
    for reason in reasons {
        let text = std::fs::read_to_string(reason).unwrap();
        assert!(text.contains("NAT"), "what cannot be known is named: {text}");
    }
}

#[test]
fn a17_f4_damaged_records_of_any_attachment_leave_no_lease_and_no_link() {
    const EMPTY: Damage = |path| std::fs::write(path, "").unwrap();
    let (alive, gone) = (true, false);
    for (damage, damaged, lives) in [
        (CUT, &["net1"][..], alive),
        (FLIPPED, &["net2"], alive),
        (EMPTY, &["net1", "net2"], alive),
        (CUT, &["eth0", "net2"], alive),
        (FLIPPED, &["eth0", "net1", "net2"], alive),
        (FLIPPED, &["net1"], gone),
        (CUT, &["eth0", "net1", "net2"], gone),
    ] {
        isolated(|_| {
            let node = node();
            let [mut sandbox, other] = [added(&node), added(&node)];
            assert_eq!((leases_of(&sandbox).len(), host_veths().len()), (3, 6));
            for ifname in damaged {
                damage(&record_path(&node, &sandbox, ifname));
            }
            if !lives {
                sandbox.netns.vanish();
            }
            let context = format!("{damaged:?}, alive {lives}");
            let del = node.call("DEL", &sandbox).run();
            assert_eq!(del.exit, Some(0), "{context}: {del:?}");
            assert_eq!(leases_of(&sandbox), Vec::<PathBuf>::new(), "{context}: {}", node.log());
            // The kernel takes the links of a namespace that is gone in its own time.
            eventually(&format!("{context}: its links go"), || (host_veths().len() == 3).then_some(()));
            assert_eq!(leases_of(&other).len(), 3, "{context}: the other pod's stay");
            only_quarantine_left(&node, &sandbox, damaged.len());
            assert!(node.log().contains("addresses released without a record"), "counted: {}", node.log());
            succeeded(&node.call("CHECK", &other).run());
        });
    }
}

#[test]
fn f4_an_address_of_another_call_of_the_sandbox_stays() {
    isolated(|_| {
        let node = real_node();
        let sandbox = Sandbox::new();
        let call = |operation: &str, ifname: &str| node.call(operation, &sandbox).env("CNI_IFNAME", ifname).run();
        for ifname in ["eth0", "eth1"] {
            succeeded(&call("ADD", ifname));
        }
        CUT(&record_path(&node, &sandbox, "eth0"));
        succeeded(&call("DEL", "eth0"));
        assert_eq!((leases_of(&sandbox).len(), sandbox.netns.links()), (1, vec!["eth1".to_owned()]));
        succeeded(&call("DEL", "eth1"));
        assert_eq!((leases_of(&sandbox).len(), host_veths().len()), (0, 0));
    });
}

#[test]
fn f4_a_network_that_only_another_pods_record_knows_is_looked_through_too() {
    isolated(|_| {
        let node = node();
        let [sandbox, other] = [added(&node), added(&node)];
        std::fs::remove_dir_all(node.networks()).unwrap();
        CUT(&record_path(&node, &sandbox, "net2"));
        succeeded(&node.call("DEL", &sandbox).run());
        assert_eq!((leases_of(&sandbox).len(), leases_of(&other).len(), host_veths().len()), (0, 3, 3));
    });
}

#[test]
fn f4_a_pod_whose_records_are_lost_altogether_is_deleted_by_its_leases() {
    isolated(|_| {
        let node = node();
        let sandbox = added(&node);
        std::fs::remove_dir_all(node.state()).unwrap();
        succeeded(&node.call("DEL", &sandbox).run());
        assert_eq!((leases_of(&sandbox).len(), host_veths().len()), (0, 0), "{}", node.log());
        nothing_left(&node, &sandbox);
    });
}

#[test]
fn f4_the_whole_chain_of_the_network_is_run_so_its_rules_go_too() {
    // As runtimes do, the DEL brings the pod's annotations too: portmap deletes nothing unless it is told of something.
    isolated(|_| {
        let node = real_node();
        install_real(&node, &["portmap"]);
        let mut list = bridge("net-a", 2);
        let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
        list["plugins"].as_array_mut().unwrap().push(portmap);
        node.nad_text("default", "net-a", &list.to_string());
        let sandbox = Sandbox::new();
        let wish = r#"[{"name":"net-a","portMappings":[{"hostPort":18080,"containerPort":80}]}]"#;
        succeeded(&node.call("ADD", &sandbox).networks(wish).run());
        assert!(rules().contains("18080"));
        FLIPPED(&record_path(&node, &sandbox, "net1"));
        succeeded(&node.call("DEL", &sandbox).networks(wish).run());
        assert!(!rules().contains("18080"), "{}", rules());
        assert_eq!((leases_of(&sandbox).len(), host_veths().len()), (0, 0));
    });
}

fn rules() -> String {
    let output = std::process::Command::new("iptables-save").output().expect("iptables-save (Debian package iptables)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn f4_a_release_that_fails_is_in_the_queue_and_tried_again() {
    isolated(|_| {
        let node = real_node();
        let fails = json!({ "DEL": { "error": { "code": 44, "msg": "not now" }, "fail_first": 1 } });
        let mut list = scripted("net-a", "extra", &fails);
        list["plugins"][0]["ipam"] = json!({ "type": "host-local" });
        node.nad("default", "net-a", &list);
        let sandbox = Sandbox::new();
        succeeded(&node.call("ADD", &sandbox).networks("net-a").run());
        leased("net-a", "10.77.2.9", &sandbox.id, "net1");
        CUT(&record_path(&node, &sandbox, "net1"));
        let error = refused(&node.call("DEL", &sandbox).run(), 44);
        assert!(error["msg"].as_str().unwrap().contains("\"default/net-a\" (extra) net1"), "{error}");
        assert!(node.state().join("queue").join(&sandbox.id).join("net1.json").exists());
        assert_eq!(leases(), ["net-a/10.77.2.9"], "the primary's own is gone");
        succeeded(&node.call("DEL", &sandbox).run());
        // The sweep may have been faster, and then the lease, which this plugin leaves, is found once more.
        assert!((2..=3).contains(&node.calls_of("DEL").len()), "{:?}", node.order());
        only_quarantine_left(&node, &sandbox, 1);
    });
}

#[test]
fn f4_a_del_that_cannot_look_at_the_leases_now_fails_and_the_next_knows_that_something_is_lost() {
    for file in ["", "/10.77.2.2"] {
        isolated(|_| {
            let node = node();
            let [sandbox, _other] = [added(&node), added(&node)];
            // Only for a damaged record are the networks of other pods' records looked through.
            std::fs::remove_dir_all(node.networks()).unwrap();
            CUT(&record_path(&node, &sandbox, "net1"));
            let place = format!("{NETWORKS}/net-a{file}");
            let full = ["strace", "-o", "/dev/null", "-P", &place, "-e", "inject=open,openat:error=EMFILE"];
            refused(&node.call("DEL", &sandbox).through(&full).run(), 5);
            assert_eq!(leases_of(&sandbox).len(), 1, "the one that could not be looked at, or this proves nothing");
            succeeded(&node.call("DEL", &sandbox).run());
            assert_eq!(leases_of(&sandbox), Vec::<PathBuf>::new(), "{}", node.log());
            only_quarantine_left(&node, &sandbox, 1);
        });
    }
}

#[test]
fn f2_f3_a_lease_that_a_killed_plugin_had_not_written_is_released() {
    isolated(|_| {
        let node = node();
        let real = std::fs::canonicalize(node.plugins().join("host-local")).unwrap();
        // The real one, killed before it writes into the file that it has made for net-a.
        std::fs::remove_file(node.plugins().join("host-local")).unwrap();
        let real = real.display();
        let text = format!(
            "#!/bin/sh\n[ $CNI_COMMAND-$CNI_IFNAME = ADD-net1 ] || exec {real}\n\
             exec strace -f -o /dev/null -P {NETWORKS}/net-a/10.77.2.2 -e inject=write:signal=KILL {real}\n"
        );
        install_script(&node.plugins().join("host-local"), &text);
        let sandbox = Sandbox::new();
        let output = node.call("ADD", &sandbox).networks("net-a").run();
        assert_ne!(output.exit, Some(0), "{output:?}");
        assert_eq!((leases(), host_veths().len()), (Vec::<String>::new(), 0), "{}", node.log());
        assert!(node.log().contains("had reserved for nobody"), "it was there, and said so: {}", node.log());
        succeeded(&node.call("DEL", &sandbox).run());
        nothing_left(&node, &sandbox);
    });
}

fn install_script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a17_an_add_after_a_damaged_record_finds_its_address_free() {
    isolated(|_| {
        let node = node();
        let sandbox = added(&node);
        ["eth0", "net1", "net2"].iter().for_each(|ifname| CUT(&record_path(&node, &sandbox, ifname)));
        succeeded(&node.call("ADD", &sandbox).networks("net-a,net-b").run());
        assert_eq!((leases_of(&sandbox).len(), host_veths().len()), (3, 3));
        succeeded(&node.call("DEL", &sandbox).run());
        assert_eq!((leases_of(&sandbox).len(), host_veths().len()), (0, 0));
    });
}

/// A lease as host-local writes it.
fn leased(network: &str, address: &str, container: &str, ifname: &str) -> PathBuf {
    let path = Path::new(NETWORKS).join(network).join(address);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, format!("{container}\r\n{ifname}")).unwrap();
    path
}

/// The same, written long before this kernel started.
fn leased_long_ago(network: &str, address: &str, container: &str, ifname: &str) -> PathBuf {
    let path = leased(network, address, container, ifname);
    age(&path);
    path
}

fn age(path: &Path) {
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
}

/// An entry of libcni's cache.
fn cached(dir: &str, container: &str, netns: &Path) {
    let entry = json!({ "kind": "cniCacheV1", "containerId": container, "netns": netns, "ifName": "eth0",
        "networkName": "cluster", "config": "", "result": {} });
    let path = Path::new(dir).join(format!("results/cluster-{container}-eth0"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, entry.to_string()).unwrap();
}

/// Looks through the leases, as the sweep does.
fn look_through(node: &Node) -> Earlier {
    let mut config: Value = node.master_config();
    config["cniDir"] = "/var/lib/multus".into();
    let config = MasterConfig::from_stdin(config.to_string().as_bytes()).unwrap();
    let path = SearchPath::parse(node.plugins().to_str().unwrap());
    let context = Context::new(config, CniArgs::default(), path);
    let networks = all_known(&context);
    let earlier = of_earlier_epochs(&context, "an epoch", &places(&networks), Instant::now() + Duration::from_secs(30));
    assert!(earlier.errors.is_empty(), "{earlier:?}");
    earlier
}

#[test]
fn f5_addresses_of_an_earlier_kernel_are_released_and_no_others() {
    isolated(|kernel| {
        let node = node();
        let [sandbox, alive] = [added(&node), Sandbox::new()];
        leases_of(&sandbox).iter().for_each(|path| age(path));
        let gone = [
            leased_long_ago("cluster", "10.77.1.200", "gone1", "eth0"),
            leased_long_ago("net-a", "10.77.2.200", "gone1", "net1"),
            leased_long_ago("net-a", "10.77.2.201", "gone2", "net1"),
            leased_long_ago("net-a", "fd00::201", "gone2", "net1"),
            leased_long_ago("net-a", "10.77.2.202", "gone3", ""),
        ];
        cached("/var/lib/cni", "gone2", Path::new("/run/netns/gone"));
        let kept = [
            // The runtime, or Multus, has it in a namespace that is there.
            leased_long_ago("cluster", "10.77.1.210", "cached1", "eth0"),
            leased_long_ago("net-a", "10.77.2.210", "cached2", "net1"),
            // Of this kernel.
            leased("net-a", "10.77.2.211", "young", "net1"),
            leased_long_ago("net-a", "10.77.2.212", "half", "net1"),
            leased("cluster", "10.77.1.213", "half", "eth0"),
            // Of a network that this node does not know.
            leased_long_ago("podman", "10.88.0.2", "gone1", "eth0"),
        ];
        cached("/var/lib/cni", "cached1", alive.netns.path());
        cached("/var/lib/multus", "cached2", &kernel.netns("there"));
        let earlier = look_through(&node);
        assert_eq!((earlier.released, earlier.unknown, earlier.complete), (5, 3, true), "{earlier:?}");
        for path in gone {
            assert!(!path.exists(), "{}", path.display());
        }
        for path in kept.iter().chain(&leases_of(&sandbox)) {
            assert!(path.exists(), "{}", path.display());
        }
        assert_eq!(leases_of(&sandbox).len(), 3);
        succeeded(&node.call("CHECK", &sandbox).run());
        assert_eq!(node.records().len(), 3, "of those without a record nothing is on record afterwards");
        assert_eq!(files_below(&node.run_dir().join("sandboxes")).len(), 1, "nor is a lock left");
        assert_eq!(look_through(&node).released, 0);
        ip(&["link", "show", "br1"]);
    });
}

#[test]
fn f5_the_look_is_not_over_while_dead_sandboxes_of_the_kernel_before_are_on_record() {
    isolated(|_| {
        let node = node();
        let mut sandbox = added(&node);
        // Of net-a there is nothing but the address: the rest goes by its record, when its turn comes.
        std::fs::remove_file(record_path(&node, &sandbox, "net1")).unwrap();
        leases_of(&sandbox).iter().for_each(|path| age(path));
        sandbox.netns.vanish();
        let earlier = look_through(&node);
        assert_eq!((earlier.released, earlier.complete), (0, false), "{earlier:?}");
        assert!(crate::gc_command::gc(&node, &["--queued"]).status().unwrap().success(), "{}", node.log());
        assert_eq!(leases_of(&sandbox), Vec::<PathBuf>::new(), "{}", node.log());
        assert!(look_through(&node).complete);
    });
}

#[test]
fn f5_without_a_file_system_of_this_kernel_nothing_is_released() {
    isolated(|_| {
        let node = node();
        let path = leased_long_ago("net-a", "10.77.2.201", "gone", "net1");
        // A directory that outlives the kernel is no witness.
        nix::mount::umount2("/run", nix::mount::MntFlags::MNT_DETACH).unwrap();
        let earlier = look_through(&node);
        assert_eq!((earlier.released, earlier.unknown, path.exists()), (0, 1, true), "{earlier:?}");
        assert!(!earlier.complete, "one may be there later");
        std::fs::remove_file(path).unwrap();
        assert!(look_through(&node).complete, "but for nothing nobody waits");
    });
}
