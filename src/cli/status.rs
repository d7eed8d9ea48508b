//! `meta-cni status`: how the node is (`doctor`). With `--container ID` the attachments of a sandbox, and its network status exactly as the annotation
//! carries it. From the records, from what plugins told of devices, and from the pod's namespace while that is there.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::cni::{CniResult, ContainerId, Object};
use crate::kernel::Seen;
use crate::netns;
use crate::npwg::status::{Entry, NetworkStatus, annotation, status};
use crate::plan::record::{Record, State};
use crate::store::devinfo;
use crate::store::records::{Damaged, Records};

use super::doctor::{self, Asked};
use super::{Common, Exit, Output, Problem};

#[derive(Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    common: Common,
    /// A sandbox instead of the node: its container ID, as the runtime knows it.
    #[arg(long, value_name = "ID")]
    container: Option<String>,
    /// Where locks are [default: "runDir" of the master config].
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Searched for plugins before anything else; may be given more than once.
    #[arg(long, value_name = "DIR")]
    bin_dir: Vec<PathBuf>,
    /// How to print; json of a sandbox is the network status annotation.
    #[arg(long, value_enum, default_value = "human")]
    output: Output,
}

/// Reads and prints. `path` is `CNI_PATH`.
pub(super) fn run(args: &StatusArgs, path: Option<&str>) -> Result<(String, Exit), Problem> {
    let Some(container) = &args.container else {
        let asked = Asked {
            config: args.common.config.clone(),
            state_dir: args.common.state_dir.clone(),
            run_dir: args.run_dir.clone(),
            bin_dirs: args.bin_dir.clone(),
            path: path.map(str::to_owned),
        };
        return doctor::run(asked, args.output);
    };
    let id = ContainerId::new(container.as_str())
        .map_err(|error| Problem::new(Exit::Usage, format!("--container: {error}")))?;
    let state_dir = args.common.records_in()?;
    let found = Records::new(&state_dir).of(&id).map_err(|error| Problem::could_not_look(error.story()))?;
    let mut records = found.records;
    if records.is_empty() && found.damaged.is_empty() {
        let what = format!("no attachment of {id} is recorded in {}", state_dir.display());
        return Err(Problem::new(Exit::CouldNotLook, what));
    }
    records.sort_by(|a, b| (&a.request, a.attachment.ordinal).cmp(&(&b.request, b.attachment.ordinal)));
    let whole = found.damaged.is_empty() && records.iter().all(|record| record.state == State::Attached);
    let text = match args.output {
        Output::Json => annotation(&told(&records).into_iter().map(|(_, status)| status).collect::<Vec<_>>()) + "\n",
        Output::Human => {
            let mut text = human(&records);
            for Damaged { path, why, .. } in &found.damaged {
                let _ = writeln!(text, "damaged: {} {why}", path.display());
            }
            text
        }
    };
    Ok((text, if whole { Exit::Clean } else { Exit::Findings }))
}

/// The attached records and the status of each.
fn told(records: &[Record]) -> Vec<(&Record, NetworkStatus)> {
    let attached: Vec<&Record> = records.iter().filter(|record| record.state == State::Attached).collect();
    let results: Vec<Option<CniResult>> = attached.iter().map(|record| result(record)).collect();
    let devices: Vec<Option<Object>> =
        attached.iter().map(|record| record.attachment.device_info.as_deref().and_then(devinfo::told)).collect();
    let seen = attached.first().and_then(|record| seen(record));
    let entries: Vec<Entry<'_>> = attached
        .iter()
        .zip(results.iter().zip(&devices))
        .map(|(record, (result, device))| Entry {
            network: &record.attachment.network,
            ifname: record.attachment.ifname.as_str(),
            result: result.as_ref(),
            seen: seen.as_ref(),
            device_info: device.as_ref(),
        })
        .collect();
    let statuses = status(&entries);
    attached.into_iter().zip(statuses).collect()
}

/// The pod's namespace, if it is still the one of the ADD and can be read. Nothing is wrong with a pod that is gone.
fn seen(record: &Record) -> Option<Seen> {
    let namespace = netns::open(&record.sandbox.netns).ok()?;
    if record.netns? != namespace.identity() {
        return None;
    }
    namespace.seen().ok()
}

fn human(records: &[Record]) -> String {
    let mut text = String::new();
    if let Some(record) = records.first() {
        let pod = record.sandbox.pod.as_ref().map(|pod| format!(", pod {}/{}", pod.namespace, pod.name));
        let netns = record.sandbox.netns.display();
        let _ = writeln!(text, "sandbox {}{}, netns {netns}", record.sandbox.container_id, pod.unwrap_or_default());
    }
    let told = told(records);
    for record in records {
        let attachment = &record.attachment;
        let status = told.iter().find(|(one, _)| std::ptr::eq(*one, record)).map(|(_, status)| status);
        let ips = status.map(|status| status.ips.join(" ")).unwrap_or_default();
        let plugins: Vec<&str> = attachment.calls.iter().map(|call| call.plugin.as_str()).collect();
        let state = format!("{:?}", record.state).to_lowercase();
        let _ = writeln!(
            text,
            "  {:<15} {:<9} {} ({}) {}",
            attachment.ifname.as_str(),
            state,
            attachment.network,
            plugins.join(", "),
            ips
        );
    }
    text
}

fn result(record: &Record) -> Option<CniResult> {
    let text = record.standing()?;
    CniResult::parse(text.get().as_bytes(), record.attachment.cni_version).ok().map(|(result, _)| result)
}
