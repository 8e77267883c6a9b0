//! The end of a session that runs, and which of several ends is its reason.

use std::time::Duration;

use entry::{Closed, Event, Exit};
use tokio::time::{Instant, sleep_until, timeout};

use super::running::{KILLED, Running};
use super::why::Why;

/// A supervisor that was asked to end its tool kills it after a second; three more are for a node
/// that hardly runs.
const END: Duration = Duration::from_secs(4);

/// What a relay may take to pass on a supervisor's last word, which was sent before its helper ended.
const WORD: Duration = Duration::from_secs(1);

/// Completes when the tool and all it left behind are gone, by themselves or with the target, or
/// cannot be made to go.
pub(crate) async fn ending(running: &mut Running) -> (Exit, Why) {
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
pub(crate) async fn end(running: &mut Running) {
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
        Closed { out_of_memory: Some(limit), .. } if exit != Exit::Code(0) => {
            (exit, Why::OutOfMemory(limit))
        }
        Closed { out_of_processes: Some(limit), .. } if exit != Exit::Code(0) => {
            (exit, Why::OutOfProcesses(limit))
        }
        _ => (exit, Why::Tool),
    }
}

/// The supervisor is gone without a word: whatever process did that, nothing of the session outlives it.
async fn lost(running: &mut Running, target_is_gone: bool) -> (Exit, Why) {
    running.kill();
    let closed = running.gone().await;
    let why = cause(running, closed, target_is_gone).await;
    (KILLED, why.unwrap_or(Why::KilledInside))
}

/// What ended a session that has said nothing of its end, where that can be seen from outside.
async fn cause(running: &Running, closed: Option<Closed>, target_is_gone: bool) -> Option<Why> {
    match closed {
        Some(Closed { out_of_memory: Some(limit), .. }) => Some(Why::OutOfMemory(limit)),
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
