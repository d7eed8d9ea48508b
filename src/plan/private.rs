//! The private conf dir: a directory in which only our file is, and which the runtime is pointed at; the primary goes on writing the
//! old one. Which file of which runtime has to say so, as data and as texts. Two ways: there, and back.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cni::Object;
use crate::cni::raw::{text_value, value_of};
use crate::profile::matches_glob;

pub use super::toml::is_ours;
use super::toml::{OURS, include, number, set, undone};

/// Where only our file is, when nobody says.
pub const DIR: &str = "/etc/cni/meta-cni/net.d";

/// `addBudget` there: no file event of another's can hold up the runtime, so an ADD may wait.
const ADD_BUDGET: &str = "150s";

/// At the head of a file that is ours as a whole.
const HEAD: &str = "# Written by `meta-cni install --private-conf-dir`; `meta-cni cleanup` removes it.\n";

/// How a runtime is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// containerd 1.x: in its own file. A drop-in would reset the rest of the CRI section.
    #[serde(rename = "containerd-1")]
    Containerd1,
    /// containerd from 2.0: a drop-in, which its file has to import.
    #[serde(rename = "containerd-2")]
    Containerd2,
    /// CRI-O: a drop-in.
    #[serde(rename = "crio")]
    Crio,
}

impl Kind {
    /// By what a person says.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Containerd1, Self::Containerd2, Self::Crio].into_iter().find(|kind| kind.name() == name)
    }

    /// By what the runtime says of itself over CRI.
    #[must_use]
    pub fn of(runtime: &str, version: &str) -> Option<Self> {
        let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
        match (runtime, major) {
            ("containerd", Some(1)) => Some(Self::Containerd1),
            ("containerd", Some(2..)) => Some(Self::Containerd2),
            ("cri-o", _) => Some(Self::Crio),
            _ => None,
        }
    }

    /// What a person says.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd1 => "containerd-1",
            Self::Containerd2 => "containerd-2",
            Self::Crio => "crio",
        }
    }

    /// Its unit of systemd.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Containerd1 | Self::Containerd2 => "containerd",
            Self::Crio => "crio",
        }
    }

    /// Its configuration, when nobody says.
    #[must_use]
    pub fn config(self) -> &'static Path {
        Path::new(match self {
            Self::Containerd1 | Self::Containerd2 => "/etc/containerd/config.toml",
            Self::Crio => "/etc/crio/crio.conf",
        })
    }
}

/// What was decided, kept until it is undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layout {
    /// The conf dir in which the primary writes, and which the runtime read before.
    pub from: PathBuf,
    /// The private one.
    pub to: PathBuf,
    /// How the runtime is told.
    pub runtime: Kind,
    /// The runtime's configuration.
    pub config: PathBuf,
    /// It is being undone.
    #[serde(default)]
    pub back: bool,
}

/// What the runtime's configuration is to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// A file of ours beside it.
    pub drop_in: Option<(PathBuf, String)>,
    /// Its own text; `None`: as it is.
    pub config: Option<String>,
}

impl Layout {
    /// The directory that the runtime is to read, and the one that it is to leave.
    #[must_use]
    pub fn ways(&self) -> (&Path, &Path) {
        if self.back { (&self.from, &self.to) } else { (&self.to, &self.from) }
    }

    /// Our own file of the runtime's configuration.
    #[must_use]
    pub fn drop_in(&self) -> Option<PathBuf> {
        let dir = self.config.parent()?;
        match self.runtime {
            Kind::Containerd1 => None,
            Kind::Containerd2 => Some(dir.join("conf.d/50-meta-cni.toml")),
            Kind::Crio => Some(dir.join("crio.conf.d/50-meta-cni.conf")),
        }
    }

    /// What it takes that the runtime reads the private conf dir. `text` is its configuration, if there is one; `may_edit`: a person
    /// said that it may be edited.
    ///
    /// # Errors
    /// Why not, with what a person can do: several lines.
    pub fn change(&self, text: Option<&str>, may_edit: bool) -> Result<Change, String> {
        let to = self.to.to_str().ok_or_else(|| format!("{} is no text", self.to.display()))?;
        match self.runtime {
            Kind::Crio => {
                let ours = set("", &["crio", "network", "network_dir"], to)?.unwrap_or_default();
                Ok(Change { drop_in: self.drop_in().map(|path| (path, format!("{HEAD}{ours}"))), config: None })
            }
            Kind::Containerd2 => {
                let ours = self.of_containerd_2(text, to)?;
                let config = self.imports(text).map_err(|why| {
                    let glob = self.glob().unwrap_or_default();
                    format!(
                        "{}: {why}; have it say\n  imports = [\"{glob}\"]\nand do this again",
                        self.config.display()
                    )
                })?;
                Ok(Change { drop_in: self.drop_in().map(|path| (path, ours)), config })
            }
            Kind::Containerd1 => self.edited(text, to, may_edit),
        }
    }

