//! Mounts that are in nobody's tree yet: made, restricted, and only then attached.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::sys::{Depth, restrict, restrict_apart};

/// A mount without a place.
#[derive(Debug)]
pub(crate) struct Detached(OwnedFd);

/// No way to more privilege: neither by a set-id bit nor by a device.
pub(crate) const INERT: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
/// Nor by a program.
pub(crate) const DATA: MountAttrFlags = INERT.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
pub(crate) const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

impl From<OwnedFd> for Detached {
    fn from(mount: OwnedFd) -> Self {
        Self(mount)
    }
}

impl Detached {
    /// A new file system of `kind`.
    pub(crate) fn new(
        kind: &str,
        options: &[(&str, &str)],
        attributes: MountAttrFlags,
    ) -> io::Result<Self> {
        let configuration = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            fsconfig_set_string(&configuration, *key, *value)?;
        }
        fsconfig_create(&configuration)?;
        Ok(Self(fsmount(&configuration, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?))
    }

    /// What is at `path`, a second time; with everything mounted inside it where `depth` says so.
    pub(crate) fn clone_of(
        directory: BorrowedFd<'_>,
        path: &str,
        depth: Depth,
    ) -> io::Result<Self> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if depth == Depth::All {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        Ok(Self(open_tree(directory, path, flags)?))
    }

    /// The same, with less that can be done through it.
    pub(crate) fn restricted(self, attributes: MountAttrFlags, depth: Depth) -> io::Result<Self> {
        restrict(self.0.as_fd(), attributes, depth)?;
        Ok(self)
    }

    /// The same of a clone that is kept for later: what is mounted or unmounted meanwhile does not reach it.
    pub(crate) fn restricted_apart(self, attributes: MountAttrFlags) -> io::Result<Self> {
        restrict_apart(self.0.as_fd(), attributes)?;
        Ok(self)
    }

    /// Puts it over `path`, and returns a handle of its root.
    pub(crate) fn attach(self, directory: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
        let whole = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&self.0, "", directory, path, whole)?;
        Ok(self.0)
    }

    /// Puts it over the directory or file that `place` holds.
    pub(crate) fn attach_over(self, place: BorrowedFd<'_>) -> io::Result<()> {
        let both =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(move_mount(&self.0, "", place, "", both)?)
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
