//! One direction of one stream: what can be passed on without waiting, each turn.
//!
//! The agent has put one byte into the socket of each output. A relay that has passed all on takes it out
//! before it closes; one that is killed, or fails, leaves it there, and then the kernel tells the agent that the
//! connection was cut (`ECONNRESET`), behind all that was passed on. So no end is taken for the end of the output.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

/// Bytes that are taken at once where they are copied: a frame of input.
const CHUNK: usize = 64 << 10;

/// Bytes that are asked for at once where they are not copied: more than any pipe of ours has.
const SPLICED: usize = 1 << 20;

/// How long a stream is left alone that was twice said to be ready and was not: a terminal that nobody has
/// open is ready for ever.
const REST: Duration = Duration::from_millis(50);

/// See the module.
pub(super) struct Flow {
    from: OwnedFd,
    to: OwnedFd,
    kind: FlowKind,
    /// Copied and not written yet.
    held: Vec<u8>,
    /// Whether it waits for room, and not for something to pass on.
    is_full: bool,
    ready: bool,
    vain: Vain,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FlowKind {
    Input,
    /// Moved by the page, and not copied.
    Pipe,
    Terminal,
}

/// Whether the last attempt was in vain, and until when there is no other.
#[derive(Clone, Copy)]
enum Vain {
    No,
    Once,
    Until(Instant),
}

enum Moved {
    Some,
    Nothing,
    End,
    /// Of its agent or, of input, its tool: neither is an end of what was to be passed on.
    Failure,
}

impl Flow {
    pub(super) fn from_pipe(pipe: OwnedFd, socket: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(pipe, not_waiting(socket)?, FlowKind::Pipe))
    }

    pub(super) fn from_terminal(terminal: OwnedFd, socket: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(terminal, not_waiting(socket)?, FlowKind::Terminal))
    }

    pub(super) fn to_tool(socket: OwnedFd, tool: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(not_waiting(socket)?, tool, FlowKind::Input))
    }

    fn new(from: OwnedFd, to: OwnedFd, kind: FlowKind) -> Self {
        Self { from, to, kind, held: Vec::new(), is_full: false, ready: false, vain: Vain::No }
    }

    pub(super) fn is_output(&self) -> bool {
        self.kind != FlowKind::Input
    }

    /// What it waits for, unless it rests.
    pub(super) fn interest(&self, now: Instant) -> Option<PollFd<'_>> {
        if self.rests_for(now).is_some() {
            return None;
        }
        Some(if self.is_full {
            PollFd::new(&self.to, PollFlags::OUT)
        } else {
            PollFd::new(&self.from, PollFlags::IN)
        })
    }

    pub(super) fn rests_for(&self, now: Instant) -> Option<Duration> {
        match self.vain {
            Vain::Until(until) => until.checked_duration_since(now).filter(|left| !left.is_zero()),
            Vain::No | Vain::Once => None,
        }
    }

    pub(super) fn told(&mut self, ready: bool) {
        self.ready = ready;
    }

    /// Passes on what can be; whether there may be more to come.
    pub(super) fn pass_on(&mut self) -> bool {
        if !mem::take(&mut self.ready) {
            return true;
        }
        let moved = match self.kind {
            FlowKind::Pipe => self.splice(),
            FlowKind::Input | FlowKind::Terminal => self.copy(),
        };
        self.vain = match (moved, self.vain) {
            (Moved::End, _) => {
                self.end_whole();
                return false;
            }
            (Moved::Failure, _) => return false,
            (Moved::Some, _) => Vain::No,
            (Moved::Nothing, Vain::No) => Vain::Once,
            (Moved::Nothing, _) => Vain::Until(Instant::now() + REST),
        };
        true
    }

    /// Whether nothing is left to pass on, now that the tool has ended; this then is the end.
    pub(super) fn has_finished(&mut self) -> bool {
        let mut waits = [PollFd::new(&self.from, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let is_empty = self.held.is_empty()
            && poll(&mut waits, Some(&now)).is_ok()
            && !waits[0].revents().intersects(PollFlags::IN | PollFlags::HUP);
        if is_empty {
            self.end_whole();
        }
        is_empty
    }

    fn end_whole(&self) {
        if self.is_output() {
            let _ = rustix::io::read(&self.to, &mut [0; 1][..]);
        }
    }

    /// Says `Some` where it found out what to wait for next: that there was room, or something to pass on.
    fn splice(&mut self) -> Moved {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(&self.from, None, &self.to, None, SPLICED, flags) {
            Ok(0) => Moved::End,
            Ok(_) => {
                self.is_full = false;
                Moved::Some
            }
            // The kernel does not say which of the two it was; the one that was ready was not it.
            Err(Errno::AGAIN) => {
                self.is_full = !self.is_full;
                Moved::Nothing
            }
            Err(Errno::INTR) => Moved::Nothing,
            Err(_) => Moved::Failure,
        }
    }

    fn copy(&mut self) -> Moved {
        if self.held.is_empty() {
            self.held.resize(CHUNK, 0);
            let read = rustix::io::read(&self.from, &mut self.held[..]);
            self.held.truncate(*read.as_ref().unwrap_or(&0));
            match read {
                // A terminal says EIO when its last user is gone.
                Ok(0) | Err(Errno::IO) => return Moved::End,
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::INTR) => return Moved::Nothing,
                Err(_) => return Moved::Failure,
            }
        }
        let written = self.write();
        self.is_full = !self.held.is_empty();
        if self.held.is_empty() {
            self.held = Vec::new(); // one that is quiet holds nothing
        }
        written
    }

    fn write(&mut self) -> Moved {
        let mut written = 0;
        while let Some(rest) = self.held.get(written..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(&self.to, rest) {
                Ok(more) => written += more,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return Moved::Failure,
            }
        }
        self.held.drain(..written);
        // Room is what a full one waited for, and a first attempt finds out that there is none.
        if written == 0 && self.is_full { Moved::Nothing } else { Moved::Some }
    }
}

