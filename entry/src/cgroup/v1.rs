//! Control groups of version 1: a directory per controller, and a freezer to kill with.

use std::io;
use std::path::Path;

use super::devices::ALLOWED;
use super::hierarchy::Control;
use super::resources::Resources;
use super::session::{Descendants, signal_all, write};
use super::{CgroupError, counter, read};

/// Microseconds: the kernel's default.
const PERIOD: u64 = 100_000;

/// Sets what `control` has to say of `resources` on the group at `path`.
pub(super) fn limit(
    path: &Path,
    control: Control,
    resources: &Resources,
) -> Result<(), CgroupError> {
    match control {
        Control::Memory => {
            let bytes = resources.memory.bytes();
            write(path, "memory.limit_in_bytes", bytes)?;
            // Memory and swap together: none of it is swap. Only where the kernel counts swap.
            optional(write(path, "memory.memsw.limit_in_bytes", bytes), io::ErrorKind::NotFound)
        }
        Control::Pids => write(path, "pids.max", resources.pids),
        Control::Cpu => {
            optional(write(path, "cpu.cfs_period_us", PERIOD), io::ErrorKind::NotFound)?;
            let quota = write(path, "cpu.cfs_quota_us", resources.cpu.quota(PERIOD));
            // More than a group above allows, whose limit then is this one's too.
            let quota = optional(quota, io::ErrorKind::InvalidInput);
            optional(quota, io::ErrorKind::NotFound)
        }
        Control::Devices => {
            write(path, "devices.deny", "a")?;
            // What a group above has not is not given either; then nobody here could open it before.
            let allow = |device| write(path, "devices.allow", device);
            let allow = |device| optional(allow(device), io::ErrorKind::PermissionDenied);
            ALLOWED.iter().try_for_each(allow)
        }
        Control::Kill => Ok(()),
    }
}

fn optional(set: Result<(), CgroupError>, fine: io::ErrorKind) -> Result<(), CgroupError> {
    match set {
        Err(CgroupError::Limit { source, .. }) if source.kind() == fine => Ok(()),
        other => other,
    }
}

/// Whether the kernel has killed for want of memory in the group at `path`.
pub(super) fn ran_out_of_memory(path: &Path) -> bool {
    let control = read(path.join("memory.oom_control")).unwrap_or_default();
    counter(&control, "oom_kill").is_some_and(|kills| kills > 0)
}

/// Kills all in the group at `path`: frozen first, where there is a freezer, so that nobody forks.
pub(super) fn kill(path: &Path) -> Result<(), CgroupError> {
    let frozen = write(path, "freezer.state", "FROZEN");
    let killed = Descendants::of(path).try_for_each(|group| signal_all(&group));
    // What is frozen does not die.
    if frozen.is_ok() {
        write(path, "freezer.state", "THAWED")?;
    }
    killed
}
