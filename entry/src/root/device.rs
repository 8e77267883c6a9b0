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

/// A `/dev` whose mounts have no place yet.
#[derive(Debug)]
pub(super) struct DeviceTree {
    tree: Detached,
    nodes: Vec<(&'static str, Detached)>,
    terminals: Detached,
    shared_memory: Detached,
}

impl DeviceTree {
    pub(super) fn new() -> io::Result<Self> {
        // Devices are bound from the node's, by whose mount they stay devices: this one has none.
        let options = [("mode", "755"), ("size", "64k"), ("nr_inodes", "64")];
        let tree = Detached::new("tmpfs", &options, DATA)?;
        let nodes = NODES.map(|node| node_in(&tree, node).map(|mount| (node, mount)));
        let nodes = nodes.into_iter().collect::<io::Result<_>>()?;
        for (to, name) in LINKS {
            symlinkat(to, &tree, name)?;
        }
        for directory in ["pts", "shm"] {
            mkdirat(&tree, directory, Mode::from_raw_mode(0o755))?;
        }
        let options = [("mode", "1777"), ("size", SHARED_MEMORY)];
        let shared_memory = Detached::new("tmpfs", &options, DATA)?;
        Ok(Self { tree, nodes, terminals: terminals(None)?, shared_memory })
    }

    /// Mounts it over `dev` of the root that `root` holds, with these `terminals` if there are any.
    pub(super) fn attach(
        self,
        root: BorrowedFd<'_>,
        terminals: Option<Detached>,
    ) -> io::Result<()> {
        let dev = self.tree.attach(root, "dev")?;
        for (node, mount) in self.nodes {
            mount.attach(dev.as_fd(), node)?;
        }
        terminals.unwrap_or(self.terminals).attach(dev.as_fd(), "pts")?;
        self.shared_memory.attach(dev.as_fd(), "shm")?;
        restrict(dev.as_fd(), READ_ONLY, Depth::One)
    }
}

/// The device of the node, and a file in `tree` to mount it over.
fn node_in(tree: &Detached, node: &str) -> io::Result<Detached> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::WRONLY;
    drop(openat(tree, node, flags, Mode::from_raw_mode(0o666))?);
    let device = Detached::clone_of(CWD, &format!("/dev/{node}"), Depth::One)?;
    device.restricted_apart(MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC)
}
