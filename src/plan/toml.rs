//! Small changes of somebody else's TOML: whole lines, each marked, so that they can be taken out again whatever became of the rest.
//! What comes out is parsed, and must say the same as before but for the one key; what cannot be changed like that is refused.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// At the end of each line that is ours.
pub(super) const OURS: &str = "# written by meta-cni install";

/// Before each line that was there instead of the next one.
const KEPT: &str = "#kept by meta-cni install# ";

/// Sets the key at `path` to the text `value`. `None`: that is what it says.
///
/// # Errors
/// Why that cannot be done here, as one sentence.
pub fn set(text: &str, path: &[&str], value: &str) -> Result<Option<String>, String> {
    let table = parse(text)?;
    let Some((key, tables)) = path.split_last() else { return Err("no key".to_owned()) };
    let quoted = quoted(value)?;
    let changed = match found(table.get_ref(), path) {
        Some(old) if matches!(old.get_ref(), DeValue::String(old) if old == value) => return Ok(None),
        Some(old) => replaced(text, &old.span(), &quoted)?,
        None => match found(table.get_ref(), tables) {
            Some(there) if text[there.span()].starts_with('[') => {
                after(text, there.span().end, &format!("  {key} = {quoted} {OURS}\n"))
            }
            Some(_) => return Err(format!("{} is not written as a table of its own", tables.join("."))),
            None => {
                let names: Vec<String> = tables.iter().map(|name| bare(name)).collect::<Result<_, _>>()?;
                appended(text, &format!("[{}] {OURS}\n  {key} = {quoted} {OURS}\n", names.join(".")))
            }
        },
    };
    verified(text, changed, path, |new| matches!(new, DeValue::String(new) if new == value)).map(Some)
}

/// Sees to it that the list of texts at the top's `key` has `value`. `None`: it has, or one for which `is_enough` holds.
///
/// # Errors
/// Why that cannot be done here, as one sentence.
pub fn include(text: &str, key: &str, value: &str, is_enough: impl Fn(&str) -> bool) -> Result<Option<String>, String> {
    let table = parse(text)?;
    let quoted = quoted(value)?;
    let changed = match table.get_ref().get(key) {
        // The first line of a file is of the top, whatever follows.
        None => format!("{key} = [{quoted}] {OURS}\n{text}"),
        Some(list) => {
            let DeValue::Array(all) = list.get_ref() else { return Err(format!("{key} is no list")) };
            if all.iter().any(|one| one.get_ref().as_str().is_some_and(&is_enough)) {
                return Ok(None);
            }
            let span = list.span();
            if text[span.clone()].contains('\n') {
                after(text, span.start + 1, &format!("  {quoted}, {OURS}\n"))
            } else {
                let comma = if all.is_empty() { "" } else { ", " };
                let list = format!("[{quoted}{comma}{}", text[span.start + 1..span.end].trim_start());
                replaced(text, &span, &list)?
            }
        }
    };
    let texts = |list: &DeValue<'_>| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|one| said(one.get_ref())).collect()
    };
    let had = table.get_ref().get(key).map(|list| texts(list.get_ref())).unwrap_or_default();
    let has = |new: &DeValue<'_>| texts(new).split_first().is_some_and(|(ours, rest)| *ours == quoted && rest == had);
    verified(text, changed, &[key], has).map(Some)
}

/// True if something of `text` is ours.
#[must_use]
pub fn is_ours(text: &str) -> bool {
    without_ours(text) != text
}

/// The text without what is ours, of which the key at `path` is all that may go. `None`: nothing is.
///
/// # Errors
/// What others wrote since would say something else without our lines, or the text would be none any more.
pub fn undone(text: &str, path: &[&str]) -> Result<Option<String>, String> {
    let left = without_ours(text);
    if left == text {
        return Ok(None);
    }
    let left = versioned(text, left);
    let (before, after) = (parse(text)?, parse(&left).map_err(|why| format!("without our lines {why}"))?);
    let same = plain(before.get_ref(), path) == plain(after.get_ref(), path);
    let nothing = after.get_ref().is_empty();
    drop(after);
    if same || nothing {
        Ok(Some(left))
    } else {
        Err("without our lines the others would say something else".to_owned())
    }
}

/// `left` says which version it is of, if it was ours alone that said so: others wrote theirs for that one.
fn versioned(text: &str, left: String) -> String {
    let version = |text: &str| number(text, "version").ok().flatten();
    match version(text) {
        Some(number) if version(&left).is_none() && parse(&left).is_ok_and(|left| !left.get_ref().is_empty()) => {
            format!("version = {number}\n{left}")
        }
        _ => left,
    }
}

fn without_ours(text: &str) -> String {
    let lines = text.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(OURS));
    lines.map(|line| line.strip_prefix(KEPT).unwrap_or(line)).collect()
}

