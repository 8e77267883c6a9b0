//! The tool's stdin at our side. What the tool does not take at once is kept, so that its client can be heard meanwhile.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::net::UnixStream;
use wire::limits::STDIN_TOLD;

/// See the module.
#[derive(Debug)]
pub(crate) struct Input {
    /// `None` where stdin was not asked for, or the tool no longer wants any: what comes is dropped.
    relay: Option<UnixStream>,
    kept: BytesMut,
    ends: bool,
    taken: u64,
    told: u64,
}

impl Input {
    pub(crate) fn of(relay: Option<UnixStream>) -> Self {
        Self { relay, kept: BytesMut::new(), ends: false, taken: 0, told: 0 }
    }

    /// Passes on what the tool takes of `bytes` without a wait, and keeps the rest.
    pub(crate) fn accept(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.kept.is_empty() && !rest.is_empty() {
            match self.pass(rest) {
                Some(passed) => rest = rest.get(passed..).unwrap_or_default(),
                None => break,
            }
        }
        self.kept.extend_from_slice(rest);
    }

    /// Passes on some of what is kept, when the tool takes it. To be called again until nothing is kept.
    pub(crate) async fn pass_on(&mut self) {
        if let Some(relay) = &self.relay {
            // What is wrong with the socket shows when it is written to.
            let _ = relay.writable().await;
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.advance(self.pass(&kept).unwrap_or(0));
        if kept.is_empty() {
            self.relay = self.relay.take().filter(|_| !self.ends);
        } else {
            self.kept = kept;
        }
    }

    /// How much of `bytes` is passed on now; `None` where the tool takes nothing.
    fn pass(&mut self, bytes: &[u8]) -> Option<usize> {
        let passed = match self.relay.as_ref().map(|relay| relay.try_write(bytes)) {
            Some(Ok(passed @ 1..)) => passed,
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return None,
            // The tool has closed its input, as `head` does: no failure, and there is no one to tell.
            Some(Ok(0) | Err(_)) | None => {
                self.relay = None;
                bytes.len()
            }
        };
        self.taken += passed as u64;
        Some(passed)
    }

    /// Bytes that the tool has not taken.
    pub(crate) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// No more will come. A terminal has no end of its own, and its relay takes this for none: its user types one.
    pub(crate) fn close(&mut self) {
        self.ends = true;
        self.relay = self.relay.take().filter(|_| !self.kept.is_empty());
    }

    /// All that the tool has taken, when it is time to say so.
    pub(crate) fn news(&mut self) -> Option<u64> {
        (self.taken - self.told >= STDIN_TOLD as u64).then(|| {
            self.told = self.taken;
            self.taken
        })
    }
}
