//! A pseudo-terminal for a session: never the caller's own, which the tool could type into.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Both ends. The tool's end is opened through ours and not by a path, which could be anything.
#[derive(Debug)]
pub struct Pty {
    pub ours: OwnedFd,
    pub tools: OwnedFd,
}

impl Pty {
    /// Opens one in the devpts of this process's `/dev`.
    pub fn open() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        unlockpt(&ours)?;
        let tools = ioctl_tiocgptpeer(&ours, flags)?;
        Ok(Self { ours, tools })
    }
}

/// Tells whoever uses the terminal behind `ours` its size in character cells.
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