    /// The drop-in of containerd 2, of the version that its configuration has: with a higher one containerd up to 2.3 either does not
    /// start or takes none of the settings of an older configuration (containerd pull request 12891).
    fn of_containerd_2(&self, text: Option<&str>, to: &str) -> Result<String, String> {
        let version = match text {
            Some(text) => number(text, "version").map_err(|why| format!("{}: {why}", self.config.display()))?,
            None => Some(3),
        };
        let (version, plugin) = match version {
            None | Some(0 | 1) => ("", "cri"),
            Some(2) => ("version = 2\n", "io.containerd.grpc.v1.cri"),
            Some(3..) => ("version = 3\n", "io.containerd.cri.v1.runtime"),
        };
        let ours = set("", &["plugins", plugin, "cni", "conf_dir"], to)?.unwrap_or_default();
        Ok(format!("{HEAD}{version}{ours}"))
    }

    /// Which files the configuration of containerd 2 has to import.
    fn glob(&self) -> Option<String> {
        Some(self.drop_in()?.parent()?.join("*.toml").to_str()?.to_owned())
    }

    fn imports(&self, text: Option<&str>) -> Result<Option<String>, String> {
        let (Some(glob), Some(ours)) = (self.glob(), self.drop_in()) else { return Ok(None) };
        let here = self.config.parent().unwrap_or(Path::new("/"));
        // Without any file containerd imports nothing, whatever its defaults say.
        let whole = text.map_or_else(|| format!("{HEAD}version = 3 {OURS}\n"), str::to_owned);
        include(&whole, "imports", &glob, |one| matches(&here.join(one), &ours))
    }

    fn edited(&self, text: Option<&str>, to: &str, may_edit: bool) -> Result<Change, String> {
        let path = self.config.display();
        let whole = text.map_or_else(|| format!("{HEAD}version = 2 {OURS}\n"), str::to_owned);
        let version = number(&whole, "version").map_err(|why| format!("{path}: {why}"))?;
        let (plugin, section) = of_containerd_1(version);
        let by_hand = format!("have {path} say\n  [{section}]\n    conf_dir = \"{to}\"\nand do this again");
        match set(&whole, &["plugins", plugin, "cni", "conf_dir"], to) {
            Ok(None) => Ok(Change::default()),
            Ok(config) if may_edit => Ok(Change { drop_in: None, config }),
            Ok(_) => Err(format!(
                "a drop-in would reset every other setting of containerd 1.x's CRI plugin, so its own file has to be edited: say \
                 --edit-runtime-config (a copy is kept beside it), or {by_hand}"
            )),
            Err(why) => Err(format!("{path} cannot be edited: {why}; {by_hand}")),
        }
    }

    /// The configuration as it was before [`Layout::change`], if what is in `text` is what came of `backup`; else without our lines,
    /// and `false`. `None`: nothing of ours is in it.
    ///
    /// # Errors
    /// Why our lines cannot be taken out alone, with what a person can do.
    pub fn restored(&self, text: &str, backup: Option<&str>) -> Result<Option<(String, bool)>, String> {
        let made = |backup: &str| self.change(Some(backup), true).ok().and_then(|change| change.config);
        if let Some(backup) = backup.filter(|backup| made(backup).as_deref() == Some(text)) {
            return Ok(Some((backup.to_owned(), true)));
        }
        let key = match self.runtime {
            Kind::Containerd1 => vec!["plugins", of_containerd_1(number(text, "version")?).0, "cni", "conf_dir"],
            Kind::Containerd2 | Kind::Crio => vec!["imports"],
        };
        let left = undone(text, &key)
            .map_err(|why| format!("{why}; take out what ends with {OURS:?} by hand, and do this again"))?;
        Ok(left.map(|text| (text.replacen(HEAD, "", 1), backup.is_none())))
    }
}

