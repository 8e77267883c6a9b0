//! Putting a session's root together: in the helper what the node has, in the supervisor the rest.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, UnmountFlags, unmount};
use rustix::process::{fchdir, pivot_root};

use super::detached::{DATA, Detached, INERT, READ_ONLY};
use super::{device, target};
use crate::message::{During, Failure, Step};
use crate::plan::Confinement;
use crate::sys::Depth;

/// Writable places, with the bytes they may hold. All of it is memory of the session.
const WRITABLE: [(&str, &str, &str); 3] =
    [("tmp", "1777", "64m"), ("run", "755", "16m"), ("root", "700", "16m")];

/// What the OCI runtimes hide of `/proc`: memory, keys and clocks of the node.
const MASKED: [&str; 11] = [
    "proc/acpi",
    "proc/asound",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/sysrq-trigger",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/firmware",
];

/// A root that lacks what only the other side of a fork can mount.
#[derive(Debug)]
pub(crate) struct Assembled {
    root: OwnedFd,
    target: Option<Detached>,
}

/// In the helper, **before** it joins anything: what comes from the node and from the target's own
/// mount namespace.
pub(crate) fn assemble(
    confinement: &Confinement,
    target: BorrowedFd<'_>,
) -> Result<Assembled, Failure> {
    let Confinement { tree, who, write, .. } = confinement;
    let tree = tree.to_string_lossy();
    let files = target::tree(target, *write).during(Step::CloneTarget)?;
    let root = Detached::clone_of(CWD, &tree, Depth::One)
        .and_then(|root| root.restricted(INERT | READ_ONLY, Depth::One))
        .and_then(|root| root.attach(CWD, &tree))
        .during(Step::OpenToolbox)
        .map_err(|failure| failure.about(&*tree))?;
    let (uid, gid) = (who.uid.to_string(), who.gid.to_string());
    for (place, mode, size) in WRITABLE {
        let options = [("mode", mode), ("size", size), ("uid", &uid), ("gid", &gid)];
        let attributes = if place == "tmp" { INERT } else { DATA };
        Detached::new("tmpfs", &options, attributes)
            .and_then(|memory| memory.attach(root.as_fd(), place))
            .during(Step::MountToolbox)
            .map_err(|failure| failure.about(place))?;
    }
    device::mount(root.as_fd())
        .during(Step::MountToolbox)
        .map_err(|failure| failure.about("dev"))?;
    Ok(Assembled { root, target: Some(files) })
}

impl Assembled {
    /// In the helper, **after** it has joined: what the joined namespaces decide.
    pub(crate) fn join(&mut self) -> Result<(), Failure> {
        let about = |place: &'static str| move |failure: Failure| failure.about(place);
        let root = self.root.as_fd();
        Detached::new("sysfs", &[], DATA | READ_ONLY)
            .and_then(|sys| sys.attach(root, "sys"))
            .during(Step::MountToolbox)
            .map_err(about("sys"))?;
        let Some(files) = self.target.take() else { return Ok(()) };
        self.names(&files).during(Step::MountToolbox).map_err(about("etc"))?;
        files.attach(root, "target").during(Step::MountToolbox).map_err(about("target"))?;
        Ok(())
    }

    /// The names that the target goes by and looks up.
    fn names(&self, files: &Detached) -> io::Result<()> {
        let options = [("mode", "755"), ("size", "256k"), ("nr_inodes", "16")];
        // Only to bind from: what is bound stays when this is covered again.
        let scratch =
            Detached::new("tmpfs", &options, DATA)?.attach(self.root.as_fd(), "target")?;
        for name in ["resolv.conf", "hosts"] {
            target::copy(files, self.root.as_fd(), scratch.as_fd(), name)?;
        }
        let mut name = rustix::system::uname().nodename().to_bytes().to_vec();
        name.push(b'\n');
        target::place(&name, self.root.as_fd(), scratch.as_fd(), "hostname")?;
        drop(scratch);
        fchdir(&self.root)?;
        unmount("target", UnmountFlags::DETACH)?;
        Ok(())
    }
}

/// In the supervisor, inside of the target's pid namespace: `/proc`, and then there is no way back.
pub(crate) fn enter(assembled: Assembled) -> Result<(), Failure> {
    let Assembled { root, target: _ } = assembled;
    let root = root.as_fd();
    Detached::new("proc", &[], DATA | READ_ONLY)
        .and_then(|proc| proc.attach(root, "proc"))
        .during(Step::MountProc)?;
    for path in MASKED {
        mask(root, path).during(Step::MountProc).map_err(|failure| failure.about(path))?;
    }
    fchdir(root).during(Step::Pivot)?;
    // The old root ends up under the new one, and is all that is mounted there (pivot_root(2)).
    pivot_root(".", ".").during(Step::Pivot)?;
    unmount(".", UnmountFlags::DETACH).during(Step::Pivot)?;
    rustix::process::chdir("/").during(Step::Pivot)
}

/// Covers a file with `/dev/null`, a directory with an empty one. What is not there needs no cover.
fn mask(root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    let cover = match rustix::fs::statat(root, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
        Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() => {
            Detached::new("tmpfs", &[("size", "0"), ("nr_inodes", "1")], DATA | READ_ONLY)?
        }
        Ok(_) => Detached::clone_of(root, "dev/null", Depth::One)?
            .restricted(MountAttrFlags::MOUNT_ATTR_NOEXEC, Depth::One)?,
    };
    cover.attach(root, path)?;
    Ok(())
}
