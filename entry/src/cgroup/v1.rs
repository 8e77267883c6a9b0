//! Control groups of version 1: a directory per controller, and a freezer to kill with.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{EventfdFlags, eventfd};

use super::control::Control;
use super::devices::ALLOWED;
use super::directory::{Descendants, signal_all, write};
use super::resources::{Memory, Resources};
use super::{CgroupError, counter, read};

/// Microseconds: the kernel's default, which a new group has.
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
            let quota = write(path, "cpu.cfs_quota_us", resources.cpu.quota(PERIOD));
            // More than a group above allows, whose limit then is this one's too.
            let quota = optional(quota, io::ErrorKind::InvalidInput);
            optional(quota, io::ErrorKind::NotFound)
        }
        Control::Devices => {
            write(path, "devices.deny", "a")?;
            allow_devices(path.join("devices.allow"))
        }
        Control::Kill => Ok(()),
    }
}

/// The same of all sessions: theirs is the group above them.
pub(super) fn limit_all(
    path: &Path,
    control: Control,
    together: &Resources,
) -> Result<(), CgroupError> {
    if control != Control::Memory {
        return limit(path, control, together);
    }
    // Otherwise what is below counts for itself alone; newer kernels know nothing else.
    optional(write(path, "memory.use_hierarchy", 1), io::ErrorKind::NotFound)?;
    match limit(path, control, together) {
        // It is more than memory and swap together were limited to before, which goes first then.
        Err(CgroupError::Limit { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {
            write(path, "memory.memsw.limit_in_bytes", together.memory.bytes())?;
            limit(path, control, together)
        }
        other => other,
    }
}

/// Writes a rule at a time to the list, which is opened once.
fn allow_devices(file: PathBuf) -> Result<(), CgroupError> {
    let allow = |mut list: File| {
        ALLOWED.iter().try_for_each(|device| match list.write_all(device.to_string().as_bytes()) {
            // What a group above has not is not given either; then nobody here could open it before.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        })
    };
    let allowed = File::options().write(true).open(&file).and_then(allow);
    allowed.map_err(|source| CgroupError::Limit { file, source })
}

fn optional(set: Result<(), CgroupError>, fine: io::ErrorKind) -> Result<(), CgroupError> {
    match set {
        Err(CgroupError::Limit { source, .. }) if source.kind() == fine => Ok(()),
        other => other,
    }
}

/// Word of the kernel that a group wants more memory than there is for it. Version 1 then kills one process; what is
/// left is a session that goes on without it.
#[derive(Debug)]
pub(super) struct MemoryShortage {
    event: OwnedFd,
    group: PathBuf,
    limit: u64,
}

/// How near to its limit a group has come that ran into it: what a processor charges ahead.
const NEAR: u64 = 1 << 20;

impl MemoryShortage {
    /// Of the group at `path` that is limited to `memory`; none where the kernel gives no such word.
    pub(super) fn of(path: &Path, memory: Memory) -> Option<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
        let control = File::open(path.join("memory.oom_control")).ok()?;
        let order = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        write(path, "cgroup.event_control", order).ok()?;
        Some(Self { event, group: path.to_owned(), limit: memory.bytes() })
    }

    /// Becomes readable with the word.
    pub(super) fn event(&self) -> &OwnedFd {
        &self.event
    }

    /// Takes the word, if there is one, and says whether it is about this group: a group above that
    /// has run out tells all below, of which this one need not have had too much, nor lost anybody.
    pub(super) fn is_told(&self) -> bool {
        let told = rustix::io::read(&self.event, &mut [0; 8]).is_ok();
        told && (has_reached(&self.group, self.limit) || ran_out_of_memory(&self.group))
    }
}

/// Whether the group at `path` ever had almost `limit` bytes.
pub(super) fn has_reached(path: &Path, limit: u64) -> bool {
    // Not the counts of failures: the kernel keeps none for memory and swap together, whose limit
    // is met first.
    let peaks = ["memory.memsw.max_usage_in_bytes", "memory.max_usage_in_bytes"];
    peaks.into_iter().any(|name| {
        let peak = read(path.join(name)).unwrap_or_default();
        peak.trim().parse::<u64>().is_ok_and(|peak| peak.saturating_add(NEAR) >= limit)
    })
}

/// What the group at `path` is limited to; more than there is, where it is not.
pub(super) fn memory_limit(path: &Path) -> Option<u64> {
    read(path.join("memory.limit_in_bytes")).ok()?.trim().parse().ok()
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
