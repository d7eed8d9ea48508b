//! Changes of routing: what is made is there, and unmaking gives back exactly what was, judged by iproute2.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::collections::BTreeSet;
use std::path::Path;

use meta_cni::kernel::{Change, Entry, Family, Message, Prefix, Route};
use meta_cni::netns::{self, NetnsError};

use crate::kernel::{self, ip_in};

/// A namespace with two links, and default routes with everything a route can have.
fn namespace(node: &kernel::Node) -> std::path::PathBuf {
    let pod = node.netns("pod");
    let run = |text: &str| ip_in(&pod, &text.split(' ').collect::<Vec<_>>());
    for text in [
        "link set lo up",
        "link add near type veth peer name near1",
        "link set near up",
        "link set near1 up",
        "link add far type bridge",
        "link set far up",
        "addr add 10.1.0.2/24 dev near",
        "addr add 10.2.0.2/24 dev far",
        "addr add fd01::2/64 dev near nodad",
        "addr add fd02::2/64 dev far nodad",
        "route add default via 10.1.0.1 dev near src 10.1.0.2 mtu 1400 advmss 1300 proto 55 realm 3",
        "route add default via 10.9.9.9 dev near onlink metric 9",
        "route add default metric 20 nexthop via 10.1.0.5 dev near weight 3 nexthop via 10.2.0.6 dev far weight 1",
        "-6 route add default via fd01::1 dev near metric 7 pref high proto 44",
        "-6 route add default metric 30 nexthop via fd01::5 dev near nexthop via fd02::6 dev far",
    ] {
        run(text);
    }
    pod
}

/// Everything that routing is made of, as text.
fn routing(pod: &Path) -> String {
    let all = ["route show table all", "rule show"].map(|what| {
        ["-4", "-6"].map(|family| {
            let arguments = format!("{family} -details {what}");
            let text = ip_in(pod, &arguments.split(' ').collect::<Vec<_>>());
            // The kernel may list a route that was put back in another place.
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            lines.join("\n")
        })
    });
    all.concat().join("\n")
}

fn defaults(entries: &[Entry]) -> Vec<&Entry> {
    entries.iter().filter(|entry| entry.hops.iter().all(|hop| hop.destination.is_none())).collect()
}

#[test]
fn what_is_changed_comes_back_exactly() {
    kernel::isolated(|node| {
        let pod = namespace(node);
        let before = routing(&pod);
        let inside = netns::open(&pod).unwrap();
        let entries = inside.entries().unwrap();
        let all = defaults(&entries);
        assert_eq!(all.len(), 5, "{before}");
        let mut changes: Vec<Change> = Vec::new();
        for entry in &all {
            changes.push(Change::AddRoute(entry.message.in_table(28_003)));
            changes.push(Change::AddRoute(entry.message.to(&Prefix::parse(beyond(entry)).unwrap())));
            changes.push(Change::RemoveRoute(entry.message.clone()));
            changes.push(Change::AddRoute(entry.message.with_metric(4_000 + entry.hops[0].metric)));
        }
        changes.push(Change::AddRule(Message::rule("10.1.0.2".parse().unwrap(), 28_003, 1_000)));
        changes.push(Change::AddRule(Message::rule("fd01::2".parse().unwrap(), 28_003, 1_000)));
        let heeding = inside.heeds_routers(["near", "far"].into_iter()).unwrap();
        assert_eq!(heeding, [("near".to_owned(), "1".to_owned()), ("far".to_owned(), "1".to_owned())]);
        changes.push(Change::IgnoreRouters { ifname: "near".into(), before: "1".into() });

        inside.make(&changes).unwrap();
        let made = routing(&pod);
        for part in [
            "default via 10.1.0.1 dev near table 28003 proto 55",
            "10.96.0.0/12 via 10.1.0.1 dev near table main proto 55",
            "default via 10.1.0.1 dev near table main proto 55 scope global src 10.1.0.2 metric 4000",
            "1000:\tfrom 10.1.0.2 lookup 28003",
            "1000:\tfrom fd01::2 lookup 28003",
        ] {
            assert!(made.contains(part), "{part} is not in\n{made}");
        }
        assert_eq!(inside.heeds_routers(["near"].into_iter()).unwrap()[0].1, "0");
        let metrics: Vec<u32> = defaults(&inside.entries().unwrap())
            .iter()
            .filter(|entry| entry.hops[0].table == Route::MAIN)
            .map(|entry| entry.hops[0].metric)
            .collect();
        assert!(metrics.iter().all(|metric| *metric >= 4_000), "{metrics:?}");

        inside.unmake(&changes).unwrap();
        assert_eq!(routing(&pod), before);
        assert_eq!(inside.heeds_routers(["near"].into_iter()).unwrap()[0].1, "1");
        // Nothing of it is there any more, and that is no error.
        inside.unmake(&changes).unwrap();
        assert_eq!(routing(&pod), before);
    });
}

