//! Frames to streams and back, until the tool's last byte is delivered or the client is gone.
//!
//! Two halves run side by side: output with the session's end, and input. While the socket takes no more, the tool's
//! output is not read. Stdin that the tool does not take is kept, within [`limits::STDIN_WINDOW`], if the client goes by
//! that, and what it says besides is heard. Of any other client nothing is read meanwhile.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use entry::{Exit, RelayLine};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use wire::frame::{BadFrame, Channel, FromClient, Protocol};
use wire::{Ending, limits};

use super::input::Input;
use super::output::Output;
use super::socket::{Outgoing, Socket};
use super::stdio::Ends;
use super::streams::Streams;
use super::traffic::{ToolStream, Traffic};
use crate::metrics::{OpenSession, Stream};
use crate::session::end::conditions::EndConditions;
use crate::session::end::ending::{self, ending};
use crate::session::end::running::Running;
use crate::session::end::why::Why;
use crate::session::{Advice, SessionOutcome, StartError};

/// What a reader may take for each [`limits::FRAME`] of output. It may be a pager that its user forgot: longer
/// than a coffee, shorter than a night.
const STALLED: Duration = Duration::from_mins(10);

/// The tool is gone and so is all it left: who still holds its output is not of this session.
const DRAIN: Duration = Duration::from_secs(2);

/// How a session went, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub outcome: SessionOutcome,
    /// `None` where the client went first.
    pub exit: Option<wire::Exit>,
    pub stdin_bytes: u64,
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
    pub reason: Option<String>,
}

/// Runs the session to its end, whatever that is. When this returns, nothing of it is left.
pub async fn pump(
    socket: Socket,
    protocol: Protocol,
    running: Running,
    ends: Ends,
    care: &EndConditions,
    open: OpenSession,
) -> Result<Finished, StartError> {
    let streams = Streams::watch(ends).map_err(|source| StartError::Watch { source })?;
    let Streams { stdin, stdout, stderr } = streams;
    let line = running.relay_line().map_err(|source| StartError::Watch { source })?;
    let splices = socket.splices();
    let (sink, source) = socket.split();
    let traffic = care.traffic();
    let mut running = running;
    let (tell, taken) = watch::channel(0);
    let mut sender = Sender { sink, splices, traffic, ping: pings(), taken };
    let mut receiver = Receiver { source, protocol, traffic, tell };
    let mut verdict = tokio::select! {
        verdict = sender.deliver([stdout, stderr], ending(&mut running), &line) => verdict,
        verdict = receiver.accept(stdin, &line) => verdict,
        // Not left to the sender, which may wait for a client that takes nothing.
        why = care.cut() => PumpEnd::Cut(why),
    };
    if !matches!(verdict, PumpEnd::Ended(..)) {
        ending::end(&mut running).await;
    }
    let _ = running.gone().await;
    verdict = match verdict {
        PumpEnd::Ended(_, why @ (Why::Forged | Why::Held(_) | Why::Stuck), _) => PumpEnd::Cut(why),
        PumpEnd::Ended(_, why, Whole::No) => PumpEnd::Cut(why.with_output_held()),
        other => other,
    };
    let finished = Finished::new(&verdict, traffic);
    let hint = verdict.hint(care.advice.as_ref());
    sender.close(verdict, &finished, hint).await;
    if receiver.hear_out().await {
        sender.part().await;
    }
    drop((sender, receiver));
    // The client knows; but whatever its processes have said, a session ends with the last of them.
    running.over().await;
    open.moved(Stream::Stdin, finished.stdin_bytes);
    open.moved(Stream::Stdout, finished.stdout_bytes);
    open.moved(Stream::Stderr, finished.stderr_bytes);
    open.close(finished.outcome);
    Ok(finished)
}

/// How the pumping ended.
#[derive(Debug)]
enum PumpEnd {
    /// The tool ended, and its output was delivered.
    Ended(Exit, Why, Whole),
    /// The session was ended from outside of both client and target.
    Cut(Why),
    /// The client closed, or its connection is gone.
    Gone,
    /// The client takes nothing, or says nothing.
    Silent(&'static str),
    /// The client broke the protocol; what is said of that.
    Offence(CloseCode, String),
}

/// Whether output has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    Yes,
    /// Its relay is held up or gone, and had not passed all on.
    No,
}

