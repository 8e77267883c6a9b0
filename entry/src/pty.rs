//! A pseudo-terminal for a session: never the caller's own, which the tool could type into.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::plan::Plan;
use crate::root::{self, Detached};

/// Both ends. The tool's end is opened through ours and not by a path, which could be anything.
#[derive(Debug)]
pub struct Pty {
    pub ours: OwnedFd,
    pub tools: OwnedFd,
}

/// The terminals of one session, which are nowhere yet: its `/dev/pts`. A tool finds the name of its own
/// terminal there (`ttyname(3)`), and opens it by that.
#[derive(Debug)]
pub struct Terminals(Detached);

impl Terminals {
    /// For a tool of this user. Needs `CAP_SYS_ADMIN`.
    fn of(owner: u32) -> io::Result<Self> {
        root::terminals(Some(owner)).map(Self)
    }

    /// Opens the next one.
    fn open(&self) -> io::Result<Pty> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        Pty::of(openat(&self.0, "ptmx", flags, Mode::empty())?)
    }
}

impl Pty {
    /// Opens one for the tool of `plan`: of a confined one, in terminals of its own.
    pub fn open_for(plan: &Plan) -> io::Result<(Self, Option<Terminals>)> {
        Self::open_as(plan.confinement.as_ref().map(|limits| limits.who.uid))
    }

    /// The same for a tool that is `confined` as this user, or not at all.
    pub(crate) fn open_as(confined: Option<u32>) -> io::Result<(Self, Option<Terminals>)> {
        let Some(owner) = confined else { return Ok((Self::open()?, None)) };
        let terminals = Terminals::of(owner)?;
        Ok((terminals.open()?, Some(terminals)))
    }

    /// Opens one in the devpts of this process's `/dev`.
    pub fn open() -> io::Result<Self> {
        Self::of(openpt(FLAGS)?)
    }

    fn of(ours: OwnedFd) -> io::Result<Self> {
        unlockpt(&ours)?;
        let tools = ioctl_tiocgptpeer(&ours, FLAGS)?;
        Ok(Self { ours, tools })
    }
}

const FLAGS: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);

impl AsFd for Terminals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Tells the programs that use the terminal behind `ours` its size in character cells.
pub fn resize(ours: BorrowedFd<'_>, width: u16, height: u16) -> io::Result<()> {
    let size = Winsize { ws_col: width, ws_row: height, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(ours.as_fd(), size)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_given_to_one_end_is_seen_at_the_other() {
        let pty = Pty::open().expect("a terminal");
        resize(pty.ours.as_fd(), 132, 43).expect("resized");
        let size = rustix::termios::tcgetwinsize(&pty.tools).expect("its size");
        assert_eq!((size.ws_col, size.ws_row), (132, 43));
    }
}
