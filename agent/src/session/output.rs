//! What a tool writes, as frames.
//!
//! A pipe is read straight to behind the room for a frame's head, so that no byte of it is copied here;
//! where the socket can take it from the pipe itself, it is not even read.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use rustix::io::ioctl_fionread;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::time::{Instant, timeout_at};
use wire::frame::Channel;

use super::socket::Frame;
use super::stdio::PIPE;
use super::watched::Doubt;

/// Bytes from which on handing over a pipe costs less than copying out of it.
const WORTH_SPLICING: usize = 16 << 10;

/// Bytes of the smallest read: of a page of a pipe, and of what the kernel has of a terminal to be read
/// (`N_TTY_BUF_SIZE`).
const LEAST: usize = 4096;

/// How long a tool may say nothing before its room is given back: longer than it waits for a processor.
const QUIET: Duration = Duration::from_millis(100);

/// One of the tool's outputs.
#[derive(Debug)]
pub(super) struct Output {
    source: Source,
    room: Option<Room>,
}

/// Where the last frame was read to, and the next one is: the C library may map so much anew for each
/// frame, which costs more than to fill it. A session that is quiet holds none.
#[derive(Debug)]
struct Room {
    buffer: BytesMut,
    last_read: Instant,
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

    /// Whether something is there to be read; of a terminal it is not known.
    pub(super) fn waits(&self) -> bool {
        self.source.waiting() > 0
    }

    /// The next frame for `channel`, of what waits in a pipe, or `None` at the end. Nothing is lost when
    /// this is dropped. A socket that `splices` is handed the pipe, where much waits in it.
    pub(super) async fn frame(&mut self, channel: Channel, splices: bool) -> Option<Frame> {
        let mut doubt = Doubt::default();
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
                Ok(Some(read)) => return Some(Frame::read(channel, read)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    doubt.tried_in_vain().await;
                }
                // A terminal says EIO when its last user is gone.
                Ok(None) | Err(_) => break,
            }
        }
        *self = Self::CLOSED;
        None
    }

    /// Waits for output or its end, and gives the room back meanwhile.
    async fn ready(&mut self) -> io::Result<()> {
        if let Some(room) = &self.room {
            match timeout_at(room.last_read + QUIET, self.source.ready()).await {
                Ok(ready) => return ready,
                Err(_) => self.room = None,
            }
        }
        self.source.ready().await
    }

    /// Reads `most` bytes or fewer into the room, behind that for a head. None at the end.
    fn read(&mut self, most: usize) -> io::Result<Option<BytesMut>> {
        let room = self.room.get_or_insert_with(Room::default);
        let buffer = room.clear_for(Frame::LEAD + most);
        buffer.put_bytes(0, Frame::LEAD);
        let read = match &self.source {
            Source::Pipe(pipe) => pipe.try_read_buf(&mut buffer.limit(most)),
            Source::Terminal(terminal) => read_now(terminal, buffer),
            Source::Closed => Ok(0),
        }?;
        room.last_read = Instant::now();
        Ok((read > 0).then(|| room.buffer.split()))
    }
}

impl Default for Room {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), last_read: Instant::now() }
    }
}

impl Room {
    /// The same bytes again, once the last frame is gone and where they are as many as `needed`.
    fn clear_for(&mut self, needed: usize) -> &mut BytesMut {
        self.buffer.clear();
        if !self.buffer.try_reclaim(needed) {
            self.buffer = BytesMut::with_capacity(needed);
        }
        &mut self.buffer
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
    use std::os::fd::AsRawFd;

    use rustix::fs::{Mode, OFlags, open};
    use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
    use tokio::time::{sleep, timeout};
    use wire::frame::Head;

    use super::*;
    use crate::session::watched::lets_go;

    fn tool() -> (Output, OwnedFd) {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        fcntl_setpipe_size(&writer, PIPE).expect("room");
        (Output::of_pipe(Some(reader)).expect("a runtime"), writer)
    }

    /// Writes `bytes` bytes that begin with `first`.
    fn write(tool: &OwnedFd, bytes: usize, first: u8) -> Vec<u8> {
        let written: Vec<u8> = (first..=250).cycle().take(bytes).collect();
        assert_eq!(rustix::io::write(tool, &written), Ok(bytes));
        written
    }

    async fn next(output: &mut Output) -> Option<Frame> {
        output.frame(Channel::Stdout, false).await
    }

    #[tokio::test]
    async fn a_frame_has_all_that_waits_and_the_last_one_comes_before_the_end() {
        let (mut output, tool) = tool();
        let mut frames = Vec::new();
        for (number, waiting) in (0..).zip([PIPE, 1, 2 * LEAST]) {
            let written = write(&tool, waiting, number);
            frames.push((written, next(&mut output).await.expect("a frame")));
        }
        let written = write(&tool, 10, 9);
        drop(tool);
        frames.push((written, next(&mut output).await.expect("the last")));
        for (written, frame) in &frames {
            let head = Head::new(Channel::Stdout, written.len());
            assert!(frame.bytes() == [&head, &written[..]].concat());
        }
        assert!(next(&mut output).await.is_none() && !output.is_open());
    }

    #[tokio::test]
    async fn its_room_is_kept_while_output_comes_and_given_back_when_none_does() {
        let (mut output, tool) = tool();
        let mut ends = Vec::new();
        for waiting in [PIPE, 1] {
            write(&tool, waiting, 0);
            assert!(next(&mut output).await.is_some());
            let room = output.room.as_ref().expect("a room");
            ends.push(room.buffer.as_ptr() as usize - waiting); // what follows the frame
        }
        assert_eq!(ends[0], ends[1]);
        assert!(timeout(2 * QUIET, next(&mut output)).await.is_err(), "nothing came");
        assert!(output.room.is_none());
    }

    #[test]
    fn a_pipe_that_is_opened_anew_stops_no_other_session_and_is_read_on() {
        lets_go(async {
            let (mut output, tool) = tool();
            let path = format!("/proc/self/fd/{}", tool.as_raw_fd());
            let handle = open(path, OFlags::PATH, Mode::empty()).expect("a handle");
            write(&tool, 1, 0);
            assert!(next(&mut output).await.is_some());
            drop(tool);
            // The runtime hears of it, and we have not read the end.
            sleep(Duration::from_millis(10)).await;
            let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
            let tool = open(path, OFlags::WRONLY, Mode::empty()).expect("opened anew");
            assert!(timeout(QUIET, next(&mut output)).await.is_err(), "nothing came");
            let written = write(&tool, 3, 0);
            let head = Head::new(Channel::Stdout, written.len());
            let frame = next(&mut output).await.expect("a frame");
            assert_eq!(frame.bytes(), [&head, &written[..]].concat());
        });
    }
}
