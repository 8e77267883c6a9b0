//! One session from its first byte to its last: terminal, signals and time limit round the pump.
//!
//! Whatever ends it first decides; the terminal is itself again before this returns. A session has this process' own
//! streams and signals, or pipes: of many at once, none is the terminal's.

use std::io;
use std::time::Duration;

use futures_util::{Sink, SinkExt, StreamExt};
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use wire::frame::Protocol;
use wire::limits::PEER_SILENCE;
use wire::{Signal, TimeSpan};

use crate::connect::Connection;
use crate::outcome::{self, Incomplete, Outcome};
use crate::pump::{self, End, Input, Listening, Received};
use crate::signals::Signals;
use crate::stdio::{self, Finished, Output, OutputError, Piece};
use crate::stop::{Cause, Heard, Stop, Watch};
use crate::terminal::{RawTerminal, Resizes, TerminalError};
use crate::window;

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
            Self::Output(error) if error.is_closed_pipe() => Ok(Outcome::closed_pipe()),
            Self::Output(error) => Err(error.into()),
            Self::Stdin(error) => Err(SessionError::Stdin(error)),
        }
    }
}

/// Streams `connection` through this process' own streams until one side ends it. `deadline` is when, and after
/// how long, that is us.
pub(crate) async fn run(
    connection: Connection,
    wiring: Wiring,
    deadline: Option<(Instant, Duration)>,
) -> Result<Outcome, SessionError> {
    let passes_on = connection.protocol == Protocol::Nsdebug;
    let signals = Signals::listen(passes_on).map_err(SessionError::Signals)?;
    let watch = Watch::new(Heard::Process(signals), deadline);
    let (output, finished) = stdio::write_output()?;
    let (_raw, resizes) = if wiring.tty {
        (Some(RawTerminal::enter()?), Some(Resizes::watch().map_err(SessionError::Signals)?))
    } else {
        (None, None)
    };
    let stdin = wiring.stdin.then(stdio::read_input).transpose().map_err(SessionError::Stdin)?;
    let ends = OwnEnds { output, finished, stdin, resizes, asks: None };
    converse(connection, ends, watch).await
}

/// What a session is connected to that has nothing of this process' own.
#[derive(Debug)]
pub(crate) struct Pipes {
    /// The tool's output. While it takes no more, nothing is read of the agent.
    pub(crate) output: mpsc::Sender<Piece>,
    /// For the tool; its end is the tool's end of input.
    pub(crate) stdin: Option<mpsc::Receiver<io::Result<Vec<u8>>>>,
    /// For the tool, as if this process had got them: the first that ends a session has it end at its agent, a second
    /// one ends it here.
    pub(crate) signals: mpsc::Receiver<Signal>,
    /// Whether there is more output: an empty piece, behind all that the agent has sent, is the answer.
    pub(crate) asks: mpsc::Receiver<()>,
}

/// Streams `connection` through `pipes`. `output` is closed when all of the tool's output has been given to it, which
/// is compared with what the agent counted. To drop this cuts the connection, and so ends the tool.
pub(crate) async fn piped(
    connection: Connection,
    pipes: Pipes,
    deadline: Option<(Instant, Duration)>,
) -> Result<Outcome, SessionError> {
    let Pipes { output, stdin, signals, asks } = pipes;
    let watch = Watch::new(Heard::Queue(signals), deadline);
    let ends = OwnEnds {
        output: Output::queued(output),
        finished: Finished::is_elsewhere(),
        stdin,
        resizes: None,
        asks: Some(asks),
    };
    converse(connection, ends, watch).await
}

/// This side's ends of a session's streams.
struct OwnEnds {
    output: Output,
    finished: Finished,
    stdin: Option<mpsc::Receiver<io::Result<Vec<u8>>>>,
    resizes: Option<Resizes>,
    asks: Option<mpsc::Receiver<()>>,
}

async fn converse(
    connection: Connection,
    ends: OwnEnds,
    mut watch: Watch,
) -> Result<Outcome, SessionError> {
    let Connection { socket, protocol, note: _, defaulted: _ } = connection;
    let OwnEnds { output, mut finished, stdin, resizes, asks } = ends;
    let passes_on = protocol == Protocol::Nsdebug;
    let (mut server, words) = socket.split();
    let (taken, window) = window::open(protocol);
    let signals = passes_on.then(|| watch.pass_on());
    let input = Input { stdin, window, resizes, signals, asks };
    let listening = Listening { protocol, taken, silence: PEER_SILENCE };
    let ended = select! {
        (received, end) = pump::receive(words, output, listening) => Ended::Server(received, end),
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
