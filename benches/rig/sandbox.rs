//! A place of its own for one run: network and mount namespaces, a directory on a real disk, pods' namespaces.
//!
//! Everything goes with the process or with this value; the host's bridges, routes and mounts are never touched.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::{self, Statfs, fstatfs};
use tempfile::TempDir;

use super::{Error, Result};

const NOTHING: Option<&str> = None;

/// Namespaces and directory of one run. Children of the thread that made it live in the namespaces.
pub struct Sandbox {
    dir: TempDir,
    pods: usize,
}

impl Sandbox {
    /// Moves the calling thread (and so all that it starts) into fresh namespaces with `pods` pod namespaces ready.
    pub fn enter(parent: &Path, pods: usize) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
            .map_err(Error::doing("making network and mount namespaces (needs root)"))?;
        mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
            .map_err(Error::doing("making mounts private"))?;
        // A plugin's default directory must not reach the host, whatever a config forgets to say.
        for default in ["/var/lib/cni", "/run/meta-cni"] {
            if Path::new(default).is_dir() {
                mount_tmpfs(Path::new(default))?;
            }
        }
        fs::create_dir_all(parent).map_err(Error::doing("making the scratch directory"))?;
        let dir = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(parent)
            .map_err(Error::doing("making a directory for the run"))?;
        let sandbox = Self { dir, pods };
        sandbox.make_pods()?;
        Ok(sandbox)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The namespace of one pod; numbers beyond the last begin again.
    pub fn netns(&self, pod: usize) -> PathBuf {
        self.volatile().join(format!("pod-{}", pod % self.pods))
    }

    /// What kind of disk the records are written to.
    pub fn file_system(&self) -> Result<String> {
        let dir = fs::File::open(self.dir()).map_err(Error::doing("opening the run's directory"))?;
        let stat = fstatfs(dir.as_fd()).map_err(Error::doing("looking at the file system"))?;
        let name = file_system_name(&stat);
        let device = dir.metadata().map_err(Error::doing("looking at the disk"))?.dev();
        // ext4 without a journal searches long for an inode that was not deleted lately: a bench deletes many.
        let warning = if has_no_journal(device) { " without a journal (new files are dear)" } else { "" };
        Ok(name + warning)
    }

    /// What is /run on a node: in memory, gone with the machine.
    pub fn volatile(&self) -> PathBuf {
        self.dir().join("run")
    }

    fn make_pods(&self) -> Result<()> {
        let dir = self.volatile();
        fs::create_dir(&dir).map_err(Error::doing("making the volatile directory"))?;
        mount_tmpfs(&dir)?;
        for pod in 0..self.pods {
            make_netns(self.netns(pod))?;
        }
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The pods' namespaces are mounted below; without this the directory could not be removed.
        let _ = umount2(&self.volatile(), MntFlags::MNT_DETACH);
    }
}

fn mount_tmpfs(at: &Path) -> Result<()> {
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), NOTHING)
        .map_err(Error::doing(format!("mounting a tmpfs on {}", at.display())))
}

/// A thread enters a new namespace and pins it to a file; the thread ends, the namespace stays.
fn make_netns(path: PathBuf) -> Result<()> {
    let pin = move || -> Result<()> {
        fs::write(&path, "").map_err(Error::doing("making a namespace's file"))?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(Error::doing("making a pod's namespace"))?;
        let own = Some("/proc/thread-self/ns/net");
        mount(own, &path, NOTHING, MsFlags::MS_BIND, NOTHING).map_err(Error::doing("pinning a pod's namespace"))
    };
    thread::spawn(pin).join().map_err(|_| Error::Unfit("the thread that makes a namespace died".to_owned()))?
}

fn has_no_journal(device: u64) -> bool {
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let block = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).unwrap_or_default();
    let name = block.file_name().unwrap_or_default().to_string_lossy();
    fs::read_to_string(format!("/sys/fs/ext4/{name}/journal_task")).is_ok_and(|task| task.trim() == "<none>")
}

fn file_system_name(stat: &Statfs) -> String {
    let known = [
        (statfs::EXT4_SUPER_MAGIC, "ext4"),
        (statfs::XFS_SUPER_MAGIC, "xfs"),
        (statfs::BTRFS_SUPER_MAGIC, "btrfs"),
        (statfs::OVERLAYFS_SUPER_MAGIC, "overlayfs"),
        (statfs::TMPFS_MAGIC, "tmpfs"),
    ];
    let kind = stat.filesystem_type();
    let name = known.iter().find(|(magic, _)| *magic == kind);
    name.map_or_else(|| format!("{kind:?}"), |(_, name)| (*name).to_owned())
}
