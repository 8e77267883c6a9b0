//! One pod of a capture: what came of it, and what became of that.

use std::time::{Duration, Instant};

use capture::merge::{Merge, Source};
use capture::pcap::{BadStream, Reader};
use capture::pcapng::Counts;
use tokio::sync::mpsc;
use wire::Signal;

use super::files::{Place, Sum};
use super::tool::{ToolWords, Traffic};
use crate::many::session::Ends;
use crate::stdio::{Piece, Sink};

/// What a packet may take from the kernel to the agent: so long before a question all had arrived there.
pub(super) const SETTLE: Duration = Duration::from_millis(5);

/// How often a pod is asked: fifty silent pods are asked 2500 times a second then.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// How often the counts of a pod are written when it has new ones, beside those of every ten seconds.
const COUNT_AGAIN: Duration = Duration::from_secs(1);

/// What a shell says of SIGINT.
pub(super) const KILLED: u8 = 130;

const UNAWAITED: &str = "its end was not waited for: packets and counts may be missing";

/// How a pod's part of the capture ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PodEnd {
    /// As it was told to, all of its packets having arrived.
    Whole,
    /// It was told to before it captured, if it did not after all.
    Early,
    /// Why there is no more of it.
    Cut(String),
}

/// A pod whose session runs, or has run.
pub(super) struct Pod {
    /// Its place in the list of what is asked for.
    pub(super) subject: usize,
    pub(super) place: Place,
    pub(super) source: Source,
    /// `None` when all of the output has come.
    pub(super) output: Option<mpsc::Receiver<Piece>>,
    signals: mpsc::Sender<Signal>,
    asks: mpsc::Sender<()>,
    /// When it was last asked whether there is more, and whether it has answered.
    asked: Option<(Instant, bool)>,
    reader: Reader,
    pub(super) words: ToolWords,
    broken: Option<BadStream>,
    pub(super) end: Option<PodEnd>,
    arrived: u64,
    pub(super) written: u64,
    /// Bytes on the wire of those that are written.
    pub(super) bytes: u64,
    /// Packets that were given to the files, and are not in them.
    unwritten: u64,
    /// When its counts were last written.
    counted: Option<Instant>,
    /// There are counts that are not written.
    is_uncounted: bool,
}

impl Pod {
    pub(super) fn new(
        subject: usize,
        place: Place,
        source: Source,
        traffic: &Traffic,
        ends: Ends,
    ) -> Self {
        let Ends { output, signals, asks } = ends;
        Self {
            subject,
            place,
            source,
            output: Some(output),
            signals,
            asks,
            asked: None,
            reader: Reader::new(traffic.expected()),
            words: ToolWords::default(),
            broken: None,
            end: None,
            arrived: 0,
            written: 0,
            bytes: 0,
            unwritten: 0,
            counted: None,
            is_uncounted: false,
        }
    }

    /// Takes what came, or that nothing more comes. Whether the tool has counted again.
    pub(super) fn take(&mut self, piece: Option<Piece>, merge: &mut Merge, now: Instant) -> bool {
        let Some(Piece { to, bytes }) = piece else {
            self.output = None;
            merge.end(self.source);
            if self.broken.is_none() && self.arrived > 0 {
                self.broken = self.reader.finish().err();
            }
            return false;
        };
        match to {
            Sink::Stderr => return self.words.add(&bytes),
            // What follows a broken rule is not looked at: its session was told to end.
            Sink::Stdout if self.broken.is_some() => return false,
            Sink::Stdout if bytes.is_empty() => {
                self.hear(merge);
                return false;
            }
            Sink::Stdout => self.reader.add(bytes),
        }
        loop {
            match self.reader.packet() {
                Ok(Some(packet)) => {
                    self.arrived += 1;
                    merge.push(self.source, packet, now);
                }
                Ok(None) => return false,
                Err(broken) => {
                    self.broken = Some(broken);
                    self.tell(Signal::Int);
                    return false;
                }
            }
        }
    }

    /// Asks whether there are packets that have not come, unless it was asked a moment ago. When to ask again.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Instant> {
        if let Some((at, has_answered)) = self.asked {
            let again = at.checked_add(ASK_EVERY).filter(|again| now < *again);
            if !has_answered || again.is_some() {
                return again.filter(|_| has_answered); // an answer is heard of
            }
        }
        if self.asks.try_send(()).is_ok() {
            self.asked = Some((now, false));
        }
        None
    }

    /// The answer: what was on its way when it was asked has come.
    fn hear(&mut self, merge: &mut Merge) {
        if let Some((at, _)) = self.asked {
            self.asked = Some((at, true));
            merge.heard(self.source, at.checked_sub(SETTLE).unwrap_or(at));
        }
    }

    /// Sends the tool a signal; one too many is left out, as with a process.
    pub(super) fn tell(&self, signal: Signal) {
        let _ = self.signals.try_send(signal);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some() && self.output.is_none()
    }

    /// Notes how the session ended.
    pub(super) fn ended(&mut self, end: PodEnd) {
        self.end = Some(end);
    }

    /// Why there is not more of it; nothing if there is all, or if it did not begin.
    pub(super) fn reason(&self) -> Option<String> {
        let cut = match (&self.broken, &self.end) {
            (_, None) => return Some(UNAWAITED.to_owned()),
            (Some(broken), _) => return Some(format!("its packets cannot be read: {broken}")),
            (None, Some(PodEnd::Early)) if self.has_begun() => {
                format!("tcpdump exited with {KILLED}")
            }
            (None, Some(PodEnd::Whole | PodEnd::Early)) => return None,
            (None, Some(PodEnd::Cut(reason))) => reason.clone(),
        };
        let words = self.words.other();
        Some(if words.is_empty() { cut } else { format!("{cut}: {words}") })
    }

    /// Whether it was told to end before it captured.
    pub(super) fn is_early(&self) -> bool {
        self.end == Some(PodEnd::Early) && !self.has_begun()
    }

    fn has_begun(&self) -> bool {
        self.words.is_listening() || self.arrived > 0
    }

    /// The files have no more than `written`. `are_lost` if the other packets are a loss.
    pub(super) fn settle(&mut self, written: Sum, are_lost: bool) {
        let unwritten = self.written.saturating_sub(written.packets);
        self.unwritten = if are_lost { unwritten } else { 0 };
        (self.written, self.bytes) = (written.packets, written.bytes);
    }

    /// Whether counts may be written again: a tool that counts all the time fills no file with that.
    pub(super) fn may_be_counted(&self, now: Instant) -> bool {
        self.counted.is_none_or(|at| now.saturating_duration_since(at) >= COUNT_AGAIN)
    }

    /// Notes that counts are to be written later.
    pub(super) fn count_later(&mut self) {
        self.is_uncounted = true;
    }

    /// Whether counts are to be written.
    pub(super) fn is_uncounted(&self) -> bool {
        self.is_uncounted
    }

    /// Notes that its counts are written.
    pub(super) fn is_counted(&mut self, now: Instant) {
        (self.counted, self.is_uncounted) = (Some(now), false);
    }

    /// What is known of its packets now: those that wait are neither written nor dropped.
    pub(super) fn counts(&self, waiting: usize, are_left_out: bool) -> Counts {
        let tally = self.words.tally();
        let passed = self.arrived.saturating_sub(waiting as u64);
        let lost = passed.saturating_sub(self.written);
        Counts {
            received: tally.received.max(self.arrived.saturating_add(tally.dropped)),
            dropped_by_kernel: tally.dropped,
            dropped_by_us: if are_left_out { self.unwritten } else { lost },
            written: self.written,
        }
    }
}
