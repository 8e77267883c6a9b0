//! What requests share, and whether it takes one more session.

use std::sync::Arc;

use daemon::shutdown::Shutdown;

use super::error::Refusal;
use crate::metrics::Metrics;
use crate::peer::Peer;
use crate::slots::{Slot, Slots};
use wire::StatusReason;

/// What requests share.
#[derive(Debug)]
pub struct Agent<R> {
    pub runtime: Arc<R>,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
    pub slots: Slots,
}

impl<R> Clone for Agent<R> {
    fn clone(&self) -> Self {
        Self {
            runtime: Arc::clone(&self.runtime),
            metrics: self.metrics.clone(),
            shutdown: self.shutdown.clone(),
            slots: self.slots.clone(),
        }
    }
}

impl<R> Agent<R> {
    /// A slot for one session, or why there is none.
    pub fn admit(&self, peer: &Peer) -> Result<Slot, Refusal> {
        self.admitting()?;
        Ok(self.slots.take(peer.caller())?)
    }

    /// Whether there is a slot for one session, which is not taken.
    pub fn look(&self, peer: &Peer) -> Result<(), Refusal> {
        self.admitting()?;
        Ok(self.slots.look(&peer.caller())?)
    }

    pub(super) fn admitting(&self) -> Result<(), Refusal> {
        if self.shutdown.is_draining() {
            let message = "the agent is shutting down and accepts no new sessions";
            return Err(Refusal::new(StatusReason::ServiceUnavailable, message));
        }
        Ok(())
    }
}
