//! What mends a conf dir: nested configurations of meta plugins, what is left of ours, files that were cut (E7, D4, D5).
//!
//! Nothing is lost: what is taken away gets a name that no runtime loads. A primary's own file is never touched.

use std::collections::BTreeSet;

use crate::cni::{NetworkConfigList, Object};
use crate::profile::Profiles;

use super::master::{FILE_NAME, lint};
use super::primary::{is_config_name, judge};

/// The end of the names of what `meta-cni repair` put aside.
pub const BACKUP: &str = ".meta-cni.bak";

/// Configurations within each other at most: more is no corruption that a program made.
const DEEPEST: usize = 64;

/// A file of the conf dir, judged.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its text; `None` when it cannot be read.
    pub text: Option<Vec<u8>>,
    /// It is a master config, as far as it can be read.
    pub ours: bool,
    /// A meta plugin is below a meta plugin in it (MC-050, MC-053).
    pub nested: bool,
    /// It is a meta plugin's in the place of a network (MC-051, MC-052).
    pub meta: bool,
}

/// One thing to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A network that was inside another file gets one of its own.
    Write {
        /// The new file.
        name: String,
        /// Its text.
        text: String,
        /// The file that it was in.
        from: String,
    },
    /// A file gets a name that no runtime loads.
    PutAside {
        /// The file.
        name: String,
        /// What is wrong with it.
        why: String,
        /// The text that was judged, if it could be read: another one is its owner's, who wrote it since.
        judged: Option<Vec<u8>>,
    },
    /// The temporary file of a writer that died goes.
    Remove {
        /// The file.
        name: String,
    },
    /// The master config is written anew, and what is there is kept beside it.
    Restore {
        /// The text that it had; `None`: it is made from the primary.
        text: Option<String>,
        /// What is wrong with it.
        why: String,
    },
}

/// What mends a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repair {
    /// To be done, in this order.
    pub steps: Vec<Step>,
    /// What is wrong and nobody but a person can mend, one sentence each.
    pub left: Vec<String>,
}

/// What is to be done about `files`, which are all of the directory. `remembered` is the master config last written.
#[must_use]
pub fn repair(files: &[File], remembered: Option<&str>, profiles: &Profiles) -> Repair {
    let mut repair = Repair::default();
    let governs = files.iter().any(|file| file.ours || file.name == FILE_NAME);
    let mut aside = Vec::new();
    let mut networks = Vec::new();
    for file in files {
        match verdict(file, governs, profiles) {
            Verdict::Fine => networks.extend(name_of(file)),
            Verdict::Stale => repair.steps.push(Step::Remove { name: file.name.clone() }),
            Verdict::Aside(why) => aside.push((file, why)),
            Verdict::Left(why) => repair.left.push(format!("{}: {why}", file.name)),
        }
    }
    let mut taken: BTreeSet<String> = files.iter().map(|file| file.name.clone()).collect();
    let mut written = Vec::new();
    for (file, _) in &aside {
        let Some((network, text, ending)) = file.text.as_deref().and_then(|text| real(text, profiles)) else {
            continue;
        };
        if networks.contains(&network) {
            continue;
        }
        let names = (10..100).map(|number| format!("{number}-{network}{ending}"));
        let Some(name) = names.into_iter().find(|name| !taken.contains(name)) else { continue };
        taken.insert(name.clone());
        networks.push(network);
        written.push(Step::Write { name, text, from: file.name.clone() });
    }
    let restored = restored(files, remembered, &aside);
    let others = aside.into_iter().filter(|(file, _)| file.name != FILE_NAME);
    let (backups, others): (Vec<_>, Vec<_>) = others.partition(|(file, _)| file.name.starts_with(FILE_NAME));
    let put_aside =
        |(file, why): (&File, String)| Step::PutAside { name: file.name.clone(), why, judged: file.text.clone() };
    written.extend(others.into_iter().map(put_aside));
    // The master config before what is left of it: killed in between, that is still there to tell.
    written.extend(restored);
    written.extend(backups.into_iter().map(put_aside));
    repair.steps.splice(..0, written);
    repair
}

enum Verdict {
    Fine,
    /// A temporary file of ours.
    Stale,
    Aside(String),
    Left(String),
}

