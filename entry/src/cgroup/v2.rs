//! Control groups of version 2: one directory, whose controllers have to be handed down to it.
//!
//! A group that hands controllers down has no processes of its own (the root is the exception). So
//! a daemon moves into a leaf beside its sessions, where their end is not its own.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::control::{Control, Layout};
use super::devices::device_filter;
use super::directory::{Descendants, make, remove, signal_all, write};
use super::place::{Base, OwnGroup};
use super::resources::Resources;
use super::{CgroupError, counter, read};
use crate::sys;

/// Where a daemon itself goes.
const LEAF: &str = "nsdebug-agent";

/// Microseconds: the kernel's default.
const PERIOD: u64 = 100_000;

/// What groups below the one of `place` could be limited in; in devices only where that is `wanted`.
pub(super) fn offered(place: &OwnGroup, wanted: bool) -> Vec<Control> {
    let has = read(place.directory.join("cgroup.controllers")).unwrap_or_default();
    let resources = [Control::Memory, Control::Pids, Control::Cpu];
    let listed = |control: &Control| has.split_whitespace().any(|name| name == control.as_str());
    // No controller: a program, that not every kernel takes, and not from everybody.
    let devices = (wanted && device_filter().is_ok()).then_some(Control::Devices);
    resources.into_iter().filter(listed).chain(devices).chain([Control::Kill]).collect()
}

/// Finds where sessions can be given `controls`, moving this process where `layout` allows it.
pub(super) fn base(
    place: &OwnGroup,
    controls: &[Control],
    layout: Layout,
) -> Result<Base, CgroupError> {
    let own = match place.directory.parent() {
        // An agent that is started by one finds itself in the leaf already.
        Some(parent) if place.directory.ends_with(LEAF) => parent.to_owned(),
        _ => place.directory.clone(),
    };
    let refused = match hand_down(&own, controls) {
        Ok(()) => return Ok(Base { directory: own, leaf: None }),
        Err(refused) => refused,
    };
    match layout {
        Layout::Daemon if refused.raw_os_error() == Some(BUSY) => beside_leaf(own, controls),
        // Our own group is a shell's, with the shell in it. The one above it hands down already.
        Layout::Command if own != place.mount => match own.parent() {
            Some(above) if hands_down(above, controls) => {
                Ok(Base { directory: above.to_owned(), leaf: None })
            }
            _ => Err(CgroupError::Delegate { path: own, source: refused }),
        },
        _ => Err(CgroupError::Delegate { path: own, source: refused }),
    }
}

/// There are processes in a group that is to hand controllers down.
const BUSY: i32 = rustix::io::Errno::BUSY.raw_os_error();

fn beside_leaf(own: PathBuf, controls: &[Control]) -> Result<Base, CgroupError> {
    let leaf = own.join(LEAF);
    make(&leaf)?;
    enter(&leaf)?;
    match hand_down(&own, controls) {
        Ok(()) => Ok(Base { directory: own, leaf: Some(leaf) }),
        Err(source) => {
            // Others are in the group too. Nothing of this was, if it cannot be.
            let _ = enter(&own).and_then(|()| remove(&leaf));
            Err(CgroupError::Delegate { path: own, source })
        }
    }
}

/// Moves this process.
fn enter(group: &Path) -> Result<(), CgroupError> {
    std::fs::write(group.join("cgroup.procs"), "0")
        .map_err(|source| CgroupError::Move { path: group.to_owned(), source })
}

/// Takes back what [`base`] did, as far as it can be.
pub(super) fn leave_leaf(leaf: &Path) {
    let Some(own) = leaf.parent() else { return };
    for control in [Control::Memory, Control::Pids, Control::Cpu] {
        let _ = std::fs::write(own.join(SUBTREE), format!("-{}", control.as_str()));
    }
    let _ = enter(own).and_then(|()| remove(leaf));
}

const SUBTREE: &str = "cgroup.subtree_control";

/// Has the group at `path` give `controls` to those below it.
pub(super) fn hand_down(path: &Path, controls: &[Control]) -> io::Result<()> {
    for control in controls.iter().filter(|control| control.is_handed_down()) {
        let handed = std::fs::write(path.join(SUBTREE), format!("+{}", control.as_str()));
        // Real-time processes anywhere keep the processor's controller from being used.
        if *control != Control::Cpu {
            handed?;
        }
    }
    Ok(())
}

