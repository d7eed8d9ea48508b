//! One call of a plugin: `CNI_COMMAND`, the other `CNI_*` variables and stdin (Section 2, "Parameters" and "Operations").
//!
//! Which variables an operation requires is a table. Everything is checked before anything is read or done.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{CniError, Code};
use super::names::{ContainerId, IfName};

/// What a runtime can ask of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "each variant is the operation in its name")]
pub enum Operation {
    Add,
    Del,
    Check,
    Gc,
    Status,
    Version,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 6] = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];

    /// The value of `CNI_COMMAND`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    /// The variables without which the operation is refused with code 4. `CNI_PATH` is required of GC alone: the
    /// specification makes it optional elsewhere, and our own configuration can name the plugins' directory (A4).
    #[must_use]
    pub const fn required(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Self::Gc => &["CNI_PATH"],
            Self::Status | Self::Version => &[],
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which attachment: one interface of one container (Section 2, "Attachment parameters").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttachmentId {
    /// `CNI_CONTAINERID`.
    #[serde(rename = "containerID")]
    pub container_id: ContainerId,
    /// `CNI_IFNAME`.
    pub ifname: IfName,
}

/// The operation with what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are CNI_CONTAINERID with CNI_IFNAME, and CNI_NETNS")]
pub enum Request {
    Add { attachment: AttachmentId, netns: PathBuf },
    Del { attachment: AttachmentId, netns: Option<PathBuf> },
    Check { attachment: AttachmentId, netns: PathBuf },
    Gc,
    Status,
    Version,
}

impl Request {
    /// The operation asked for.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Add { .. } => Operation::Add,
            Self::Del { .. } => Operation::Del,
            Self::Check { .. } => Operation::Check,
            Self::Gc => Operation::Gc,
            Self::Status => Operation::Status,
            Self::Version => Operation::Version,
        }
    }
}

/// `CNI_ARGS`: `KEY=VALUE` pairs between semicolons. The text is kept, because delegates are given it as it came (A39).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CniArgs(String);

impl CniArgs {
    /// The arguments in `text`. Values may contain `=`, empty pairs (a trailing `;`) are no pairs (A45).
    ///
    /// # Errors
    /// The first pair without `=` or without a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split(';').find(|pair| !pair.is_empty() && pair.find('=').is_none_or(|at| at == 0)) {
            Some(pair) => Err(pair.chars().take(64).collect()),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The value of `key`, of the last pair that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .rsplit(';')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// These arguments as they are, and one more pair behind them.
    #[must_use]
    pub fn and(&self, key: &str, value: &str) -> Self {
        let separator = if self.0.is_empty() || self.0.ends_with(';') { "" } else { ";" };
        Self(format!("{}{separator}{key}={value}", self.0))
    }

    /// The text as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `CNI_PATH`: directories searched for plugins, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SearchPath(Vec<PathBuf>);

impl SearchPath {
    /// The directories in `text`, between colons. Empty ones are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split(':').filter(|dir| !dir.is_empty()).map(PathBuf::from).collect())
    }

    /// These directories and `more`, without one that is there already.
    #[must_use]
    pub fn and(mut self, more: &Path) -> Self {
        if !self.0.iter().any(|dir| dir == more) {
            self.0.push(more.to_owned());
        }
        self
    }

    /// These directories and those of `more`, in order, each once.
    #[must_use]
    pub fn and_all<'a, P: AsRef<Path> + 'a>(self, more: impl IntoIterator<Item = &'a P>) -> Self {
        more.into_iter().fold(self, |path, dir| path.and(dir.as_ref()))
    }

    /// The directories.
    #[must_use]
    pub fn dirs(&self) -> &[PathBuf] {
        &self.0
    }

    /// The value of `CNI_PATH`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let dirs: Vec<_> = self.0.iter().map(|dir| dir.to_string_lossy()).collect();
        dirs.join(":")
    }
}

/// One call of the plugin, its variables checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// What is asked.
    pub request: Request,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// `CNI_PATH`.
    pub path: SearchPath,
    /// The configuration, not yet looked at.
    pub stdin: Vec<u8>,
}

impl Invocation {
    /// The call that the variables (looked up through `variable`; empty ones count as missing) and `stdin` make.
    ///
    /// # Errors
    /// Code 4, which names every variable that is missing, or the one that is malformed (A3, A5).
    pub fn parse(variable: &dyn Fn(&str) -> Option<String>, stdin: Vec<u8>) -> Result<Self, CniError> {
        let get = |key: &str| variable(key).filter(|value| !value.is_empty());
        let command = get("CNI_COMMAND").ok_or_else(|| refused("CNI_COMMAND is missing"))?;
        let operation = Operation::ALL
            .into_iter()
            .find(|operation| operation.as_str() == command)
            .ok_or_else(|| refused(&format!("CNI_COMMAND {:?} is not an operation of CNI", clipped(&command))))?;
        let missing: Vec<&str> = operation.required().iter().copied().filter(|key| get(key).is_none()).collect();
        if !missing.is_empty() {
            return Err(refused(&format!("{operation} needs {}, which the runtime did not set", missing.join(", "))));
        }
        let args = CniArgs::parse(&get("CNI_ARGS").unwrap_or_default())
            .map_err(|pair| refused(&format!("CNI_ARGS: {pair:?} is not KEY=VALUE")))?;
        let path = SearchPath::parse(&get("CNI_PATH").unwrap_or_default());
        Ok(Self { request: request(operation, &get)?, args, path, stdin })
    }
}

