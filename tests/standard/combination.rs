//! The axes of the table: how a network is written, how the pod asks for it, which version of CNI, whose plugins.

use crate::harness::reference_plugins;
use std::fmt;
use std::path::{Path, PathBuf};

/// How a network's configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One plugin, no list.
    Conf,
    Conflist,
}

/// How the pod's annotation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// `namespace/name@interface`, separated by commas.
    Comma,
    Json,
}

/// Whose plugins do the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// 1.9.1, built from its module.
    Reference,
    /// 1.1.1, which speaks CNI up to 1.0.0.
    Debian,
}

pub const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// One cell of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Combination {
    pub form: Form,
    pub notation: Notation,
    pub version: &'static str,
    pub parts: Parts,
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.form == Form::Conf { "conf" } else { "conflist" };
        let notation = if self.notation == Notation::Comma { "comma" } else { "json" };
        let parts = if self.parts == Parts::Debian { "+debian" } else { "" };
        write!(f, "{form}+{notation}+{}{parts}", self.version)
    }
}

impl Combination {
    /// CHECK came with CNI 0.4.0.
    pub fn has_check(&self) -> bool {
        self.version != "0.3.1"
    }
}

/// What a row can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// Both forms, both notations.
    All,
    /// Keys that only the JSON notation has.
    Json,
    /// A network of several plugins, which only a list can be.
    Chain,
    /// Both of these.
    ChainJson,
    /// Can be written in all, but is heavy, or the variant of a row that is: each value of each axis.
    Diagonal,
}

impl Axes {
    pub fn combinations(self) -> Vec<Combination> {
        use Form::{Conf, Conflist};
        use Notation::{Comma, Json};
        let pairs: &[(Form, Notation)] = match self {
            Self::All => &[(Conflist, Json), (Conflist, Comma), (Conf, Json), (Conf, Comma)],
            Self::Json => &[(Conflist, Json), (Conf, Json)],
            Self::Chain => &[(Conflist, Json), (Conflist, Comma)],
            Self::ChainJson => &[(Conflist, Json)],
            Self::Diagonal => return diagonal(),
        };
        let all = pairs.iter().flat_map(|(form, notation)| {
            VERSIONS.map(|version| Combination { form: *form, notation: *notation, version, parts: Parts::Reference })
        });
        let (form, notation) = pairs[0];
        all.chain([Combination { form, notation, version: "1.0.0", parts: Parts::Debian }]).collect()
    }
}

fn diagonal() -> Vec<Combination> {
    let pairs = [
        (Form::Conf, Notation::Comma),
        (Form::Conflist, Notation::Json),
        (Form::Conf, Notation::Json),
        (Form::Conflist, Notation::Comma),
    ];
    let cell = |(version, (form, notation))| Combination { form, notation, version, parts: Parts::Reference };
    VERSIONS.into_iter().zip(pairs).map(cell).collect()
}

/// The folder with the plugins.
pub fn plugins(parts: Parts) -> PathBuf {
    match parts {
        Parts::Reference => reference_plugins().to_owned(),
        Parts::Debian => {
            let dirs = ["/usr/lib/cni", "/opt/cni/bin"].map(Path::new);
            let found = dirs.iter().find(|dir| dir.join("bridge").exists());
            found.unwrap_or_else(|| panic!("no plugins in {dirs:?}: install containernetworking-plugins")).into()
        }
    }
}
