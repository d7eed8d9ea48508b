//! What is true of any plan (P3). Planning ends by asking, so no plan that breaks a rule is ever carried out.

use std::collections::BTreeSet;

use crate::config::master::PLUGIN_TYPE;

use super::{Plan, Role};

/// The rules that `plan` breaks, one sentence each; empty for any plan that may be carried out.
#[must_use]
pub fn lint(plan: &Plan) -> Vec<String> {
    let mut broken = Vec::new();
    let mut rule = |holds: bool, sentence: String| {
        if !holds {
            broken.push(sentence);
        }
    };
    let primaries = plan.attachments.iter().filter(|attachment| attachment.role == Role::Primary).count();
    rule(primaries == 1, format!("{primaries} attachments are primary"));
    let asking = plan.attachments.iter().filter(|attachment| attachment.default_route.is_some()).count();
    rule(asking <= 1, format!("{asking} attachments ask for the default route"));
    let first = plan.attachments.first();
    rule(first.is_some_and(|first| first.role == Role::Primary), "the first attachment is not the primary".to_owned());
    rule(
        first.is_some_and(|first| first.ifname == plan.request),
        "the primary's interface is not the one that the runtime asked for".to_owned(),
    );
    let mut names = BTreeSet::new();
    for (at, attachment) in plan.attachments.iter().enumerate() {
        let network = &attachment.network;
        rule(names.insert(&attachment.ifname), format!("interface {} is there twice", attachment.ifname));
        rule(attachment.ordinal == at, format!("{network} has ordinal {} at place {at}", attachment.ordinal));
        rule(!attachment.calls.is_empty(), format!("{network} has no plugin"));
        rule(attachment.deadline.add > 0 && attachment.deadline.del > 0, format!("{network} has no deadline"));
        for call in &attachment.calls {
            rule(call.plugin.as_str() != PLUGIN_TYPE, format!("{network} would run {PLUGIN_TYPE}"));
            rule(call.binary.is_absolute(), format!("{} of {network} has no path", call.plugin));
            rule(!call.config.has("prevResult"), format!("{} of {network} has a prevResult", call.plugin));
        }
    }
    broken
}
