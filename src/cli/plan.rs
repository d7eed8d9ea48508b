//! `meta-cni plan`: an ADD without its act (G2). What it prints is what the plugin would run, byte for byte but for the
//! container ID and the namespace, which only a runtime knows.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::cni::raw::value_of;
use crate::cni::{CniArgs, CniError, ContainerId, IfName, Object, Operation, SearchPath};
use crate::config::{MasterConfig, Span};
use crate::gather::{CAPABILITY, Resolver, after, asked, binaries, search_path, wanted_networks};
use crate::npwg::{Format, Namespace, ObjectName, Pod};
use crate::plan::add::{Inputs, plan};
use crate::plan::chain::process;
use crate::plan::{Plan, Pod as PlannedPod, Sandbox};
use crate::store::Owner;

use super::{Common, Exit, Output, Problem, bytes_of};

#[derive(Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    common: Common,
    /// The pod: a manifest in YAML or JSON, `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pod: PathBuf,
    /// Searched for networks instead of "networkDirs" of the master config; may be given more than once.
    #[arg(long, value_name = "DIR")]
    networks: Vec<PathBuf>,
    /// CNI_IFNAME of the runtime's call.
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    ifname: String,
    /// Searched for plugins before anything else; may be given more than once.
    #[arg(long, value_name = "DIR")]
    bin_dir: Vec<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    output: Output,
}

/// Plans and prints.
pub(super) fn run(args: &PlanArgs) -> Result<(String, Exit), Problem> {
    let mut config = args.common.master()?;
    if !args.networks.is_empty() {
        config.network_dirs = args.networks.iter().map(|dir| absolute(dir)).collect::<Result<_, _>>()?;
    }
    config.add_budget = Span(Duration::ZERO);
    let pod = pod(&args.pod)?;
    let plan = planned(args, config, &pod)?;
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(&plan).unwrap_or_default() + "\n",
        Output::Human => human(&plan),
    };
    Ok((text, Exit::Clean))
}

fn pod(path: &Path) -> Result<Pod, Problem> {
    let format = path.extension().and_then(|extension| Format::of_extension(extension.to_str()?));
    Pod::parse(&bytes_of(path, Owner::Anybody)?, format.unwrap_or(Format::Yaml))
        .map_err(|error| Problem::new(Exit::Findings, format!("{}: {error}", path.display())))
}

/// Gather and plan, as an ADD does them.
fn planned(args: &PlanArgs, mut config: MasterConfig, pod: &Pod) -> Result<Plan, CniError> {
    let refused = |error: crate::cni::names::NameError| CniError::new(crate::cni::Code::ENVIRONMENT, error.to_string());
    let mut given = Object::default();
    given.set(CAPABILITY, value_of(&pod.annotations));
    config.runtime_config = given;
    let namespace = pod.namespace.as_ref().map_or("default", Namespace::as_str);
    let name = pod.name.as_ref().map_or("pod", ObjectName::as_str);
    let cni_args = CniArgs::parse(&format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID=planned"
    ))
    .map_err(|pair| CniError::new(crate::cni::Code::ENVIRONMENT, format!("{pair:?} is not KEY=VALUE")))?;
    let nodes = search_path(SearchPath::default(), &config);
    let path = SearchPath::default().and_all(&args.bin_dir).and_all(nodes.dirs());
    let asked = asked(&config, &cni_args)?;
    let networks = wanted_networks(&Resolver::looking(&config), asked, after(config.add_budget))?;
    let binaries = binaries(networks.iter().map(|wanted| &wanted.network.list), &path);
    plan(Inputs {
        sandbox: Sandbox {
            container_id: ContainerId::new("planned").map_err(refused)?,
            netns: "/run/netns/planned".into(),
            pod: PlannedPod::of(&cni_args),
        },
        request: IfName::new(args.ifname.as_str()).map_err(refused)?,
        args: &cni_args,
        path: &path,
        runtime_config: &config.runtime_config,
        device_info_dir: &config.device_info_dir,
        networks,
        taken: &BTreeSet::new(),
        capability_check: config.capability_check,
        binaries: &binaries,
    })
}

fn human(plan: &Plan) -> String {
    let mut text = String::new();
    for attachment in &plan.attachments {
        let role = format!("{:?}", attachment.role).to_lowercase();
        let _ = writeln!(
            text,
            "{}: network {:?} ({role}), CNI {}",
            attachment.ifname, attachment.network, attachment.cni_version
        );
        if let Some(gateways) = &attachment.default_route {
            let by: Vec<String> = gateways.iter().map(ToString::to_string).collect();
            let by = if by.is_empty() { "the gateways that its result names".to_owned() } else { by.join(", ") };
            let _ = writeln!(text, "  default route by {by}");
        }
        for index in 0..attachment.calls.len() {
            let given = attachment.prev_result.as_ref().filter(|_| index == 0).map(Object::to_raw);
            let process = process(Operation::Add, &plan.sandbox, attachment, index, given.as_deref());
            let Some(process) = process else { continue };
            let _ = writeln!(text, "  {}", process.binary.display());
            for (key, value) in &process.env {
                if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                    let _ = writeln!(text, "    {key}={value}");
                }
            }
            let note = if index > 0 { "  (with prevResult of the plugin before)" } else { "" };
            let _ = writeln!(text, "    stdin {}{note}", process.stdin);
        }
    }
    text
}

fn absolute(dir: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(dir).map_err(|error| Problem::could_not_look(format!("{}: {error}", dir.display())))
}
