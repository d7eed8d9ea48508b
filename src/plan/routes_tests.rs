//! The pod's default routes: a namespace in, the changes out, and what the namespace is after them.

use super::*;

fn link(index: u32, name: &str) -> Link {
    Link { index, name: name.to_owned(), mac: None, mtu: 1500, up: true, resolves: true, kind: None }
}

fn entry(dst: &str, gateway: Option<&str>, oif: u32, metric: u32) -> Entry {
    let prefix = Prefix::parse(dst).unwrap();
    let hop = Route {
        family: Family::of(&prefix.address),
        destination: (prefix.length > 0).then_some((prefix.address, prefix.length)),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        oif: Some(oif),
        metric,
        table: Route::MAIN,
    };
    Entry { message: Message::route(&hop), hops: vec![hop] }
}

/// eth0 (2) is the primary, net1 (3) and net2 (4) are additional; both families.
fn namespace() -> View {
    let address = |index, address: &str, prefix, scope| Address {
        index,
        address: address.parse().unwrap(),
        prefix,
        scope,
        tentative: false,
        dad_failed: false,
    };
    View {
        links: vec![link(1, "lo"), link(2, "eth0"), link(3, "net1"), link(4, "net2")],
        addresses: vec![
            address(1, "127.0.0.1", 8, Scope::Host),
            address(2, "10.0.0.2", 24, Scope::Global),
            address(2, "fd00::2", 64, Scope::Global),
            address(2, "fe80::2", 64, Scope::Link),
            address(3, "10.1.0.2", 24, Scope::Global),
        ],
        entries: vec![
            entry("0.0.0.0/0", Some("10.0.0.1"), 2, 0),
            entry("10.0.0.0/24", None, 2, 0),
            entry("10.1.0.0/24", None, 3, 0),
            entry("10.2.0.0/24", None, 4, 0),
            entry("::/0", Some("fd00::1"), 2, 1024),
            entry("fd00::/64", None, 2, 256),
            entry("fd01::/64", None, 3, 256),
        ],
        heeds_routers: vec![("lo".into(), "1".into()), ("eth0".into(), "1".into()), ("net1".into(), "0".into())],
    }
}

fn planned(gateways: &[&str], policy: DefaultRoutePolicy, keep: &[&str], view: &View) -> Result<Moved, String> {
    let gateways: Vec<IpAddr> = gateways.iter().map(|gateway| gateway.parse().unwrap()).collect();
    let keep: Vec<Prefix> = keep.iter().map(|text| Prefix::parse(text).unwrap()).collect();
    let result = CniResult::default();
    let (ifname, primary) = ("net1", "eth0");
    plan(&Wish { ifname, gateways: &gateways, result: &result, primary, policy, primary_routes: &keep }, view)
}

/// Changes in short: `+` added, `-` taken away, with what a test needs to tell them apart.
fn short(changes: &[Change], view: &View) -> Vec<String> {
    let known = |message: &Message| view.entries.iter().position(|entry| entry.message == *message);
    let say = |sign: &str, message: &Message| match known(message) {
        Some(at) => format!("{sign}#{at}"),
        None => format!("{sign}new"),
    };
    let one = |change: &Change| match change {
        Change::AddRoute(message) => say("+", message),
        Change::RemoveRoute(message) => say("-", message),
        Change::AddRule(_) => "+rule".to_owned(),
        Change::IgnoreRouters { ifname, .. } => format!("ignore on {ifname}"),
    };
    changes.iter().map(one).collect()
}

#[test]
fn b16_one_family_moves_and_the_other_stays() {
    let view = namespace();
    let moved = planned(&["10.1.0.1"], DefaultRoutePolicy::Replace, &["10.96.0.0/12", "fd96::/64"], &view).unwrap();
    // The primary's table: its network, then its default route; the rule; the kept network; then the default route itself.
    let expected = ["+new", "+new", "+rule", "+new", "-#0", "+new"];
    assert_eq!(short(&moved.routed.changes, &view), expected);
    assert_eq!(moved.kept, [(Prefix::parse("10.96.0.0/12").unwrap(), Some("10.0.0.1".parse().unwrap()))]);
    let ours = Route {
        family: Family::V4,
        destination: None,
        gateway: Some("10.1.0.1".parse().unwrap()),
        oif: Some(3),
        metric: 0,
        table: Route::MAIN,
    };
    assert_eq!(moved.routed.changes.last(), Some(&Change::AddRoute(Message::route(&ours))));
}

