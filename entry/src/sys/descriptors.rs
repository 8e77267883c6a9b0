//! Descriptors that came through `exec`: which are ours, and the end of all others.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;

/// Closes every descriptor from `first` on, known here or not.
///
/// To be called before anything in this process has opened or adopted one at or above `first`.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    let first = libc::c_uint::try_from(first).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: close_range(2) touches no memory. It closes descriptors that might be owned by
    // values of this process; the caller runs it first thing, when there are none: the standard
    // library owns none above 2, and `first` is above those that will be adopted.
    let result = unsafe { libc::close_range(first, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes every descriptor from `first` on but `kept`, does `work` with that, and ends this process,
/// which was forked for it: it never returns to where the other descriptors are owned.
pub(crate) fn keep_only(first: RawFd, kept: OwnedFd, work: impl FnOnce(OwnedFd)) -> ! {
    let unsigned = |fd: RawFd| libc::c_uint::try_from(fd).unwrap_or(libc::c_uint::MAX);
    let (first, number) = (unsigned(first), unsigned(kept.as_raw_fd()));
    // SAFETY: close_range(2) touches no memory. The values that own what is closed are in frames
    // that are neither returned to nor unwound into: this function ends by the process's end,
    // whatever `work` does, and a panic of that is caught here.
    let close = |from, to| unsafe { libc::close_range(from, to, 0) };
    if number > first {
        close(first, number - 1);
    }
    close(number + 1, libc::c_uint::MAX);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(kept)));
    #[expect(clippy::exit, reason = "a forked process has no caller to return to")]
    std::process::exit(i32::from(ended.is_err()))
}

/// Asks whether [`close_from`] would work, by closing a descriptor that cannot be.
pub(crate) fn close_none() -> io::Result<()> {
    // SAFETY: close_range(2) touches no memory, and no process has a descriptor of the highest
    // number: the kernel limits them to far less (fs.nr_open).
    let result = unsafe { libc::close_range(libc::c_uint::MAX, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes descriptor `number`, which this process was started with, and keeps it from the tool.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD touches no memory and changes nothing.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open, as just seen, and nobody else owns it: it is one of the fixed
    // numbers that the helper is started with, and each is taken once.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}
