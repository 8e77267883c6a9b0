//! A session that gives its output to this program, and not to the streams of this process.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use wire::{ApiTarget, Signal};

use crate::connect::Connection;
use crate::error::Failure;
use crate::kubernetes::Cluster;
use crate::kubernetes::error::ClusterError;
use crate::outcome::Outcome;
use crate::session::{self, Pipes};
use crate::stdio::Piece;

/// Pieces of output that wait for their reader: past them the agent is made to wait.
const QUEUE: usize = 2;

/// Signals that wait for a session: the first tells the tool, the second ends the session.
const SIGNALS: usize = 2;

/// When a session has to be over, and after how long that is.
pub(crate) type Deadline = Option<(Instant, Duration)>;

/// The deadline of a session that begins now. A limit past the end of the clock is no limit.
pub(crate) fn deadline(limit: Option<Duration>) -> Deadline {
    limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)))
}

/// This program's ends of a session.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Ends when all of the output has come, before the session is over.
    pub(crate) output: mpsc::Receiver<Piece>,
    pub(crate) signals: mpsc::Sender<Signal>,
    /// Asks whether there is more output; the answer is an empty piece behind it.
    pub(crate) asks: mpsc::Sender<()>,
}

/// Both ends of a session that does not run yet.
pub(crate) fn pipes(stdin: Option<mpsc::Receiver<io::Result<Vec<u8>>>>) -> (Pipes, Ends) {
    let (pieces, output) = mpsc::channel(QUEUE);
    let (signals, heard) = mpsc::channel(SIGNALS);
    let (asks, asked) = mpsc::channel(1);
    let pipes = Pipes { output: pieces, stdin, signals: heard, asks: asked };
    (pipes, Ends { output, signals, asks })
}

/// Opens the session of `query`, with all of its time before it. To drop this asks for nothing more.
pub(crate) async fn open(
    cluster: &Cluster,
    target: &ApiTarget,
    query: &str,
    deadline: Deadline,
) -> Result<Connection, Failure> {
    let opening = cluster.session(target, query);
    let opened = match deadline {
        None => opening.await,
        Some((at, limit)) => {
            let late = |_| ClusterError::TimedOut { limit };
            timeout_at(at, opening).await.map_err(late).and_then(|opened| opened)
        }
    };
    Ok(opened?)
}

/// Runs an opened session to its end. The outcome is that of a plain session: the exit code only if all bytes that the
/// agent counted have arrived. To drop this ends the session at its agent.
pub(crate) async fn run(
    connection: Connection,
    pipes: Pipes,
    deadline: Deadline,
) -> Result<Outcome, Failure> {
    Ok(session::piped(connection, pipes, deadline).await?)
}