/// The number at the top's `key`.
///
/// # Errors
/// Why the text is none.
pub fn number(text: &str, key: &str) -> Result<Option<u32>, String> {
    let table = parse(text)?;
    Ok(match table.get_ref().get(key).map(Spanned::get_ref) {
        Some(DeValue::Integer(number)) => number.as_str().parse().ok(),
        _ => None,
    })
}

fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, String> {
    DeTable::parse(text).map_err(|error| format!("it is no TOML: {}", error.message()))
}

fn found<'t, 'a>(table: &'t DeTable<'a>, path: &[&str]) -> Option<&'t Spanned<DeValue<'a>>> {
    let (first, rest) = path.split_first()?;
    let value = table.get(*first)?;
    match (rest, value.get_ref()) {
        ([], _) => Some(value),
        (rest, DeValue::Table(table)) => found(table, rest),
        _ => None,
    }
}

/// A key, in quotes if it needs them.
fn bare(name: &str) -> Result<String, String> {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if is_bare { Ok(name.to_owned()) } else { quoted(name) }
}

/// A text as TOML's basic string.
fn quoted(text: &str) -> Result<String, String> {
    if text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
        return Err(format!("{text:?} cannot be written there"));
    }
    Ok(format!("\"{text}\""))
}

/// The line of `span` is kept, out of force, and another has `value` in its place.
fn replaced(text: &str, span: &Range<usize>, value: &str) -> Result<String, String> {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |at| span.end + at);
    if text[span.clone()].contains('\n') {
        return Err("the value is written over more than one line".to_owned());
    }
    let (line, rest) = (&text[start..end], text.get(end + 1..).unwrap_or_default());
    let new = format!("{}{value}{}", &text[start..span.start], &text[span.end..end]);
    Ok(format!("{}{KEPT}{line}\n{} {OURS}\n{rest}", &text[..start], new.trim_end()))
}

/// `lines` after the line of `at`.
fn after(text: &str, at: usize, lines: &str) -> String {
    match text[at..].find('\n') {
        Some(end) => format!("{}{lines}{}", &text[..=at + end], &text[at + end + 1..]),
        None => appended(text, lines),
    }
}

fn appended(text: &str, lines: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}{lines}")
}

/// `new`, if at `path` it says what `is_right` takes, and for the rest what `old` says.
fn verified(old: &str, new: String, path: &[&str], is_right: impl Fn(&DeValue<'_>) -> bool) -> Result<String, String> {
    let (before, after) = (parse(old)?, parse(&new)?);
    let right = found(after.get_ref(), path).is_some_and(|value| is_right(value.get_ref()));
    let same = plain(before.get_ref(), path) == plain(after.get_ref(), path);
    drop(after);
    if right && same { Ok(new) } else { Err("the change would change something else too".to_owned()) }
}

/// What a table says, without what is at `but`.
fn plain(table: &DeTable<'_>, but: &[&str]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (key, value) in table {
        let (key, rest) = (key.get_ref().to_string(), but.split_first());
        let rest = rest.filter(|(first, _)| **first == key).map(|(_, rest)| rest);
        match (rest, value.get_ref()) {
            (Some([]), _) => {}
            (Some(rest), DeValue::Table(table)) => {
                let inner = plain(table, rest);
                // A table that is there only for the key.
                if !inner.is_empty() {
                    all.insert(key, format!("{inner:?}"));
                }
            }
            (_, value) => drop(all.insert(key, said(value))),
        }
    }
    all
}

