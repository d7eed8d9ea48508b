//! A result as it stands after the default routes were moved: what CHECK is given, what the runtime and the status are told
//! (A22). The delegate's own stays beside it, for DEL.

use std::net::IpAddr;

use serde_json::value::RawValue;

use crate::cni::raw::value_of;
use crate::cni::{CniResult, CniVersion, Object};
use crate::config::DefaultRoutePolicy;
use crate::kernel::Family;

use super::routes::{Moved, is_default, is_main};

/// Whose result it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The attachment that asked for the default routes.
    Chosen,
    /// The primary's, and another one asked.
    Primary,
    /// Any other.
    Other,
}

/// A route of a result.
type Line = (String, Option<String>);

/// `result`, which is of `version`, with the routes as `moved` left them; `None` when it says nothing that is otherwise now.
#[must_use]
pub fn left(result: &RawValue, version: CniVersion, whose: Whose, moved: &Moved) -> Option<Box<RawValue>> {
    let lost = |dst: &str| match (whose, moved.routed.policy) {
        (Whose::Primary | Whose::Other, DefaultRoutePolicy::Metric) => false,
        _ => is_default_of(dst, &moved.routed.gateways),
    };
    let gained: Vec<Line> = match whose {
        Whose::Chosen => moved.routed.gateways.iter().map(default_route).collect(),
        Whose::Primary => moved.kept.iter().map(|(to, gw)| (to.to_string(), gw.map(|gw| gw.to_string()))).collect(),
        Whose::Other => Vec::new(),
    };
    if version <= CniVersion::V0_2_0 {
        return of_old(result, version, &lost, &gained);
    }
    let mut object = Object::parse(result.get().as_bytes()).ok()?;
    let mut routes: Vec<Object> = object.get("routes", "a list of routes").ok()?.unwrap_or_default();
    let before = routes.len();
    let is_lost = |route: &Object| {
        let dst = route.get::<String>("dst", "a network").ok().flatten();
        is_main(route.get("table", "a number").ok().flatten()) && dst.is_some_and(|dst| lost(&dst))
    };
    routes.retain(|route| !is_lost(route));
    if routes.len() == before && gained.is_empty() {
        return None;
    }
    for (dst, gw) in gained {
        let mut route = Object::default();
        route.set_text("dst", &dst);
        gw.inspect(|gw| route.set_text("gw", gw));
        routes.push(route);
    }
    object.set("routes", value_of(&routes));
    Some(object.to_raw())
}

/// As above, in the formats that keep routes with the one address of their family.
fn of_old(
    result: &RawValue,
    version: CniVersion,
    lost: &dyn Fn(&str) -> bool,
    gained: &[Line],
) -> Option<Box<RawValue>> {
    let (before, _) = CniResult::parse(result.get().as_bytes(), version).ok()?;
    let mut view = before.clone();
    view.routes.retain(|route| !lost(&route.dst));
    view.routes.extend(gained.iter().map(|(dst, gw)| crate::cni::result::Route {
        dst: dst.clone(),
        gw: gw.clone(),
        ..crate::cni::result::Route::default()
    }));
    (view != before).then(|| RawValue::from_string(view.to_text(version)).ok()).flatten()
}

fn default_route(gateway: &IpAddr) -> Line {
    let dst = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    (dst.to_owned(), Some(gateway.to_string()))
}

fn is_default_of(dst: &str, gateways: &[IpAddr]) -> bool {
    is_default(dst).is_some_and(|family| gateways.iter().any(|gateway| Family::of(gateway) == family))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Prefix;
    use crate::plan::routes::Routed;

    const RESULT: &str = r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1"}],"x":1.50,"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1","y":1e2},{"dst":"10.9.0.0/16"},{"dst":"::/0","gw":"fd00::1"},{"dst":"0.0.0.0/0","table":100}]}"#;

    #[track_caller]
    fn check(whose: Whose, policy: DefaultRoutePolicy, routes: Option<&str>) {
        let moved = Moved {
            routed: Routed { gateways: vec!["10.1.0.1".parse().unwrap()], policy, changes: Vec::new() },
            kept: vec![(Prefix::parse("10.96.0.0/12").unwrap(), Some("10.0.0.1".parse().unwrap()))],
        };
        let result = RawValue::from_string(RESULT.to_owned()).unwrap();
        let left = left(&result, CniVersion::V1_0_0, whose, &moved).map(|left| left.get().to_owned());
        let start = RESULT.split("\"routes\"").next().unwrap();
        assert_eq!(left, routes.map(|routes| format!("{start}\"routes\":{routes}}}")));
    }

    #[test]
    fn a22_a_result_loses_and_gains_routes_and_nothing_else() {
        use DefaultRoutePolicy::{Metric, Replace};
        let others = r#"{"dst":"10.9.0.0/16"},{"dst":"::/0","gw":"fd00::1"},{"dst":"0.0.0.0/0","table":100}"#;
        let kept = r#"{"dst":"10.96.0.0/12","gw":"10.0.0.1"}"#;
        check(Whose::Chosen, Replace, Some(&format!("[{others},{{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.1.0.1\"}}]")));
        check(Whose::Primary, Replace, Some(&format!("[{others},{kept}]")));
        check(Whose::Other, Replace, Some(&format!("[{others}]")));
        check(Whose::Other, Metric, None);
        let own = r#"{"dst":"0.0.0.0/0","gw":"10.0.0.1","y":1e2}"#;
        check(Whose::Primary, Metric, Some(&format!("[{own},{others},{kept}]")));
    }

    #[test]
    fn a_result_of_0_2_0_keeps_its_form() {
        let moved = Moved {
            routed: Routed {
                gateways: vec!["10.1.0.1".parse().unwrap()],
                policy: DefaultRoutePolicy::Replace,
                changes: Vec::new(),
            },
            kept: Vec::new(),
        };
        let text =
            r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]}}"#;
        let result = RawValue::from_string(text.to_owned()).unwrap();
        let of = |whose, moved| left(&result, CniVersion::V0_2_0, whose, moved).map(|left| left.get().to_owned());
        assert_eq!(of(Whose::Chosen, &moved), Some(text.replace("10.0.0.1", "10.1.0.1")));
        assert_eq!(of(Whose::Other, &moved), Some(r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"}}"#.to_owned()));
        let routed = Routed { policy: DefaultRoutePolicy::Metric, ..moved.routed.clone() };
        assert_eq!(of(Whose::Other, &Moved { routed, kept: Vec::new() }), None);
    }
}
