//! Both directions of a session's websocket. Each is a loop of its own: a tool that answers while
//! it is still being fed must not wait for us to finish feeding it.
//!
//! What is heard is counted and collected here; what it means is decided in `outcome`.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::{self, Message};
use wire::Signal;
use wire::frame::{self, BadFrame, Channel, FromServer, Protocol};
use wire::limits::{CLOSE_WAIT, PING_EVERY};

use crate::stdio::{self, Output, Piece};
use crate::terminal::Resizes;
use crate::window::{Taken, Window};

/// What an ask is, among other signs of life: its answer comes behind all that the agent has sent before.
const ASK: &[u8] = b"?";

/// What came before the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
    /// JSON of the Status.
    pub(crate) status: Option<Bytes>,
}

/// How a websocket came to its end.
#[derive(Debug)]
pub(crate) enum End {
    Closed {
        code: u16,
        reason: String,
    },
    /// The connection ended without a close.
    HungUp,
    Lost(tungstenite::Error),
    /// Nothing was heard for as long as this.
    Silent(Duration),
    Broken(BrokenRule),
}

/// A rule of the exec protocol that the server broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenRule {
    #[error("it was a text message, and only binary ones are expected")]
    Text,
    #[error(transparent)]
    Frame(BadFrame),
}

/// What the server says besides output, and how.
pub(crate) struct Listening {
    pub(crate) protocol: Protocol,
    pub(crate) taken: Taken,
    /// A server that is silent for as long is taken for dead.
    pub(crate) silence: Duration,
}

/// Passes on what the server says until it ends, and drops `output` then.
///
/// While `output` is full nothing is read, and the server's silence is our own doing: so it is
/// only measured while we listen.
pub(crate) async fn receive<S>(
    mut server: S,
    mut output: Output,
    Listening { protocol, taken, silence }: Listening,
) -> (Received, End)
where
    S: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    let mut received = Received::default();
    let end = loop {
        // After its last word a server has only the close to say.
        let patience = if received.status.is_some() { CLOSE_WAIT } else { silence };
        let message = match timeout(patience, server.next()).await {
            Err(_) => break End::Silent(patience),
            Ok(None) => break End::HungUp,
            Ok(Some(Err(error))) => break End::from(error),
            Ok(Some(Ok(message))) => message,
        };
        match message {
            Message::Binary(bytes) => match received.take(&bytes, protocol) {
                Ok(FromAgent::Nothing) => {}
                Ok(FromAgent::Taken(bytes)) => taken.tell(bytes),
                Ok(FromAgent::Output(piece)) => {
                    if output.write(piece).await.is_err() {
                        // Nobody reads us any more: the session ends by that, not by this.
                        std::future::pending::<()>().await;
                    }
                }
                Err(bad) => break End::Broken(BrokenRule::Frame(bad)),
            },
            Message::Text(_) => break End::Broken(BrokenRule::Text),
            Message::Close(close) => break closed(close),
            Message::Pong(answer) if answer == ASK => {
                if output.mark().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    };
    (received, end)
}

fn closed(close: Option<tungstenite::protocol::CloseFrame>) -> End {
    /// What RFC 6455 calls a close without a code.
    const NO_CODE: u16 = 1005;
    match close {
        Some(close) => End::Closed { code: close.code.into(), reason: close.reason.to_string() },
        None => End::Closed { code: NO_CODE, reason: String::new() },
    }
}

impl From<tungstenite::Error> for End {
    fn from(error: tungstenite::Error) -> Self {
        use tungstenite::error::ProtocolError;
        match error {
            tungstenite::Error::ConnectionClosed
            | tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::HungUp
            }
            error => Self::Lost(error),
        }
    }
}

/// What is left to be done about a message.
enum FromAgent {
    Nothing,
    /// Without a copy.
    Output(Piece),
    /// So much of stdin, by the tool.
    Taken(u64),
}

impl Received {
    /// Counts a message.
    fn take(&mut self, message: &Bytes, protocol: Protocol) -> Result<FromAgent, BadFrame> {
        let (to, count, payload) = match FromServer::decode(message, protocol) {
            Ok(FromServer::Stdout(payload)) => (stdio::Sink::Stdout, &mut self.stdout, payload),
            Ok(FromServer::Stderr(payload)) => (stdio::Sink::Stderr, &mut self.stderr, payload),
            Ok(FromServer::Status(json)) => {
                self.status = Some(message.slice_ref(json));
                return Ok(FromAgent::Nothing);
            }
            Ok(FromServer::Taken(bytes)) => return Ok(FromAgent::Taken(bytes)),
            Err(BadFrame::Empty) => return Ok(FromAgent::Nothing),
            Err(bad) => return Err(bad),
        };
        if payload.is_empty() {
            return Ok(FromAgent::Nothing); // how some servers say that they are there
        }
        *count += payload.len() as u64;
        Ok(FromAgent::Output(Piece { to, bytes: message.slice_ref(payload) }))
    }
}

