//! The program that helpers are made of: this one, in a form that nobody can write to.
//!
//! A process of the target that gets hold of `/proc/PID/exe` of a helper or supervisor must not be
//! able to change the program on the node through it (CVE-2019-5736).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use crate::sys::{self, Depth};

/// The first number that no descriptor is handed by: below it are a program's streams and its connections.
pub(crate) const FIRST_FREE: RawFd = 5;

/// An executable for helpers. Its handle is all there is: it has no name in any file system.
#[derive(Debug)]
pub struct HelperImage(OwnedFd);

/// Why there is no program for helpers.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("cannot read the program {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot make a sealed copy of the program in memory")]
    Copy { source: io::Error },
    #[error("cannot clone the mount of the program {}", path.display())]
    Clone { path: PathBuf, source: io::Error },
}

impl HelperImage {
    /// A copy of `program` in memory, sealed against any change. Costs its size once: for daemons.
    pub fn sealed_copy(program: &Path) -> Result<Self, ImageError> {
        let mut from = File::open(program)
            .map_err(|source| ImageError::Read { path: program.to_owned(), source })?;
        let mut copy = || {
            let mut memory = File::from(executable_memory()?);
            io::copy(&mut from, &mut memory)?;
            let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
            fcntl_add_seals(&memory, seals)?;
            Ok(memory)
        };
        let memory: File = copy().map_err(|source| ImageError::Copy { source })?;
        Self::kept(memory.into()).map_err(|source| ImageError::Copy { source })
    }

    /// `program` through a read-only clone of its mount, which exists nowhere but in this handle.
    /// Costs next to nothing: for a command line that runs once. Linux 5.12, `CAP_SYS_ADMIN`.
    pub fn read_only_clone(program: &Path) -> Result<Self, ImageError> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let clone = || {
            let tree = open_tree(CWD, program, flags)?;
            sys::restrict(tree.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY, Depth::All)?;
            Ok(tree)
        };
        let cloned = clone().and_then(Self::kept);
        cloned.map_err(|source| ImageError::Clone { path: program.to_owned(), source })
    }

    /// Moves `fd` out of the way of the numbers that a helper's descriptors are given.
    fn kept(fd: OwnedFd) -> io::Result<Self> {
        if fd.as_raw_fd() >= FIRST_FREE {
            return Ok(Self(fd));
        }
        Ok(Self(rustix::io::fcntl_dupfd_cloexec(&fd, FIRST_FREE)?))
    }

    /// A path that this process can execute it by.
    pub(crate) fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

impl AsFd for HelperImage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Kernels before 6.3 know no `MFD_EXEC`; later ones may insist on it (`vm.memfd_noexec`).
fn executable_memory() -> rustix::io::Result<OwnedFd> {
    const NAME: &str = "nsdebug-session";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(NAME, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create(NAME, flags),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_sealed_copy_cannot_be_written_to() {
        let image = HelperImage::sealed_copy(Path::new("/proc/self/exe")).expect("a copy");
        let mut file = File::from(image.0.try_clone().expect("a second handle"));
        let error = file.write_all(b"#!").expect_err("sealed");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = HelperImage::sealed_copy(Path::new("/no/program")).expect_err("no program");
        assert_eq!(error.to_string(), "cannot read the program /no/program");
    }
}