fn hands_down(path: &Path, controls: &[Control]) -> bool {
    let handed = read(path.join(SUBTREE)).unwrap_or_default();
    controls
        .iter()
        .filter(|control| control.is_handed_down() && **control != Control::Cpu)
        .all(|control| handed.split_whitespace().any(|name| name == control.as_str()))
}

/// Sets what `control` has to say of `resources` on the group at `path`.
pub(super) fn limit(
    path: &Path,
    control: Control,
    resources: &Resources,
) -> Result<(), CgroupError> {
    match control {
        Control::Memory => {
            write(path, "memory.max", resources.memory.bytes())?;
            optional(write(path, "memory.swap.max", 0))?;
            // Otherwise the shell lives on without the tool that it waits for (Linux 4.19).
            optional(write(path, "memory.oom.group", 1))
        }
        Control::Pids => write(path, "pids.max", resources.pids),
        Control::Cpu => {
            let quota = resources.cpu.quota(PERIOD);
            optional(write(path, "cpu.max", format!("{quota} {PERIOD}")))
        }
        Control::Devices => limit_devices(path)
            .map_err(|source| CgroupError::Devices { path: path.to_owned(), source }),
        Control::Kill => Ok(()),
    }
}

/// The same of all sessions: theirs is the group above them.
pub(super) fn limit_all(
    path: &Path,
    control: Control,
    together: &Resources,
) -> Result<(), CgroupError> {
    match control {
        // Not `memory.oom.group`: that would end all sessions for what one of them takes.
        Control::Memory => {
            write(path, "memory.max", together.memory.bytes())?;
            optional(write(path, "memory.swap.max", 0))
        }
        _ => limit(path, control, together),
    }
}

fn limit_devices(path: &Path) -> io::Result<()> {
    let filter = device_filter()?;
    sys::attach_device_filter(File::open(path)?.as_fd(), &filter)
}

/// A file that some kernels do not have.
fn optional(set: Result<(), CgroupError>) -> Result<(), CgroupError> {
    match set {
        Err(CgroupError::Limit { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other,
    }
}

/// Whether the kernel has killed for want of memory in the group at `path`.
pub(super) fn ran_out_of_memory(path: &Path) -> bool {
    let events = read(path.join("memory.events")).unwrap_or_default();
    counter(&events, "oom_kill").is_some_and(|kills| kills > 0)
}

/// Whether the group at `path` was out of memory by its own limit: a group above tells none below.
pub(super) fn has_been_short(path: &Path) -> bool {
    let events = read(path.join("memory.events")).unwrap_or_default();
    counter(&events, "oom").is_some_and(|shortages| shortages > 0)
}

/// How often the group at `path` has itself been out of memory, not one below it; 0 where the kernel does not say
/// (Linux 5.2).
pub(super) fn shortages(path: &Path) -> u64 {
    let events = read(path.join("memory.events.local")).unwrap_or_default();
    counter(&events, "oom").unwrap_or_default()
}

/// What the group at `path` is limited to, if it is.
pub(super) fn memory_limit(path: &Path) -> Option<u64> {
    read(path.join("memory.max")).ok()?.trim().parse().ok()
}

/// Kills all in the group at `path` and below it.
pub(super) fn kill(path: &Path) -> Result<(), CgroupError> {
    match write(path, "cgroup.kill", 1) {
        // Linux 5.14.
        Err(CgroupError::Limit { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            kill_frozen(path)
        }
        Err(CgroupError::Limit { source, .. }) => {
            Err(CgroupError::Kill { path: path.to_owned(), source })
        }
        other => other,
    }
}

/// One by one, while nobody can fork (Linux 5.2). A signal that kills ends this freeze by itself.
fn kill_frozen(path: &Path) -> Result<(), CgroupError> {
    let _ = write(path, "cgroup.freeze", 1);
    let killed = Descendants::of(path).try_for_each(|group| signal_all(&group));
    let _ = write(path, "cgroup.freeze", 0);
    killed
}
