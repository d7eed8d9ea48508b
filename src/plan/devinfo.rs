//! The file in which plugins tell of an attachment's device (Device Information Specification 1.1.0; C1, C2).

use std::path::{Path, PathBuf};

use crate::cni::{ContainerId, IfName, PluginConfig};

/// The capability by which a plugin says that it writes such a file.
pub const CAPABILITY: &str = "CNIDeviceInfoFile";

/// Bytes of a file's name at most.
const LONGEST: usize = 255;

/// Bytes of a network's name that are kept beside a checksum: container IDs have 200 at most, interface names 15.
const CUT: usize = 24;

/// Container IDs from this length on are longer than any interface name, so that the parts of a file's name cannot be
/// taken for each other.
const TELLING: usize = 16;

/// The file for an attachment to `network`, when one of `plugins` wants it; below `dir`, in the directory of CNI plugins.
#[must_use]
pub fn file(
    dir: &Path,
    plugins: &[PluginConfig],
    network: &str,
    container_id: &ContainerId,
    ifname: &IfName,
) -> Option<PathBuf> {
    let wanted = plugins.iter().any(|plugin| plugin.capabilities.iter().any(|name| name == CAPABILITY));
    wanted.then(|| dir.join("cni").join(file_name(network, container_id.as_str(), ifname.as_str())))
}

/// As Multus names it, `<network>-<container ID>_<interface>`; where that would be too long, or could be another
/// attachment's, the network is cut and a checksum of all three follows.
fn file_name(network: &str, container_id: &str, ifname: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let safe: String = network.chars().map(|c| if plain(c) { c } else { '-' }).collect();
    let name = format!("{safe}-{container_id}_{ifname}");
    let telling = container_id.len() >= TELLING && container_id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if telling && name.len() <= LONGEST && network.chars().all(|c| plain(c) || c == '/') {
        return name;
    }
    let all = [network, container_id, ifname].join("\0");
    let cut = &safe[..safe.len().min(CUT)];
    format!("{cut}-{container_id}_{ifname}-{:08x}", crc32fast::hash(all.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn c1_a_file_is_of_one_attachment_alone_and_its_name_is_safe() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(file_name("default/net-a", id, "net1"), format!("default-net-a-{id}_net1"));
        let long = "x".repeat(253);
        let all = [
            ("a", "b-c", "d"),
            ("a-b", "c", "d"),
            ("a", "b_c", "d"),
            ("a", "b", "c_d"),
            ("a", id, "d"),
            ("../../etc/x", id, "d"),
            ("a/b", id, "d"),
            ("a\0b", id, "d"),
            ("a b", id, "d"),
            (&long, &long[..200], "sixteen-bytes-a"),
            (&long[..252], &long[..200], "sixteen-bytes-a"),
            (&long, &long[..199], "sixteen-bytes-a"),
            ("\u{e4}\u{e4}", id, "\u{e4}"),
        ];
        let names: BTreeSet<String> = all.iter().map(|(net, id, ifname)| file_name(net, id, ifname)).collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
        for name in names {
            assert!(name.len() <= LONGEST && !name.contains(['/', '\0']), "{name}");
        }
    }

    #[test]
    fn c2_a_file_is_for_who_declares_the_capability() {
        let plugin = |text: &str| PluginConfig::parse(text.as_bytes()).unwrap();
        let (id, ifname) = (ContainerId::new("c".repeat(64)).unwrap(), IfName::new("net1").unwrap());
        let yes = plugin(r#"{"type":"a","capabilities":{"CNIDeviceInfoFile":true}}"#);
        let no = plugin(r#"{"type":"a","capabilities":{"CNIDeviceInfoFile":false,"mac":true}}"#);
        let of = |plugins: &[PluginConfig]| file(Path::new("/d"), plugins, "ns/n", &id, &ifname);
        assert_eq!(of(&[no.clone(), yes]), Some(format!("/d/cni/ns-n-{id}_net1").into()));
        assert_eq!(of(&[no]), None);
    }
}
