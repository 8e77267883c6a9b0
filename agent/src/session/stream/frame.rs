//! A frame of output: what was read behind the room for its head, or what waits in a pipe of ours.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use wire::frame::{Channel, Head};
use wire::limits;

/// A whole frame of output.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(super) payload: usize,
    pub(super) bytes: Bytes,
    /// Where the rest of the payload waits, and how much of it is the frame's.
    pub(super) rest: Option<(Arc<OwnPipe>, usize)>,
}

impl Frame {
    /// Bytes before a payload that is read: a head, and more. A large buffer begins 16 bytes behind a page's
    /// beginning, and to up to 31 the kernel would be slow to copy (see [`limits::AHEAD`]).
    pub(crate) const LEAD: usize = 64;

    /// A frame of what was read into `buffer` behind [`Self::LEAD`].
    pub(crate) fn read(channel: Channel, mut buffer: BytesMut) -> Self {
        let payload = buffer.len() - Self::LEAD;
        let head = Head::new(channel, payload);
        buffer.advance(Self::LEAD - head.len());
        buffer[..head.len()].copy_from_slice(&head);
        Self { payload, bytes: buffer.freeze(), rest: None }
    }

    /// A frame of the next `payload` bytes in `pipe`, which are there.
    pub(crate) fn piped(channel: Channel, pipe: Arc<OwnPipe>, payload: usize) -> Self {
        let head = Head::new(channel, payload);
        Self { payload, bytes: Bytes::copy_from_slice(&head), rest: Some((pipe, payload)) }
    }

    /// With its head, of what was read.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What holds bytes for one frame: nobody but us has either end.
#[derive(Debug)]
pub(crate) struct OwnPipe {
    pub(crate) reader: OwnedFd,
    pub(super) writer: OwnedFd,
}

impl OwnPipe {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        // A smaller pipe is slower and nothing else.
        let _ = fcntl_setpipe_size(&writer, limits::BURST);
        Ok(Arc::new(Self { reader, writer }))
    }
}
