//! Bytes between a client and an agent, both ways, as they come: no frame is read here.
//!
//! One buffer a direction and nothing queued, so that a side that does not read makes the other wait. TLS hands
//! out a record at a time; they are gathered, for each write is a system call of its own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncWrite, Join, ReadBuf, ReadHalf, WriteHalf, copy_bidirectional_with_sizes, join,
    split,
};

/// Bytes held on their way to the agent: a piece of stdin.
const TO_AGENT: usize = wire::limits::FRAME;

/// Bytes held on their way to the client.
const TO_CLIENT: usize = wire::limits::BURST;

/// What is left of the other direction once one has ended: a few frames of goodbye.
const LINGER: Duration = Duration::from_secs(10);

/// How much has gone each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) from_client: u64,
    pub(crate) to_client: u64,
}

/// Counts what goes through; clones read the same numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    from_client: AtomicU64,
    to_client: AtomicU64,
    ended: tokio::sync::Notify,
}

impl Meter {
    pub(crate) fn read(&self) -> Moved {
        Moved {
            from_client: self.0.from_client.load(Ordering::Relaxed),
            to_client: self.0.to_client.load(Ordering::Relaxed),
        }
    }
}

/// Copies until both directions have ended, one of them broke, or one is over and the other does not
/// follow.
pub(crate) async fn relay<C, A>(client: C, agent: A, meter: Meter) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    A: AsyncRead + AsyncWrite + Unpin,
{
    relay_lingering(client, agent, meter, LINGER).await
}

async fn relay_lingering<C, A>(
    client: C,
    agent: A,
    meter: Meter,
    linger: Duration,
) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    A: AsyncRead + AsyncWrite + Unpin,
{
    let mut client = Metered { inner: gathering(client), meter: meter.clone() };
    let mut agent = gathering(agent);
    let one_has_ended = async {
        meter.0.ended.notified().await;
        tokio::time::sleep(linger).await;
    };
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut client, &mut agent, TO_AGENT, TO_CLIENT) => {
            copied.map(drop)
        }
        () = one_has_ended => Ok(()),
    }
}

/// An end whose reads are gathered and whose writes are as they were.
fn gathering<S: AsyncRead + AsyncWrite>(end: S) -> Join<Gathered<ReadHalf<S>>, WriteHalf<S>> {
    let (reader, writer) = split(end);
    join(Gathered::of(reader), writer)
}

/// Reads all that is there, as far as there is room.
struct Gathered<S> {
    inner: S,
    /// What came after something that was read: for the next time.
    failure: Option<io::Error>,
}

impl<S> Gathered<S> {
    fn of(inner: S) -> Self {
        Self { inner, failure: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        let before = buffer.filled().len();
        loop {
            let gathered = buffer.filled().len();
            let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
            let has_read =
                matches!(polled, Poll::Ready(Ok(()))) && buffer.filled().len() > gathered;
            if has_read && buffer.remaining() > 0 {
                continue;
            }
            if gathered == before {
                return polled;
            }
            // An end is there again for the next read.
            if let Poll::Ready(Err(failure)) = polled {
                self.failure = Some(failure);
            }
            return Poll::Ready(Ok(()));
        }
    }
}

/// The client's end, with its bytes counted and the ends of both directions noticed.
struct Metered<S> {
    inner: S,
    meter: Meter,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        self.meter.0.from_client.fetch_add(read as u64, Ordering::Relaxed);
        if matches!(polled, Poll::Ready(Ok(()))) && read == 0 {
            self.meter.0.ended.notify_one();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.meter.0.to_client.fetch_add(written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.meter.0.ended.notify_one();
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn both_directions_are_copied_and_counted() {
        let (mut client, theirs) = duplex(1024);
        let (mut agent, ours) = duplex(1024);
        let meter = Meter::default();
        let relaying = tokio::spawn(relay(theirs, ours, meter.clone()));
        client.write_all(b"hello").await.expect("a write");
        let mut read = [0; 5];
        agent.read_exact(&mut read).await.expect("a read");
        agent.write_all(b"bye").await.expect("a write");
        drop(agent);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.expect("the rest");
        drop(client);
        assert_eq!((&read[..], &rest[..]), (&b"hello"[..], &b"bye"[..]));
        relaying.await.expect("no panic").expect("an orderly end");
        assert_eq!(meter.read(), Moved { from_client: 5, to_client: 3 });
    }

    #[tokio::test]
    async fn all_that_is_there_is_read_at_once_and_its_end_is_not_lost() {
        // Chained, each of them is a read of its own, as a record is.
        let mut records = Gathered::of((&b"one"[..]).chain(&b"two"[..]).chain(&b"three"[..]));
        let mut read = [0; 8];
        assert_eq!(records.read(&mut read).await.expect("records"), 8);
        assert_eq!(&read, b"onetwoth");
        assert_eq!(records.read(&mut read).await.expect("the rest"), 3);
        assert_eq!(records.read(&mut read).await.expect("the end"), 0);
    }

    #[tokio::test]
    async fn a_failure_comes_after_what_was_read_before_it() {
        // As a socket does: it says so once, and is at its end from then on.
        struct Reset(bool);
        impl AsyncRead for Reset {
            fn poll_read(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                _: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let is_first = !std::mem::replace(&mut self.0, true);
                let failure = is_first.then(|| io::ErrorKind::ConnectionReset.into());
                Poll::Ready(failure.map_or(Ok(()), Err))
            }
        }
        let mut broken = Gathered::of((&b"some"[..]).chain(Reset(false)));
        let mut read = [0; 8];
        assert_eq!(broken.read(&mut read).await.expect("some"), 4);
        let error = broken.read(&mut read).await.expect_err("a failure");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn an_end_that_nobody_answers_is_the_end() {
        let (client, theirs) = duplex(1024);
        let (agent, ours) = duplex(1024);
        drop(client);
        // The agent's end stays open and says nothing.
        let linger = Duration::from_millis(10);
        let ended = relay_lingering(theirs, ours, Meter::default(), linger).await;
        ended.expect("an orderly end");
        drop(agent);
    }
}
