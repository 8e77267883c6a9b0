//! What ends a session from outside: its agent's end, a caller's word, idleness, and age.

use std::sync::Arc;

use daemon::shutdown::Shutdown;
use tokio::time::sleep_until;
use wire::TimeSpan;

use super::limits::Limit;
use super::why::Why;
use crate::registry::Registered;
use crate::session::advice::Advice;
use crate::session::stream::traffic::Traffic;

/// One session's, from its start.
#[derive(Debug)]
pub struct EndConditions {
    pub registered: Arc<Registered>,
    pub shutdown: Shutdown,
    /// How long it may go on without a byte from the user or the tool.
    pub idle: TimeSpan,
    /// How long it may go on in all.
    pub limit: Limit,
    /// What may help where the tool fails.
    pub advice: Option<Advice>,
}

impl EndConditions {
    pub(crate) fn traffic(&self) -> &Traffic {
        self.registered.traffic()
    }

    /// Completes when the session must end, whatever it is doing.
    pub(crate) async fn cut(&self) -> Why {
        let Self { registered, shutdown, idle, limit, advice: _ } = self;
        let traffic = registered.traffic();
        tokio::select! {
            by = registered.ended() => Why::EndedBy(by),
            () = shutdown.ended() => Why::AgentStops,
            () = traffic.idle(idle.duration()) => Why::Idle(*idle),
            () = sleep_until(traffic.since() + limit.duration()) => Why::TooLong(*limit),
        }
    }
}
