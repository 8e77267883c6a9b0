//! The `/dev` of a session: six devices, terminals of its own, shared memory; nothing to make more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::mount::MountAttrFlags;

use super::detached::{DATA, Detached, READ_ONLY};
use crate::sys::{Depth, restrict};

const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Nobody but root may look at another's terminal; `tty` is group 5 wherever there is one. The node has some
/// thousands for all who are on it.
const TERMINALS: [(&str, &str); 4] =
    [("mode", "620"), ("gid", "5"), ("ptmxmode", "666"), ("max", "64")];

/// Bytes of shared memory, charged to the session.
const SHARED_MEMORY: &str = "16m";

/// A new instance, of which what is opened belongs to `owner`: a tool may open its own by name.
pub(crate) fn terminals(owner: Option<u32>) -> io::Result<Detached> {
    let owner = owner.map(|owner| owner.to_string());
    let owner = owner.as_deref().map(|owner| ("uid", owner));
    let options: Vec<_> = TERMINALS.into_iter().chain(owner).collect();
    let plain = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Detached::new("devpts", &options, plain)
}

/// Mounts it over `dev` of the root that `root` holds, with these `terminals` or new ones.
pub(super) fn mount(root: BorrowedFd<'_>, terminals: Option<Detached>) -> io::Result<()> {
    // Devices are bound from the node's, by whose mount they stay devices: this one has none.
    let options = [("mode", "755"), ("size", "64k"), ("nr_inodes", "64")];
    let dev = Detached::new("tmpfs", &options, DATA)?.attach(root, "dev")?;
    for node in NODES {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::WRONLY;
        drop(openat(&dev, node, flags, Mode::from_raw_mode(0o666))?);
        let device = Detached::clone_of(CWD, &format!("/dev/{node}"), Depth::One)?;
        let plain = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        device.restricted(plain, Depth::One)?.attach(dev.as_fd(), node)?;
    }
    for (to, name) in LINKS {
        symlinkat(to, &dev, name)?;
    }
    for directory in ["pts", "shm"] {
        mkdirat(&dev, directory, Mode::from_raw_mode(0o755))?;
    }
    terminals.map_or_else(|| self::terminals(None), Ok)?.attach(dev.as_fd(), "pts")?;
    let options = [("mode", "1777"), ("size", SHARED_MEMORY)];
    Detached::new("tmpfs", &options, DATA)?.attach(dev.as_fd(), "shm")?;
    restrict(dev.as_fd(), READ_ONLY, Depth::One)
}
