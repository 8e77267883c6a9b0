//! Being woken less often: while much comes, a connection is ready only once much is there.
//!
//! A sender behind kube-apiserver sends a record of TLS at a time, and waking us for each costs both
//! sides more than the record itself. So the kernel is told a low-water mark (`SO_RCVLOWAT`, socket(7)) for
//! as long as it is reached quickly. A pause, as before a prompt, costs [`PATIENCE`] once.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use wire::limits;

/// Bytes of a read that is one of many: half a record of TLS.
const MUCH: usize = 8 << 10;

/// Reads of so much, one after the other, before more is expected.
const STREAK: u32 = 8;

/// How long the mark may take to be reached, at 256 MB/s; the timers of the runtime know nothing shorter.
const PATIENCE: Duration = Duration::from_millis(1);

/// A TCP connection that is read in large pieces while it is full. What is written goes through.
#[derive(Debug)]
pub(crate) struct LowWater {
    tcp: TcpStream,
    /// How many reads of much have come last.
    streak: u32,
    is_raised: bool,
    /// Something was there that nobody was told of, and there may be more.
    is_unheard: bool,
    patience: Option<Pin<Box<Sleep>>>,
}

impl LowWater {
    pub(crate) fn of(tcp: TcpStream) -> Self {
        Self { tcp, streak: 0, is_raised: false, is_unheard: false, patience: None }
    }

    fn has_read(&mut self, bytes: usize) {
        self.patience = None;
        if bytes >= MUCH {
            self.streak = self.streak.saturating_add(1);
        } else {
            self.lower();
        }
    }

    /// Raises the mark where more is expected. A reader that waits is woken by the kernel for as much, an end or
    /// a failure, or else by the end of our patience: whether that is now.
    fn loses_patience(&mut self, context: &mut Context<'_>) -> bool {
        if self.streak < STREAK {
            return false;
        }
        if !self.is_raised {
            self.is_raised = mark::set(&self.tcp, limits::BURST);
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        let is_over = patience.as_mut().poll(context).is_ready();
        if is_over {
            self.patience = None;
            self.lower();
        }
        is_over
    }

    fn lower(&mut self) {
        self.streak = 0;
        if self.is_raised {
            self.is_raised = !mark::set(&self.tcp, 1);
        }
    }
}

#[cfg(target_os = "linux")]
mod mark {
    use std::io;
    use std::task::Poll;

    use nix::sys::socket::setsockopt;
    use nix::{libc, setsockopt_impl, sockopt_impl};
    use rustix::io::Errno;
    use rustix::net::{RecvFlags, recv};
    use tokio::io::ReadBuf;
    use tokio::net::TcpStream;

    sockopt_impl!(LowWaterMark, SetOnly, libc::SOL_SOCKET, libc::SO_RCVLOWAT, i32);

    /// Whether the kernel has taken it. Without one everything works, only slower.
    pub(super) fn set(tcp: &TcpStream, bytes: usize) -> bool {
        i32::try_from(bytes).is_ok_and(|bytes| setsockopt(tcp, LowWaterMark, &bytes).is_ok())
    }

    /// Reads what is there, of which nobody may have been told: Linux looks whether a lowered mark is reached
    /// (`tcp_set_rcvlowat`), others that take one for Linux need not.
    pub(super) fn read_now(tcp: &TcpStream, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match recv(tcp, buffer.initialize_unfilled(), RecvFlags::DONTWAIT) {
            Ok((read, _)) => {
                buffer.advance(read);
                Poll::Ready(Ok(()))
            }
            Err(Errno::AGAIN | Errno::INTR) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

/// Elsewhere a process that polls does not heed the mark, or there is none.
#[cfg(not(target_os = "linux"))]
mod mark {
    use std::io;
    use std::task::Poll;

    use tokio::io::ReadBuf;
    use tokio::net::TcpStream;

    pub(super) fn set(_: &TcpStream, _: usize) -> bool {
        false
    }

    /// Nobody is told later than without a mark.
    pub(super) fn read_now(_: &TcpStream, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncRead for LowWater {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.tcp).poll_read(context, buffer) {
            Poll::Pending => {
                if !self.loses_patience(context) && !self.is_unheard {
                    return Poll::Pending;
                }
                let read = mark::read_now(&self.tcp, buffer);
                self.is_unheard = read.is_ready();
                read
            }
            read @ Poll::Ready(_) => {
                self.has_read(buffer.filled().len() - before);
                read
            }
        }
    }
}

impl AsyncWrite for LowWater {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

impl Connection for LowWater {
    fn connected(&self) -> Connected {
        self.tcp.connected()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn connected() -> (TcpStream, LowWater) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("an address");
        let (peer, ours) = tokio::join!(TcpStream::connect(address), listener.accept());
        (peer.expect("a connection"), LowWater::of(ours.expect("a connection").0))
    }

    /// Reads enough for more to be expected, until nothing is left.
    async fn read_much(peer: &mut TcpStream, ours: &mut LowWater) {
        for _ in 0..STREAK {
            peer.write_all(&[7; MUCH]).await.expect("room");
            ours.read_exact(&mut [0; MUCH]).await.expect("as much");
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime").block_on(test);
    }

    #[test]
    fn little_after_much_comes_all_the_same_and_ends_the_expectation() {
        run(async {
            let (mut peer, mut ours) = connected().await;
            read_much(&mut peer, &mut ours).await;
            let mut little = [0; 2];
            let (said, heard) = tokio::join!(
                async {
                    tokio::task::yield_now().await; // so that it is waited for
                    peer.write_all(b"$ ").await
                },
                ours.read_exact(&mut little)
            );
            said.expect("room");
            heard.expect("a prompt");
            assert_eq!((&little, ours.streak, ours.is_raised), (b"$ ", 0, false));
        });
    }

    #[test]
    fn the_mark_is_raised_while_much_is_expected_and_an_end_does_not_wait_for_it() {
        run(async {
            let (mut peer, mut ours) = connected().await;
            read_much(&mut peer, &mut ours).await;
            let raised = std::future::poll_fn(|context| {
                let mut more = [0; 1];
                let polled = Pin::new(&mut ours).poll_read(context, &mut ReadBuf::new(&mut more));
                assert!(polled.is_pending());
                Poll::Ready(ours.is_raised)
            });
            assert!(raised.await);
            drop(peer);
            assert_eq!(ours.read(&mut [0; 1]).await.expect("an end"), 0);
        });
    }
}
