//! One ADD as data: networks, names, capabilities and executables in, the [`Plan`] or the reason for none out.
//!
//! Every refusal happens here, before the first delegate runs (pain C9): what ADD then does leaves nothing to decide.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cni::{CniArgs, CniError, CniVersion, Code, IfName, NetworkConfigList, Object, PluginType, SearchPath};
use crate::config::CapabilityCheck;
use crate::npwg::Selection;
use crate::profile::ready::Signs;

use super::announce::ours;
use super::capability::{arguments, merge_args, runtime_config, undeclared};
use super::ifname::names;
use super::lint::lint;
use super::outcome::MissingBinary;
use super::verify::{KEYS, Verify};
use super::{Attachment, Call, Deadline, Plan, Role, Sandbox, devinfo};

/// A network that was found, and how people know it.
#[derive(Debug, Clone)]
pub struct Network {
    /// `namespace/name` of its manifest, else the name of its configuration.
    pub display: String,
    /// Its configuration.
    pub list: NetworkConfigList,
    /// How long its plugins may run.
    pub deadline: Deadline,
    /// True for the auxiliary chain: it makes no interface, so its first plugin is given a result to go on with.
    pub auxiliary: bool,
    /// False when its manifest says that its addresses shall not be announced.
    pub announce: bool,
    /// By which it can serve.
    pub signs: Signs,
}

/// A network and the element of an annotation that asked for it, if one did.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The network.
    pub network: Network,
    /// The element.
    pub selection: Option<Selection>,
}

/// Executables by plugin type, as looked for in the search path.
pub type Binaries = BTreeMap<PluginType, Result<PathBuf, MissingBinary>>;

/// What an ADD is planned from.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// For which sandbox.
    pub sandbox: Sandbox,
    /// `CNI_IFNAME`.
    pub request: IfName,
    /// `CNI_ARGS`.
    pub args: &'a CniArgs,
    /// Where plugins are searched.
    pub path: &'a SearchPath,
    /// The runtime's capability arguments.
    pub runtime_config: &'a Object,
    /// Where files about devices are.
    pub device_info_dir: &'a Path,
    /// The networks, the primary first.
    pub networks: Vec<Wanted>,
    /// Names of the links in the pod's namespace.
    pub taken: &'a BTreeSet<String>,
    /// How a request without a plugin that declares its capability is judged.
    pub capability_check: CapabilityCheck,
    /// Executables of every plugin of every network.
    pub binaries: &'a Binaries,
}

/// The plan of an ADD.
///
/// # Errors
/// Code 7 for what cannot be, 701 for a plugin that is not there; nothing has been touched then.
pub fn plan(inputs: Inputs<'_>) -> Result<Plan, CniError> {
    let requests: Vec<Option<IfName>> =
        inputs.networks.iter().skip(1).map(|wanted| wanted.selection.as_ref()?.interface.clone()).collect();
    let names = names(&inputs.request, &requests, inputs.taken).map_err(|(at, clash)| {
        let display = inputs.networks.get(at).map_or("", |wanted| wanted.network.display.as_str());
        refused(display, &clash.to_string())
    })?;
    let attachments = inputs
        .networks
        .iter()
        .zip(names)
        .enumerate()
        .map(|(ordinal, (wanted, ifname))| attachment(&inputs, ordinal, wanted, ifname))
        .collect::<Result<Vec<_>, _>>()?;
    one_default_route(&attachments)?;
    let plan = Plan { sandbox: inputs.sandbox, request: inputs.request, attachments };
    match lint(&plan).first() {
        None => Ok(plan),
        // A defect of ours, and nothing has been touched yet.
        Some(broken) => Err(CniError::new(Code::INTERNAL, format!("the plan is unsound: {broken}; please report it"))),
    }
}

fn attachment(inputs: &Inputs<'_>, ordinal: usize, wanted: &Wanted, ifname: IfName) -> Result<Attachment, CniError> {
    let Wanted { network, selection } = wanted;
    if let Some(selection) = selection {
        possible(selection, network, (ordinal == 0).then_some(&inputs.request))?;
    }
    let verify = match selection {
        Some(selection) => declared(selection, network, inputs.capability_check)?,
        None => None,
    };
    let from_runtime = (ordinal == 0).then_some(inputs.runtime_config);
    let mut arguments = arguments(from_runtime, selection.as_ref());
    let (display, plugins) = (&network.display, &network.list.plugins);
    let device_info = devinfo::file(inputs.device_info_dir, plugins, display, &inputs.sandbox.container_id, &ifname);
    if let Some(file) = &device_info {
        arguments.set_text(devinfo::CAPABILITY, &file.to_string_lossy());
    }
    let cni_args = selection.as_ref().and_then(|selection| selection.cni_args.as_ref());
    let role = if ordinal == 0 { Role::Primary } else { Role::Additional };
    from_list(network, &ifname, &arguments, cni_args, inputs.binaries).map(|calls| Attachment {
        ordinal,
        role,
        network: network.display.clone(),
        name: network.list.name.clone(),
        cni_version: network.list.cni_version,
        ifname,
        disable_check: network.list.disable_check,
        disable_gc: network.list.disable_gc,
        args: verify.as_ref().map_or_else(|| inputs.args.clone(), |verify| verify.arguments(inputs.args)),
        path: inputs.path.clone(),
        deadline: network.deadline,
        default_route: selection.as_ref().and_then(|selection| selection.default_route.clone()),
        prev_result: network.auxiliary.then(|| no_result(network.list.cni_version)),
        device_info,
        verify,
        announce: ours(role, network.announce, calls.first().map(|call| &call.plugin)),
        calls,
    })
}

