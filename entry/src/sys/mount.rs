//! `mount_setattr(2)`, which neither rustix nor nix has.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

/// How far a change of mount attributes reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The one mount.
    One,
    /// It and everything mounted inside it: `remount,bind,ro` would leave those as they were.
    All,
}

/// Adds `attributes` to the mount that `tree` holds. Linux 5.12.
pub(crate) fn restrict(
    tree: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    depth: Depth,
) -> io::Result<()> {
    set(tree, attributes, None, depth)
}

/// The same of one mount, which from then on takes part in no other's mounts and unmounts.
pub(crate) fn restrict_apart(tree: BorrowedFd<'_>, attributes: MountAttrFlags) -> io::Result<()> {
    set(tree, attributes, Some(MountPropagationFlags::PRIVATE), Depth::One)
}

fn set(
    tree: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    propagation: Option<MountPropagationFlags>,
    depth: Depth,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: attributes.bits().into(),
        attr_clr: 0,
        propagation: propagation.map_or(0, |propagation| propagation.bits().into()),
        userns_fd: 0,
    };
    let flags = match depth {
        Depth::One => libc::AT_EMPTY_PATH,
        Depth::All => libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
    };
    // SAFETY: the kernel reads a NUL-terminated path, here the empty one, and as many bytes at the
    // fourth argument as the fifth says: the size of the struct that lives until after the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