impl PumpEnd {
    /// What to add to an exit code that is the tool's own.
    fn hint(&self, advice: Option<&Advice>) -> Option<String> {
        match self {
            Self::Ended(exit, Why::Tool, _) => advice?.after(*exit),
            _ => None,
        }
    }
}

impl Finished {
    fn new(verdict: &PumpEnd, traffic: &Traffic) -> Self {
        let (outcome, exit, reason) = match verdict {
            PumpEnd::Ended(exit, why, _) => (why.outcome(), Some(spoken(*exit)), why.reason()),
            PumpEnd::Cut(why) => (why.outcome(), None, why.reason()),
            PumpEnd::Gone => (
                SessionOutcome::Abandoned,
                None,
                Some("the client closed the connection".to_owned()),
            ),
            PumpEnd::Silent(how) => (SessionOutcome::Abandoned, None, Some((*how).to_owned())),
            PumpEnd::Offence(_, what) => (SessionOutcome::Failed, None, Some(what.clone())),
        };
        let [stdin_bytes, stdout_bytes, stderr_bytes] = traffic.bytes();
        Self { outcome, exit, stdin_bytes, stdout_bytes, stderr_bytes, reason }
    }
}

impl Why {
    fn outcome(&self) -> SessionOutcome {
        match self {
            Self::Tool | Self::OutOfProcesses(_) => SessionOutcome::Finished,
            Self::TargetExit => SessionOutcome::TargetGone,
            Self::AgentStops => SessionOutcome::Stopped,
            Self::EndedBy(_) => SessionOutcome::Ended,
            Self::Idle(_) | Self::TooLong(_) => SessionOutcome::Expired,
            Self::Held(Some(why)) => why.outcome(),
            Self::KilledInside
            | Self::OutOfMemory(_)
            | Self::Forged
            | Self::Held(None)
            | Self::Stuck => SessionOutcome::Failed,
        }
    }
}

fn spoken(exit: Exit) -> wire::Exit {
    match exit {
        Exit::Code(code) => wire::Exit::Code(code),
        Exit::Signal(number) => wire::Exit::Signal(number),
    }
}

fn pings() -> Interval {
    let mut ping = interval(limits::PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset(); // the first one is not due now
    ping
}

struct Sender<'a> {
    sink: SplitSink<Socket, Outgoing>,
    splices: bool,
    traffic: &'a Traffic,
    ping: Interval,
    /// Bytes of stdin that the client is to be told of.
    taken: watch::Receiver<u64>,
}

