//! D6: a meta-plugin that would run itself is refused, with the place of the nested part, and nothing runs.

use crate::judge::{refused, refused_untouched};
use crate::world::{Subject, World, list};
use crate::{Check, Needs, check};
use serde_json::{Value, json};
use std::path::Path;

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, config, pointer) in rows() {
        for primary in [true, false] {
            let place = if primary { "primary" } else { "additional" };
            let config = config.clone();
            checks.push(check(format!("D6_nested_in_itself::{name}::{place}"), Needs::Nothing, move |s| {
                nested(s, &config, pointer, primary);
            }));
        }
    }
    checks.push(check("D6_the_master_config_is_its_own_primary", Needs::OwnKeys, own_primary));
    checks.push(check("D6_under_another_name", Needs::Nothing, another_name));
    checks
}

/// `SELF` stands for the subject's own plugin type, `STATE` for where it keeps files. The inner part is finite, so a plugin that runs it comes back.
fn rows() -> Vec<(&'static str, Value, &'static str)> {
    let inner = json!({ "type": "SELF", "name": "inner", "cniVersion": "1.0.0", "cniDir": "STATE", "delegates": [
        { "type": "main", "name": "innermost", "cniVersion": "1.0.0" },
    ] });
    vec![
        ("only_plugin", json!({ "cniVersion": "1.0.0", "name": "outer", "plugins": [inner] }), "/plugins/0"),
        (
            "second_plugin",
            json!({ "cniVersion": "1.0.0", "name": "outer", "plugins": [{ "type": "main" }, inner] }),
            "/plugins/1",
        ),
        (
            "in_a_delegate",
            json!({ "cniVersion": "1.0.0", "name": "outer", "plugins": [{ "type": "main", "delegates": [inner] }] }),
            "/plugins/0/delegates/0",
        ),
        (
            "deep_inside",
            json!({ "cniVersion": "1.0.0", "name": "outer", "plugins": [{ "type": "main", "x": [{ "y": { "z": inner } }] }] }),
            "/plugins/0/x/0/y/z",
        ),
    ]
}

fn filled(config: &Value, own: &str, state: &Path) -> Value {
    let text = config.to_string().replace("SELF", own).replace("STATE", &state.display().to_string());
    serde_json::from_str(&text).unwrap()
}

fn world(subject: &Subject, name: &str) -> World {
    let world = World::new(subject);
    let place = world.node.plugins().join(name);
    std::fs::hard_link(&subject.plugin, &place)
        .or_else(|_| std::os::unix::fs::symlink(&subject.plugin, &place))
        .unwrap();
    world
}

fn nested(subject: &Subject, config: &Value, pointer: &str, primary: bool) {
    let own = subject.kind.name();
    let world = world(subject, own);
    let config = filled(config, own, &world.node.state());
    if primary {
        world.primary(&config);
    } else {
        world.extra(&config);
    }
    refused_untouched(&world, &world.call("ADD").run(), 7).names(&[own, pointer]);
}

fn own_primary(subject: &Subject) {
    let world = world(subject, "meta-cni");
    let mut config = world.node.master_config();
    config["clusterNetwork"] = json!(world.node.conf().join("10-primary.conflist"));
    world.node.write("conf/10-primary.conflist", &config.to_string());
    refused_untouched(&world, &world.call("ADD").run(), 7).names(&["meta-cni"]);
}

/// Content cannot show that the plugin `innocent` is the subject itself; what runs inside must notice.
fn another_name(subject: &Subject) {
    let world = world(subject, "innocent");
    let mut master = world.node.master_config();
    master["type"] = "innocent".into();
    master["delegates"] = json!([list("inner", "main")]);
    master.as_object_mut().unwrap().remove("clusterNetwork");
    let outer = json!({ "cniVersion": "1.0.0", "name": "outer", "plugins": [master] });
    world.primary(&outer);
    refused(&world.call("ADD").run()).names(&["innocent"]);
    assert_eq!(world.order_of("ADD"), Vec::<String>::new(), "the inner call ran a delegate");
}
