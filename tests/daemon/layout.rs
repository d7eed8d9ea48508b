//! A private conf dir of which the daemon is told nothing that it can use.

use meta_cni::plan::master::FILE_NAME;
use serde_json::json;

use crate::place::{Place, eventually, put};

#[test]
fn a_damaged_decision_is_told_and_what_was_decided_before_is_kept() {
    let place = {
        let mut place = Place::new();
        place.config(&json!({ "tick": "250ms" }));
        place
    };
    place.primary("10-a.conflist", "mac");
    let private = place.at("private").join(FILE_NAME);
    let decision = place.at("state/private.json");
    let layout = json!({
        "version": 1, "from": place.at("conf"), "to": place.at("private"),
        "runtime": "containerd-2", "config": place.at("config.toml"),
    });
    std::fs::create_dir(place.at("private")).unwrap();
    std::fs::write(&decision, layout.to_string()).unwrap();
    let daemon = place.start();
    daemon.ready();
    assert!(private.exists());
    // By rename, as those who decide it do: half of it would be a damage of its own.
    put(&place.at("state"), "private.json", &layout.to_string()[..30]);
    eventually("what is damaged", || {
        let (status, text) = daemon.get("/readyz");
        (status == 503 && text.contains("private.json is damaged") && text.contains("remove it")).then_some(())
    });
    // It is still kept right where the runtime reads it.
    std::fs::remove_file(&private).unwrap();
    eventually("the file in the private conf dir", || private.exists().then_some(()));
    put(&place.at("state"), "private.json", &layout.to_string());
    eventually("readiness", || (daemon.get("/readyz").0 == 200).then_some(()));
    assert_eq!(daemon.said("private.json is damaged"), 1);
}