impl Sender<'_> {
    /// Sends output until both streams have ended and the tool too.
    async fn deliver(
        &mut self,
        [mut stdout, mut stderr]: [Output; 2],
        ending: impl Future<Output = (Exit, Why)>,
        line: &RelayLine,
    ) -> PumpEnd {
        let mut ending = std::pin::pin!(ending);
        let mut ended: Option<(Exit, Why)> = None;
        let mut last_read = Instant::now();
        let mut finishes = false;
        while ended.is_none() || stdout.is_open() || stderr.is_open() {
            let (flow, outgoing) = tokio::select! {
                frame = stdout.frame(Channel::Stdout, self.splices), if stdout.is_open() => {
                    (Some(ToolStream::Stdout), frame.map(Outgoing::Output))
                }
                frame = stderr.frame(Channel::Stderr, self.splices), if stderr.is_open() => {
                    (Some(ToolStream::Stderr), frame.map(Outgoing::Output))
                }
                end = &mut ending, if ended.is_none() => {
                    ended = Some(end);
                    last_read = Instant::now();
                    continue;
                }
                () = tokio::time::sleep_until(last_read + DRAIN), if ended.is_some() => {
                    if !(stdout.waits() || stderr.waits()) {
                        // A process outside of the session has it open, or holds the relay up.
                        if std::mem::replace(&mut finishes, true) {
                            break;
                        }
                        line.finish();
                    }
                    last_read = Instant::now();
                    continue;
                }
                Ok(()) = self.taken.changed() => {
                    let taken = wire::frame::taken(*self.taken.borrow_and_update());
                    (None, Some(Outgoing::Message(Message::Binary(taken.into()))))
                }
                _ = self.ping.tick() => {
                    (None, Some(Outgoing::Message(Message::Ping(Bytes::new()))))
                }
            };
            let Some(outgoing) = outgoing else { continue };
            let payload = outgoing.payload();
            let sending = self.send(outgoing);
            if let Err(verdict) = meanwhile(sending, ending.as_mut(), &mut ended).await {
                return verdict;
            }
            if let Some(flow) = flow {
                self.traffic.add(flow, payload);
            }
            last_read = Instant::now();
        }
        let is_cut = |output: &Output| output.is_open() || output.is_cut();
        let whole = if is_cut(&stdout) || is_cut(&stderr) { Whole::No } else { Whole::Yes };
        ended.map_or(PumpEnd::Gone, |(exit, why)| PumpEnd::Ended(exit, why, whole))
    }

    async fn send(&mut self, outgoing: Outgoing) -> Result<(), PumpEnd> {
        let patience = patience(outgoing.payload());
        self.traffic.block(true);
        let sent = timeout(patience, self.sink.send(outgoing)).await;
        self.traffic.block(false);
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(PumpEnd::Gone),
            Err(_) => Err(PumpEnd::Silent("the client read no output for 10 min")),
        }
    }

    /// The last word. Only a session that was complete has a Status, and the code for a normal end.
    async fn close(&mut self, verdict: PumpEnd, finished: &Finished, hint: Option<String>) {
        let (code, reason) = match verdict {
            PumpEnd::Cut(why) => (CloseCode::Error, why.reason().unwrap_or_default()),
            PumpEnd::Ended(..) => {
                let message =
                    wire::frame::encode(Channel::Status, &status(finished, hint.as_deref()));
                let message = Message::Binary(message.into());
                if self.send(Outgoing::Message(message)).await.is_err() {
                    return;
                }
                (CloseCode::Normal, String::new())
            }
            PumpEnd::Gone => return,
            PumpEnd::Silent(how) => (CloseCode::Error, how.to_owned()),
            PumpEnd::Offence(code, what) => (code, what),
        };
        let reason = fitting(&reason).to_owned();
        let frame = CloseFrame { code, reason: reason.into() };
        let closing = self.sink.send(Outgoing::Message(Message::Close(Some(frame))));
        let _ = timeout(limits::CLOSE_WAIT, closing).await;
    }

    /// Ends the connection in order, once both have closed: to TLS, an end without a word is a break.
    async fn part(&mut self) {
        let _ = timeout(limits::CLOSE_WAIT, self.sink.close()).await;
    }
}

/// Does `work`, and hears of the end that comes meanwhile: a client that takes nothing must not keep a tool
/// behind its target's end.
async fn meanwhile<T, E>(
    work: impl Future<Output = T>,
    mut ending: Pin<&mut impl Future<Output = E>>,
    ended: &mut Option<E>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            end = &mut ending, if ended.is_none() => *ended = Some(end),
        }
    }
}

/// How long a client may take for `payload` bytes.
fn patience(payload: usize) -> Duration {
    let frames = payload.div_ceil(limits::FRAME).max(1);
    STALLED.saturating_mul(u32::try_from(frames).unwrap_or(u32::MAX))
}

/// As much of `reason` as fits a control frame beside the code (RFC 6455, 5.5).
fn fitting(reason: &str) -> &str {
    const LONGEST: usize = 123;
    let end = (0..=LONGEST.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    &reason[..end.unwrap_or(0)]
}

fn status(finished: &Finished, hint: Option<&str>) -> Vec<u8> {
    let ending = Ending {
        exit: finished.exit.unwrap_or(wire::Exit::Code(0)),
        stdout_bytes: finished.stdout_bytes,
        stderr_bytes: finished.stderr_bytes,
        reason: finished.reason.clone(),
    };
    let status = ending.to_status();
    hint.map_or_else(|| status.to_json(), |hint| status.clone().with_hint(hint).to_json())
}

struct Receiver<'a> {
    source: SplitStream<Socket>,
    protocol: Protocol,
    traffic: &'a Traffic,
    /// How much of stdin the tool has taken.
    tell: watch::Sender<u64>,
}

