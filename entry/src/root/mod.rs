//! The root of a session: what a tool can see of any file system.
//!
//! Either the node's own, or a toolbox: a read-only tree of tools with the target's `/proc`, `/sys`,
//! names and files mounted into it, and nothing else of the node. Everything is mounted through
//! descriptors of mounts that nobody else can name.

mod assemble;
mod detached;
mod device;
mod parts;
mod target;
mod walk;

pub(crate) use assemble::{Assembled, Processes, assemble, enter};
pub(crate) use detached::{Detached, READ_ONLY};
pub(crate) use device::terminals;
pub(crate) use parts::Parts;

/// What a tree must have to be mounted over: directories, and three files.
pub(crate) const MOUNTED_OVER: [&str; 10] = [
    "proc",
    "sys",
    "dev",
    "tmp",
    "run",
    "root",
    "target",
    "etc/resolv.conf",
    "etc/hosts",
    "etc/hostname",
];
