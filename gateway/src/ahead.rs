//! Reading ahead of TLS, whose library asks the connection for 4 KiB at a time: a gibibyte would be a
//! quarter of a million system calls.
//!
//! What is read ahead is held only while more comes: thousands of idle connections hold nothing. Nothing is
//! read ahead of a stranger, and of what a stranger says only a ration.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use wire::limits;

/// Bytes of one read from a stranger: what TLS asks for.
const BIT: usize = 4 << 10;

/// Whether a connection's other end has proved who it is; clones are of the same connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(Arc<AtomicBool>);

impl Known {
    /// From here on the connection may say as much as it likes.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A connection of which more is read at once than is asked for. What is written goes through.
#[derive(Debug)]
pub(crate) struct Ahead<S> {
    inner: S,
    read: BytesMut,
    known: Known,
    /// Bytes that may be read while it is not known, and how many of them are left.
    most_unknown: usize,
    ration: usize,
}

impl<S> Ahead<S> {
    /// Of a stranger, of whom no more than `ration` bytes are read.
    pub(crate) fn of(inner: S, ration: usize) -> Self {
        let (read, known) = (BytesMut::new(), Known::default());
        Self { inner, read, known, most_unknown: ration, ration }
    }

    pub(crate) fn known(&self) -> Known {
        self.known.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { inner, read: ahead, known, most_unknown, ration } = &mut *self;
        if ahead.is_empty() {
            let is_known = known.get();
            let (room, most) =
                if is_known { (limits::AHEAD, usize::MAX) } else { (BIT, BIT.min(*ration)) };
            if most == 0 {
                let why = format!("unauthenticated client sent more than {most_unknown} bytes");
                return Poll::Ready(Err(io::Error::other(why)));
            }
            ahead.reserve(room); // the same bytes again, while more comes
            let read = pin!(inner.read_buf(&mut ahead.limit(most))).poll(context);
            let Poll::Ready(Ok(count @ 1..)) = read else {
                *ahead = BytesMut::new();
                return read.map_ok(drop);
            };
            *ration = ration.saturating_sub(count);
        }
        let now = buffer.remaining().min(ahead.len());
        buffer.put_slice(&ahead[..now]);
        ahead.advance(now);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ahead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use tokio::io::{AsyncWriteExt, duplex};

    #[tokio::test]
    async fn small_reads_are_served_from_one_large_one_and_nothing_is_held_when_no_more_comes() {
        let (mut peer, ours) = duplex(64);
        let mut ahead = Ahead::of(ours, 5);
        ahead.known().set();
        peer.write_all(b"hello world").await.expect("room");
        let mut part = [0; 4];
        ahead.read_exact(&mut part).await.expect("a part");
        assert_eq!((&part, &ahead.read[..]), (b"hell", &b"o world"[..]));
        let mut rest = [0; 7];
        ahead.read_exact(&mut rest).await.expect("the rest");
        assert_eq!(&rest, b"o world");
        let waits = poll_fn(|context| {
            let polled = Pin::new(&mut ahead).poll_read(context, &mut ReadBuf::new(&mut part));
            Poll::Ready(polled.is_pending())
        });
        assert!(waits.await);
        assert_eq!(ahead.read.capacity(), 0);
        ahead.write_all(b"bye").await.expect("room");
        peer.read_exact(&mut rest[..3]).await.expect("what was written");
        drop(peer);
        assert_eq!(ahead.read(&mut part).await.expect("an end"), 0);
    }

    #[tokio::test]
    async fn a_stranger_is_heard_to_the_end_of_the_ration() {
        let (mut peer, ours) = duplex(64);
        let mut ahead = Ahead::of(ours, 5);
        let known = ahead.known();
        peer.write_all(b"hello world").await.expect("room");
        let mut word = [0; 5];
        ahead.read_exact(&mut word).await.expect("the ration");
        assert_eq!(&word, b"hello");
        ahead.read(&mut word).await.expect_err("no more than that");
        known.set();
        ahead.read_exact(&mut word).await.expect("the rest");
        assert_eq!(&word, b" worl");
    }
}