impl Receiver<'_> {
    /// Takes input until the client is gone or breaks the protocol.
    async fn accept(&mut self, mut stdin: Input, line: &RelayLine) -> PumpEnd {
        let is_told = self.protocol == Protocol::Nsdebug;
        loop {
            if let Some(taken) = stdin.news().filter(|_| is_told) {
                self.tell.send_replace(taken);
            }
            let heard = tokio::select! {
                heard = timeout(limits::PEER_SILENCE, self.source.next()), if is_told || stdin.kept() == 0 => heard,
                () = stdin.pass_on(), if stdin.kept() > 0 => continue,
            };
            let message = match heard {
                Err(_) if self.traffic.is_blocked() => continue,
                Err(_) => return PumpEnd::Silent("no message from the client for 60 s"),
                Ok(None) => return PumpEnd::Gone,
                Ok(Some(Err(error))) => return offence_of(error),
                Ok(Some(Ok(message))) => message,
            };
            let said = match &message {
                Message::Binary(message) => FromClient::decode(message, self.protocol),
                Message::Text(message) => FromClient::decode_text(message, self.protocol),
                Message::Close(_) => return PumpEnd::Gone,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            match said {
                Ok(FromClient::Stdin(bytes)) => {
                    self.traffic.add(ToolStream::Stdin, bytes.len());
                    stdin.accept(bytes);
                    if is_told && stdin.kept() > limits::STDIN_WINDOW {
                        return PumpEnd::Offence(CloseCode::Protocol, overrun());
                    }
                }
                Ok(FromClient::Resize(size)) => line.resize(size.width, size.height),
                Ok(FromClient::Signal(signal)) => line.signal(signal.number().into()),
                Ok(FromClient::CloseStdin) => stdin.close(),
                Err(BadFrame::Empty) => {}
                Err(bad) => return PumpEnd::Offence(CloseCode::Protocol, bad.to_string()),
            }
        }
    }

    /// Waits for the peer's own close, so that ours is not overtaken by the end of the connection: whether it came.
    async fn hear_out(&mut self) -> bool {
        let closed = async { while let Some(Ok(_)) = self.source.next().await {} };
        timeout(limits::CLOSE_WAIT, closed).await.is_ok()
    }
}

fn overrun() -> String {
    format!("more than {} bytes of stdin that the tool has not taken", limits::STDIN_WINDOW)
}

fn offence_of(error: Error) -> PumpEnd {
    match error {
        Error::Capacity(_) => {
            let what = format!("a message is longer than {} bytes", limits::INBOUND_MESSAGE);
            PumpEnd::Offence(CloseCode::Size, what)
        }
        Error::Protocol(what) if what != ProtocolError::ResetWithoutClosingHandshake => {
            PumpEnd::Offence(CloseCode::Protocol, what.to_string())
        }
        Error::Utf8(_) => {
            let what = "a text message is not UTF-8: bytes are sent as binary messages".to_owned();
            PumpEnd::Offence(CloseCode::Invalid, what)
        }
        _ => PumpEnd::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_frame_may_be_taken_as_slowly_as_shorter_ones() {
        assert_eq!(patience(0), STALLED);
        assert_eq!(patience(limits::FRAME), STALLED);
        assert_eq!(patience(limits::BURST), 4 * STALLED);
    }

    #[test]
    fn a_reason_that_is_too_long_for_a_close_is_cut_between_characters() {
        assert_eq!(fitting("ended by root"), "ended by root");
        assert_eq!(fitting(&"a".repeat(200)).len(), 123);
        assert_eq!(fitting(&"ä".repeat(200)).len(), 122);
    }
}
