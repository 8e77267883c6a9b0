//! A process that this one has started: a helper, or a relay.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, pidfd_open,
    pidfd_send_signal, waitid, waitpid,
};

use crate::descendants;

/// See the module. Its descriptor becomes readable when the process has ended.
#[derive(Debug)]
#[must_use = "a process that nobody waits for becomes a zombie"]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Child {
    /// Of a number that is a child's of this process, and that nobody has waited for. Where no descriptor can
    /// be had for it, it is ended and reaped: nobody could do that later.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
        match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => Ok(Self { pid, pidfd }),
            Err(errno) => {
                let _ = kill_process(pid, Signal::KILL);
                let _ = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
                Err(errno.into())
            }
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until the process is gone, and reaps it.
    pub fn wait(&self) -> io::Result<()> {
        loop {
            if self.try_wait()? {
                return Ok(());
            }
            let mut exit = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut exit, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Reaps the process if it is gone.
    pub fn try_wait(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(status) => Ok(status.is_some()),
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(rustix::io::Errno::CHILD) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Asks a helper to have its supervisor end the tool. This needs no relay, which a tool can hold up.
    pub fn end_session(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::TERM);
    }

    /// Kills all that a helper has started and that is still below it: for a session without a control
    /// group. The helper itself ends when it has reaped them.
    pub fn kill_session(&self) {
        descendants::kill_below(self.pid.as_raw_pid().unsigned_abs());
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl AsRawFd for Child {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}
