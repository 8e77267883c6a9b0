//! `seccomp(2)` with a listener: calls that wait until another process has answered for the kernel.
//!
//! And the one call that is made in place of those, `setsockopt(2)` of a packet socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;
use seccompiler::sock_filter;

/// A system call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingCall {
    id: u64,
    /// The thread that makes it, by its number in the pid namespace of the process that received this.
    pub(crate) thread: libc::pid_t,
    pub(crate) arguments: [u64; 6],
}

/// Puts `program` in force for this thread and returns what its questions are received from. Needs
/// `no_new_privs`. Linux 5.0; it fails with `EBUSY` where a filter with a listener is in force already.
pub(crate) fn filter_with_listener(program: &[sock_filter]) -> io::Result<OwnedFd> {
    let killable = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    match install(program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | killable) {
        // Before Linux 5.19 a signal may interrupt a call that is being answered.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            install(program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)
        }
        other => other,
    }
}

fn install(program: &[sock_filter], flags: libc::c_ulong) -> io::Result<OwnedFd> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The two have the same layout, the kernel's.
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the kernel copies as many instructions from the pointer as the length says, which are
    // borrowed until after the call, checks them, and writes nothing.
    let fd = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: with NEW_LISTENER the call returns a descriptor that it has just made (with CLOEXEC).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes the next question. It waits where there is none, and fails with `ENOENT` where the thread that
/// asked is gone.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> io::Result<PendingCall> {
    // SAFETY: the struct is integers only, for which zeros are a value; the kernel wants them.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one such struct, whose size is in the request, to where it lives.
    let done = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked)
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let thread = asked.pid.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(PendingCall { id: asked.id, thread, arguments: asked.data.args })
}

/// Whether the call still waits: if so, the thread's number has not become anybody else's.
pub(crate) fn still_waits(listener: BorrowedFd<'_>, asked: &PendingCall) -> bool {
    // SAFETY: the kernel reads the 8 bytes of the number, which lives until after the call.
    let done = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const asked.id)
    };
    done == 0
}

/// Ends the call with 0 or with an errno. It fails with `ENOENT` where nobody waits any more.
pub(crate) fn answer(
    listener: BorrowedFd<'_>,
    asked: &PendingCall,
    done: Result<(), rustix::io::Errno>,
) -> io::Result<()> {
    let error = done.err().map_or(0, |errno| -errno.raw_os_error());
    let mut answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error, flags: 0 };
    // SAFETY: the kernel reads one such struct, whose size is in the request, from where it lives.
    let done = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes, or with zeros frees, a ring of a packet socket, or says what else it receives. `option` is
/// `PACKET_RX_RING`, `PACKET_TX_RING`, `PACKET_ADD_MEMBERSHIP` or `PACKET_DROP_MEMBERSHIP`.
pub(crate) fn set_packet_option(
    socket: BorrowedFd<'_>,
    option: libc::c_int,
    request: &[u8],
) -> Result<(), rustix::io::Errno> {
    let length = request.len().try_into().map_err(|_| rustix::io::Errno::INVAL)?;
    // SAFETY: the kernel reads as many bytes as the last argument says from `request`, which is
    // borrowed until after the call. The ring is the kernel's memory: none of ours is mapped.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            request.as_ptr().cast(),
            length,
        )
    };
    if done == 0 {
        return Ok(());
    }
    let errno = io::Error::last_os_error();
    Err(rustix::io::Errno::from_io_error(&errno).unwrap_or(rustix::io::Errno::INVAL))
}