#[test]
fn b16_both_families_move() {
    let view = namespace();
    let moved = planned(&["10.1.0.1", "fd01::1"], DefaultRoutePolicy::Replace, &[], &view).unwrap();
    let v4 = ["+new", "+new", "+rule", "-#0", "+new"];
    // Neither the loopback nor an interface that heeds no routers anyway is touched; no rule for a link-local address.
    let v6 = ["+new", "+new", "+rule", "-#4", "+new"];
    assert_eq!(short(&moved.routed.changes, &view), [&["ignore on eth0"][..], &v4, &v6].concat());
}

#[test]
fn b16_with_the_metric_policy_others_come_after() {
    let mut view = namespace();
    view.entries.push(entry("0.0.0.0/0", Some("10.2.0.1"), 4, 1000));
    let moved = planned(&["10.1.0.1"], DefaultRoutePolicy::Metric, &[], &view).unwrap();
    assert_eq!(short(&moved.routed.changes, &view), ["+new", "+new", "+rule", "-#0", "+new", "+new"]);
    // 1000 is taken, so the primary's goes to 1001; what comes after ours anyway stays.
    let behind = view.entries[0].message.with_metric(1001);
    assert_eq!(moved.routed.changes.last(), Some(&Change::AddRoute(behind)));
}

/// The default route that the kernel makes of eth0's and net2's when they have the same metric.
fn joined() -> Entry {
    let hops: Vec<Route> = [("fd00::1", 2), ("fd02::1", 4)]
        .map(|(gateway, oif)| entry("::/0", Some(gateway), oif, 1024).hops.remove(0))
        .to_vec();
    let mut body = vec![10, 0, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0];
    body.extend([60, 0, 9, 0]);
    for hop in &hops {
        let Some(IpAddr::V6(gateway)) = hop.gateway else { panic!("{hop:?}") };
        body.extend([28, 0, 0, 0]);
        body.extend(hop.oif.unwrap().to_ne_bytes());
        body.extend([20, 0, 5, 0]);
        body.extend(gateway.octets());
    }
    Entry { hops, message: Message::of_kernel(&body) }
}

#[test]
fn b16_what_the_kernel_joined_with_others_is_still_the_primarys_way() {
    let mut view = namespace();
    view.entries[4] = joined();
    let moved = planned(&["fd01::1"], DefaultRoutePolicy::Replace, &["fd96::/64"], &view).unwrap();
    assert_eq!(short(&moved.routed.changes, &view), ["ignore on eth0", "+new", "+new", "+rule", "+new", "-#4", "+new"]);
    assert_eq!(moved.kept, [(Prefix::parse("fd96::/64").unwrap(), Some("fd00::1".parse().unwrap()))]);
    let Change::AddRoute(way) = &moved.routed.changes[2] else { panic!("{moved:?}") };
    let (gateway, other) = (view.entries[4].hops[0].gateway, view.entries[4].hops[1].gateway);
    let holds = |gateway: Option<IpAddr>| match gateway {
        Some(IpAddr::V6(v6)) => way.as_bytes().windows(16).any(|bytes| bytes == v6.octets()),
        _ => false,
    };
    assert!(holds(gateway) && !holds(other), "the primary's next hop and no other's: {way:?}");
    // What names a next hop object does not say which of its hops is whose.
    view.entries[4].message = Message::route(&view.entries[4].hops[0]);
    let moved = planned(&["fd01::1"], DefaultRoutePolicy::Replace, &[], &view).unwrap();
    assert_eq!(short(&moved.routed.changes, &view), ["ignore on eth0", "-#4", "+new"]);
}