/// A network for each of the routes, so that none is there twice.
fn beyond(entry: &Entry) -> &'static str {
    match (entry.hops[0].family, entry.hops[0].metric) {
        (Family::V4, 0) => "10.96.0.0/12",
        (Family::V4, _) => "10.112.0.0/12",
        (Family::V6, _) => "fd96::/48",
    }
}

#[test]
fn a_refusal_of_the_kernel_ends_the_changes_and_names_itself() {
    kernel::isolated(|node| {
        let pod = namespace(node);
        let inside = netns::open(&pod).unwrap();
        let links = inside.links().unwrap();
        let near = links.iter().find(|link| link.name == "near").unwrap().index;
        let route = |gateway: &str, metric| {
            let (family, destination) = (Family::V4, None);
            let gateway = Some(gateway.parse().unwrap());
            Change::AddRoute(Message::route(&Route {
                family,
                destination,
                gateway,
                oif: Some(near),
                metric,
                table: Route::MAIN,
            }))
        };
        let before = routing(&pod);
        let changes = [route("10.1.0.7", 77), route("10.77.0.1", 78), route("10.1.0.8", 79)];
        let error = inside.make(&changes).unwrap_err();
        assert!(matches!(&error, NetnsError::Change { what, .. } if what == "add a route"), "{error:?}");
        assert!(routing(&pod).contains("metric 77") && !routing(&pod).contains("metric 79"));
        inside.unmake(&changes).unwrap();
        assert_eq!(routing(&pod), before);
        let outside = Change::IgnoreRouters { ifname: "../../../../../etc".into(), before: "1".into() };
        assert!(inside.make(&[outside]).is_err());
    });
}

#[test]
fn what_cannot_be_put_back_because_its_link_is_gone_is_no_error() {
    kernel::isolated(|node| {
        let pod = namespace(node);
        let inside = netns::open(&pod).unwrap();
        let entries = inside.entries().unwrap();
        let changes: Vec<Change> =
            defaults(&entries).into_iter().map(|entry| Change::RemoveRoute(entry.message.clone())).collect();
        inside.make(&changes).unwrap();
        for link in ["near", "far"] {
            ip_in(&pod, &["link", "del", link]);
        }
        inside.unmake(&changes).unwrap();
    });
}

