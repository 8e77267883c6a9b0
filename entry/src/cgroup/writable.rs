//! In a container: making its own control groups writable to itself, where its runtime mounted them for reading only.
//!
//! Only what is seen of them changes, in this mount namespace and nowhere else; on the node's own nothing is done.

use std::path::PathBuf;

use rustix::mount::{MountFlags, mount_remount};

use super::place::{OwnGroup, places};
use super::{CgroupError, read};
use crate::namespaces::in_nodes_own;

/// As runtimes mount control groups, but for reading only.
const KEPT: MountFlags = MountFlags::BIND
    .union(MountFlags::NOSUID)
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC)
    .union(MountFlags::RELATIME);

/// Returns how many mounts were changed.
pub fn make_cgroups_writable() -> Result<usize, CgroupError> {
    if in_nodes_own("mnt") {
        return Err(CgroupError::NodesMounts);
    }
    let own = places(&read("/proc/self/cgroup".into())?, &read("/proc/self/mountinfo".into())?);
    let mut changed: Vec<PathBuf> = Vec::new();
    for OwnGroup { mount, .. } in own.into_iter().filter(|place| place.read_only) {
        mount_remount(&mount, KEPT, "")
            .map_err(|errno| CgroupError::Remount { path: mount.clone(), source: errno.into() })?;
        changed.push(mount);
    }
    Ok(changed.len())
}
