//! What ends a session, and which of several ends is its reason.

use std::time::Duration;

use entry::{Event, Exit};
use tokio::time::{Instant, sleep_until, timeout};

use super::care::Span;
use super::running::{KILLED, Running};

/// A supervisor that was asked to end its tool kills it after a second; three more are for a node
/// that hardly runs.
const END: Duration = Duration::from_secs(4);

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The tool ended by itself.
    Tool,
    /// The target's process is gone.
    TargetExit,
    /// Somebody inside the target killed the supervisor.
    KilledInside,
    /// This agent is being stopped.
    AgentStops,
    /// Somebody who may said so.
    EndedBy(String),
    /// Nothing was said for this long.
    Idle(Span),
    /// It went on for this long.
    TooLong(Span),
    /// Asked to end, it did not. Nothing more can be done from here.
    Stuck,
}

impl Why {
    /// For people; nothing where the exit says all.
    pub(super) fn reason(&self) -> Option<String> {
        Some(match self {
            Self::Tool => return None,
            Self::TargetExit => "the target exited".to_owned(),
            Self::KilledInside => "the session was killed from inside the target".to_owned(),
            Self::AgentStops => "the agent is stopping".to_owned(),
            Self::EndedBy(peer) => format!("ended by {peer}"),
            Self::Idle(limit) => format!("idle for {limit} (--idle-limit of the agent)"),
            Self::TooLong(limit) => format!("went on for {limit} (--session-limit of the agent)"),
            Self::Stuck => "the session could not be ended".to_owned(),
        })
    }
}

/// Completes when the tool is gone by itself or with its target, or cannot be made to go.
pub(super) async fn ending(running: &mut Running) -> (Exit, Why) {
    let mut deadline: Option<Instant> = None;
    loop {
        let (mut events, target) = running.halves();
        tokio::select! {
            event = events.next() => match event {
                Ok(Event::Started) => continue,
                // A tool that was made to end may say 0, as tcpdump does; that is no success.
                Ok(Event::Ended(_)) if deadline.is_some() => return (KILLED, Why::TargetExit),
                Ok(Event::Ended(exit)) => return (exit, Why::Tool),
                _ if deadline.is_some() || running.target_has_exited().await => {
                    return (KILLED, Why::TargetExit);
                }
                _ => return (KILLED, Why::KilledInside),
            },
            () = target.wait(), if deadline.is_none() => {}
            () = until(deadline) => return (KILLED, Why::Stuck),
        }
        running.end();
        deadline = Some(Instant::now() + END);
    }
}

/// Ends the tool, and waits until it is gone.
pub(super) async fn end(running: &mut Running) {
    running.end();
    let _ = timeout(END, ending(running)).await;
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
