//! The profiles compiled in: one line for each file of delegates/. A test compares the list with the folder.

use super::Profile;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../delegates/", $name, ".json")))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "antrea",
    "aws-vpc-cni",
    "calico",
    "cilium",
    "crio-stock",
    "flannel",
    "kindnet",
    "kube-router",
    "loopback",
    "meta-plugins",
    "nerdctl",
    "ovn-kubernetes",
    "podman",
    "service-meshes",
];

/// The profiles compiled in that may recognise a configuration whose first plugin is of type `plugin`: those that name it, and
/// those that go by something else. Reading all of them each time would cost more than planning.
pub(super) fn profiles(plugin: &str) -> impl Iterator<Item = Profile> {
    let named = format!("\"{plugin}\"");
    let may = move |text: &str| text.contains(&named) || !text.contains("plugin_type_any");
    FILES.iter().filter(move |(_, text)| may(text)).filter_map(|(_, text)| serde_json::from_str(text).ok())
}

/// The profiles compiled in that know of a habit or of appended plugins. They are few, and the plugin never asks.
pub(super) fn with_habits() -> impl Iterator<Item = Profile> {
    let may = |text: &str| text.contains("\"habits\"") || text.contains("\"appenders\"");
    FILES.iter().filter(move |(_, text)| may(text)).filter_map(|(_, text)| serde_json::from_str(text).ok())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "compares the list above with the folder")]
mod tests {
    use super::*;

    #[test]
    fn e8_every_file_of_delegates_is_compiled_in_and_reads() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/delegates");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.to_owned()))
            .collect();
        names.sort();
        assert_eq!(names, FILES.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
        for (name, text) in FILES {
            let profile: Profile = serde_json::from_str(text).unwrap();
            assert_eq!(profile.name, *name);
        }
    }
}
