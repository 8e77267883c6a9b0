//! One session from its first byte to its last: terminal, signals and time limit round the pump.
//!
//! Whatever ends it first decides; the terminal is itself again before this returns.

use std::io;
use std::time::Duration;

use futures_util::{Sink, SinkExt, StreamExt};
use tokio::select;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use wire::limits::PEER_SILENCE;

use crate::connect::Connection;
use crate::local::{self, Finished, OutputError};
use crate::outcome::{self, Incomplete, Outcome};
use crate::pump::{self, End, Input, Received};
use crate::signals::Signals;
use crate::terminal::{RawTerminal, Resizes, TerminalError};

/// SIGPIPE: the exit code that a shell shows of `yes | head -1`.
const CLOSED_PIPE: u8 = 13;

/// Who ends a session early does not want to wait for a peer that takes no more bytes.
const GOODBYE: Duration = Duration::from_secs(1);

/// Which streams of ours the tool gets beside its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wiring {
    pub(crate) stdin: bool,
    pub(crate) tty: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Terminal(#[from] TerminalError),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error("cannot read stdin")]
    Stdin(#[source] io::Error),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    #[error("the session was ended after {0:?} (--timeout)")]
    TimedOut(Duration),
}

impl SessionError {
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Incomplete(error) => error.hint(),
            _ => None,
        }
    }
}

/// What ended the part of the session in which something was said.
enum Ended {
    /// By the agent, or by the loss of it.
    Server(Received, End),
    Here(Cut),
}

impl Ended {
    /// What the close says, where it is not the answer to the agent's.
    fn close_code(&self) -> CloseCode {
        match self {
            Self::Server(_, End::Broken(_)) => CloseCode::Protocol,
            Self::Server(..) => CloseCode::Normal,
            Self::Here(_) => CloseCode::Away,
        }
    }
}

/// What ends a session on this side.
enum Cut {
    Signal(u8),
    Stdin(io::Error),
    Output(OutputError),
    Deadline(Duration),
}

impl Cut {
    fn judge(self) -> Result<Outcome, SessionError> {
        match self {
            Self::Signal(number) => Ok(Outcome::killed_by(number)),
            Self::Output(error) if error.is_closed_pipe() => Ok(Outcome::killed_by(CLOSED_PIPE)),
            Self::Output(error) => Err(error.into()),
            Self::Stdin(error) => Err(SessionError::Stdin(error)),
            Self::Deadline(limit) => Err(SessionError::TimedOut(limit)),
        }
    }
}

/// Streams `connection` until somebody ends it. `deadline` is when, and after how long, that is us.
pub(crate) async fn run(
    connection: Connection,
    wiring: Wiring,
    deadline: Option<(Instant, Duration)>,
) -> Result<Outcome, SessionError> {
    let mut signals = Signals::listen().map_err(SessionError::Signals)?;
    let (output, mut finished) = local::write_output()?;
    let (_raw, resizes) = if wiring.tty {
        (Some(RawTerminal::enter()?), Some(Resizes::watch().map_err(SessionError::Signals)?))
    } else {
        (None, None)
    };
    let stdin = wiring.stdin.then(local::read_input).transpose().map_err(SessionError::Stdin)?;
    let Connection { socket, protocol, note: _, defaulted: _ } = connection;
    let (mut server, words) = socket.split();
    let input = Input { stdin, resizes };
    let ended = select! {
        (received, end) = pump::receive(words, output, PEER_SILENCE) => Ended::Server(received, end),
        error = pump::send(&mut server, input, protocol) => Ended::Here(Cut::Stdin(error)),
        cut = cut(&mut signals, deadline) => Ended::Here(cut),
        // While the queue is open the output can only end by an error.
        error = broken(&mut finished) => Ended::Here(Cut::Output(error)),
    };
    // What comes of the goodbye changes nothing for the person.
    let _ = timeout(GOODBYE, say_goodbye(&mut server, ended.close_code())).await;
    match ended {
        Ended::Here(cut) => cut.judge(),
        Ended::Server(received, end) => {
            let cut = select! {
                written = finished.wait() => written.err().map(Cut::Output),
                cut = cut(&mut signals, deadline) => Some(cut),
            };
            match cut {
                Some(cut) => cut.judge(),
                None => Ok(outcome::judge(&received, end)?),
            }
        }
    }
}

/// Answers the agent's close, or is the first to say it.
async fn say_goodbye<S>(server: &mut S, code: CloseCode) -> Result<(), S::Error>
where
    S: Sink<Message> + Unpin,
{
    let close = CloseFrame { code, reason: Utf8Bytes::default() };
    // Refused where the agent has closed already: then its answer only needs to be sent.
    let _ = server.feed(Message::Close(Some(close))).await;
    server.close().await
}

/// A signal to us or the end of our time, whichever comes first.
async fn cut(signals: &mut Signals, deadline: Option<(Instant, Duration)>) -> Cut {
    let expire = async {
        match deadline {
            Some((at, limit)) => {
                sleep_until(at).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    select! {
        number = signals.next() => Cut::Signal(number),
        limit = expire => Cut::Deadline(limit),
    }
}

async fn broken(finished: &mut Finished) -> OutputError {
    match finished.wait().await {
        Err(error) => error,
        Ok(()) => std::future::pending().await,
    }
}