#[test]
fn routes_of_the_same_metric_are_copied_and_come_back_in_their_order() {
    kernel::isolated(|node| {
        let pod = node.netns("pod");
        for text in [
            "link add near type veth peer name near1",
            "link set near1 up",
            "link set near up",
            "addr add 10.1.0.2/24 dev near",
            "addr add fd01::2/64 dev near nodad",
            "route add default via 10.1.0.1 dev near",
            "route append default via 10.1.0.5 dev near",
            // As routers' advertisements make them: two routes, and not one of two next hops.
            "-6 route add default dev near metric 7",
            "-6 route append default via fd01::1 dev near metric 7",
        ] {
            ip_in(&pod, &text.split(' ').collect::<Vec<_>>());
        }
        let listed = |table: &str| {
            let [v4, v6] = ["-4", "-6"].map(|family| {
                let text = ip_in(&pod, &[family, "route", "show", "default", "table", table]);
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            });
            // The first IPv4 route is taken; of IPv6 ones the kernel takes the one whose gateway answers.
            (v4, v6.into_iter().collect::<BTreeSet<_>>())
        };
        let before = listed("main");
        assert_eq!((before.0.len(), before.1.len()), (2, 2), "{before:?}");
        let inside = netns::open(&pod).unwrap();
        let entries = inside.entries().unwrap();
        let all = defaults(&entries);
        let copies = all.iter().map(|entry| Change::AddRoute(entry.message.in_table(28_003)));
        let removed = all.iter().map(|entry| Change::RemoveRoute(entry.message.clone()));
        let changes: Vec<Change> = copies.chain(removed).collect();
        inside.make(&changes).unwrap();
        assert_eq!((listed("28003"), listed("main")), (before.clone(), (Vec::new(), BTreeSet::new())));
        // Somebody else's of that metric keeps nothing from coming back.
        ip_in(&pod, &["route", "add", "default", "via", "10.1.0.9", "dev", "near"]);
        inside.unmake(&changes).unwrap();
        inside.unmake(&changes).unwrap();
        ip_in(&pod, &["route", "del", "default", "via", "10.1.0.9", "dev", "near"]);
        assert_eq!(listed("main"), before);
        // What cannot come back because its gateway is out of reach by now is no error.
        let entries = inside.entries().unwrap();
        let removed = |entry: &&Entry| Change::RemoveRoute(entry.message.clone());
        let (near, far): (Vec<_>, Vec<_>) =
            defaults(&entries).into_iter().partition(|entry| entry.hops[0].gateway.is_none());
        inside.make(&far.iter().chain(&near).map(removed).collect::<Vec<_>>()).unwrap();
        ip_in(&pod, &["addr", "flush", "dev", "near", "scope", "global"]);
        inside.unmake(&far.iter().map(removed).collect::<Vec<_>>()).unwrap();
    });
}

#[test]
fn routes_of_one_metric_and_of_several_hands_are_copied_taken_away_and_come_back() {
    kernel::isolated(|node| {
        let pod = node.netns("pod");
        let run = |text: &str| ip_in(&pod, &text.split(' ').collect::<Vec<_>>());
        for text in [
            "link set lo up",
            "link add near type veth peer name far",
            "link set near up",
            "link set far up",
            "addr add 10.1.0.2/24 dev near",
            "addr add fd01::2/64 dev near nodad",
            "addr add fd02::2/64 dev far nodad",
            "route add default via 10.1.0.1 dev near",
            "route append default via 10.1.0.5 dev near",
            "route append default via 10.1.0.6 dev near",
            "-6 route add default via fd01::1 dev near proto static metric 5",
            "-6 route append default via fd02::1 dev far proto 44 metric 5",
        ] {
            run(text);
        }
        // The order of routes of one metric says which of them is used.
        let shown = |table: &str| run(&format!("-4 route show default table {table}"));
        let (before, all) = (shown("main"), routing(&pod));
        let inside = netns::open(&pod).unwrap();
        let entries = inside.entries().unwrap();
        let entries = defaults(&entries);
        assert_eq!(entries.len(), 4, "{all}");
        let copies = entries.iter().map(|entry| Change::AddRoute(entry.message.in_table(28_003)));
        let removals = entries.iter().map(|entry| Change::RemoveRoute(entry.message.clone()));
        let changes: Vec<Change> = copies.chain(removals).collect();
        inside.make(&changes).unwrap();
        assert_eq!(shown("28003"), before);
        assert_eq!(defaults(&inside.entries().unwrap()).iter().filter(|e| e.hops[0].table == Route::MAIN).count(), 0);
        inside.unmake(&changes).unwrap();
        assert_eq!(shown("main"), before);
        // The two hands are one now, that of the first.
        assert_eq!(routing(&pod), all.replace("proto 44", "proto static"));
    });
}