/// The CRI plugin of containerd 1.x in a configuration of this version, and its section for people.
fn of_containerd_1(version: Option<u32>) -> (&'static str, &'static str) {
    match version {
        None | Some(0 | 1) => ("cri", "plugins.cri.cni"),
        Some(_) => ("io.containerd.grpc.v1.cri", "plugins.\"io.containerd.grpc.v1.cri\".cni"),
    }
}

/// True if Go's glob `pattern` names `path`, as far as its last part has nothing but `*`.
fn matches(pattern: &Path, path: &Path) -> bool {
    let (Some(pattern_name), Some(name)) = (pattern.file_name(), path.file_name()) else { return false };
    matches_glob(&pattern_name.to_string_lossy(), &name.to_string_lossy()) && same(pattern.parent(), path.parent())
}

fn same(one: Option<&Path>, other: Option<&Path>) -> bool {
    let plain = |path: Option<&Path>| -> Option<PathBuf> {
        Some(path?.components().filter(|part| *part != Component::CurDir).collect())
    };
    plain(one) == plain(other)
}

/// The master config `text` with the `addBudget` of a private conf dir, if it has none of its own. `None`: it is none of ours.
#[must_use]
pub fn with_budget(text: &[u8]) -> Option<String> {
    let mut list = Object::parse(text).ok()?;
    let mut plugins: Vec<Box<serde_json::value::RawValue>> = list.get("plugins", "a list").ok()??;
    let mut ours = Object::parse(plugins.first()?.get().as_bytes()).ok()?;
    budget(&mut ours);
    *plugins.first_mut()? = value_of(&ours);
    list.set("plugins", value_of(&plugins));
    Some(list.to_text())
}

