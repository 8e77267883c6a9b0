//! The session of one of many, from its request to what became of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::time::sleep;

use super::listener::{ListenError, Listener, Said};
use super::member::Member;
use super::session::{self, Ends};
use crate::connect::Connection;
use crate::ending::is_ending;
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
    Outcome(Outcome, Said),
    /// It may have said something before.
    Failed(Failure, Said),
    /// This command was ended before the session had begun.
    NotBegun,
    /// What the pod says cannot be shown.
    Unsayable(ListenError),
}

/// Opens the session in `member` and has `listener` hear what comes of it. `tries` is how often it was asked in vain.
pub(crate) async fn run(
    cluster: Arc<Cluster>,
    member: Arc<Member>,
    shared: Arc<Shared>,
    listener: Listener,
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
            Err(failure) => return OneEnd::Failed(failure, Said::default()),
        },
        () = told_to_end(&mut pipes) => return OneEnd::NotBegun,
    };
    match listener.begin(&member) {
        Ok(listener) => converse(connection, pipes, ends, deadline, listener).await,
        // The session ends with what is dropped here.
        Err(error) => OneEnd::Unsayable(error),
    }
}

async fn told_to_end(pipes: &mut Pipes) {
    while let Some(signal) = pipes.signals.recv().await {
        if is_ending(signal) {
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
    listener: Listener,
) -> OneEnd {
    let mut running = std::pin::pin!(session::run(connection, pipes, deadline));
    let mut hearing = std::pin::pin!(listener.hear(ends.output));
    let (outcome, heard) = select! {
        heard = &mut hearing => match heard {
            Ok(said) => (running.await, Ok(said)),
            // The session ends with what is dropped here.
            Err(error) => return OneEnd::Unsayable(error),
        },
        outcome = &mut running => (outcome, hearing.await),
    };
    match (outcome, heard) {
        (_, Err(error)) => OneEnd::Unsayable(error),
        (Ok(outcome), Ok(said)) => OneEnd::Outcome(outcome, said),
        (Err(failure), Ok(said)) => OneEnd::Failed(failure, said),
    }
}
