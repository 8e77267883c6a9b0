//! Walks a path of a target by what is on disks and in memory of the node, and by nothing else.
//!
//! A file system of a user's program (FUSE) or of a server (NFS) may answer when it likes, and a process that waits for
//! it cannot be killed. What `/proc` and its like show depends on the reader. So each mount is told by its number, and
//! looked up in the table of mounts, before any name is looked up in it.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::fs::{openat2, readlinkat, statx};
use rustix::io::Errno;

use crate::{mounts, procfs};

/// File systems that the kernel reads without asking another process or machine.
const OF_THE_NODE: [&str; 21] = [
    "aufs", "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "iso9660",
    "jfs", "nilfs2", "overlay", "ramfs", "reiserfs", "rootfs", "squashfs", "tmpfs", "vfat", "xfs",
    "zfs",
];

/// Links in one path, as many as the kernel follows.
const MOST_LINKS: usize = 40;

/// A tree whose mounts are in the table of this process.
pub(super) struct Walk<'r> {
    root: BorrowedFd<'r>,
    /// The mount that the tree begins with: the runtime has chosen it, and it may be of any kind.
    first: u64,
    table: RefCell<String>,
}

/// Where a path has led. No file system was asked for it that may keep this process waiting.
pub(super) struct Place {
    pub(super) file: OwnedFd,
    stat: Statx,
}

impl Place {
    fn of(file: OwnedFd) -> io::Result<Self> {
        // What the kernel has of it: it asks nobody.
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let stat = statx(&file, "", flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
        Ok(Self { file, stat })
    }

    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.stx_mode.into())
    }

    pub(super) fn mode(&self) -> Mode {
        Mode::from_raw_mode(self.stat.stx_mode.into())
    }
}

impl<'r> Walk<'r> {
    pub(super) fn of(root: BorrowedFd<'r>) -> io::Result<Self> {
        let first = Place::of(rustix::io::fcntl_dupfd_cloexec(root, 0)?)?.stat.stx_mnt_id;
        Ok(Self { root, first, table: RefCell::default() })
    }

    /// What is at `path`; a link leads nowhere but inside of the tree. Of the last part only the place is looked at:
    /// see [`Self::check`].
    pub(super) fn find(&self, path: &OsStr) -> io::Result<Place> {
        let mut above: Vec<Place> = Vec::new();
        let mut rest = parts(path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                above.pop();
                continue;
            }
            let here = above.last().map_or(self.root, |place| place.file.as_fd());
            above.last().map_or(Ok(()), |place| self.check(place))?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            let found = Place::of(openat2(here, &name, flags, Mode::empty(), inside)?)?;
            if !found.kind().is_symlink() {
                above.push(found);
                continue;
            }
            self.check(&found)?;
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::LOOP.into());
            }
            let to = OsString::from_vec(readlinkat(&found.file, "", Vec::new())?.into_bytes());
            if to.as_bytes().starts_with(b"/") {
                above.clear();
            }
            rest.extend(parts(&to));
        }
        above.pop().ok_or_else(|| Errno::ISDIR.into())
    }

    /// Sees that this is a file system of the node's.
    pub(super) fn check(&self, place: &Place) -> io::Result<()> {
        let number = place.stat.stx_mnt_id;
        if number == self.first || self.is_of_the_node(number) {
            return Ok(());
        }
        // It may have been mounted since.
        *self.table.borrow_mut() = procfs::mounts_of("self")?;
        if self.is_of_the_node(number) { Ok(()) } else { Err(Errno::REMOTE.into()) }
    }

    fn is_of_the_node(&self, number: u64) -> bool {
        let table = self.table.borrow();
        mounts::kind(&table, number).is_some_and(|kind| OF_THE_NODE.contains(&kind))
    }
}

/// The parts of a path, the last one first.
fn parts(path: &OsStr) -> Vec<OsString> {
    let parts = path.as_bytes().split(|byte| *byte == b'/').rev();
    let named = parts.filter(|part| !part.is_empty() && *part != b".");
    named.map(|part| OsStr::from_bytes(part).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt, symlink};

    fn found(make: impl FnOnce(&std::path::Path), path: &str) -> io::Result<u64> {
        let folder = tempfile::tempdir().expect("a folder");
        make(folder.path());
        let root = File::open(folder.path())?;
        let place = Walk::of(root.as_fd())?.find(OsStr::new(path))?;
        Ok(File::from(place.file).metadata()?.ino())
    }

    #[test]
    fn links_lead_inside_of_the_tree_and_not_out_of_it() {
        let make = |root: &std::path::Path| {
            fs::create_dir_all(root.join("run/names")).expect("folders");
            fs::create_dir(root.join("etc")).expect("a folder");
            fs::write(root.join("run/names/conf"), "").expect("a file");
            symlink("../run/./names//conf", root.join("etc/relative")).expect("a link");
            symlink("/run/names/conf", root.join("etc/absolute")).expect("a link");
            symlink("../../../../run/names", root.join("etc/folder")).expect("a link");
            symlink("/proc/self/root", root.join("etc/out")).expect("a link");
            symlink("round", root.join("etc/round")).expect("a link");
        };
        for path in ["etc/relative", "/etc/absolute", "etc/folder/conf", "etc/folder/../names/conf"]
        {
            let direct = found(make, "run/names/conf").is_ok();
            assert!(direct && found(make, path).is_ok(), "{path}");
        }
        for (path, errno) in [
            ("etc/out/etc", Errno::NOENT),
            ("etc/round", Errno::LOOP),
            ("etc/relative/x", Errno::NOTDIR),
            ("etc/none", Errno::NOENT),
            ("..", Errno::ISDIR),
        ] {
            let error = found(make, path).expect_err(path);
            assert_eq!(Errno::from_io_error(&error), Some(errno), "{path}");
        }
    }

    #[test]
    fn what_the_kernel_makes_up_is_not_walked() {
        let root = File::open("/").expect("a root");
        let walk = Walk::of(root.as_fd()).expect("a tree");
        let proc = walk.find(OsStr::new("proc")).expect("its place");
        assert!(walk.check(&proc).is_err());
        assert!(walk.find(OsStr::new("proc/kallsyms")).is_err());
    }
}
