//! What a tool writes, as frames.
//!
//! It is read straight to behind the room for a frame's head, so that no byte of it is copied here; where the
//! client's socket can take it from a pipe, it is moved through one of our own and not even read.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use rustix::io::ioctl_fionread;
use rustix::pipe::{SpliceFlags, splice};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};
use wire::frame::Channel;
use wire::limits;

use super::frame::{Frame, OwnPipe};

/// Bytes of the longest frame.
const LONGEST: usize = limits::BURST;

/// Bytes from which on to move them costs less than to copy them.
const WORTH_SPLICING: usize = 16 << 10;

/// Bytes of the smallest read.
const LEAST: usize = 4096;

/// How long a tool may say nothing before its room is given back: longer than it waits for a processor.
const QUIET: Duration = Duration::from_millis(100);

/// One of the tool's outputs.
#[derive(Debug)]
pub(crate) struct Output {
    /// A socket: its lock is ours, whatever the tool does with its own end.
    relay: Option<UnixStream>,
    room: Option<Room>,
    pipe: Option<Arc<OwnPipe>>,
    is_cut: bool,
}

/// Where the last frame was read to, and the next one is: the C library may map so much again for each
/// frame, which costs more than to fill it. A session that is quiet holds none.
#[derive(Debug)]
struct Room {
    buffer: BytesMut,
    last_read: Instant,
}

impl Output {
    /// Of a tool that has no such output.
    pub(crate) const CLOSED: Self = Self { relay: None, room: None, pipe: None, is_cut: false };

    pub(crate) fn of(relay: Option<std::os::unix::net::UnixStream>) -> io::Result<Self> {
        let relay = relay.map(UnixStream::from_std).transpose()?;
        Ok(Self { relay, ..Self::CLOSED })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.relay.is_some()
    }

    /// Whether it has ended before all of it was here.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether something is there to be read.
    pub(crate) fn waits(&self) -> bool {
        self.waiting() > 0
    }

    /// Bytes that can be read by now, as far as one frame takes them.
    fn waiting(&self) -> usize {
        let Some(relay) = &self.relay else { return 0 };
        let all = ioctl_fionread(relay).unwrap_or(0);
        usize::try_from(all).map_or(LONGEST, |all| all.min(LONGEST))
    }

    /// The next frame for `channel`, of what waits, or `None` at the end. Nothing is lost when this is
    /// dropped. A socket that `splices` is handed a pipe, where much waits.
    pub(crate) async fn frame(&mut self, channel: Channel, splices: bool) -> Option<Frame> {
        while self.is_open() {
            if self.ready().await.is_err() {
                break;
            }
            let waiting = self.waiting();
            let frame = if splices && waiting >= WORTH_SPLICING {
                self.splice(waiting).map(|(pipe, moved)| Some(Frame::piped(channel, pipe, moved)))
            } else {
                self.read(waiting.max(LEAST))
                    .map(|read| read.map(|read| Frame::read(channel, read)))
            };
            match frame {
                Ok(Some(frame)) => return Some(frame),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(None) => break,
                // By a relay that had not passed all on.
                Err(_) => {
                    *self = Self { is_cut: true, ..Self::CLOSED };
                    return None;
                }
            }
        }
        *self = Self::CLOSED;
        None
    }

    /// Waits for output or its end, and gives the room back meanwhile.
    async fn ready(&mut self) -> io::Result<()> {
        if let Some(room) = &self.room {
            match timeout_at(room.last_read + QUIET, self.readable()).await {
                Ok(ready) => return ready,
                Err(_) => self.room = None,
            }
        }
        self.readable().await
    }

    async fn readable(&self) -> io::Result<()> {
        match &self.relay {
            Some(relay) => relay.readable().await,
            None => Ok(()),
        }
    }

