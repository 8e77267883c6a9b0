//! What ends a session, and which of several ends is its reason.

use std::time::Duration;

use entry::{Event, Exit};
use tokio::time::{Instant, sleep_until};

use super::running::{KILLED, Running};
use crate::shutdown::Shutdown;

/// A supervisor that was asked to end its tool kills it after a second; three more are for a node
/// that hardly runs.
const END: Duration = Duration::from_secs(4);

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The tool ended by itself.
    Tool,
    /// The target's process is gone.
    TargetExit,
    /// Somebody inside the target killed the supervisor.
    KilledInside,
    /// This agent is being stopped.
    AgentStops,
    /// Asked to end, it did not. Nothing more can be done from here.
    Stuck,
}

impl Why {
    /// For people; nothing where the exit says all.
    pub(super) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Tool => None,
            Self::TargetExit => Some("the target exited"),
            Self::KilledInside => Some("the session was killed from inside the target"),
            Self::AgentStops => Some("the agent is stopping"),
            Self::Stuck => Some("the session could not be ended"),
        }
    }
}

/// Completes when the tool is gone, or cannot be made to go.
pub(super) async fn ending(running: &mut Running, shutdown: &Shutdown) -> (Exit, Why) {
    let mut asked: Option<(Why, Instant)> = None;
    loop {
        let why = asked.map(|(why, _)| why);
        let (mut events, target) = running.halves();
        let cause = tokio::select! {
            event = events.next() => match event {
                Ok(Event::Started) => continue,
                Ok(Event::Ended(exit)) => return ended(exit, why),
                _ if running.target_has_exited().await => return (KILLED, Why::TargetExit),
                _ => return (KILLED, why.unwrap_or(Why::KilledInside)),
            },
            () = target.wait(), if why.is_none() => Why::TargetExit,
            () = shutdown.ended(), if why.is_none() => Why::AgentStops,
            () = until(asked.map(|(_, deadline)| deadline)) => return (KILLED, Why::Stuck),
        };
        running.end();
        asked = Some((cause, Instant::now() + END));
    }
}

/// A tool that was made to end may say 0, as tcpdump does; that is no success.
fn ended(exit: Exit, asked: Option<Why>) -> (Exit, Why) {
    match asked {
        None => (exit, Why::Tool),
        Some(why) => (KILLED, why),
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
