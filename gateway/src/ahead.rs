//! Reading ahead of TLS, whose library asks the connection for 4 KiB at a time: a gibibyte would be a
//! quarter of a million system calls.
//!
//! What is read ahead is held only until it is asked for: thousands of idle connections hold nothing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of one read: four records of TLS.
const AHEAD: usize = 64 << 10;

/// A connection of which more is read at once than is asked for. What is written goes through.
#[derive(Debug)]
pub(crate) struct Ahead<S> {
    inner: S,
    ahead: Bytes,
}

impl<S> Ahead<S> {
    pub(crate) fn of(inner: S) -> Self {
        Self { inner, ahead: Bytes::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let mut space = Box::new_uninit_slice(AHEAD);
            let mut read = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.inner).poll_read(context, &mut read))?;
            let (now, later) = read.filled().split_at(buffer.remaining().min(read.filled().len()));
            buffer.put_slice(now);
            self.ahead = Bytes::copy_from_slice(later);
        } else {
            let now = buffer.remaining().min(self.ahead.len());
            buffer.put_slice(&self.ahead[..now]);
            self.ahead.advance(now);
            if self.ahead.is_empty() {
                self.ahead = Bytes::new(); // what it was a part of is let go
            }
        }
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
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn small_reads_are_served_from_one_large_one_and_nothing_is_held_after_it() {
        let (mut peer, ours) = duplex(64);
        let mut ahead = Ahead::of(ours);
        peer.write_all(b"hello world").await.expect("room");
        let mut part = [0; 4];
        ahead.read_exact(&mut part).await.expect("a part");
        assert_eq!((&part, &ahead.ahead[..]), (b"hell", &b"o world"[..]));
        let mut rest = [0; 7];
        ahead.read_exact(&mut rest).await.expect("the rest");
        assert_eq!((&rest, ahead.ahead.len()), (b"o world", 0));
        ahead.write_all(b"bye").await.expect("room");
        peer.read_exact(&mut rest[..3]).await.expect("what was written");
        drop(peer);
        assert_eq!(ahead.read(&mut part).await.expect("an end"), 0);
    }
}
