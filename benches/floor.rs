//! What this machine asks for the steps that a write-ahead record is made of; the figures of the plugin stand on it.
//!
//! On the same disk as the records. The same file system can be ten times dearer on one machine than on another, and
//! then the times are the disk's, not the plugin's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::Instant;

use crate::report::{self, Budget};
use crate::rig::sandbox::Sandbox;
use crate::rig::{Error, Result};
use crate::timed::Samples;

/// About the size of one record.
const RECORD: [u8; 1500] = [b' '; 1500];

type Step = (&'static str, fn(&Path) -> io::Result<()>);

/// Each runs in a directory of its own (not yet there at the first step), in this order.
const STEPS: [Step; 11] = [
    ("make a directory", |dir| fs::create_dir(dir)),
    ("new file, 1500 bytes", |dir| put(&dir.join("new"))),
    ("rename to a free name", |dir| fs::rename(dir.join("new"), dir.join("record"))),
    ("new file, 1500 bytes, again", |dir| put(&dir.join("new"))),
    ("rename over a file", |dir| fs::rename(dir.join("new"), dir.join("record"))),
    ("append 1500 bytes to a file", |dir| {
        let mut file = OpenOptions::new().append(true).open(dir.join("record"))?;
        file.write_all(&RECORD)
    }),
    ("new empty file (a lock)", |dir| File::create(dir.join("lock")).map(drop)),
    ("read a file", |dir| fs::read(dir.join("record")).map(drop)),
    ("remove two files", |dir| {
        fs::remove_file(dir.join("lock"))?;
        fs::remove_file(dir.join("record"))
    }),
    ("remove a directory", |dir| fs::remove_dir(dir)),
    ("start a thread and wait for it", |_| {
        thread::spawn(|| ()).join().map_err(|_| io::Error::other("the thread died"))
    }),
];

pub fn part(sandbox: &Sandbox, rounds: usize) -> Result<()> {
    println!("\nthis machine: steps on the disk of the records, p50");
    let parent = sandbox.dir().join("floor");
    fs::create_dir(&parent).map_err(Error::doing("making a directory"))?;
    let mut samples: Vec<Samples> = STEPS.iter().map(|_| Samples::default()).collect();
    for round in 0..rounds {
        let dir = parent.join(round.to_string());
        for ((name, act), taken) in STEPS.iter().zip(&mut samples) {
            let begin = Instant::now();
            act(&dir).map_err(Error::doing(*name))?;
            taken.push(begin.elapsed());
        }
    }
    for ((name, _), taken) in STEPS.iter().zip(&samples) {
        report::figure(name, taken.percentile(0.5) * 1e3, "us", Budget::None);
    }
    Ok(())
}

fn put(path: &Path) -> io::Result<()> {
    File::create(path)?.write_all(&RECORD)
}
