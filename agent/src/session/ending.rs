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
    /// A process outside of it holds its output and lets nobody read it; why it ended, where that is known.
    Held(Option<Box<Why>>),
    /// Asked to end, it did not. Nothing more can be done from here.
    Stuck,
}

impl Why {
    /// The same end, where output was not passed on to its own.
    pub(super) fn with_output_held(self) -> Self {
        match self {
            Self::Tool => Self::Held(None),
            Self::Held(_) => self,
            why => Self::Held(Some(Box::new(why))),
        }
    }

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
            Self::Held(None) => "the output may be incomplete: a process outside of the session \
                                 has it and lets nobody read it"
                .to_owned(),
            // A websocket's last word is short.
            Self::Held(Some(why)) => {
                let why = why.reason().unwrap_or_default();
                format!("{why}; the output may be incomplete")
            }
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
                Err(_) => {
                    let why = cause(running, Some(closed), deadline.is_some()).await;
                    return (KILLED, why.unwrap_or(Why::Tool).with_output_held());
                }
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
    let closed = running.gone().await;
    let why = cause(running, closed, target_is_gone).await;
    (KILLED, why.unwrap_or(Why::KilledInside))
}

/// What ended a session that has said nothing of its end, where that can be seen from outside.
async fn cause(running: &Running, closed: Option<Closed>, target_is_gone: bool) -> Option<Why> {
    match closed {
        Some(Closed { out_of_memory: Some(limit) }) => Some(Why::OutOfMemory(limit)),
        _ if target_is_gone || running.target_has_exited().await => Some(Why::TargetExit),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_whose_output_is_incomplete_keeps_its_reason() {
        let held = |why: Why| why.with_output_held().reason().expect("a reason");
        assert!(held(Why::Tool).starts_with("the output may be incomplete: a process outside"));
        let exhausted = Why::OutOfMemory(Exhausted::Above);
        for why in [exhausted, Why::TargetExit, Why::KilledInside] {
            let reason = why.reason().expect("a reason");
            assert_eq!(held(why.clone()), format!("{reason}; the output may be incomplete"));
            assert_eq!(
                held(why.with_output_held()),
                held(Why::TargetExit).replace("the target exited", &reason)
            );
        }
    }
}