    /// Moves `most` bytes or fewer into a pipe, which is empty before: what was in it is with the client.
    fn splice(&mut self, most: usize) -> io::Result<(Arc<OwnPipe>, usize)> {
        let Some(relay) = &self.relay else { return Err(io::ErrorKind::NotConnected.into()) };
        let pipe = match &self.pipe {
            Some(pipe) => Arc::clone(pipe),
            None => Arc::clone(self.pipe.insert(OwnPipe::new()?)),
        };
        let moved = relay.try_io(Interest::READABLE, || {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            Ok(splice(relay, None, &pipe.writer, None, most, flags)?)
        })?;
        if moved == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((pipe, moved)) }
    }

    /// Reads `most` bytes or fewer into the room, behind that for a head. None at the end.
    fn read(&mut self, most: usize) -> io::Result<Option<BytesMut>> {
        let room = self.room.get_or_insert_with(Room::default);
        let buffer = room.clear_for(Frame::LEAD + most);
        buffer.put_bytes(0, Frame::LEAD);
        let read = match &self.relay {
            Some(relay) => relay.try_read_buf(&mut buffer.limit(most))?,
            None => 0,
        };
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as Relay;

    use rustix::net::sockopt::set_socket_send_buffer_size;
    use tokio::time::timeout;
    use wire::frame::Head;

    use super::*;

    /// As much as is sure to fit at once.
    const LARGE: usize = 64 << 10;

    fn relay() -> (Output, Relay) {
        let (ours, relays) = Relay::pair().expect("sockets");
        set_socket_send_buffer_size(&relays, LONGEST).expect("room");
        ours.set_nonblocking(true).expect("an open socket");
        (Output::of(Some(ours)).expect("a runtime"), relays)
    }

    /// Writes `bytes` bytes that begin with `first`.
    fn write(relay: &Relay, bytes: usize, first: u8) -> Vec<u8> {
        let written: Vec<u8> = (first..=250).cycle().take(bytes).collect();
        assert_eq!(rustix::io::write(relay, &written), Ok(bytes));
        written
    }

    async fn next(output: &mut Output) -> Option<Frame> {
        output.frame(Channel::Stdout, false).await
    }

    #[tokio::test]
    async fn a_frame_has_all_that_waits_and_the_last_one_comes_before_the_end() {
        let (mut output, relay) = relay();
        let mut frames = Vec::new();
        for (number, waiting) in (0..).zip([LARGE, 1, 2 * LEAST]) {
            let written = write(&relay, waiting, number);
            frames.push((written, next(&mut output).await.expect("a frame")));
        }
        let written = write(&relay, 10, 9);
        drop(relay);
        frames.push((written, next(&mut output).await.expect("the last")));
        for (written, frame) in &frames {
            let head = Head::new(Channel::Stdout, written.len());
            assert!(frame.bytes() == [&head, &written[..]].concat());
        }
        assert!(next(&mut output).await.is_none() && !output.is_open());
    }

    #[tokio::test]
    async fn its_room_is_kept_while_output_comes_and_given_back_when_none_does() {
        let (mut output, relay) = relay();
        let mut ends = Vec::new();
        for waiting in [LARGE, 1] {
            write(&relay, waiting, 0);
            assert!(next(&mut output).await.is_some());
            let room = output.room.as_ref().expect("a room");
            ends.push(room.buffer.as_ptr() as usize - waiting); // what follows the frame
        }
        assert_eq!(ends[0], ends[1]);
        assert!(timeout(2 * QUIET, next(&mut output)).await.is_err(), "nothing came");
        assert!(output.room.is_none());
    }

    #[tokio::test]
    async fn what_is_moved_through_a_pipe_is_what_was_written() {
        let (mut output, relay) = relay();
        for (number, waiting) in (0..).zip([WORTH_SPLICING, 2 * WORTH_SPLICING + 1]) {
            let written = write(&relay, waiting, number);
            output.readable().await.expect("an open socket");
            assert_eq!(output.waiting(), waiting);
            let (pipe, moved) = output.splice(waiting).expect("moved");
            let mut read = vec![0; moved];
            rustix::io::read(&pipe.reader, &mut read[..]).expect("in the pipe");
            assert!(written == read);
        }
    }
}