fn not_waiting(socket: OwnedFd) -> io::Result<OwnedFd> {
    fcntl_setfl(&socket, fcntl_getfl(&socket)? | OFlags::NONBLOCK)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use rustix::pipe::{PipeFlags, pipe_with};
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

    use super::*;
    use crate::pty::Pty;

    /// Turns until there is nothing more to be had, or it is to be left alone for a while.
    fn run(flow: &mut Flow) -> bool {
        for _ in 0..1000 {
            let Some(interest) = flow.interest(Instant::now()) else { return true };
            let ready = poll(&mut [interest], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
            flow.told(ready == Ok(1));
            if ready == Ok(0) {
                return true;
            }
            if !flow.pass_on() {
                return false;
            }
        }
        panic!("it tries for ever");
    }

    #[test]
    fn what_a_tool_writes_arrives_whole_and_then_the_end() {
        let (ours, tools) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let (relays, mut agents) = UnixStream::pair().expect("sockets");
        let mut flow = Flow::from_pipe(ours, relays.into()).expect("a flow");
        let written: Vec<u8> = (0..=250).cycle().take(2 << 20).collect();
        let expected = written.clone();
        let tool = std::thread::spawn(move || {
            std::fs::File::from(tools).write_all(&written).expect("it is read");
        });
        let reader = std::thread::spawn(move || {
            let mut read = Vec::new();
            agents.read_to_end(&mut read).expect("an end");
            read
        });
        while run(&mut flow) {
            std::thread::yield_now();
        }
        drop(flow);
        tool.join().expect("it ends");
        assert!(reader.join().expect("it ends") == expected);
    }

    #[test]
    fn an_end_that_is_none_of_the_output_is_told_apart() {
        let cut_after = |finishes: bool| {
            let (ours, tools) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
            let (relays, mut agents) = UnixStream::pair().expect("sockets");
            agents.write_all(b"!").expect("room");
            let mut flow = Flow::from_pipe(ours, relays.into()).expect("a flow");
            std::fs::File::from(tools.try_clone().expect("a clone"))
                .write_all(b"out")
                .expect("room");
            assert!(run(&mut flow));
            assert!(!finishes || flow.has_finished(), "nothing is left");
            drop((flow, tools));
            let mut read = Vec::new();
            let end = agents.read_to_end(&mut read).map_err(|error| error.kind());
            assert_eq!(read, b"out");
            end.err()
        };
        assert_eq!(cut_after(false), Some(io::ErrorKind::ConnectionReset));
        assert_eq!(cut_after(true), None);
    }

    #[test]
    fn input_arrives_whole_and_then_the_end() {
        let (tools, ours) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
        fcntl_setfl(&tools, OFlags::empty()).expect("an open pipe");
        let (relays, mut agents) = UnixStream::pair().expect("sockets");
        let mut flow = Flow::to_tool(relays.into(), ours).expect("a flow");
        let written: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
        let expected = written.clone();
        let agent = std::thread::spawn(move || agents.write_all(&written).expect("it is read"));
        let tool = std::thread::spawn(move || {
            let mut read = Vec::new();
            std::fs::File::from(tools).read_to_end(&mut read).expect("an end");
            read
        });
        while run(&mut flow) {
            std::thread::yield_now();
        }
        drop(flow);
        agent.join().expect("it ends");
        assert!(tool.join().expect("it ends") == expected);
    }

    #[test]
    fn a_terminal_that_nobody_has_open_and_nobody_reads_is_left_alone() {
        let Pty { ours, tools } = Pty::open().expect("a terminal");
        fcntl_setfl(&ours, OFlags::NONBLOCK).expect("an open terminal");
        let mut raw = tcgetattr(&tools).expect("its settings");
        raw.make_raw();
        tcsetattr(&tools, OptionalActions::Now, &raw).expect("raw mode");
        drop(tools);
        let (relays, agents) = UnixStream::pair().expect("sockets");
        let mut flow = Flow::to_tool(relays.into(), ours).expect("a flow");
        agents.set_nonblocking(true).expect("an open socket");
        while rustix::io::write(&agents, &[b'x'; 4096]).is_ok() {
            if !run(&mut flow) {
                return; // the kernel says that nobody is there
            }
        }
        assert!(run(&mut flow) && flow.rests_for(Instant::now()).is_some());
    }
}