/// Refuses a second attachment that asks for the pod's default routes (B15): the annotation of the default network may ask
/// too.
fn one_default_route(attachments: &[Attachment]) -> Result<(), CniError> {
    let mut asking = attachments.iter().filter(|attachment| attachment.default_route.is_some());
    match (asking.next(), asking.next()) {
        (Some(first), Some(second)) => {
            let what =
                format!("\"default-route\" is asked for by network {:?} too; only one may have it", first.network);
            Err(refused(&second.network, &what))
        }
        _ => Ok(()),
    }
}

/// The result of a plugin that made nothing.
fn no_result(version: CniVersion) -> Object {
    let mut result = Object::default();
    result.set_text("cniVersion", version.as_str());
    result
}

/// Refuses what an element asks for and cannot have.
fn possible(selection: &Selection, network: &Network, primary: Option<&IfName>) -> Result<(), CniError> {
    if let (Some(ifname), Some(asked)) = (primary, &selection.interface)
        && ifname != asked
    {
        let what = format!("the primary interface is {ifname}, as the runtime says, and cannot be {asked}");
        return Err(refused(&network.display, &what));
    }
    Ok(())
}

/// Refuses a key whose capability no plugin declares (B6), but for those that the kernel will be asked about: these are given.
fn declared(selection: &Selection, network: &Network, check: CapabilityCheck) -> Result<Option<Verify>, CniError> {
    let verify = check == CapabilityCheck::Verify;
    let (shown, missing): (Vec<_>, Vec<_>) =
        undeclared(selection, &network.list.plugins).partition(|(key, _)| verify && KEYS.contains(key));
    if let Some((key, capability)) = missing.first() {
        let chain: Vec<&str> = network.list.plugins.iter().map(|plugin| plugin.plugin.as_str()).collect();
        let what = format!(
            "the pod asks for {key:?}, but no plugin of its chain ({}) declares the capability {capability:?}; \
             add it to \"capabilities\" of the plugin that can do it",
            chain.join(", ")
        );
        return Err(refused(&network.display, &what));
    }
    Ok(verify.then(|| Verify::of(selection, shown.is_empty())).flatten())
}

/// The calls of a network's chain, with the capability arguments and `cni-args` put in.
fn from_list(
    network: &Network,
    ifname: &IfName,
    arguments: &Object,
    cni_args: Option<&Object>,
    binaries: &Binaries,
) -> Result<Vec<Call>, CniError> {
    let mut calls = Vec::with_capacity(network.list.plugins.len());
    for (index, plugin) in network.list.plugins.iter().enumerate() {
        let mut config = network.list.execution_config(index).unwrap_or_default();
        merge_args(&mut config, cni_args).map_err(|key| {
            refused(&network.display, &format!("{key:?} in the configuration of plugin {} is no object", plugin.plugin))
        })?;
        if let Some(runtime_config) = runtime_config(plugin, arguments) {
            config.set_object("runtimeConfig", &runtime_config);
        }
        let context = || format!("network {:?} ({}) {ifname}", network.display, plugin.plugin);
        let binary = match binaries.get(&plugin.plugin) {
            Some(Ok(path)) => path.clone(),
            Some(Err(missing)) => return Err(missing.error(&plugin.plugin).in_context(&context())),
            None => return Err(CniError::new(Code::INTERNAL, "was not looked for").in_context(&context())),
        };
        calls.push(Call { plugin: plugin.plugin.clone(), binary, config });
    }
    Ok(calls)
}

fn refused(network: &str, what: &str) -> CniError {
    CniError::new(Code::INVALID_CONFIG, what).in_context(&format!("network {network:?}"))
}

#[cfg(test)]
impl Network {
    /// The network of the configuration `text`, with nothing special about it.
    pub(super) fn of_text(text: &str) -> Self {
        let list = NetworkConfigList::parse(text.as_bytes(), None).expect("a configuration");
        let display = list.name.to_string();
        let deadline = Deadline { add: 100, del: 40 };
        Self { display, list, deadline, auxiliary: false, announce: true, signs: Signs::default() }
    }
}

#[cfg(test)]
#[path = "add_tests.rs"]
mod tests;
