//! Between the caller's terminal and the session's own: bytes and sizes, nothing else.
//!
//! The caller's terminal is raw meanwhile, and what it was before when this is dropped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// Bytes that are moved at once: the kernel's own buffer of a terminal.
const CHUNK: usize = 4096;

/// Both directions.
#[must_use = "the caller's terminal leaves raw mode when this is dropped"]
pub(crate) struct Relay {
    ours: OwnedFd,
    input: Direction,
    output: Direction,
    before: Option<Termios>,
}

/// One direction: bytes that were read and wait to be written.
struct Direction {
    buffer: Vec<u8>,
    open: bool,
}

impl Relay {
    pub(crate) fn new(ours: OwnedFd, stdin: bool) -> io::Result<Self> {
        fcntl_setfl(&ours, fcntl_getfl(&ours)? | OFlags::NONBLOCK)?;
        let before = if stdin && isatty(io::stdin()) { Some(make_raw()?) } else { None };
        let flow = |open| Direction { buffer: Vec::with_capacity(CHUNK), open };
        let relay = Self { ours, input: flow(stdin), output: flow(true), before };
        relay.resize();
        Ok(relay)
    }

    /// Makes the session's terminal as large as the caller's.
    pub(crate) fn resize(&self) {
        if let Ok(size) = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin())) {
            let _ = entry::pty::resize(self.ours.as_fd(), size.ws_col, size.ws_row);
        }
    }

    /// What has to happen before the next [`Self::turn`] can do something.
    pub(crate) fn interests(&self) -> Vec<PollFd<'_>> {
        let mut fds = Vec::with_capacity(2);
        let mut ours = PollFlags::empty();
        if self.output.open && self.output.buffer.is_empty() {
            ours |= PollFlags::IN;
        }
        if !self.input.buffer.is_empty() {
            ours |= PollFlags::OUT;
        } else if self.input.open {
            fds.push(PollFd::from_borrowed_fd(STDIN, PollFlags::IN));
        }
        if !ours.is_empty() {
            fds.push(PollFd::new(&self.ours, ours));
        }
        fds
    }

    /// Moves what can be moved without waiting; only the caller's own terminal is waited for.
    pub(crate) fn turn(&mut self) {
        if self.input.open && self.input.buffer.is_empty() && is_readable(STDIN) {
            self.input.fill(STDIN);
        }
        self.input.pour(self.ours.as_fd());
        self.output.fill(self.ours.as_fd());
        self.output.pour(STDOUT);
    }

    /// Shows what the tool wrote last: it is gone, and so its output has an end.
    pub(crate) fn drain(mut self) {
        while self.output.open {
            self.output.fill(self.ours.as_fd());
            let nothing_more = self.output.buffer.is_empty();
            self.output.pour(STDOUT);
            if nothing_more {
                break;
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing to do about a failure: the terminal itself is gone.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}

impl Direction {
    fn fill(&mut self, from: BorrowedFd<'_>) {
        if !self.open || !self.buffer.is_empty() {
            return;
        }
        self.buffer.resize(CHUNK, 0);
        let read = rustix::io::read(from, &mut self.buffer[..]);
        self.buffer.truncate(*read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => self.open = false,
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.open = false, // EIO: the last user of the terminal is gone
        }
    }

    fn pour(&mut self, to: BorrowedFd<'_>) {
        while !self.buffer.is_empty() {
            match rustix::io::write(to, &self.buffer) {
                Ok(written) => drop(self.buffer.drain(..written)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => {
                    self.buffer.clear();
                    self.open = false;
                }
            }
        }
    }
}

const STDIN: BorrowedFd<'static> = rustix::stdio::stdin();
const STDOUT: BorrowedFd<'static> = rustix::stdio::stdout();

/// Asked for each read: the caller's terminal must not be made non-blocking, as its shell shares it.
fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut news = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut news, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

fn make_raw() -> io::Result<Termios> {
    let before = tcgetattr(io::stdin())?;
    let mut raw = before.clone();
    raw.make_raw();
    // What was typed ahead is for the tool.
    tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
    Ok(before)
}
