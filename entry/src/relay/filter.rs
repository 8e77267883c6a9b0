//! What a relay may still do once it has its descriptors: move bytes, and end.
//!
//! It runs as its agent, so that it needs no right to change its user; whatever takes it over has these
//! calls, and no file, no socket and no process of the node but what it relays.

use std::collections::BTreeMap;
use std::io;

use nix::libc;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Sorted by what they are for.
const ALLOWED: [libc::c_long; 27] = [
    // Bytes and words.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_splice,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_ppoll,
    libc::SYS_ioctl,
    libc::SYS_fcntl,
    libc::SYS_close,
    libc::SYS_clock_gettime,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    // Signals and the end.
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getrandom,
];

/// On x86-64 there is an older form of some.
#[cfg(target_arch = "x86_64")]
const OLDER: [libc::c_long; 1] = [libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: [libc::c_long; 0] = [];

/// Gives up everything else, for good.
pub(super) fn apply() -> io::Result<()> {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_no_new_privs(true)?;
    seccompiler::apply_filter(&program()?).map_err(io::Error::other)
}

fn program() -> io::Result<BpfProgram> {
    let rules: BTreeMap<_, _> =
        ALLOWED.into_iter().chain(OLDER).map(|call| (call, Vec::new())).collect();
    let architecture = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, architecture);
    filter.and_then(BpfProgram::try_from).map_err(io::Error::other)
}