fn verdict(file: &File, governs: bool, profiles: &Profiles) -> Verdict {
    let name = file.name.as_str();
    if is_temporary(name) {
        return Verdict::Stale;
    }
    if name != FILE_NAME && name.starts_with(FILE_NAME) && !name.ends_with(BACKUP) {
        return Verdict::Aside("a backup of the master config that somebody else made".to_owned());
    }
    if !is_config_name(name) {
        return Verdict::Fine;
    }
    let Some(text) = &file.text else { return Verdict::Left("it cannot be read".to_owned()) };
    let whole = Object::parse(text).is_ok();
    let of_multus = || name.contains("multus") || String::from_utf8_lossy(text).contains("multus-cni-network");
    match () {
        () if file.nested => Verdict::Aside("a meta plugin runs a meta plugin in it".to_owned()),
        () if whole && file.meta && governs => Verdict::Aside("a meta plugin's, beside the master config".to_owned()),
        () if whole => Verdict::Fine,
        () if file.ours || name == FILE_NAME => Verdict::Aside("the master config, not whole".to_owned()),
        () if first_value(text).is_some_and(|first| holds_meta(&first, profiles)) || of_multus() => {
            Verdict::Aside("a meta plugin's, not whole".to_owned())
        }
        () => {
            Verdict::Left("it is not whole, and it is not meta-cni's; whoever writes it has to do it again".to_owned())
        }
    }
}

/// The temporary name of a writer of the master config.
fn is_temporary(name: &str) -> bool {
    let rest = name.strip_prefix('.').and_then(|name| name.strip_prefix(FILE_NAME));
    rest.is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".tmp"))
}

/// The master config anew, if it is damaged or somebody renamed it.
fn restored(files: &[File], remembered: Option<&str>, aside: &[(&File, String)]) -> Option<Step> {
    let own = aside.iter().find(|(file, _)| file.name == FILE_NAME);
    let backups = || aside.iter().map(|(file, _)| *file).filter(|file| file.name.starts_with(FILE_NAME));
    let why = match own {
        Some((_, why)) => why.clone(),
        None if files.iter().any(|file| file.name == FILE_NAME) => return None,
        None => format!("somebody renamed it to {}", backups().next()?.name),
    };
    let kept = backups().filter_map(|file| String::from_utf8(file.text.clone()?).ok());
    let text = remembered.map(str::to_owned).into_iter().chain(kept).find(|text| lint(text.as_bytes()).is_ok());
    Some(Step::Restore { text, why })
}

/// The name of the network in a file.
fn name_of(file: &File) -> Option<String> {
    let text = file.text.as_deref().filter(|_| !file.meta && !file.ours && is_config_name(&file.name))?;
    NetworkConfigList::parse(text, None).ok().map(|list| list.name.to_string())
}

/// The innermost network that is no meta plugin's: its name, its text as it was, and the end of its file's name.
fn real(text: &[u8], profiles: &Profiles) -> Option<(String, String, &'static str)> {
    let outer = Object::parse(text).ok().or_else(|| first_value(text))?;
    let found = innermost(&outer, profiles, 0)?;
    let ending = if found.has("plugins") { ".conflist" } else { ".conf" };
    let text = found.to_text();
    let (_, list) = judge(&format!("10-x{ending}"), text.as_bytes(), profiles).ok()?;
    Some((list.name.to_string(), text + "\n", ending))
}

fn innermost(object: &Object, profiles: &Profiles, depth: usize) -> Option<Object> {
    match delegating(object, profiles) {
        None => {
            Some(object.clone()).filter(|object| NetworkConfigList::parse(object.to_text().as_bytes(), None).is_ok())
        }
        Some(_) if depth == DEEPEST => None,
        Some(plugin) => {
            let delegates: Vec<Object> = plugin.get("delegates", "a list").ok()??;
            // The first is the cluster's network; the others come with it and are in the backup.
            delegates.iter().find_map(|delegate| innermost(delegate, profiles, depth + 1))
        }
    }
}

/// The plugin of a configuration that runs networks of its own.
fn delegating(object: &Object, profiles: &Profiles) -> Option<Object> {
    let plugins = object.get::<Vec<Object>>("plugins", "a list").ok().flatten();
    let plugins = plugins.unwrap_or_else(|| vec![object.clone()]);
    let is_meta = |plugin: &Object| {
        let kind = plugin.get::<String>("type", "a string").ok().flatten().unwrap_or_default();
        plugin.has("delegates") || kind == crate::config::master::PLUGIN_TYPE || profiles.meta_plugin(&kind).is_some()
    };
    plugins.into_iter().find(is_meta)
}

fn holds_meta(object: &Object, profiles: &Profiles) -> bool {
    delegating(object, profiles).is_some()
}

