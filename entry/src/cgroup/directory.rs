//! A group as a directory: made, removed, written to, and what is in it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{CgroupError, read};

/// A group and those below it, the deepest first: the order in which they can be removed.
#[derive(Debug)]
pub(super) struct Descendants(std::vec::IntoIter<PathBuf>);

impl Descendants {
    pub(super) fn of(group: &Path) -> Self {
        let mut found = vec![group.to_owned()];
        let mut next = 0;
        while let Some(path) = found.get(next) {
            let below = subdirectories(path);
            found.extend(below);
            next += 1;
        }
        found.reverse();
        Self(found.into_iter())
    }
}

impl Iterator for Descendants {
    type Item = PathBuf;

    fn next(&mut self) -> Option<PathBuf> {
        self.0.next()
    }
}

pub(super) fn subdirectories(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.path()).collect()
}

/// Makes the directory of a group, unless it is there.
pub(super) fn make(path: &Path) -> Result<(), CgroupError> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(CgroupError::Make { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

pub(super) fn remove(path: &Path) -> Result<(), CgroupError> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CgroupError::Remove { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Writes one control file.
pub(super) fn write(
    group: &Path,
    name: &str,
    value: impl std::fmt::Display,
) -> Result<(), CgroupError> {
    let file = group.join(name);
    // Opened and not created: on a kernel without this file, there would be a wrong error.
    let written = fs::File::options()
        .write(true)
        .open(&file)
        .and_then(|mut open| io::Write::write_all(&mut open, value.to_string().as_bytes()));
    written.map_err(|source| CgroupError::Limit { file, source })
}

/// Sends SIGKILL to every process of the one group.
pub(super) fn signal_all(group: &Path) -> Result<(), CgroupError> {
    let held: Vec<_> =
        members(group)?.into_iter().filter_map(|pid| Some((pid, open(pid)?))).collect();
    // Only now are the numbers held: a process that is still a member is the one that the descriptor means.
    let members = members(group)?;
    for (_, pidfd) in held.iter().filter(|(pid, _)| members.contains(pid)) {
        match pidfd_send_signal(pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => {
                return Err(CgroupError::Kill { path: group.to_owned(), source: errno.into() });
            }
        }
    }
    Ok(())
}

pub(super) fn members(group: &Path) -> Result<Vec<Pid>, CgroupError> {
    let list = match read(group.join("cgroup.procs")) {
        Err(CgroupError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        other => other?,
    };
    Ok(list.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect())
}

fn open(pid: Pid) -> Option<rustix::fd::OwnedFd> {
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_comes_first() {
        let root = tempfile::tempdir().expect("a directory");
        let inner = root.path().join("a/b");
        fs::create_dir_all(&inner).expect("directories");
        let found: Vec<_> = Descendants::of(root.path()).collect();
        assert_eq!(found, [inner, root.path().join("a"), root.path().to_owned()]);
    }
}
