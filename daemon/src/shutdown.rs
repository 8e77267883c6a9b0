//! The steps of stopping: say so, take no more work, end what still runs.
//!
//! One [`Control`] decides, any number of [`Shutdown`]s listen. A program that is sent work by one that
//! takes a while to hear of it serves on between the first two; others begin with the second.

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Leaving,
    Draining,
    Ended,
}

/// Decides; there is one. When it is dropped, everything ends.
#[derive(Debug)]
#[must_use = "dropping this ends every session"]
pub struct Control {
    phase: watch::Sender<Phase>,
}

/// Listens; clones are cheap.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: watch::Receiver<Phase>,
}

/// A pair of the one that decides and the first that listens.
pub fn shutdown() -> (Control, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (Control { phase: sender }, Shutdown { phase: receiver })
}

impl Control {
    /// Not ready any more, and still serving.
    pub fn leave(&self) {
        self.enter(Phase::Leaving);
    }

    /// No new connections and sessions; the running ones go on.
    pub fn drain(&self) {
        self.enter(Phase::Draining);
    }

    /// The running sessions must end now.
    pub fn end(&self) {
        self.enter(Phase::Ended);
    }

    /// Phases only ever go forward.
    fn enter(&self, next: Phase) {
        self.phase.send_if_modified(|phase| {
            let forward = next > *phase;
            *phase = next.max(*phase);
            forward
        });
    }
}

impl Shutdown {
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.is_at(Phase::Leaving)
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_at(Phase::Draining)
    }

    /// Completes when no more work must be taken.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Completes when a session must end, whatever it is doing.
    pub async fn ended(&self) {
        self.reached(Phase::Ended).await;
    }

    fn is_at(&self, phase: Phase) -> bool {
        *self.phase.borrow() >= phase || self.phase.has_changed().is_err()
    }

    async fn reached(&self, phase: Phase) {
        let mut receiver = self.phase.clone();
        // An error says that the control is gone, which is the end as well.
        let _ = receiver.wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn each_step_includes_the_ones_before_and_none_goes_back() {
        let (control, shutdown) = shutdown();
        assert!(!shutdown.is_leaving());
        control.leave();
        assert!(shutdown.is_leaving() && !shutdown.is_draining());
        assert!(shutdown.draining().now_or_never().is_none());
        control.drain();
        assert!(shutdown.is_draining() && shutdown.draining().now_or_never().is_some());
        assert!(shutdown.ended().now_or_never().is_none());
        control.end();
        control.leave();
        assert!(shutdown.ended().now_or_never().is_some());
    }

    #[test]
    fn a_control_that_is_gone_ends_everything() {
        let (control, shutdown) = shutdown();
        drop(control);
        assert!(shutdown.is_leaving() && shutdown.is_draining());
        assert!(shutdown.ended().now_or_never().is_some());
    }

    #[test]
    fn who_drains_at_once_has_left() {
        let (control, shutdown) = shutdown();
        control.drain();
        assert!(shutdown.is_leaving() && shutdown.ended().now_or_never().is_none());
    }
}
