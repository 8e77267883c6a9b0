//! The client's websocket. Its protocol is the library's, but for output: that is most of what a
//! session ever sends, and the library would copy each byte of it into a buffer of its own.
//!
//! A frame of output goes past the library straight to the connection, and what is in a pipe of ours
//! goes into a unix socket without being read (`splice(2)`).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use futures_util::{Sink, Stream};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::pipe::{SpliceFlags, splice};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use wire::limits;

use super::frame::Frame;

/// Bytes read from a socket at once: a frame of ours, so that 1 GiB of input is not 64 Ki reads.
const READ_BUFFER: usize = 64 << 10;

/// Bytes that the library keeps: of signs of life and last words, and of nothing longer.
const WRITE_BUFFER: usize = 4 * limits::FRAME;

/// A client's connection after `101`.
#[derive(Debug)]
pub struct Socket(WebSocketStream<Line>);

/// What goes to the client.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Message(Message),
    Output(Frame),
}

impl Outgoing {
    /// Bytes of the tool's.
    pub(crate) fn payload(&self) -> usize {
        match self {
            Self::Message(_) => 0,
            Self::Output(frame) => frame.payload,
        }
    }
}

impl Socket {
    pub async fn new(upgraded: Upgraded) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(limits::INBOUND_MESSAGE))
            .max_frame_size(Some(limits::INBOUND_MESSAGE))
            .read_buffer_size(READ_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER);
        let (connection, early) = match upgraded.downcast::<TokioIo<UnixStream>>() {
            Ok(parts) => (Connection::Unix(parts.io.into_inner()), parts.read_buf.to_vec()),
            Err(upgraded) => (Connection::Other(TokioIo::new(upgraded)), Vec::new()),
        };
        let line = Line { connection, frame: None };
        let role = Role::Server;
        Self(WebSocketStream::from_partially_read(line, early, role, Some(config)).await)
    }

    /// Whether a frame may have its payload in a pipe.
    pub(crate) fn splices(&self) -> bool {
        matches!(self.0.get_ref().connection, Connection::Unix(_))
    }
}

impl Stream for Socket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx)
    }
}

impl Sink<Outgoing> for Socket {
    type Error = Error;

    /// Until nothing else is on its way: a frame must not begin in the middle of another.
    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_flush(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, outgoing: Outgoing) -> Result<(), Error> {
        match outgoing {
            Outgoing::Message(message) => Pin::new(&mut self.0).start_send(message),
            Outgoing::Output(frame) => {
                self.0.get_mut().frame = Some(frame);
                Ok(())
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.0.get_mut().poll_frame(cx))?;
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.0.get_mut().poll_frame(cx))?;
        ready!(Pin::new(&mut self.0).poll_close(cx))?;
        // The library leaves the connection under it open.
        Pin::new(self.0.get_mut()).poll_shutdown(cx).map_err(Error::Io)
    }
}

/// The connection under the library, which keeps off it while a frame of output is on its way.
#[derive(Debug)]
struct Line {
    connection: Connection,
    frame: Option<Frame>,
}

#[derive(Debug)]
enum Connection {
    Unix(UnixStream),
    Other(TokioIo<Upgraded>),
}

/// What both kinds of connection are.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

impl Connection {
    fn stream(&mut self) -> Pin<&mut dyn Duplex> {
        match self {
            Self::Unix(socket) => Pin::new(socket),
            Self::Other(other) => Pin::new(other),
        }
    }
}

impl Line {
    /// Writes what is left of the frame, if one is on its way.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(frame) = &mut self.frame {
            ready!(frame.poll_write(&mut self.connection, cx))?;
            self.frame = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl Frame {
    fn poll_write(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.bytes.has_remaining() {
            let written = ready!(connection.stream().poll_write(cx, &self.bytes))?;
            self.bytes.advance(moved(written)?);
        }
        if let (Some((pipe, left)), Connection::Unix(socket)) = (&mut self.rest, connection) {
            while *left > 0 {
                ready!(socket.poll_write_ready(cx))?;
                match socket.try_io(Interest::WRITABLE, || {
                    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
                    Ok(splice(&pipe.reader, None, &*socket, None, *left, flags)?)
                }) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    written => *left -= moved(written?)?,
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// How much was moved, which is never nothing where there was something to move.
fn moved(bytes: usize) -> io::Result<usize> {
    if bytes == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(bytes) }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.connection.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.frame.is_some() {
            // The sender of the frame is woken for it, and lets the library go on afterwards.
            return Poll::Pending;
        }
        self.connection.stream().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.stream().poll_shutdown(cx)
    }
}
