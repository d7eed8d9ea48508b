//! The annotation that asks for networks: every malformed form is refused with code 7 before anything runs, and the
//! forms beside them are taken.

use crate::judge::rejected;
use crate::world::{Subject, World, list};
use crate::{Check, Needs, check};
use serde_json::{Value, json};

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, text) in malformed_rows() {
        checks.push(refusal(name, text));
    }
    for (name, element) in element_rows() {
        let mut object = json!({ "name": "net-a" });
        for (key, value) in element.as_object().unwrap() {
            object[key] = value.clone();
        }
        checks.push(refusal(name, json!([object]).to_string()));
    }
    for (name, text, order) in good_rows() {
        checks.push(check(format!("B1_annotation::{name}"), Needs::Nothing, move |s| taken(s, text, order)));
    }
    for (name, element) in good_element_rows() {
        let mut object = json!({ "name": "able" });
        for (key, value) in element.as_object().unwrap() {
            object[key] = value.clone();
        }
        checks.push(check(format!("{name}::taken"), Needs::Nothing, move |s| element_taken(s, &object)));
    }
    checks.push(check("A7_annotation::64_elements::taken", Needs::Nothing, sixty_four));
    checks.push(check("A7_annotation::65_elements::refused", Needs::OwnKeys, |s| {
        refused_annotation(s, &vec!["net-a"; 65].join(","));
    }));
    checks
}

fn refusal(name: &str, text: String) -> Check {
    check(format!("{name}::refused"), Needs::Nothing, move |s| refused_annotation(s, &text))
}