fn request(operation: Operation, get: &dyn Fn(&str) -> Option<String>) -> Result<Request, CniError> {
    let attachment = || -> Result<AttachmentId, CniError> {
        let container_id = ContainerId::new(get("CNI_CONTAINERID").unwrap_or_default())
            .map_err(|error| refused(&format!("CNI_CONTAINERID: {error}")))?;
        let ifname = IfName::new(get("CNI_IFNAME").unwrap_or_default())
            .map_err(|error| refused(&format!("CNI_IFNAME: {error}")))?;
        Ok(AttachmentId { container_id, ifname })
    };
    let netns = || get("CNI_NETNS").map(PathBuf::from);
    Ok(match operation {
        Operation::Add => Request::Add { attachment: attachment()?, netns: netns().unwrap_or_default() },
        Operation::Check => Request::Check { attachment: attachment()?, netns: netns().unwrap_or_default() },
        Operation::Del => Request::Del { attachment: attachment()?, netns: netns() },
        Operation::Gc => Request::Gc,
        Operation::Status => Request::Status,
        Operation::Version => Request::Version,
    })
}

fn refused(msg: &str) -> CniError {
    CniError::new(Code::ENVIRONMENT, msg)
}

fn clipped(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Invocation, CniError> {
        let get = |key: &str| variables.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
        Invocation::parse(&get, Vec::new())
    }

    const ADD: [(&str, &str); 4] =
        [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "c1"), ("CNI_NETNS", "/run/netns/x"), ("CNI_IFNAME", "eth0")];

    #[test]
    fn a4_attachment_operations_need_no_cni_path() {
        let call = parse(&ADD).unwrap();
        assert_eq!(call.request.operation(), Operation::Add);
        assert!(call.path.dirs().is_empty());
        assert_eq!(parse(&[("CNI_COMMAND", "STATUS")]).unwrap().request, Request::Status);
    }

    #[test]
    fn a3_every_missing_variable_is_named() {
        for (command, missing) in [
            ("ADD", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME"),
            ("CHECK", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME"),
            ("DEL", "CNI_CONTAINERID, CNI_IFNAME"),
            ("GC", "CNI_PATH"),
        ] {
            let error = parse(&[("CNI_COMMAND", command)]).unwrap_err();
            assert_eq!(error.code, Code::ENVIRONMENT);
            assert_eq!(error.msg, format!("{command} needs {missing}, which the runtime did not set"));
        }
    }

    #[test]
    fn a5_malformed_variables_are_code_4() {
        for (key, value, msg) in [
            ("CNI_COMMAND", "add", "CNI_COMMAND \"add\" is not an operation of CNI"),
            ("CNI_CONTAINERID", "-x", "CNI_CONTAINERID: container ID \"-x\" does not start with a letter or digit"),
            ("CNI_IFNAME", "a/b", "CNI_IFNAME: interface name \"a/b\" has a \"/\" or \":\""),
            ("CNI_ARGS", "A=1;B", "CNI_ARGS: \"B\" is not KEY=VALUE"),
            ("CNI_ARGS", "=1", "CNI_ARGS: \"=1\" is not KEY=VALUE"),
        ] {
            let mut variables: Vec<_> = ADD.into_iter().filter(|(name, _)| *name != key).collect();
            variables.push((key, value));
            let error = parse(&variables).unwrap_err();
            assert_eq!((error.code, error.msg.as_str()), (Code::ENVIRONMENT, msg));
        }
    }

    #[test]
    fn a16_del_takes_an_empty_namespace() {
        let mut variables = ADD.to_vec();
        variables[0] = ("CNI_COMMAND", "DEL");
        variables[2] = ("CNI_NETNS", "");
        assert!(matches!(parse(&variables).unwrap().request, Request::Del { netns: None, .. }));
    }

    #[test]
    fn a45_values_may_hold_equal_signs_and_the_list_may_end_in_a_semicolon() {
        let args = CniArgs::parse("IgnoreUnknown=1;X=a=b;K8S_POD_NAME=p;").unwrap();
        assert_eq!(args.get("X"), Some("a=b"));
        assert_eq!(args.get("K8S_POD_NAME"), Some("p"));
        assert_eq!(args.get("Y"), None);
        assert_eq!(args.as_str(), "IgnoreUnknown=1;X=a=b;K8S_POD_NAME=p;");
    }
}
