//! What ends a session, and which of several ends is its reason.

use std::time::Duration;

use entry::{Closed, Event, Exhausted, Exit};
use tokio::time::{Instant, sleep_until, timeout};

use super::care::{Limit, Span};
use super::running::{KILLED, Running};

/// A supervisor that was asked to end its tool kills it after a second; three more are for a node
/// that hardly runs.
const END: Duration = Duration::from_secs(4);

/// What a relay may take to pass on a supervisor's last word, which was sent before its helper ended.
const WORD: Duration = Duration::from_secs(1);

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The tool ended by itself.
    Tool,
    /// The target's process is gone.
    TargetExit,
    /// Somebody inside the target killed the supervisor.
    KilledInside,
    /// The session wanted more memory than there was for it.
    OutOfMemory(Exhausted),
    /// This agent is being stopped.
    AgentStops,
    /// Somebody who may said so.
    EndedBy(String),
    /// Nothing was said for this long.
    Idle(Span),
    /// It went on for this long.
    TooLong(Limit),
    /// It said that it had ended, and had not.
    Forged,
    /// A process outside of it holds its output and lets nobody read it.
    Held,
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
            Self::OutOfMemory(exhausted) => exhausted.to_string(),
            Self::AgentStops => "the agent is stopping".to_owned(),
            Self::EndedBy(peer) => format!("ended by {peer}"),
            Self::Idle(limit) => format!("idle for {limit} (--idle-limit of the agent)"),
            Self::TooLong(limit) => format!("went on for {limit}"),
            Self::Forged => {
                "the session said that it had ended while its processes ran on: they were killed"
                    .to_owned()
            }
            Self::Held => "the output may be incomplete: a process outside of the session has it \
                           and lets nobody read it"
                .to_owned(),
            Self::Stuck => "the session could not be ended".to_owned(),
        })
    }
}

/// Completes when the tool and all it left behind are gone, by themselves or with the target, or
/// cannot be made to go.
pub(super) async fn ending(running: &mut Running) -> (Exit, Why) {
    let mut deadline: Option<Instant> = None;
    loop {
        let (mut events, target, remains) = running.parts();
        tokio::select! {
            biased;
            event = events.next() => match event {
                Ok(Event::Started | Event::Unseen(_)) => continue,
                Ok(Event::Ended(exit)) => return ended(running, exit, deadline.is_some()).await,
                _ => return lost(running, deadline.is_some()).await,
            },
            closed = remains.over() => match timeout(WORD, events.next()).await {
                Ok(Ok(Event::Ended(exit))) => return ended(running, exit, deadline.is_some()).await,
                Ok(_) => return lost(running, deadline.is_some()).await,
                Err(_) => return (KILLED, closed.out_of_memory.map_or(Why::Held, Why::OutOfMemory)),
            },
            () = target.wait(), if deadline.is_none() => {}
            () = until(deadline) => return killed(running, Why::TargetExit).await,
        }
        running.end();
        deadline = Some(Instant::now() + END);
    }
}

/// Ends the tool, and waits until it is gone.
pub(super) async fn end(running: &mut Running) {
    running.end();
    if timeout(END, ending(running)).await.is_err() {
        running.kill();
    }
}

/// A tool that was made to end may say 0, as tcpdump does; that is no success.
async fn ended(running: &mut Running, exit: Exit, target_is_gone: bool) -> (Exit, Why) {
    // A tool that may trace can have its supervisor say anything.
    let Some(closed) = running.gone().await else { return killed(running, Why::Forged).await };
    match closed {
        _ if target_is_gone => (KILLED, Why::TargetExit),
        Closed { out_of_memory: Some(limit) } if exit != Exit::Code(0) => {
            (exit, Why::OutOfMemory(limit))
        }
        _ => (exit, Why::Tool),
    }
}

/// The supervisor is gone without a word: whoever did that, nothing of the session outlives it.
async fn lost(running: &mut Running, target_is_gone: bool) -> (Exit, Why) {
    running.kill();
    let why = match running.gone().await {
        Some(Closed { out_of_memory: Some(limit) }) => Why::OutOfMemory(limit),
        _ if target_is_gone || running.target_has_exited().await => Why::TargetExit,
        _ => Why::KilledInside,
    };
    (KILLED, why)
}

/// Asked to end, it did not. A session without a control group cannot be made to.
async fn killed(running: &mut Running, why: Why) -> (Exit, Why) {
    running.kill();
    let gone = running.gone().await;
    (KILLED, if gone.is_some() { why } else { Why::Stuck })
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
