//! The target's files: its whole tree under `/target`, and copies of three small ones.
//!
//! No path of the target is walked by any process of ours but by [`Walk`], and nothing that is found there is opened
//! but a regular file that every user may read.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC};
use rustix::fs::{fstat, fstatfs, openat, statat};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};
use rustix::thread::{move_into_link_name_space, move_into_thread_name_spaces};

use super::detached::{DATA, Detached, READ_ONLY};
use super::walk::Walk;
use crate::procfs;
use crate::sys::Depth;

/// Bytes of a file that is copied: `MAXRESOLVSORT` and friends fit many times.
const LONGEST: u64 = 64 << 10;

/// What is cloned of the mount namespace of a target.
pub(super) struct Visit {
    /// Its root, with all mounts inside it.
    pub(super) files: Detached,
    /// The whole `mountinfo` of it.
    pub(super) mounts: String,
    /// What is at `/proc` there, if anything: to be looked at before it is believed.
    pub(super) proc: Option<Detached>,
}

/// Clones what a session needs of the mount namespace of the process that `target` holds.
///
/// A tree can only be cloned from inside of its mount namespace, so this process goes there and
/// comes back. Nothing in the target sees it: a clone is in nobody's tree.
#[expect(clippy::disallowed_methods, reason = "the room of mount namespaces")]
pub(super) fn visit(target: BorrowedFd<'_>, write: bool) -> io::Result<Visit> {
    let home = openat(CWD, "/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let own_proc = openat(CWD, "/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    move_into_thread_name_spaces(target, ThreadNameSpaceType::MOUNT)?;
    // Whose mounts it shows, and from which root, is settled when it is opened.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mounts = openat(own_proc, "self/mountinfo", flags, Mode::empty());
    let tree = Detached::clone_of(CWD, "/", Depth::All);
    let proc = Detached::clone_of(CWD, "/proc", Depth::One);
    // Whatever the clone was: this process must not stay there.
    move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Mount))?;
    let attributes = if write { DATA } else { DATA | READ_ONLY };
    let files = tree?.restricted(attributes, Depth::All)?;
    let proc = proc.and_then(|proc| proc.restricted(DATA | READ_ONLY, Depth::One)).ok();
    let mounts = procfs::text(procfs::rest_of(File::from(mounts?))?);
    Ok(Visit { files, mounts, proc })
}

/// Whether `mount` is the whole `/proc` of the pid namespace with this inode number.
pub(super) fn is_proc_of(mount: &Detached, pids: u64) -> bool {
    // The inode number that only the root of a procfs has.
    const PROC_ROOT: u64 = 1;
    let is_proc = fstatfs(mount).is_ok_and(|stat| stat.f_type == PROC_SUPER_MAGIC);
    let is_whole = fstat(mount).is_ok_and(|stat| stat.st_ino == PROC_ROOT);
    // The first process of a pid namespace is in it, and is number 1 in no other.
    let init = || statat(mount, "1/ns/pid", AtFlags::empty());
    is_proc && is_whole && init().is_ok_and(|stat| stat.st_ino == pids)
}

/// What the target has as `name` of its `/etc`. It may be missing, or anything at all: then that is nothing. To be
/// called with no more rights than the tool will have.
pub(super) fn content_of(target: &Walk<'_>, name: &str) -> Vec<u8> {
    read(target, OsStr::new(&format!("etc/{name}"))).unwrap_or_default()
}

/// Puts a read-only file with `content` over `name` of the session's `/etc`.
pub(super) fn place(
    content: &[u8],
    root: BorrowedFd<'_>,
    memory: BorrowedFd<'_>,
    name: &str,
) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(memory, name, flags, Mode::from_raw_mode(0o444))?;
    File::from(file).write_all(content)?;
    let copy = Detached::clone_of(memory, name, Depth::One)?;
    copy.restricted(DATA | READ_ONLY, Depth::One)?.attach(root, &format!("etc/{name}"))?;
    rustix::fs::unlinkat(memory, name, AtFlags::empty())?;
    Ok(())
}

/// Puts something empty over what is mounted at `place` of the target's tree. What is not there needs none.
pub(super) fn cover(target: &Walk<'_>, place: &OsStr) -> io::Result<()> {
    let mounted = match target.find(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let is_directory = mounted.kind().is_dir();
    let mounted = mounted.file;
    // Or what is put there would be put into the target as well, where it shares its mounts.
    mount_change(own_name(&mounted), MountPropagationFlags::PRIVATE)?;
    let empty = if is_directory {
        Detached::new("tmpfs", &[("size", "0"), ("nr_inodes", "1")], DATA | READ_ONLY)?
    } else {
        Detached::clone_of(CWD, "/dev/null", Depth::One)?.restricted(DATA, Depth::One)?
    };
    empty.attach_over(mounted.as_fd())
}

fn own_name(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn read(target: &Walk<'_>, path: &OsStr) -> io::Result<Vec<u8>> {
    let place = target.find(path)?;
    target.check(&place)?;
    // What not every user in the target may read is not handed to the session's.
    if place.kind() != FileType::RegularFile || !place.mode().contains(Mode::ROTH) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // The very file that was looked at. A lease on it would be waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(CWD, own_name(&place.file), flags, Mode::empty())?;
    let mut content = Vec::new();
    File::from(file).take(LONGEST).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn read_of(make: impl FnOnce(&std::path::Path)) -> io::Result<Vec<u8>> {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("etc")).expect("etc");
        make(&folder.path().join("etc/resolv.conf"));
        let root = File::open(folder.path()).expect("the folder");
        read(&Walk::of(root.as_fd())?, OsStr::new("etc/resolv.conf"))
    }

    #[test]
    fn a_plain_file_is_copied() {
        let content = read_of(|file| fs::write(file, "nameserver 10.0.0.1\n").expect("written"));
        assert_eq!(content.expect("read"), b"nameserver 10.0.0.1\n");
    }

    #[test]
    fn a_link_ends_inside_of_the_target() {
        let content = read_of(|file| {
            symlink("/etc/real", file).expect("a link");
            fs::write(file.with_file_name("real"), "inside").expect("written");
        });
        assert_eq!(content.expect("read"), b"inside");
        assert!(read_of(|file| symlink("/../../../../etc/passwd", file).expect("a link")).is_err());
        assert!(read_of(|file| symlink("/proc/self/environ", file).expect("a link")).is_err());
    }

    #[test]
    fn what_is_no_file_or_secret_is_left_alone() {
        let fifo = |file: &std::path::Path| {
            nix::unistd::mkfifo(file, nix::sys::stat::Mode::from_bits_truncate(0o666))
                .expect("a FIFO");
        };
        assert!(read_of(fifo).is_err(), "and nobody waited for it");
        let secret = read_of(|file| {
            fs::write(file, "secret").expect("written");
            fs::set_permissions(file, fs::Permissions::from_mode(0o640)).expect("a mode");
        });
        assert!(secret.is_err());
    }
}