/// The object that `text` begins with, when more follows: the tail of a longer one that was there before.
fn first_value(text: &[u8]) -> Option<Object> {
    serde_json::Deserializer::from_slice(text).into_iter::<Object>().next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CBR0: &str = r#"{"cniVersion":"0.3.1","name":"cbr0","type":"bridge","mtu":1.0e3}"#;
    const OURS: &str =
        r#"{"cniVersion":"1.0.0","name":"meta-cni","plugins":[{"type":"meta-cni","clusterNetwork":"/x/10-a.conf"}]}"#;

    fn multus(delegate: &str) -> String {
        format!(r#"{{"cniVersion":"0.3.1","name":"multus-cni-network","type":"multus","delegates":[{delegate}]}}"#)
    }

    fn file(name: &str, text: &str) -> File {
        let (ours, nested) = (text.contains("meta-cni\",\"plugins"), text.matches("\"multus\"").count() > 1);
        let meta = text.contains("multus\"");
        File { name: name.to_owned(), text: Some(text.as_bytes().to_vec()), ours, nested, meta }
    }

    fn of(files: &[File], remembered: Option<&str>) -> Repair {
        repair(files, remembered, &Profiles::with_overrides(Vec::new()))
    }

    fn write(name: &str, text: &str, from: &str) -> Step {
        Step::Write { name: name.to_owned(), text: format!("{text}\n"), from: from.to_owned() }
    }

    fn names(steps: &[Step]) -> Vec<&str> {
        let name = |step: &Step| match step {
            Step::Write { .. } => "write",
            Step::PutAside { .. } => "aside",
            Step::Remove { .. } => "remove",
            Step::Restore { .. } => "restore",
        };
        steps.iter().map(name).map(|name| -> &'static str { name }).collect()
    }

    #[test]
    fn e7_the_innermost_network_gets_a_file_of_its_own_before_the_nested_one_goes() {
        let nested = multus(&multus(CBR0));
        let done = of(&[file("00-multus.conf", &nested)], None);
        assert_eq!(done.steps[0], write("10-cbr0.conf", CBR0, "00-multus.conf"));
        assert_eq!((names(&done.steps), done.left.len()), (vec!["write", "aside"], 0));
        assert!(matches!(&done.steps[1], Step::PutAside { judged: Some(text), .. } if text == nested.as_bytes()));
        // Not if it has one, and not over another's.
        let there = file("20-x.conf", CBR0);
        assert_eq!(names(&of(&[file("00-multus.conf", &nested), there], None).steps), ["aside"]);
        let other = file("10-cbr0.conf", &CBR0.replace("cbr0", "other"));
        let done = of(&[file("00-multus.conf", &nested), other], None);
        assert_eq!(done.steps[0], write("11-cbr0.conf", CBR0, "00-multus.conf"));
        // Two of them hold one network.
        let both = [file("00-multus.conf", &nested), file("01-multus.conf", &nested)];
        assert_eq!(names(&of(&both, None).steps), ["write", "aside", "aside"]);
    }

    #[test]
    fn e7_what_follows_the_first_text_is_the_tail_of_an_older_one() {
        let text = multus(CBR0) + "econfig\"]}]}";
        let done = of(&[file("00-multus.conf", &text)], None);
        assert_eq!(done.steps[0], write("10-cbr0.conf", CBR0, "00-multus.conf"));
    }

    #[test]
    fn e7_a_node_whose_network_is_multus_is_left_alone_and_so_is_what_is_not_ours() {
        let plain = file("00-multus.conf", &multus(CBR0));
        assert_eq!(of(std::slice::from_ref(&plain), None), Repair::default());
        assert_eq!(names(&of(&[plain, file(FILE_NAME, OURS)], None).steps), ["write", "aside"]);
        let cut = of(&[file("10-calico.conflist", "{\"name\":")], None);
        assert_eq!((cut.steps, cut.left.len()), (vec![], 1));
        assert_eq!(names(&of(&[file("00-multus.conf", "")], None).steps), ["aside"]);
    }

    #[test]
    fn d5_the_master_config_is_what_it_was_or_is_made_anew() {
        for text in ["", "{", &OURS[..40]] {
            let [step] = of(&[file(FILE_NAME, text)], Some(OURS)).steps.try_into().unwrap();
            assert!(matches!(step, Step::Restore { text: Some(text), .. } if text == OURS));
            let [step] = of(&[file(FILE_NAME, text)], Some("{}")).steps.try_into().unwrap();
            assert!(matches!(step, Step::Restore { text: None, .. }));
        }
        let renamed = format!("{FILE_NAME}.cilium_bak");
        let done = of(&[file(&renamed, OURS)], None);
        assert_eq!(names(&done.steps), ["restore", "aside"]);
        assert!(matches!(&done.steps[0], Step::Restore { text: Some(text), .. } if text == OURS));
        assert_eq!(names(&of(&[file(FILE_NAME, OURS), file(&renamed, OURS)], None).steps), ["aside"]);
        let kept = format!("{FILE_NAME}.1.meta-cni.bak");
        let stale = format!(".{FILE_NAME}.abc.tmp");
        assert_eq!(names(&of(&[file(FILE_NAME, OURS), file(&kept, "x"), file(&stale, "x")], None).steps), ["remove"]);
    }
}