fn malformed_rows() -> Vec<(&'static str, String)> {
    let long = "a".repeat(254);
    [
        ("B1_annotation::null_element", "[null]"),
        ("B1_annotation::two_at_signs", "a@b@c"),
        ("B1_annotation::two_slashes", "a/b/c"),
        ("B1_annotation::object_instead_of_list", r#"{"name":"net-a"}"#),
        ("B1_annotation::string_instead_of_list", r#""net-a""#),
        ("B1_annotation::torn_list", "["),
        ("B1_annotation::torn_element", r#"[{"name":"net-a""#),
        ("B1_annotation::list_in_list", "[[]]"),
        ("B1_annotation::list_of_strings", r#"["net-a"]"#),
        ("B1_annotation::list_of_numbers", "[1]"),
        ("B1_annotation::text_after_list", "[] x"),
        ("B1_annotation::no_name", "[{}]"),
        ("B1_annotation::name_is_a_number", r#"[{"name":5}]"#),
        ("B1_annotation::name_is_null", r#"[{"name":null}]"#),
        ("B1_annotation::trailing_comma", "net-a,"),
        ("B1_annotation::double_comma", "net-a,,net-b"),
        ("B1_annotation::only_a_comma", ","),
        ("B1_annotation::empty_namespace", "/net-a"),
        ("B1_annotation::empty_name", "default/"),
        ("B1_annotation::empty_interface", "net-a@"),
        ("B2_name::empty", r#"[{"name":""}]"#),
        ("B2_name::upper_case", "Net-a"),
        ("B2_name::upper_case_in_json", r#"[{"name":"Net-a"}]"#),
        ("B2_name::underscore", "net_a"),
        ("B2_name::underscore_in_json", r#"[{"name":"net_a"}]"#),
        ("B2_name::starts_with_dash", "-a"),
        ("B2_name::ends_with_dash", "a-"),
        ("B2_name::dot_dot_in_json", r#"[{"name":".."}]"#),
        ("B2_name::slash_in_json", r#"[{"name":"default/net-a"}]"#),
        ("B2_name::path_in_json", r#"[{"name":"../../etc/passwd"}]"#),
        ("B2_name::space_in_json", r#"[{"name":"net a"}]"#),
        ("B2_namespace::upper_case", "Default/net-a"),
        ("B2_namespace::upper_case_in_json", r#"[{"name":"net-a","namespace":"Default"}]"#),
        ("B2_namespace::dots_in_json", r#"[{"name":"net-a","namespace":".."}]"#),
        ("B2_name::254_bytes", &long),
        ("B9_interface::16_bytes", "net-a@sixteen-bytes-ab"),
        ("B9_interface::with_slash", "net-a@a/b"),
        ("B9_interface::with_space", "net-a@a b"),
        ("B9_interface::lo", "net-a@lo"),
        ("B9_interface::dot", "net-a@."),
        ("B10_interface::primarys_own", "net-a@eth0"),
        ("B10_interface::primarys_own_in_json", r#"[{"name":"net-a","interface":"eth0"}]"#),
        ("B10_interface::twice", "net-a@x0,net-b@x0"),
        ("B10_interface::twice_same_network", "net-a@x0,net-a@x0"),
        ("A7_network::unknown", "no-such-network"),
        ("A7_network::unknown_namespace", "elsewhere/net-a"),
    ]
    .into_iter()
    .map(|(name, text)| (name, text.to_owned()))
    .collect()
}

/// One element with a name and these keys. The later letters of B belong to keys whose effect comes later; their grammar
/// is judged all the same.
fn element_rows() -> Vec<(&'static str, Value)> {
    vec![
        ("B9_interface::16_bytes_in_json", json!({ "interface": "sixteen-bytes-ab" })),
        ("B9_interface::with_slash_in_json", json!({ "interface": "a/b" })),
        ("B9_interface::with_colon_in_json", json!({ "interface": "a:b" })),
        ("B9_interface::with_tab_in_json", json!({ "interface": "a\tb" })),
        ("B9_interface::lo_in_json", json!({ "interface": "lo" })),
        ("B9_interface::dot_dot_in_json", json!({ "interface": ".." })),
        ("B9_interface::is_a_number", json!({ "interface": 7 })),
        ("B5_ips::empty_list", json!({ "ips": [] })),
        ("B5_ips::is_a_string", json!({ "ips": "10.1.1.1" })),
        ("B5_ips::out_of_range", json!({ "ips": ["10.1.1.300"] })),
        ("B5_ips::bad_prefix", json!({ "ips": ["10.1.1.1/33"] })),
        ("B5_ips::bad_prefix_v6", json!({ "ips": ["2001:db8::1/129"] })),
        ("B5_ips::empty_prefix", json!({ "ips": ["10.1.1.1/"] })),
        ("B5_ips::second_is_bad", json!({ "ips": ["10.1.1.1/24", "nonsense"] })),
        ("B5_ips::empty_string", json!({ "ips": [""] })),
        ("B5_ips::number", json!({ "ips": [5] })),
        ("B7_mac::nonsense", json!({ "mac": "zz:zz:zz:zz:zz:zz" })),
        ("B7_mac::5_bytes", json!({ "mac": "02:00:00:00:01" })),
        ("B7_mac::8_bytes", json!({ "mac": "02:00:00:00:00:00:00:01" })),
        ("B7_mac::20_bytes", json!({ "mac": vec!["02"; 20].join(":") })),
        ("B7_mac::is_a_number", json!({ "mac": 2 })),
        ("B8_guid::6_bytes", json!({ "infiniband-guid": "02:00:00:00:00:01" })),
        ("B8_guid::20_bytes", json!({ "infiniband-guid": vec!["02"; 20].join(":") })),
        ("B8_guid::nonsense", json!({ "infiniband-guid": "nonsense" })),
        ("B12_cni_args::is_a_list", json!({ "cni-args": [] })),
        ("B12_cni_args::is_a_string", json!({ "cni-args": "a=b" })),
        ("B13_port_mappings::is_an_object", json!({ "portMappings": {} })),
        ("B13_port_mappings::port_0", json!({ "portMappings": [{ "hostPort": 0, "containerPort": 80 }] })),
        ("B13_port_mappings::port_too_big", json!({ "portMappings": [{ "hostPort": 65536, "containerPort": 80 }] })),
        (
            "B13_port_mappings::protocol",
            json!({ "portMappings": [{ "hostPort": 80, "containerPort": 80, "protocol": "icmp" }] }),
        ),
        ("B14_bandwidth::is_a_list", json!({ "bandwidth": [] })),
        ("B14_bandwidth::empty", json!({ "bandwidth": {} })),
        ("B14_bandwidth::zero", json!({ "bandwidth": { "ingressRate": 0 } })),
        ("B14_bandwidth::burst_without_rate", json!({ "bandwidth": { "ingressBurst": 1000 } })),
        ("B15_default_route::nonsense", json!({ "default-route": ["nonsense"] })),
        ("B15_default_route::is_a_string", json!({ "default-route": "10.1.1.254" })),
    ]
}

type GoodRow = (&'static str, &'static str, &'static [&'static str]);

fn good_rows() -> Vec<GoodRow> {
    vec![
        ("empty", "", &[]),
        ("empty_list", "[]", &[]),
        ("one_name", "net-a", &["net1 extra-a"]),
        ("two_names", "net-a,net-b", &["net1 extra-a", "net2 extra-b"]),
        ("white_space", "  net-a ,\tnet-b\n", &["net1 extra-a", "net2 extra-b"]),
        ("order_is_the_pods", "net-b,net-a", &["net1 extra-b", "net2 extra-a"]),
        ("other_namespace", "elsewhere/net-c", &["net1 extra-c"]),
        ("own_namespace", "default/net-a", &["net1 extra-a"]),
        ("with_interface", "net-a@lake0", &["lake0 extra-a"]),
        ("namespace_and_interface", "elsewhere/net-c@lake0", &["lake0 extra-c"]),
        ("interface_of_15_bytes", "net-a@fifteen-bytes-a", &["fifteen-bytes-a extra-a"]),
        ("name_with_dots", "net.with.dots", &["net1 extra-a"]),
        ("named_and_unnamed", "net-a@lake0,net-b", &["lake0 extra-a", "net2 extra-b"]),
        ("unnamed_and_named", "net-a,net-b@lake0", &["net1 extra-a", "lake0 extra-b"]),
        ("generated_name_is_taken_by_a_request", "net-a,net-b@net1", &["net2 extra-a", "net1 extra-b"]),
        ("json_name", r#"[{"name":"net-a"}]"#, &["net1 extra-a"]),
        ("json_namespace", r#"[{"name":"net-c","namespace":"elsewhere"}]"#, &["net1 extra-c"]),
        ("json_interface", r#"[{"name":"net-a","interface":"lake0"}]"#, &["lake0 extra-a"]),
        ("json_deprecated_interface_request", r#"[{"name":"net-a","interfaceRequest":"lake0"}]"#, &["lake0 extra-a"]),
        ("json_two", r#"[{"name":"net-b"},{"name":"net-a"}]"#, &["net1 extra-b", "net2 extra-a"]),
        ("json_white_space", " [ { \"name\" : \"net-a\" } ]\n", &["net1 extra-a"]),
        ("json_unknown_key", r#"[{"name":"net-a","x-future":{"a":1}}]"#, &["net1 extra-a"]),
    ]
}

fn good_element_rows() -> Vec<(&'static str, Value)> {
    vec![
        ("B5_ips::with_prefix", json!({ "ips": ["10.1.1.1/24"] })),
        ("B5_ips::without_prefix", json!({ "ips": ["10.1.1.1"] })),
        ("B5_ips::both_families", json!({ "ips": ["10.1.1.1/24", "2001:db8::1/64"] })),
        ("B7_mac::6_bytes", json!({ "mac": "02:00:00:00:00:01" })),
        ("B7_mac::upper_case", json!({ "mac": "02:AB:CD:EF:00:01" })),
        ("B8_guid::8_bytes", json!({ "infiniband-guid": "02:00:00:00:00:00:00:01" })),
        ("B12_cni_args::object", json!({ "cni-args": { "a": [1] } })),
    ]
}

/// The networks that the rows speak of.
fn world(subject: &Subject) -> World {
    let world = World::new(subject);
    world.node.nad("default", "net-a", &list("net-a", "extra-a"));
    world.node.nad("default", "net-b", &list("net-b", "extra-b"));
    world.node.nad("default", "net.with.dots", &list("dots", "extra-a"));
    world.node.nad("elsewhere", "net-c", &list("net-c", "extra-c"));
    let mut able = list("able", "extra-a");
    able["plugins"][0]["capabilities"] =
        json!({ "ips": true, "mac": true, "infinibandGUID": true, "portMappings": true, "bandwidth": true });
    world.node.nad("default", "able", &able);
    world
}

fn refused_annotation(subject: &Subject, text: &str) {
    let world = world(subject);
    let output = world.call("ADD").networks(text).run();
    rejected(&world, &output, 7);
}

fn taken(subject: &Subject, text: &str, order: &[&str]) {
    let world = world(subject);
    world.call("ADD").networks(text).run().success();
    let mut expected = vec!["eth0 main".to_owned()];
    expected.extend(order.iter().map(|line| (*line).to_owned()));
    assert_eq!(world.order_of("ADD"), expected);
    world.call("DEL").networks(text).run().success();
    expected.reverse();
    assert_eq!(world.order_of("DEL"), expected);
}

/// The value reaches the plugin that declares the capability.
fn element_taken(subject: &Subject, element: &Value) {
    let world = world(subject);
    let output = world.call("ADD").networks(&json!([element]).to_string()).run();
    output.success();
    let config = world.calls_of("ADD")[1].config();
    let runtime_config = &config["runtimeConfig"];
    for (key, given) in [
        ("ips", &runtime_config["ips"]),
        ("mac", &runtime_config["mac"]),
        ("infiniband-guid", &runtime_config["infinibandGUID"]),
        ("cni-args", &config["args"]["cni"]),
    ] {
        if let Some(asked) = element.get(key) {
            assert_eq!(asked.to_string().to_lowercase(), given.to_string().to_lowercase(), "{key}: {config}");
        }
    }
}

fn sixty_four(subject: &Subject) {
    let world = world(subject);
    let many = vec!["net-a"; 64].join(",");
    world.call("ADD").networks(&many).run().success();
    assert_eq!(world.order_of("ADD").len(), 65);
    world.call("DEL").networks(&many).run().success();
    assert_eq!(world.order_of("DEL").len(), 65);
}
