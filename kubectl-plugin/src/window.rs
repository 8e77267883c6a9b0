//! How much of stdin may be on its way: so little that what else we say does not wait behind it.
//!
//! Without this, stdin that the tool does not read fills every buffer up to us, and a Ctrl-C is stuck behind it.

use tokio::sync::watch;
use wire::frame::Protocol;
use wire::limits::{FRAME, STDIN_WINDOW};

/// What the server says of it.
pub(crate) struct Taken(watch::Sender<u64>);

/// What may be sent.
#[derive(Debug)]
pub(crate) struct Window {
    sent: u64,
    /// `None` where the server does not say what was taken: it then stops reading when it has enough.
    taken: Option<watch::Receiver<u64>>,
}

/// Both sides of it, for a session in `protocol`.
pub(crate) fn open(protocol: Protocol) -> (Taken, Window) {
    let (tell, taken) = watch::channel(0);
    let taken = Some(taken).filter(|_| protocol == Protocol::Nsdebug);
    (Taken(tell), Window { sent: 0, taken })
}

impl Taken {
    pub(crate) fn tell(&self, bytes: u64) {
        self.0.send_replace(bytes);
    }
}

impl Window {
    /// Completes when one more piece may be sent. Safe to be dropped and called again.
    pub(crate) async fn room(&mut self) {
        let Some(taken) = &mut self.taken else { return };
        let fits = |taken: &u64| self.sent.saturating_sub(*taken) <= (STDIN_WINDOW - FRAME) as u64;
        if taken.wait_for(fits).await.is_err() {
            // The server is not heard any more, and the session ends by that.
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn send(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_full_window_has_room_again_when_something_was_taken() {
        let (taken, mut window) = open(Protocol::Nsdebug);
        while window.room().now_or_never().is_some() {
            window.send(FRAME);
        }
        assert_eq!(window.sent, STDIN_WINDOW as u64);
        taken.tell(FRAME as u64 - 1);
        assert_eq!(window.room().now_or_never(), None);
        taken.tell(FRAME as u64);
        assert_eq!(window.room().now_or_never(), Some(()));
    }

    #[test]
    fn a_server_that_does_not_say_what_was_taken_is_sent_all() {
        let (_taken, mut window) = open(Protocol::V5);
        window.send(usize::MAX);
        assert_eq!(window.room().now_or_never(), Some(()));
    }
}
