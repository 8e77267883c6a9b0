//! What stops a session on this side: a signal to us, or the end of its time.
//!
//! The tool is told first, where the agent can pass a signal on, and has a while to write what it still
//! holds: tcpdump its counts, strace its table. A second signal stops the session at once.

use std::time::Duration;

use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use wire::Signal;

use crate::ending::{is_echo, is_ending};
use crate::signals::Signals;

/// What a tool may take to end once it was told to, with all that it writes until then.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

/// Signals that wait for the socket; as with a process, one too many is left out.
const QUEUE: usize = 8;

/// What the tool is told at the end of its time, as by timeout(1).
const TIME_IS_UP: Signal = Signal::Term;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal(Signal),
    /// The session went on for this long.
    Deadline(Duration),
}

impl Cause {
    fn signal(self) -> Signal {
        match self {
            Self::Signal(signal) => signal,
            Self::Deadline(_) => TIME_IS_UP,
        }
    }
}

/// The session is not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) cause: Cause,
    /// What the tool was told, and did not end within [`DRAIN`] of.
    pub(crate) unheard: Option<Signal>,
}

/// Where signals come from.
pub(crate) enum Heard {
    /// To this process.
    Process(Signals),
    /// From the part of this program that has many sessions.
    Queue(mpsc::Receiver<Signal>),
}

impl Heard {
    async fn next(&mut self) -> Signal {
        match self {
            Self::Process(signals) => signals.next().await,
            Self::Queue(signals) => match signals.recv().await {
                Some(signal) => signal,
                None => std::future::pending().await,
            },
        }
    }
}

/// Waits for a reason to stop, and tells the tool.
pub(crate) struct Watch {
    signals: Heard,
    deadline: Option<(Instant, Duration)>,
    /// `None` where no tool can be told.
    tool: Option<mpsc::Sender<Signal>>,
    told: Option<(Cause, Instant)>,
}

impl Watch {
    pub(crate) fn new(signals: Heard, deadline: Option<(Instant, Duration)>) -> Self {
        Self { signals, deadline, tool: None, told: None }
    }

    /// What the tool is to be told, from now on.
    pub(crate) fn pass_on(&mut self) -> mpsc::Receiver<Signal> {
        let (tool, signals) = mpsc::channel(QUEUE);
        self.tool = Some(tool);
        signals
    }

    /// The tool has ended.
    pub(crate) fn tool_has_ended(&mut self) {
        self.tool = None;
    }

    /// How long the session went on, if that is why its tool was told to end.
    pub(crate) fn timed_out(&self) -> Option<Duration> {
        match self.told {
            Some((Cause::Deadline(limit), _)) => Some(limit),
            _ => None,
        }
    }

    /// Completes when the session must not go on. Safe to be dropped and called again.
    pub(crate) async fn stop(&mut self) -> Stop {
        loop {
            let until = match self.told {
                Some((_, told)) => Some(told + DRAIN),
                None => self.deadline.map(|(at, _)| at),
            };
            let stop = select! {
                signal = self.signals.next() => self.hear(signal),
                () = reached(until) => self.time_is_up(),
            };
            if let Some(stop) = stop {
                return stop;
            }
        }
    }

    fn hear(&mut self, signal: Signal) -> Option<Stop> {
        match self.told {
            _ if !is_ending(signal) => {
                let _ = self.tool.as_ref().map(|tool| tool.try_send(signal));
                None
            }
            None => self.tell(Cause::Signal(signal)),
            Some((cause, told)) if is_echo(signal, cause.signal(), told.elapsed()) => None,
            Some((cause, _)) => Some(Stop { cause, unheard: None }),
        }
    }

    fn time_is_up(&mut self) -> Option<Stop> {
        match (self.told, self.deadline) {
            (Some((cause, _)), _) => Some(Stop { cause, unheard: Some(cause.signal()) }),
            (None, Some((_, limit))) => self.tell(Cause::Deadline(limit)),
            (None, None) => None,
        }
    }

    /// Has the tool told to end; a stop where that cannot be.
    fn tell(&mut self, cause: Cause) -> Option<Stop> {
        let told = self.tool.as_ref().is_some_and(|tool| tool.try_send(cause.signal()).is_ok());
        if !told {
            return Some(Stop { cause, unheard: None });
        }
        self.told = Some((cause, Instant::now()));
        None
    }
}

async fn reached(until: Option<Instant>) {
    match until {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