/// What the person has to say.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) stdin: Option<mpsc::Receiver<io::Result<Vec<u8>>>>,
    pub(crate) window: Window,
    pub(crate) resizes: Option<Resizes>,
    /// For the tool; `None` where the server would not understand.
    pub(crate) signals: Option<mpsc::Receiver<Signal>>,
    /// Of the reader of the output, whether there is more of it: an empty piece is the answer.
    pub(crate) asks: Option<mpsc::Receiver<()>>,
}

/// Passes on what the person says, and asks for signs of life. Ends only when stdin fails.
///
/// A socket that takes nothing more ends this side only: the server's last words may still come.
pub(crate) async fn send<S>(server: &mut S, mut input: Input, protocol: Protocol) -> io::Error
where
    S: Sink<Message> + Unpin,
{
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = select! {
            piece = next_piece(&mut input.stdin, &mut input.window) => match piece {
                Some(Ok(piece)) => {
                    input.window.send(piece.len());
                    binary(frame::encode(Channel::Stdin, &piece))
                }
                Some(Err(error)) => return error,
                // v4 has no word for the end of stdin.
                None if protocol == Protocol::V4 => continue,
                None => binary(frame::close_stdin()),
            },
            size = next_size(&mut input.resizes) => binary(frame::resize(size)),
            signal = next_signal(&mut input.signals) => binary(frame::signal(signal)),
            () = next_ask(&mut input.asks) => Message::Ping(Bytes::from_static(ASK)),
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        if server.send(message).await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn binary(message: Vec<u8>) -> Message {
    Message::Binary(message.into())
}

/// The next of stdin; its end is said once.
async fn next_piece(
    stdin: &mut Option<mpsc::Receiver<io::Result<Vec<u8>>>>,
    window: &mut Window,
) -> Option<io::Result<Vec<u8>>> {
    let Some(pieces) = stdin else { return std::future::pending().await };
    window.room().await;
    let piece = pieces.recv().await;
    if piece.is_none() {
        *stdin = None;
    }
    piece
}

async fn next_size(resizes: &mut Option<Resizes>) -> frame::Size {
    match resizes {
        Some(resizes) => resizes.next().await,
        None => std::future::pending().await,
    }
}

async fn next_ask(asks: &mut Option<mpsc::Receiver<()>>) {
    let next = match asks {
        Some(asks) => asks.recv().await,
        None => None,
    };
    if next.is_none() {
        std::future::pending::<()>().await;
    }
}

async fn next_signal(signals: &mut Option<mpsc::Receiver<Signal>>) -> Signal {
    let next = match signals {
        Some(signals) => signals.recv().await,
        None => None,
    };
    match next {
        Some(signal) => signal,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::window;

    fn message(channel: Channel, payload: &[u8]) -> Message {
        binary(frame::encode(channel, payload))
    }

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().expect("a runtime")
    }

    fn listening(silence: Duration) -> Listening {
        Listening { protocol: Protocol::V5, taken: window::open(Protocol::V5).0, silence }
    }

    fn heard(messages: Vec<Message>) -> (Received, End, Vec<Piece>) {
        let (output, mut pieces) = mpsc::channel(messages.len() + 1);
        let (received, end) = runtime().block_on(receive(
            stream::iter(messages.into_iter().map(Ok)),
            Output::queued(output),
            listening(Duration::MAX),
        ));
        let pieces = std::iter::from_fn(|| pieces.blocking_recv()).collect();
        (received, end, pieces)
    }

    #[test]
    fn an_answer_comes_behind_the_output_before_it_and_other_signs_of_life_do_not() {
        let (received, _, pieces) = heard(vec![
            message(Channel::Stdout, b"one"),
            Message::Pong(Bytes::new()),
            Message::Pong(Bytes::from_static(ASK)),
            message(Channel::Stdout, b"two"),
        ]);
        let bytes: Vec<_> = pieces.iter().map(|piece| piece.bytes.as_ref()).collect();
        assert_eq!(bytes, [&b"one"[..], b"", b"two"]);
        assert_eq!(received.stdout, 6);
    }

    #[test]
    fn output_is_counted_and_passed_on_in_order() {
        let (received, end, pieces) = heard(vec![
            message(Channel::Stdout, b""),
            message(Channel::Stdout, b"one"),
            message(Channel::Stderr, b"two!"),
            message(Channel::Stdout, b"three"),
            message(Channel::Status, b"{}"),
            Message::Close(None),
        ]);
        assert_eq!((received.stdout, received.stderr), (8, 4));
        assert_eq!(received.status.as_deref(), Some(&b"{}"[..]));
        assert!(matches!(end, End::Closed { code: 1005, .. }));
        let texts: Vec<_> = pieces.iter().map(|piece| &piece.bytes[..]).collect();
        assert_eq!(texts, [&b"one"[..], b"two!", b"three"]);
        assert_eq!(pieces[1].to, stdio::Sink::Stderr);
    }

    #[test]
    fn a_server_that_breaks_the_protocol_is_not_listened_to_any_longer() {
        let after = || message(Channel::Stdout, b"more");
        let (_, end, pieces) = heard(vec![Message::text("hello"), after()]);
        assert!(matches!(end, End::Broken(BrokenRule::Text)));
        assert!(pieces.is_empty());
        let (_, end, _) = heard(vec![binary(vec![9, 1]), after()]);
        assert!(matches!(end, End::Broken(BrokenRule::Frame(BadFrame::UnknownChannel(9)))));
    }

    #[test]
    fn a_connection_that_ends_without_a_close_is_a_hang_up() {
        let (_, end, _) = heard(vec![message(Channel::Stdout, b"some")]);
        assert!(matches!(end, End::HungUp));
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up() {
        let (output, _pieces) = mpsc::channel(1);
        let silence = Duration::from_millis(1);
        let nothing = stream::pending::<tungstenite::Result<Message>>();
        let end = runtime().block_on(async {
            receive(nothing, Output::queued(output), listening(silence)).await.1
        });
        assert!(matches!(end, End::Silent(for_long) if for_long == silence));
    }

    #[test]
    fn silence_is_not_measured_while_our_own_reader_stalls() {
        let silence = Duration::from_millis(20);
        let (output, mut pieces) = mpsc::channel(1);
        let said: Vec<_> = (0..3).map(|_| Ok(message(Channel::Stdout, b"x"))).collect();
        let closed = [Ok(Message::Close(None))];
        let end = runtime().block_on(async {
            let reader = async {
                // Longer than the server may be silent, which it is not: we do not listen.
                tokio::time::sleep(silence * 2).await;
                while pieces.recv().await.is_some() {}
            };
            let server = stream::iter(said.into_iter().chain(closed));
            tokio::join!(receive(server, Output::queued(output), listening(silence)), reader).0.1
        });
        assert!(matches!(end, End::Closed { .. }), "{end:?}");
    }

    fn said(protocol: Protocol) -> Vec<Message> {
        let (queue, stdin) = mpsc::channel(2);
        queue.try_send(Ok(b"abc".to_vec())).expect("room");
        queue.try_send(Err(io::ErrorKind::Other.into())).expect("room");
        let (end, rest) = mpsc::channel(1);
        drop(end);
        let mut messages = Vec::new();
        runtime().block_on(async {
            let input = Input {
                stdin: Some(stdin),
                window: window::open(protocol).1,
                resizes: None,
                signals: None,
                asks: None,
            };
            send(&mut messages_of(&mut messages), input, protocol).await;
            let input = Input {
                stdin: Some(rest),
                window: window::open(protocol).1,
                resizes: None,
                signals: None,
                asks: None,
            };
            let mut sink = messages_of(&mut messages);
            // Everything that can be said is said before the first wait.
            select! {
                biased;
                error = send(&mut sink, input, protocol) => panic!("{error}"),
                () = std::future::ready(()) => {}
            }
        });
        messages
    }

    fn messages_of(
        messages: &mut Vec<Message>,
    ) -> impl Sink<Message, Error = std::convert::Infallible> + Unpin {
        Box::pin(futures_util::sink::unfold(messages, |messages, message| async move {
            messages.push(message);
            Ok(messages)
        }))
    }

    #[test]
    fn the_end_of_stdin_is_said_where_there_is_a_word_for_it() {
        let stdin = binary(b"\0abc".to_vec());
        assert_eq!(said(Protocol::V5), [stdin.clone(), binary(vec![255, 0])]);
        assert_eq!(said(Protocol::V4), [stdin]);
    }
}