fn said(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Table(table) => format!("{:?}", plain(table, &[])),
        DeValue::Array(all) => format!("{:?}", all.iter().map(|one| said(one.get_ref())).collect::<Vec<_>>()),
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => format!("{} {}", number.radix(), number.as_str()),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Datetime(time) => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: [&str; 3] = ["plugins", "io.containerd.grpc.v1.cri", "cni"];

    fn moved(text: &str) -> Result<Option<String>, String> {
        set(text, &[PATH.as_slice(), &["conf_dir"]].concat(), "/new")
    }

    /// What is changed says the new, says nothing else, can be done again, and be undone to the byte.
    #[track_caller]
    fn holds(text: &str) -> String {
        let new = moved(text).unwrap().expect("a change");
        assert_eq!(moved(&new).unwrap(), None, "{new}");
        assert_eq!(undone(&new, &[PATH.as_slice(), &["conf_dir"]].concat()).unwrap().as_deref(), Some(text), "{new}");
        new
    }

    #[test]
    fn a_key_is_set_wherever_it_may_stand_and_set_back() {
        let head = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]";
        for text in [
            String::new(),
            "version = 2\n".to_owned(),
            format!("{head}\n  bin_dir = \"/opt\"\n"),
            format!("{head} # why\n"),
            format!("{head}\n\tconf_dir = '/etc/cni/net.d' # old\n  bin_dir = \"/x\"\n[debug]\n  level = \"info\"\n"),
            format!("{head}\n  conf_dir = \"\"\"/etc/cni/net.d\"\"\"\n"),
            "[plugins]\n  [plugins.'io.containerd.grpc.v1.cri']\n  cni = { conf_dir = \"/a\", bin_dir = \"/b\" }\n"
                .to_owned(),
            "plugins.\"io.containerd.grpc.v1.cri\".cni.conf_dir = \"/a\"\n".to_owned(),
            "[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"p\"\n[[a]]\nb = [1, 0x2,\n 3.0]\n".to_owned(),
            "# CRLF\r\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\r\nmax_conf_num = 1\r\n".to_owned(),
        ] {
            holds(&text);
        }
        let new = holds(&format!("{head}\n  conf_dir = \"/etc/cni/net.d\" # old\n"));
        let lines = [
            "#kept by meta-cni install#   conf_dir = \"/etc/cni/net.d\" # old",
            "  conf_dir = \"/new\" # old # written by meta-cni install",
        ];
        assert_eq!(new.lines().skip(2).collect::<Vec<_>>(), lines);
    }

    #[test]
    fn what_cannot_be_changed_alone_is_refused() {
        for text in [
            "[plugins",
            "plugins = 1\n",
            "[plugins.\"io.containerd.grpc.v1.cri\"]\n cni = { bin_dir = \"/b\" }\n",
            "plugins = { \"io.containerd.grpc.v1.cri\" = {} }\n",
            "[plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = \"\"\"\n/a\"\"\"\n",
            "{{ template }}\n",
        ] {
            assert!(moved(text).is_err(), "{text}: {:?}", moved(text));
        }
        assert!(set("", &["a"], "with \"quotes\"").is_err());
    }

    #[test]
    fn what_others_wrote_since_is_not_changed_by_taking_our_lines_out() {
        let path = [PATH.as_slice(), &["conf_dir"]].concat();
        let new = moved("version = 2\n[debug]\n").unwrap().unwrap();
        for more in ["  max_conf_num = 2\n", "[plugins.\"io.containerd.grpc.v1.cri\".cni.x]\na = 1\n"] {
            let all = format!("{new}{more}");
            // The first would be another table's without the head of its own.
            match undone(&all, &path) {
                Ok(left) => assert_eq!(left, Some(format!("version = 2\n[debug]\n{more}"))),
                Err(why) => assert!(more.starts_with("  max") && why.contains("something else"), "{why}"),
            }
            assert_eq!(undone(&all, &path).is_err(), more.starts_with("  max"));
        }
        let head = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]";
        let new = moved(&format!("{head}\n  conf_dir = \"/a\"\n")).unwrap().unwrap();
        let taken_over = new.replace("\"/new\" # written by meta-cni install", "\"/other\"");
        assert!(undone(&taken_over, &path).unwrap_err().contains("no TOML"), "two of one key");
        // A file that was ours as a whole until others wrote into it, for the version that it said.
        let whole = format!("version = 2 {OURS}\n");
        assert_eq!(undone(&whole, &path), Ok(Some(String::new())));
        let theirs = "root = \"/r\"\n";
        assert_eq!(undone(&format!("{whole}{theirs}"), &path), Ok(Some(format!("version = 2\n{theirs}"))));
    }

    #[test]
    fn a_list_has_the_value_beside_what_it_had() {
        let include = |text: &str| include(text, "imports", "/d/*.toml", |one| one == "/d/*.toml");
        for text in [
            "",
            "# first\nversion = 3\n[debug]\n",
            "version = 3\nimports = []\n",
            "imports = [\"/a\", \"/b\",]\n",
            "imports = [ \"/a\" ] # mine\nversion = 3\n",
            "imports = [\n  \"/a\",\n]\n",
            "imports = [\n]\n",
        ] {
            let new = include(text).unwrap().expect("a change");
            assert_eq!(include(&new).unwrap(), None, "{new}");
            assert_eq!(undone(&new, &["imports"]).unwrap().as_deref(), Some(text), "{new}");
            assert!(
                !text.contains("/a") || new.lines().any(|line| !line.starts_with('#') && line.contains("/a")),
                "{new}"
            );
        }
        for text in ["imports = \"/a\"\n", "[imports]\n", "imports = [\n"] {
            assert!(include(text).is_err(), "{text}");
        }
        assert_eq!(undone("version = 3\n", &["imports"]), Ok(None));
        assert_eq!((number("version = 2\n", "version"), number("a = 1", "version")), (Ok(Some(2)), Ok(None)));
    }
}
