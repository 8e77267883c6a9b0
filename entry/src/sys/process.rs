//! Forking, leaving the mount namespace, and signal dispositions, of a process with one thread.

#![expect(clippy::disallowed_methods, reason = "the room of fork and unshare")]

use std::io;
use std::os::unix::fs::MetadataExt;

use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{ForkResult, Pid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::kind::Kinds;

/// The knowledge that this process has one thread.
///
/// It stays true: nothing in this crate starts a thread, and no other code runs in the helper.
#[derive(Debug)]
pub(crate) struct Alone(());

impl Alone {
    /// Fails with `EBUSY` where there is a second thread.
    pub(crate) fn prove() -> io::Result<Self> {
        // proc(5): the link count of the task directory is 2 plus the number of threads.
        match std::fs::metadata("/proc/self/task")?.nlink() {
            3 => Ok(Self(())),
            _ => Err(io::Error::from_raw_os_error(libc::EBUSY)),
        }
    }
}

/// Which of the two processes after a fork this is.
pub(crate) enum Forked {
    Child,
    Parent { child: Pid },
}

/// One more process like this one.
pub(crate) fn fork(_alone: &Alone) -> io::Result<Forked> {
    // SAFETY: the child of a process with several threads may only call async-signal-safe
    // functions, because locks of the other threads stay taken. `Alone` says there are none.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Forked::Child),
        ForkResult::Parent { child } => Ok(Forked::Parent { child }),
    }
}

/// A mount namespace of this process's own, a copy of the one it was in.
pub(crate) fn unshare_mounts(_alone: &Alone) -> io::Result<()> {
    // SAFETY: the call is unsafe only because CLONE_FILES would hide descriptors from other
    // threads; NEWNS leaves the descriptor table as it is, and there are no other threads.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(io::Error::from)
}

/// The same for this thread alone, which is to end with it: what it does to mounts nobody sees.
pub(crate) fn unshare_mounts_of_thread() -> io::Result<()> {
    // SAFETY: as above: the descriptor table, which other threads have in common with this one, is
    // left alone. NEWNS gives the thread a root and a directory of its own too, which nobody minds.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(io::Error::from)
}

/// Namespaces of this process's own, of each kind in `kinds`; of the kind time, for its next child.
pub(crate) fn unshare_kinds(_alone: &Alone, kinds: Kinds) -> io::Result<()> {
    let flags = UnshareFlags::from_bits_retain(kinds.flags().bits());
    // SAFETY: as above: no kind of namespace touches the descriptor table (CLONE_FILES is no kind), and
    // there are no other threads.
    unsafe { unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// A pid namespace of its own for the next child of this process.
pub(crate) fn unshare_pids(_alone: &Alone) -> io::Result<()> {
    // SAFETY: as above: NEWPID leaves the descriptor table alone, and there are no other threads.
    unsafe { unshare_unsafe(UnshareFlags::NEWPID) }.map_err(io::Error::from)
}

/// Lets a write to a closed pipe kill again, which Rust's start-up code has turned off.
pub(crate) fn default_sigpipe(_alone: &Alone) -> io::Result<()> {
    // SAFETY: installing a handler is unsafe because the handler may not be async-signal-safe and
    // because it replaces one that other code relies on. SIG_DFL runs no code here, and all that
    // this process still does is exec.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    Ok(())
}