/// The settings of our plugin in a private conf dir.
pub fn budget(keys: &mut Object) {
    if !keys.has("addBudget") {
        keys.set("addBudget", text_value(ADD_BUDGET));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(runtime: Kind) -> Layout {
        Layout {
            from: "/etc/cni/net.d".into(),
            to: DIR.into(),
            runtime,
            config: runtime.config().to_owned(),
            back: false,
        }
    }

    #[test]
    fn a_runtime_is_known_by_what_it_says() {
        for (runtime, version, kind) in [
            ("containerd", "1.6.20~ds1", Some(Kind::Containerd1)),
            ("containerd", "v1.7.28", Some(Kind::Containerd1)),
            ("containerd", "2.4.2+unknown", Some(Kind::Containerd2)),
            ("containerd", "v2.0.0-rc.1", Some(Kind::Containerd2)),
            ("containerd", "", None),
            ("cri-o", "1.33.0", Some(Kind::Crio)),
            ("docker", "1.2", None),
        ] {
            assert_eq!(Kind::of(runtime, version), kind, "{runtime} {version}");
        }
        assert_eq!(Kind::named("containerd-2"), Some(Kind::Containerd2));
        assert_eq!(Kind::named("containerd"), None);
    }

    #[test]
    fn crio_is_told_by_a_drop_in_alone() {
        let change = layout(Kind::Crio).change(Some("[crio]\n"), false).unwrap();
        let (path, text) = change.drop_in.unwrap();
        assert_eq!((path.to_str(), change.config), (Some("/etc/crio/crio.conf.d/50-meta-cni.conf"), None));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1..],
            [
                r#"[crio.network] # written by meta-cni install"#,
                r#"  network_dir = "/etc/cni/meta-cni/net.d" # written by meta-cni install"#
            ]
        );
    }

    #[test]
    fn containerd_2_imports_the_drop_in_once() {
        let layout = layout(Kind::Containerd2);
        for (text, edited) in [
            ("version = 3\n", true),
            ("version = 2\nimports = [\"/etc/containerd/other.d/*.toml\"]\n", true),
            ("imports = [\"/etc/containerd/conf.d/*.toml\"]\n", false),
            ("imports = [\"conf.d/*.toml\"]\n", false),
            ("imports = [\"./conf.d/*meta*.toml\"]\n", false),
            ("imports = [\"/etc/containerd/conf.d/5*.tom\"]\n", true),
            ("imports = [\"/etc/containerd/conf.d/50-meta-cni.toml\"]\n", false),
        ] {
            let change = layout.change(Some(text), false).unwrap();
            assert_eq!(change.config.is_some(), edited, "{text}: {change:?}");
            if let Some(config) = change.config {
                assert_eq!(layout.restored(&config, Some(text)), Ok(Some((text.to_owned(), true))));
                assert_eq!(layout.restored(&config, Some("another = 1\n")), Ok(Some((text.to_owned(), false))));
            }
        }
        // No file: one that imports it, and that is nothing without our lines.
        let config = layout.change(None, false).unwrap().config.unwrap();
        assert_eq!(layout.restored(&config, None), Ok(Some((String::new(), true))), "{config}");
        let refused = layout.change(Some("imports = 1\n"), false).unwrap_err();
        assert!(refused.ends_with("imports = [\"/etc/containerd/conf.d/*.toml\"]\nand do this again"), "{refused}");
    }

    #[test]
    fn the_drop_in_of_containerd_2_has_the_version_of_what_imports_it() {
        let layout = layout(Kind::Containerd2);
        for (text, version, section) in [
            (None, "version = 3", "[plugins.\"io.containerd.cri.v1.runtime\".cni]"),
            (Some("version = 4\n"), "version = 3", "[plugins.\"io.containerd.cri.v1.runtime\".cni]"),
            (Some("version = 3\n"), "version = 3", "[plugins.\"io.containerd.cri.v1.runtime\".cni]"),
            (Some("version = 2\n"), "version = 2", "[plugins.\"io.containerd.grpc.v1.cri\".cni]"),
            (Some("version = 1\n"), "", "[plugins.cri.cni]"),
            (Some(""), "", "[plugins.cri.cni]"),
        ] {
            let (_, ours) = layout.change(text, false).unwrap().drop_in.unwrap();
            let lines: Vec<&str> = ours.lines().skip(1).collect();
            let (head, rest) = if version.is_empty() { ("", &lines[..]) } else { (lines[0], &lines[1..]) };
            assert_eq!((head, rest.len()), (version, 2), "{text:?}: {ours}");
            assert!(rest[0].starts_with(section), "{text:?}: {ours}");
        }
    }

    #[test]
    fn containerd_1_is_edited_only_when_a_person_says_so() {
        let layout = layout(Kind::Containerd1);
        let text = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"p\"\n";
        let refused = layout.change(Some(text), false).unwrap_err();
        for part in [
            "--edit-runtime-config",
            "[plugins.\"io.containerd.grpc.v1.cri\".cni]",
            "conf_dir = \"/etc/cni/meta-cni/net.d\"",
        ] {
            assert!(refused.contains(part), "{refused}");
        }
        let config = layout.change(Some(text), true).unwrap().config.unwrap();
        assert_eq!(layout.change(Some(&config), false), Ok(Change::default()), "once is enough");
        assert_eq!(layout.restored(&config, Some(text)), Ok(Some((text.to_owned(), true))));
        let others = format!("{config}[debug]\n  level = \"debug\"\n");
        let without = format!("{text}[debug]\n  level = \"debug\"\n");
        assert_eq!(layout.restored(&others, Some(text)), Ok(Some((without, false))));
        assert_eq!(layout.restored(text, Some(text)), Ok(None));
        let old = layout.change(Some("[plugins.cri.cni]\nbin_dir = \"/b\"\n"), true).unwrap().config.unwrap();
        assert!(old.contains("[plugins.cri.cni]\n  conf_dir = "), "{old}");
        assert!(layout.change(Some("[plugins"), true).unwrap_err().contains("no TOML"));
        let new = layout.change(None, true).unwrap().config.unwrap();
        assert_eq!(layout.restored(&new, None), Ok(Some((String::new(), true))), "{new}");
    }

    #[test]
    fn an_add_may_wait_longer_unless_somebody_said_how_long() {
        let master = |keys: &str| {
            format!(r#"{{"name":"meta-cni","plugins":[{{"type":"meta-cni"{keys}}},{{"type":"x","n":1.0e3}}]}}"#)
        };
        let with = with_budget(master("").as_bytes()).unwrap();
        assert_eq!(with, master(r#","addBudget":"150s""#));
        assert_eq!(with_budget(with.as_bytes()), Some(with));
        assert_eq!(with_budget(master(r#","addBudget":"9s""#).as_bytes()), Some(master(r#","addBudget":"9s""#)));
        assert_eq!(with_budget(b"{"), None);
    }
}
