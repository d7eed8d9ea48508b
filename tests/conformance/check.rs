//! CHECK: every attachment of the pod, with the words of ADD, and only where it means something.

use crate::judge::refused_with;
use crate::world::{Subject, World, list, scripted};
use crate::{Check, Needs, check};
use serde_json::json;

pub fn checks() -> Vec<Check> {
    vec![
        check("A22_check_covers_every_attachment", Needs::Nothing, every_attachment),
        check("A22_check_uses_the_config_of_add", Needs::Nothing, config_of_add),
        check("A22_check_reports_what_an_additional_network_says", Needs::Nothing, reports_failure),
        check("A22_check_without_an_attachment_fails", Needs::Nothing, without_attachment),
        check("A23_check_honours_disable_check::additional", Needs::Nothing, |s| disabled(s, false)),
        check("A23_check_honours_disable_check::primary", Needs::Nothing, |s| disabled(s, true)),
        check("A24_a_delegate_older_than_0.4.0_does_not_fail_check", Needs::Nothing, old_delegate),
    ]
}

fn every_attachment(subject: &Subject) {
    let world = World::new(subject);
    world.primary(&json!({ "cniVersion": "1.0.0", "name": "cluster", "plugins": [{ "type": "a" }, { "type": "b" }] }));
    world.extra(&list("net-c", "c"));
    world.extra(&list("net-d", "d"));
    world.add();
    for _ in 0..2 {
        world.call("CHECK").run().success();
    }
    let once = ["eth0 a", "eth0 b", "net1 c", "net2 d"];
    assert_eq!(world.order_of("CHECK"), [once, once].concat());
    for call in world.calls_of("CHECK") {
        let previous = call.prev_result().expect("CHECK is given a prevResult");
        assert_eq!(previous["interfaces"][0]["name"], call.ifname(), "{}", call.brief());
    }
}

fn config_of_add(subject: &Subject) {
    let world = World::new(subject);
    let mut config = list("net-a", "extra-a");
    config["plugins"][0]["generation"] = 1.into();
    world.extra(&config);
    world.add();
    config["plugins"][0]["generation"] = 2.into();
    world.extra(&config);
    world.primary(&list("cluster", "other"));
    world.call("CHECK").run().success();
    assert_eq!(world.order_of("CHECK"), ["eth0 main", "net1 extra-a"]);
    assert_eq!(world.calls_of("CHECK")[1].config()["generation"], 1);
}

fn reports_failure(subject: &Subject) {
    let world = World::new(subject);
    let failing = json!({ "CHECK": { "error": { "code": 123, "msg": "address is gone" } } });
    world.extra(&scripted("net-a", "extra-a", &failing));
    world.add();
    refused_with(&world.call("CHECK").run(), 123).names(&["net-a", "extra-a", "net1", "address is gone", "CHECK"]);
    assert_eq!(world.order_of("DEL"), Vec::<String>::new(), "CHECK changes nothing");
}

fn without_attachment(subject: &Subject) {
    let world = World::new(subject);
    world.primary(&list("cluster", "main"));
    let output = world.call("CHECK").run();
    crate::judge::refused(&output);
}

fn disabled(subject: &Subject, primary: bool) {
    let world = World::new(subject);
    let failing = json!({ "CHECK": { "error": { "code": 123, "msg": "must not be asked" } } });
    let name = if primary { "cluster" } else { "net-a" };
    let mut config = scripted(name, "quiet", &failing);
    config["disableCheck"] = true.into();
    if primary {
        world.primary(&config);
        world.extra(&list("net-a", "asked"));
    } else {
        world.extra(&config);
        world.primary(&list("cluster", "asked"));
    }
    world.add();
    world.call("CHECK").run().success();
    let kinds: Vec<_> = world.calls_of("CHECK").into_iter().map(|call| call.kind).collect();
    assert_eq!(kinds, ["asked"]);
}

fn old_delegate(subject: &Subject) {
    let world = World::new(subject);
    let mut old = list("net-a", "extra-a");
    old["cniVersion"] = "0.3.1".into();
    world.extra(&old);
    world.extra(&list("net-b", "extra-b"));
    world.add();
    world.call("CHECK").run().success();
    assert_eq!(world.order_of("CHECK"), ["eth0 main", "net2 extra-b"]);
}
