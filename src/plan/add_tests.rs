//! Plans of ADD, from what a pod asks for to what is run or refused.

use std::collections::BTreeSet;

use super::*;
use crate::npwg::{Namespace, parse};
use crate::plan::lint::lint;
use crate::plan::{Pod, Role};

const PRIMARY: &str = r#"{"cniVersion":"1.0.0","name":"cluster","plugins":[{"type":"main"},{"type":"portmap","capabilities":{"portMappings":true,"future":true}}]}"#;
const EXTRA: &str =
    r#"{"cniVersion":"0.4.0","name":"extra","type":"vlan","capabilities":{"ips":true},"args":{"cni":{"a":1}}}"#;

fn network(display: &str, text: &str) -> Network {
    Network { display: display.to_owned(), ..Network::of_text(text) }
}

/// The plan for a pod with `annotation`, whose networks are all `EXTRA`.
fn planned(annotation: &str, taken: &[&str], lacks: &str) -> Result<Plan, CniError> {
    planned_by(CapabilityCheck::Strict, annotation, taken, lacks)
}

fn planned_by(check: CapabilityCheck, annotation: &str, taken: &[&str], lacks: &str) -> Result<Plan, CniError> {
    let selections = parse(annotation, &Namespace::new("default").unwrap()).unwrap().selections;
    let mut networks = vec![Wanted { network: network("cluster", PRIMARY), selection: None }];
    networks.extend(selections.into_iter().map(|selection| {
        let display = format!("{}/{}", selection.namespace, selection.name);
        Wanted { network: network(&display, EXTRA), selection: Some(selection) }
    }));
    let missing = || MissingBinary { not_executable: None, searched: vec!["/bin".into()] };
    let found = |name: &str| if name == lacks { Err(missing()) } else { Ok(PathBuf::from(format!("/bin/{name}"))) };
    let binaries: Binaries =
        ["main", "portmap", "vlan"].map(|name| (PluginType::new(name).unwrap(), found(name))).into_iter().collect();
    let args = CniArgs::parse("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=p").unwrap();
    plan(Inputs {
        sandbox: Sandbox {
            container_id: crate::cni::ContainerId::new("c1").unwrap(),
            netns: "/run/netns/x".into(),
            pod: Pod::of(&args),
        },
        request: IfName::new("eth0").unwrap(),
        args: &args,
        path: &SearchPath::parse("/bin"),
        runtime_config: &Object::parse(br#"{"portMappings":[{"hostPort":80}],"future":1.0,"ips":["9.9.9.9/8"]}"#)
            .unwrap(),
        device_info_dir: "/devinfo".as_ref(),
        networks,
        capability_check: check,
        taken: &taken.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(),
        binaries: &binaries,
    })
}

#[test]
fn b27_b33_the_primary_is_first_and_alone_sees_what_the_runtime_gave() {
    let plan = planned(r#"[{"name":"a"},{"name":"a","ips":["10.0.0.7/24"],"cni-args":{"b":2}}]"#, &[], "").unwrap();
    let seen: Vec<_> = plan
        .attachments
        .iter()
        .map(|one| (one.role, one.network.as_str(), one.ifname.as_str(), one.calls.last().unwrap().config.to_text()))
        .collect();
    let extra = r#"{"cniVersion":"0.4.0","name":"extra","type":"vlan","args":{"cni":{"a":1ARGS}}REST}"#;
    assert_eq!(
        seen,
        [
            (
                Role::Primary,
                "cluster",
                "eth0",
                r#"{"type":"portmap","cniVersion":"1.0.0","name":"cluster","runtimeConfig":{"portMappings":[{"hostPort":80}],"future":1.0}}"#.to_owned()
            ),
            (Role::Additional, "default/a", "net1", extra.replace("ARGS", "").replace("REST", "")),
            (
                Role::Additional,
                "default/a",
                "net2",
                extra.replace("ARGS", r#","b":2"#).replace("REST", r#","runtimeConfig":{"ips":["10.0.0.7/24"]}"#)
            ),
        ]
    );
    assert_eq!(lint(&plan), Vec::<String>::new());
}

#[test]
fn a7_what_cannot_be_is_refused_before_anything_runs() {
    for (annotation, taken, lacks, code, msg) in [
        (
            "a@eth0",
            &[][..],
            "",
            7,
            "network \"default/a\": interface name \"eth0\" is asked for twice; name each interface once",
        ),
        (
            "a",
            &["eth0"],
            "",
            7,
            "network \"cluster\": interface \"eth0\" already exists in the pod's namespace, and is left as it is",
        ),
        ("a", &[], "vlan", 701, "network \"default/a\" (vlan) net1: plugin vlan is not in /bin; install it there"),
        (
            r#"[{"name":"a","mac":"02:00:00:00:00:01"}]"#,
            &[],
            "",
            7,
            "network \"default/a\": the pod asks for \"mac\", but no plugin of its chain (vlan) declares the capability \"mac\"; add it to \"capabilities\" of the plugin that can do it",
        ),
    ] {
        let error = planned(annotation, taken, lacks).unwrap_err();
        assert_eq!((error.code.0, error.msg.as_str()), (code, msg), "{annotation}");
    }
}

#[test]
fn b6_what_the_kernel_can_show_is_verified_and_the_rest_is_refused_all_the_same() {
    let plan = |annotation: &str| planned_by(CapabilityCheck::Verify, annotation, &[], "");
    let asks = r#"[{"name":"a","ips":["10.0.0.7/24"],"mac":"02:00:00:00:00:01"},{"name":"a","ips":["10.0.0.8"]},{"name":"a"}]"#;
    let plan_of_three = plan(asks).unwrap();
    let runtime = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=p";
    let seen: Vec<_> = plan_of_three
        .attachments
        .iter()
        .map(|one| {
            (one.args.as_str().strip_prefix(runtime).unwrap(), one.verify.as_ref().map(|verify| verify.declared))
        })
        .collect();
    let both = ";IP=10.0.0.7/24;MAC=02:00:00:00:00:01";
    assert_eq!(seen, [("", None), (both, Some(false)), (";IP=10.0.0.8", Some(true)), ("", None)]);
    let text = serde_json::to_string(&plan_of_three.attachments[1]).unwrap();
    assert_eq!(serde_json::from_str::<Attachment>(&text).unwrap(), plan_of_three.attachments[1]);
    for key in [
        r#""bandwidth":{"ingressRate":1000}"#,
        r#""portMappings":[{"hostPort":1,"containerPort":2}]"#,
        r#""infiniband-guid":"24:8a:07:03:00:8d:ae:2e""#,
    ] {
        let error = plan(&format!(r#"[{{"name":"a","mac":"02:00:00:00:00:01",{key}}}]"#)).unwrap_err();
        assert_eq!(error.code.0, 7);
        assert!(error.msg.contains(key.split('"').nth(1).unwrap()), "{}", error.msg);
    }
    let strict = planned(r#"[{"name":"a","ips":["10.0.0.8"]}]"#, &[], "").unwrap();
    assert_eq!((strict.attachments[1].args.as_str(), &strict.attachments[1].verify), (runtime, &None));
}

type Break = fn(&mut Plan);

#[test]
fn p3_a_plan_that_breaks_a_rule_is_seen() {
    let whole = planned("a,a", &[], "").unwrap();
    let breaks: [(&str, Break); 10] = [
        ("2 attachments are primary", |plan| plan.attachments[1].role = Role::Primary),
        ("the first attachment is not the primary", |plan| plan.attachments.reverse()),
        ("the primary's interface is not the one", |plan| plan.request = IfName::new("eth1").unwrap()),
        ("interface net1 is there twice", |plan| plan.attachments[2].ifname = IfName::new("net1").unwrap()),
        ("default/a has ordinal 7 at place 1", |plan| plan.attachments[1].ordinal = 7),
        ("default/a has no plugin", |plan| plan.attachments[1].calls.clear()),
        ("default/a has no deadline", |plan| plan.attachments[1].deadline.add = 0),
        ("would run meta-cni", |plan| plan.attachments[1].calls[0].plugin = PluginType::new("meta-cni").unwrap()),
        ("2 attachments ask for the default route", |plan| {
            plan.attachments[1].default_route = Some(Vec::new());
            plan.attachments[2].default_route = Some(Vec::new());
        }),
        ("has a prevResult", |plan| plan.attachments[1].calls[0].config.set_text("prevResult", "")),
    ];
    for (sentence, change) in breaks {
        let mut broken = whole.clone();
        change(&mut broken);
        assert!(lint(&broken).iter().any(|found| found.contains(sentence)), "{sentence}: {:?}", lint(&broken));
    }
}
