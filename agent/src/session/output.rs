//! What a tool writes, as frames.
//!
//! A payload is read straight behind the room for its frame's head, so that no byte of output is
//! copied here; where the socket can take it from the pipe itself, it is not even read.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use rustix::io::ioctl_fionread;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::time::timeout;
use wire::frame::Channel;

use super::socket::Frame;
use super::stdio::PIPE;

/// Bytes from which on handing over a pipe costs less than copying out of it.
const WORTH_SPLICING: usize = 16 << 10;

/// Bytes of the smallest read: of a page of a pipe, and of all that the kernel keeps of a terminal
/// (`N_TTY_BUF_SIZE`).
const LEAST: usize = 4096;

/// How long a tool may say nothing before its room is given back: longer than it waits for a processor.
const QUIET: Duration = Duration::from_millis(100);

/// One of the tool's outputs.
#[derive(Debug)]
pub(super) struct Output {
    source: Source,
    /// Where the last frame was read to, and the next one is: the C library may map so much anew for each
    /// frame, which costs more than to fill it. A session that is quiet holds none.
    room: Option<BytesMut>,
}

/// Where output comes from.
#[derive(Debug)]
enum Source {
    Pipe(Arc<pipe::Receiver>),
    Terminal(Arc<AsyncFd<OwnedFd>>),
    Closed,
}

impl Output {
    /// Of a tool that has no such output.
    pub(super) const CLOSED: Self = Self { source: Source::Closed, room: None };

    pub(super) fn of_pipe(end: Option<OwnedFd>) -> io::Result<Self> {
        let end = end.map(pipe::Receiver::from_owned_fd).transpose()?;
        let source = end.map_or(Source::Closed, |pipe| Source::Pipe(Arc::new(pipe)));
        Ok(Self { source, room: None })
    }

    pub(super) fn of_terminal(terminal: Arc<AsyncFd<OwnedFd>>) -> Self {
        Self { source: Source::Terminal(terminal), room: None }
    }

    pub(super) fn is_open(&self) -> bool {
        !matches!(self.source, Source::Closed)
    }

    /// The next frame for `channel`, as long as what waits, or `None` at the end. Nothing is lost when
    /// this is dropped. A socket that `splices` is handed the pipe, where much waits in it.
    pub(super) async fn frame(&mut self, channel: Channel, splices: bool) -> Option<Frame> {
        while self.is_open() {
            if self.ready().await.is_err() {
                break;
            }
            let waiting = self.source.waiting();
            if splices
                && waiting >= WORTH_SPLICING
                && let Source::Pipe(pipe) = &self.source
            {
                return Some(Frame::piped(channel, Arc::clone(pipe), waiting));
            }
            match self.read(waiting.max(LEAST)) {
                Ok(0) => break,
                Ok(_) => return self.room.as_mut().map(|room| Frame::read(channel, room.split())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A terminal says EIO when its last user is gone.
                Err(_) => break,
            }
        }
        *self = Self::CLOSED;
        None
    }

    /// Waits for output or its end, and gives the room back meanwhile.
    async fn ready(&mut self) -> io::Result<()> {
        if self.room.is_some() {
            match timeout(QUIET, self.source.ready()).await {
                Ok(ready) => return ready,
                Err(_) => self.room = None,
            }
        }
        self.source.ready().await
    }

    /// Reads `most` bytes or fewer into the room, behind that for a head.
    fn read(&mut self, most: usize) -> io::Result<usize> {
        let room = self.room.get_or_insert_default();
        room.clear();
        if !room.try_reclaim(Frame::LEAD + most) {
            *room = BytesMut::with_capacity(Frame::LEAD + most);
        }
        room.put_bytes(0, Frame::LEAD);
        match &self.source {
            Source::Pipe(pipe) => pipe.try_read_buf(&mut room.limit(most)),
            Source::Terminal(terminal) => read_now(terminal, room),
            Source::Closed => Ok(0),
        }
    }
}

impl Source {
    async fn ready(&self) -> io::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.readable().await,
            Self::Terminal(terminal) => terminal.readable().await.map(drop),
            Self::Closed => Ok(()),
        }
    }

    /// Bytes that can be read by now, as far as one frame takes them; of a terminal it is not known.
    fn waiting(&self) -> usize {
        let Self::Pipe(pipe) = self else { return 0 };
        let all = ioctl_fionread(&**pipe).unwrap_or(0);
        usize::try_from(all).map_or(PIPE, |all| all.min(PIPE))
    }
}

fn read_now(terminal: &AsyncFd<OwnedFd>, into: &mut BytesMut) -> io::Result<usize> {
    let mut buffer = [0; LEAST];
    let read = terminal.try_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut buffer)?))?;
    into.extend_from_slice(&buffer[..read]);
    Ok(read)
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

    use super::*;

    fn tool() -> (Output, OwnedFd) {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        fcntl_setpipe_size(&writer, PIPE).expect("room");
        (Output::of_pipe(Some(reader)).expect("a runtime"), writer)
    }

    fn write(tool: &OwnedFd, bytes: usize) {
        assert_eq!(rustix::io::write(tool, &vec![1; bytes]), Ok(bytes));
    }

    async fn payload(output: &mut Output) -> Option<usize> {
        output.frame(Channel::Stdout, false).await.map(|frame| frame.payload())
    }

    #[tokio::test]
    async fn a_frame_is_as_long_as_what_waits_and_the_last_one_comes_before_the_end() {
        let (mut output, tool) = tool();
        for waiting in [PIPE, 1, 2 * LEAST] {
            write(&tool, waiting);
            assert_eq!(payload(&mut output).await, Some(waiting));
        }
        write(&tool, 10);
        drop(tool);
        assert_eq!(payload(&mut output).await, Some(10));
        assert_eq!((payload(&mut output).await, output.is_open()), (None, false));
    }

    #[tokio::test]
    async fn its_room_is_kept_while_output_comes_and_given_back_when_none_does() {
        let (mut output, tool) = tool();
        for waiting in [PIPE, 1] {
            write(&tool, waiting);
            assert_eq!(payload(&mut output).await, Some(waiting));
            assert!(output.room.as_mut().is_some_and(|room| room.try_reclaim(PIPE)));
        }
        assert!(timeout(2 * QUIET, payload(&mut output)).await.is_err(), "nothing came");
        assert!(output.room.is_none());
    }
}
