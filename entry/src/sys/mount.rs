//! `mount_setattr(2)`, which neither rustix nor nix has.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// Makes the detached tree that `tree` holds, with everything mounted inside it, read-only.
///
/// `remount,bind,ro` would leave the mounts inside writable. Linux 5.12.
pub(crate) fn make_read_only(tree: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
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
