//! The session of one of many, from its request to what became of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::time::sleep;
use wire::Signal;

use super::member::Member;
use super::session::{self, Ends};
use super::speaker::{Speaker, SpeakerError};
use crate::connect::Connection;
use crate::error::Failure;
use crate::kubernetes::Cluster;
use crate::outcome::Outcome;
use crate::session::Pipes;

/// How long after it was turned away a pod is asked again, twice as long each time.
const AGAIN: Duration = Duration::from_millis(100);

/// What each of the sessions is.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) query: String,
    pub(crate) limit: Option<Duration>,
}

/// How a session ended.
#[derive(Debug)]
pub(crate) enum OneEnd {
    Outcome(Outcome),
    Failed(Failure),
    /// This command was ended before the session had begun.
    NotBegun,
    /// What the pod says cannot be shown.
    Unsayable(SpeakerError),
}

/// Opens the session in `member` and has `speaker` say what comes of it. `tries` is how often it was asked in vain.
pub(crate) async fn run(
    cluster: Arc<Cluster>,
    member: Arc<Member>,
    shared: Arc<Shared>,
    speaker: Speaker,
    (mut pipes, ends): (Pipes, Ends),
    tries: u32,
) -> OneEnd {
    let deadline = session::deadline(shared.limit);
    let opening = async {
        if tries > 0 {
            sleep(AGAIN * (1 << tries)).await;
        }
        session::open(&cluster, &member.target, &shared.query, deadline).await
    };
    let connection = select! {
        opened = opening => match opened {
            Ok(connection) => connection,
            Err(failure) => return OneEnd::Failed(failure),
        },
        () = told_to_end(&mut pipes) => return OneEnd::NotBegun,
    };
    converse(connection, pipes, ends, deadline, speaker).await
}

async fn told_to_end(pipes: &mut Pipes) {
    while let Some(signal) = pipes.signals.recv().await {
        if !matches!(signal, Signal::Usr1 | Signal::Usr2) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

async fn converse(
    connection: Connection,
    pipes: Pipes,
    ends: Ends,
    deadline: session::Deadline,
    speaker: Speaker,
) -> OneEnd {
    let mut running = std::pin::pin!(session::run(connection, pipes, deadline));
    let mut hearing = std::pin::pin!(speaker.hear(ends.output));
    let (outcome, heard) = select! {
        heard = &mut hearing => match heard {
            Ok(_) => (running.await, Ok(())),
            // The session ends with what is dropped here.
            Err(error) => return OneEnd::Unsayable(error),
        },
        outcome = &mut running => (outcome, hearing.await.map(drop)),
    };
    match (outcome, heard) {
        (_, Err(error)) => OneEnd::Unsayable(error),
        (Ok(outcome), Ok(())) => OneEnd::Outcome(outcome),
        (Err(failure), Ok(())) => OneEnd::Failed(failure),
    }
}