#[test]
fn b16_a_default_route_that_is_there_stays() {
    let mut view = namespace();
    view.entries[0] = entry("0.0.0.0/0", Some("10.1.0.1"), 3, 7);
    let moved = planned(&["10.1.0.1"], DefaultRoutePolicy::Replace, &[], &view).unwrap();
    assert_eq!(moved.routed.changes, []);
}

#[test]
fn b16_the_gateways_of_ones_own_result() {
    let view = namespace();
    for (result, gateways) in [
        (r#"{"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.9"}]}"#, Ok(vec!["10.1.0.9"])),
        (
            r#"{"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.9"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"},{"dst":"::/0","gw":"fd01::1"}]}"#,
            Ok(vec!["10.1.0.1", "fd01::1"]),
        ),
        (
            r#"{"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.9"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1","table":100}]}"#,
            Ok(vec!["10.1.0.9"]),
        ),
        (
            r#"{"ips":[{"address":"10.1.0.2/24"}],"routes":[{"dst":"10.9.0.0/16","gw":"10.1.0.1"}]}"#,
            Err("\"default-route\" is empty, and the network's result names no gateway; name one"),
        ),
    ] {
        let (result, _) = CniResult::parse(result.as_bytes(), crate::cni::CniVersion::V1_0_0).unwrap();
        let (ifname, primary, policy) = ("net1", "eth0", DefaultRoutePolicy::Replace);
        let wish = Wish { ifname, gateways: &[], result: &result, primary, policy, primary_routes: &[] };
        let got = plan(&wish, &view).map(|moved| moved.routed.gateways);
        let expected = gateways.map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect());
        assert_eq!(got, expected.map_err(str::to_owned));
    }
}

#[test]
fn b16_what_cannot_be_is_refused() {
    let check = |gateway: &str, keep: &[&str], view: &View, expected: &str| {
        let error = planned(&[gateway], DefaultRoutePolicy::Replace, keep, view).unwrap_err();
        assert_eq!(error, expected);
    };
    let view = namespace();
    check("10.7.0.1", &[], &view, "gateway 10.7.0.1 cannot be reached by net1, which is on 10.1.0.0/24");
    check("10.1.0.2", &[], &view, "gateway 10.1.0.2 is an address of the pod itself");
    check("10.0.0.2", &[], &view, "gateway 10.0.0.2 is an address of the pod itself");
    check("10.1.0.255", &[], &view, "gateway 10.1.0.255 is the broadcast address of 10.1.0.0/24");
    check("10.1.0.1", &["10.2.0.0/24"], &view, "\"primaryRoutes\": 10.2.0.0/24 is a network of another interface");
    let mut without = namespace();
    without.links.remove(2);
    check("10.1.0.1", &[], &without, "interface net1 is not in the pod's namespace");
    let mut without = namespace();
    without.entries.truncate(6);
    check("fd01::1", &[], &without, "gateway fd01::1 cannot be reached by net1, which is on no IPv6 network");
}

#[test]
fn a22_what_a_check_finds() {
    let routed = |policy| Routed { gateways: vec!["10.1.0.1".parse().unwrap()], policy, changes: Vec::new() };
    let view = namespace();
    let check = |policy, defaults: &[Entry], expected: Result<(), &str>| {
        let entries = [defaults, &view.entries[1..]].concat();
        let found = holds(&routed(policy), "net1", &view.links, &entries);
        assert_eq!(found, expected.map_err(str::to_owned));
    };
    use DefaultRoutePolicy::{Metric, Replace};
    let ours = entry("0.0.0.0/0", Some("10.1.0.1"), 3, 0);
    let primarys = entry("0.0.0.0/0", Some("10.0.0.1"), 2, 1000);
    let should = "the IPv4 default route should be via 10.1.0.1 by net1, and ";
    check(Replace, std::slice::from_ref(&ours), Ok(()));
    check(Metric, &[primarys.clone(), ours.clone()], Ok(()));
    check(Replace, &[], Err(&format!("{should}is gone")));
    check(Replace, &[ours, primarys.clone()], Err(&format!("{should}is there a second time, by eth0")));
    check(Metric, &[primarys], Err(&format!("{should}is via 10.0.0.1 by eth0")));
}
