//! Our ends of the tool's streams, under the runtime.
//!
//! A payload is read straight behind the room for its frame's head, so that no byte of output is
//! copied here; where the socket can take it from the pipe itself, it is not even read.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::ioctl_fionread;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::unix::pipe;
use wire::frame::{Channel, Head, Size};
use wire::limits;

use super::Ends;
use super::socket::Frame;
use super::stdio::PIPE;
use super::watched::watched;

/// Bytes from which on handing over a pipe costs less than copying out of it.
const WORTH_SPLICING: u64 = 16 << 10;

/// Where input goes.
#[derive(Debug)]
pub(super) enum Input {
    Pipe(pipe::Sender),
    Terminal(Arc<AsyncFd<OwnedFd>>),
    /// Not asked for, or the tool no longer wants any: what comes is dropped.
    Closed,
}

/// Where output comes from.
#[derive(Debug)]
pub(super) enum Output {
    Pipe(Arc<pipe::Receiver>),
    Terminal(Arc<AsyncFd<OwnedFd>>),
    Closed,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) stdin: Input,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    pub(super) terminal: Option<Arc<AsyncFd<OwnedFd>>>,
}

impl Streams {
    /// Registers `ends` with the runtime.
    pub(super) fn watch(ends: Ends) -> io::Result<Self> {
        match ends {
            Ends::Pipes { stdin, stdout, stderr } => {
                let input = stdin.map(pipe::Sender::from_owned_fd).transpose()?;
                Ok(Self {
                    stdin: input.map_or(Input::Closed, Input::Pipe),
                    stdout: output(stdout)?,
                    stderr: output(stderr)?,
                    terminal: None,
                })
            }
            Ends::Terminal { ours, stdin } => {
                fcntl_setfl(&ours, fcntl_getfl(&ours)? | OFlags::NONBLOCK)?;
                let terminal = Arc::new(watched(ours)?);
                let input =
                    if stdin { Input::Terminal(Arc::clone(&terminal)) } else { Input::Closed };
                Ok(Self {
                    stdin: input,
                    stdout: Output::Terminal(Arc::clone(&terminal)),
                    stderr: Output::Closed,
                    terminal: Some(terminal),
                })
            }
        }
    }
}

fn output(end: Option<OwnedFd>) -> io::Result<Output> {
    let end = end.map(pipe::Receiver::from_owned_fd).transpose()?;
    Ok(end.map_or(Output::Closed, |pipe| Output::Pipe(Arc::new(pipe))))
}

impl Input {
    /// Writes all of `bytes`, waiting for the tool to take them.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let result = match self {
            Self::Pipe(pipe) => pipe.write_all(bytes).await,
            Self::Terminal(terminal) => write_all(terminal, bytes).await,
            Self::Closed => Ok(()),
        };
        // The tool has closed its input, as `head` does: no failure, and nobody to tell.
        if result.is_err() {
            *self = Self::Closed;
        }
    }

    /// No more will come. A terminal has no end of its own: its user types one.
    pub(super) fn close(&mut self) {
        if let Self::Pipe(_) = self {
            *self = Self::Closed;
        }
    }
}

impl Output {
    pub(super) fn is_open(&self) -> bool {
        !matches!(self, Self::Closed)
    }

    /// The next frame for `channel`, or `None` at the end. Nothing is lost when this is dropped. A
    /// socket that `splices` is handed the pipe, where much waits in it.
    pub(super) async fn frame(&mut self, channel: Channel, splices: bool) -> Option<Frame> {
        loop {
            let ready = match self {
                Self::Pipe(pipe) => pipe.readable().await,
                Self::Terminal(terminal) => terminal.readable().await.map(drop),
                Self::Closed => return None,
            };
            if ready.is_err() {
                break;
            }
            if splices && let Self::Pipe(pipe) = self {
                let waiting = ioctl_fionread(&**pipe).unwrap_or(0);
                if waiting >= WORTH_SPLICING {
                    let payload = usize::try_from(waiting).map_or(PIPE, |all| all.min(PIPE));
                    return Some(Frame::piped(channel, Arc::clone(pipe), payload));
                }
            }
            // Only now: a session that is quiet holds no buffer.
            let mut buffer = BytesMut::with_capacity(Head::MOST + limits::FRAME);
            buffer.put_bytes(0, Head::MOST);
            match self.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => return Some(Frame::read(channel, buffer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A terminal says EIO when its last user is gone.
                Err(_) => break,
            }
        }
        *self = Self::Closed;
        None
    }

    fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.try_read_buf(&mut buffer.limit(limits::FRAME)),
            Self::Terminal(terminal) => read_now(terminal, buffer),
            Self::Closed => Ok(0),
        }
    }
}

/// Bytes of one read of a terminal: the kernel's own buffer is a page (`N_TTY_BUF_SIZE`).
const TERMINAL_READ: usize = 4096;

fn read_now(terminal: &AsyncFd<OwnedFd>, into: &mut BytesMut) -> io::Result<usize> {
    let mut buffer = [0; TERMINAL_READ];
    let read = terminal.try_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut buffer)?))?;
    into.extend_from_slice(&buffer[..read]);
    Ok(read)
}

async fn write_all(terminal: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = terminal.writable().await?;
        let written = ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?));
        if let Ok(written) = written {
            bytes = bytes.get(written?..).unwrap_or_default();
        }
    }
    Ok(())
}

/// Gives the session's terminal a new size; without one there is nothing to do.
pub(super) fn resize(terminal: Option<&Arc<AsyncFd<OwnedFd>>>, size: Size) {
    if let Some(terminal) = terminal {
        let _ = entry::pty::resize(terminal.get_ref().as_fd(), size.width, size.height);
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

    use super::*;

    #[tokio::test]
    async fn what_waits_is_read_in_frames_as_large_as_they_may_be() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let mut output = output(Some(reader)).expect("a runtime");
        fcntl_setpipe_size(&writer, PIPE).expect("room");
        rustix::io::write(&writer, &vec![1; limits::FRAME + 10]).expect("it takes all");
        drop(writer);
        let mut payloads = Vec::new();
        while let Some(frame) = output.frame(Channel::Stdout, false).await {
            payloads.push(frame.payload());
        }
        assert_eq!(payloads, [limits::FRAME, 10]);
    }
}
