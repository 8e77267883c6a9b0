//! Whether this kernel lets a session be: each probe does what a session does, and undoes it.
//!
//! Never a version: distributions port features back, and security modules and filters take them
//! away. What could change this process is tried in a thread that ends with it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::fs::{CWD, MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::{
    PidfdFlags, PidfdGetfdFlags, fchdir, getpid, pidfd_getfd, pidfd_open, pivot_root,
};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces, set_no_new_privs};

use crate::capability::{Capabilities, Capability};
use crate::profile::Profile;
use crate::sys::Depth;
use crate::{cgroup, privilege, root, seccomp, sys};

/// What it takes to enter a target and to leave everything else behind, each with its reason.
pub const ENTERING: [(Capability, &str); 6] = [
    (Capability::SysAdmin, "namespaces cannot be joined, nothing can be mounted"),
    (Capability::SysPtrace, "processes of other users cannot be inspected"),
    (Capability::SysChroot, "the target's mount namespace cannot be visited for /target"),
    (Capability::Setpcap, "the bounding set of a tool cannot be reduced"),
    (Capability::Setuid, "a tool cannot become another user"),
    (Capability::Setgid, "a tool cannot leave its groups"),
];

/// A process can be held so that its number cannot become another's.
pub fn pidfd() -> io::Result<()> {
    pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(())
}

/// Several namespaces can be joined at once by a pidfd: here, those that it is in already.
#[expect(clippy::disallowed_methods, reason = "a thread that ends with the probe")]
pub fn join_by_pidfd() -> io::Result<()> {
    in_thread(|| {
        let this = pidfd_open(getpid(), PidfdFlags::empty())?;
        let kinds = ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
        Ok(move_into_thread_name_spaces(this.as_fd(), kinds)?)
    })
}

/// File systems can be made that are attached nowhere, and go with their descriptor.
pub fn new_mount(kind: &str) -> io::Result<()> {
    root::Detached::new(kind, &[], root::READ_ONLY).map(drop)
}

/// A tree can be cloned and restricted with all that is mounted in it, without being attached.
pub fn restricted_clone() -> io::Result<()> {
    let clone = root::Detached::clone_of(CWD, "/", Depth::One)?;
    clone.restricted(root::READ_ONLY, Depth::All).map(drop)
}

/// Mounts can be made private in a mount namespace of one's own, which security modules may forbid whatever is held.
pub fn private_mounts() -> io::Result<()> {
    in_thread(leave_mounts)
}

/// There, something can be mounted and made the root.
pub fn new_root() -> io::Result<()> {
    in_thread(|| {
        leave_mounts()?;
        let memory = root::Detached::new("tmpfs", &[], root::READ_ONLY)?;
        // Any directory does, and this one is everywhere.
        fchdir(&memory.attach(CWD, "/proc")?)?;
        pivot_root(".", ".")?;
        Ok(unmount(".", UnmountFlags::DETACH)?)
    })
}

fn leave_mounts() -> io::Result<()> {
    sys::unshare_mounts_of_thread()?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(mount_change("/", private)?)
}

/// A program can be kept in memory that nobody can change any more.
pub fn sealed_memory() -> io::Result<()> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("nsdebug-check", flags)?;
    Ok(fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK)?)
}

/// All descriptors from one on can be closed, whatever opened them.
pub fn close_range() -> io::Result<()> {
    sys::close_none()
}

/// A control group of version 2 can be kept from devices.
pub fn device_filter() -> io::Result<()> {
    cgroup::device_filter().map(drop)
}

/// The filter of a tool can be installed.
pub fn filter() -> io::Result<()> {
    in_thread(|| {
        set_no_new_privs(true)?;
        seccomp::apply()
    })
}

/// A process can answer the calls of another's filter, with that one's own descriptors.
pub fn packet_rings() -> io::Result<()> {
    in_thread(|| {
        let this = pidfd_open(getpid(), PidfdFlags::empty())?;
        let memory = memfd_create("nsdebug-check", MemfdFlags::CLOEXEC)?;
        pidfd_getfd(&this, memory.as_raw_fd(), PidfdGetfdFlags::empty())?;
        set_no_new_privs(true)?;
        seccomp::listener().map(drop)
    })
}

/// The children of a thread are listed, by which the rest of a session is found at its end.
pub fn children() -> io::Result<()> {
    fs::metadata("/proc/thread-self/children").map(drop)
}

/// What this process may do and give away.
pub fn held() -> io::Result<Capabilities> {
    privilege::own_capabilities()
}

/// What `profile` has and `held` lacks.
#[must_use]
pub fn lacking(profile: Profile, held: Capabilities) -> Capabilities {
    // A kernel knows no capability past its own last one, and nobody lacks those.
    let known = fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok();
    let last = known.and_then(|number| number.trim().parse::<usize>().ok()).unwrap_or(usize::MAX);
    let wanted = profile.capabilities().iter().filter(|wanted| *wanted as usize <= last);
    wanted.filter(|wanted| !held.contains(*wanted)).collect()
}

/// Whether one of the capabilities is held that can keep a target's processes out of a tool.
#[must_use]
pub fn has_canary(held: Capabilities) -> bool {
    crate::survey::HARMLESS.into_iter().any(|canary| held.contains(canary))
}

/// What a session's root mounts over, and is not in `tree`.
#[must_use]
pub fn missing_in(tree: &Path) -> Vec<&'static str> {
    let is_there = |place: &&str| {
        let there = fs::symlink_metadata(tree.join(place));
        there.is_ok_and(|there| there.is_dir() || there.is_file())
    };
    root::MOUNTED_OVER.into_iter().filter(|place| !is_there(place)).collect()
}

/// Runs `probe` where what it changes ends with it.
fn in_thread(probe: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("probe".to_owned()).spawn(probe)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the probe panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_privilege_is_there() {
        for (what, probe) in [
            ("pidfd", pidfd as fn() -> io::Result<()>),
            ("memfd", sealed_memory),
            ("close_range", close_range),
            ("seccomp", filter),
            ("packet rings", packet_rings),
        ] {
            probe().unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }

    #[test]
    fn probing_the_filter_leaves_this_process_free() {
        filter().expect("a filter");
        let status = fs::read_to_string("/proc/thread-self/status").expect("a status");
        assert!(status.contains("NoNewPrivs:\t0"), "{status}");
    }

    #[test]
    fn what_a_tree_lacks_is_named() {
        let tree = tempfile::tempdir().expect("a directory");
        fs::create_dir(tree.path().join("proc")).expect("a directory");
        let missing = missing_in(tree.path());
        assert!(!missing.contains(&"proc") && missing.contains(&"etc/hosts"), "{missing:?}");
    }

    #[test]
    fn who_holds_nothing_lacks_what_a_profile_has() {
        assert_eq!(lacking(Profile::General, Capabilities::NONE), Profile::General.capabilities());
        assert!(lacking(Profile::Sysadmin, Capabilities::ALL).is_empty());
        assert!(!has_canary(Capabilities::NONE) && has_canary(Capabilities::ALL));
    }
}
