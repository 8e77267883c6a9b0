//! What has passed through a session, and when the last of it did.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Counted by both halves of a pump, read by lists and audit.
#[derive(Debug)]
pub(crate) struct Traffic {
    since: Instant,
    stdin: AtomicU64,
    stdout: AtomicU64,
    stderr: AtomicU64,
    /// Milliseconds from `since` to the last byte of a user or a tool. Signs of life do not count.
    last: AtomicU64,
    /// Our own writes are waiting: the peer's silence means nothing then.
    blocked: AtomicBool,
}

/// One of the tool's standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToolStream {
    Stdin,
    Stdout,
    Stderr,
}

impl Traffic {
    pub(crate) fn begin() -> Self {
        Self {
            since: Instant::now(),
            stdin: AtomicU64::new(0),
            stdout: AtomicU64::new(0),
            stderr: AtomicU64::new(0),
            last: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
        }
    }

    pub(crate) fn add(&self, flow: ToolStream, bytes: usize) {
        let counter = match flow {
            ToolStream::Stdin => &self.stdin,
            ToolStream::Stdout => &self.stdout,
            ToolStream::Stderr => &self.stderr,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Bytes of stdin, stdout and stderr.
    pub(crate) fn bytes(&self) -> [u64; 3] {
        [&self.stdin, &self.stdout, &self.stderr].map(|counter| counter.load(Ordering::Relaxed))
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    pub(crate) fn block(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Completes when nothing has passed for `limit`.
    pub(crate) async fn idle(&self, limit: Duration) {
        loop {
            let last = self.since + Duration::from_millis(self.last.load(Ordering::Relaxed));
            if last.elapsed() >= limit {
                return;
            }
            sleep_until(last + limit).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_byte_starts_the_idle_time_again_and_silence_ends_it() {
        let limit = Duration::from_millis(60);
        let traffic = Traffic::begin();
        tokio::time::sleep(limit / 2).await;
        traffic.add(ToolStream::Stdin, 1);
        assert!(timeout(limit * 3 / 4, traffic.idle(limit)).await.is_err(), "not idle yet");
        assert!(timeout(limit * 20, traffic.idle(limit)).await.is_ok());
        assert_eq!(traffic.bytes(), [1, 0, 0]);
    }
}
