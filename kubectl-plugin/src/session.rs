//! One session from its first byte to its last: terminal, signals and time limit round the pump.
//!
//! Whatever ends it first decides; the terminal is itself again before this returns.

use std::io;
use std::time::Duration;

use futures_util::{Sink, SinkExt, StreamExt};
use tokio::select;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use wire::frame::Protocol;
use wire::limits::PEER_SILENCE;
use wire::{Signal, TimeSpan};

use crate::connect::Connection;
use crate::outcome::{self, Incomplete, Outcome};
use crate::pump::{self, End, Input, Received};
use crate::signals::Signals;
use crate::stdio::{self, Finished, OutputError};
use crate::stop::{Cause, Stop, Watch};
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
    #[error("the session was ended after {} (--timeout)", TimeSpan::from(*limit))]
    TimedOut {
        limit: Duration,
        /// What the tool was told, and did not end of.
        unheard: Option<Signal>,
    },
}

impl SessionError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Incomplete(error) => error.hint().map(str::to_owned),
            Self::TimedOut { unheard, .. } => unheard.map(outcome::unheard),
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
    Stopped(Stop),
    Stdin(io::Error),
    Output(OutputError),
}

impl Cut {
    fn judge(self) -> Result<Outcome, SessionError> {
        match self {
            Self::Stopped(Stop { cause: Cause::Signal(signal), unheard: None }) => {
                Ok(Outcome::killed_by(signal.number()))
            }
            Self::Stopped(Stop { cause: Cause::Signal(signal), .. }) => {
                Ok(Outcome::unheard(signal))
            }
            Self::Stopped(Stop { cause: Cause::Deadline(limit), unheard }) => {
                Err(SessionError::TimedOut { limit, unheard })
            }
            Self::Output(error) if error.is_closed_pipe() => Ok(Outcome::killed_by(CLOSED_PIPE)),
            Self::Output(error) => Err(error.into()),
            Self::Stdin(error) => Err(SessionError::Stdin(error)),
        }
    }
}

/// Streams `connection` until one side ends it. `deadline` is when, and after how long, that is us.
pub(crate) async fn run(
    connection: Connection,
    wiring: Wiring,
    deadline: Option<(Instant, Duration)>,
) -> Result<Outcome, SessionError> {
    let Connection { socket, protocol, note: _, defaulted: _ } = connection;
    let passes_on = protocol == Protocol::Signals;
    let signals = Signals::listen(passes_on).map_err(SessionError::Signals)?;
    let mut watch = Watch::new(signals, deadline);
    let (output, mut finished) = stdio::write_output()?;
    let (_raw, resizes) = if wiring.tty {
        (Some(RawTerminal::enter()?), Some(Resizes::watch().map_err(SessionError::Signals)?))
    } else {
        (None, None)
    };
    let stdin = wiring.stdin.then(stdio::read_input).transpose().map_err(SessionError::Stdin)?;
    let (mut server, words) = socket.split();
    let input = Input { stdin, resizes, signals: passes_on.then(|| watch.pass_on()) };
    let ended = select! {
        (received, end) = pump::receive(words, output, PEER_SILENCE) => Ended::Server(received, end),
        error = pump::send(&mut server, input, protocol) => Ended::Here(Cut::Stdin(error)),
        stop = watch.stop() => Ended::Here(Cut::Stopped(stop)),
        // While the queue is open the output can only end by an error.
        error = broken(&mut finished) => Ended::Here(Cut::Output(error)),
    };
    // What comes of the goodbye changes nothing for the person.
    let _ = timeout(GOODBYE, say_goodbye(&mut server, ended.close_code())).await;
    match ended {
        Ended::Here(cut) => cut.judge(),
        Ended::Server(received, end) => {
            watch.tool_has_ended();
            let cut = select! {
                written = finished.wait() => written.err().map(Cut::Output),
                stop = watch.stop() => Some(Cut::Stopped(stop)),
            };
            match (cut, watch.timed_out()) {
                (Some(cut), _) => cut.judge(),
                // Whatever the tool made of it.
                (None, Some(limit)) => Err(SessionError::TimedOut { limit, unheard: None }),
                (None, None) => Ok(outcome::judge(&received, end)?),
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

async fn broken(finished: &mut Finished) -> OutputError {
    match finished.wait().await {
        Err(error) => error,
        Ok(()) => std::future::pending().await,
    }
}
