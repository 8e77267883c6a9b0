//! How long a session of this process's own may take to end: nobody waits for what cannot answer.
//!
//! Pure. A target that may trace can stop a supervisor or a tool for good; what stopped does not hear
//! a signal, however often it is passed on.

use std::time::{Duration, Instant};

use entry::{Event, Exit};
use nix::sys::signal::Signal;
use wire::TimeSpan;

/// What a tool may take to end once it was told to: as long as `docker stop` gives a container.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// What a session may take until its tool runs, on a node that hardly does: it takes milliseconds.
pub(crate) const START: Duration = Duration::from_secs(30);

/// What a supervisor may take that was asked to end its tool, which it kills after a second.
const END: Duration = Duration::from_secs(4);

/// So many interrupts mean it, as with `docker run`: a tool may have a use for the first ones.
const INSISTS: usize = 3;

/// Interrupts further apart than this are for the tool, as those to a debugger are.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Why a session is not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Its tool does not run yet.
    NotStarted,
    TooLong(TimeSpan),
    /// It was told to end, and did not.
    Deaf(Signal),
    TargetExit,
}

impl Cut {
    /// For a caller's caller: a limit is ours, and what was killed was killed.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::NotStarted | Self::TooLong(_) => Exit::Code(125),
            Self::Deaf(_) | Self::TargetExit => Exit::Signal(Signal::SIGKILL as u8),
        }
    }

    /// For people.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::NotStarted => not_started(),
            Self::TooLong(limit) => format!("longest duration reached: {limit} (--session-limit)"),
            Self::Deaf(Signal::SIGINT) => {
                format!("the tool did not end after {INSISTS} interrupts and was killed")
            }
            Self::Deaf(signal) => {
                format!(
                    "the tool did not end within {} s of {signal} and was killed",
                    GRACE.as_secs()
                )
            }
            Self::TargetExit => "the target exited".to_owned(),
        }
    }
}

/// Why a session was given up that should have started long ago.
pub(crate) fn not_started() -> String {
    let seconds = START.as_secs();
    format!(
        "the session did not start within {seconds} s: it may have been stopped from inside the target"
    )
}

/// What is to be done to a session that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask the supervisor to end it.
    End,
    /// Kill what there is.
    Kill,
}

/// What was asked of a session so far.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Option<(Instant, TimeSpan)>,
    /// When to kill, and what for. The first reason stays.
    deadline: Option<(Instant, Cut)>,
    interrupts: Vec<Instant>,
    killed: bool,
}

impl Patience {
    pub(crate) fn new(total: Option<TimeSpan>, now: Instant) -> Self {
        let limit = total.map(|span| (now + span.duration(), span));
        let deadline = Some((now + START, Cut::NotStarted));
        Self { limit, deadline, interrupts: Vec::new(), killed: false }
    }

    /// Whether the session was cut that came to its end by `event`; the target's own is not our doing.
    pub(crate) fn verdict(&self, event: &Event) -> Option<Cut> {
        let (_, cut) = self.deadline?;
        let is_ours = match cut {
            Cut::TooLong(_) => true,
            Cut::NotStarted | Cut::Deaf(_) => self.killed && *event == Event::Lost,
            Cut::TargetExit => false,
        };
        is_ours.then_some(cut)
    }

    /// Notes that the tool runs.
    pub(crate) fn started(&mut self) {
        self.deadline.take_if(|(_, cut)| *cut == Cut::NotStarted);
    }

    /// Notes a signal, which is passed on in any case.
    pub(crate) fn told(&mut self, signal: Signal, now: Instant) {
        match signal {
            Signal::SIGTERM | Signal::SIGHUP => self.expect_end(now + GRACE, Cut::Deaf(signal)),
            Signal::SIGINT => {
                self.interrupts.retain(|earlier| now.duration_since(*earlier) < AT_ONCE);
                self.interrupts.push(now);
                if self.interrupts.len() >= INSISTS {
                    self.expect_end(now, Cut::Deaf(signal));
                }
            }
            _ => {}
        }
    }

    /// Notes that the supervisor was asked to end its tool.
    pub(crate) fn ending(&mut self, cut: Cut, now: Instant) {
        self.expect_end(now + END, cut);
    }

    fn expect_end(&mut self, by: Instant, cut: Cut) {
        let (earlier, first) = self.deadline.unwrap_or((by, cut));
        self.deadline = Some((earlier.min(by), first));
    }

    /// What is due, once.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.killed {
            return None;
        }
        if self.deadline.is_some_and(|(deadline, _)| deadline <= now) {
            self.killed = true;
            return Some(Due::Kill);
        }
        let (_, span) = self.limit.take_if(|(limit, _)| *limit <= now)?;
        self.ending(Cut::TooLong(span), now);
        Some(Due::End)
    }

    /// When to ask again.
    pub(crate) fn next(&self) -> Option<Instant> {
        let deadline = self.deadline.map(|(deadline, _)| deadline);
        let limit = self.limit.map(|(limit, _)| limit);
        let first = deadline.into_iter().chain(limit).min();
        first.filter(|_| !self.killed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn started(total: Option<TimeSpan>, now: Instant) -> Patience {
        let mut patience = Patience::new(total, now);
        patience.started();
        patience
    }

    #[test]
    fn what_does_not_start_is_not_waited_for() {
        let now = Instant::now();
        let mut patience = Patience::new(None, now);
        assert_eq!((patience.due(now + SECOND), patience.next()), (None, Some(now + START)));
        assert_eq!(patience.due(now + START), Some(Due::Kill));
        assert_eq!(patience.verdict(&Event::Lost), Some(Cut::NotStarted));
    }

    #[test]
    fn without_a_word_a_session_is_waited_for() {
        let now = Instant::now();
        let mut patience = started(None, now);
        assert_eq!((patience.due(now + 1000 * SECOND), patience.next()), (None, None));
        patience.told(Signal::SIGUSR1, now);
        assert_eq!(patience.next(), None);
    }

    #[test]
    fn what_was_told_to_end_is_killed_after_its_grace() {
        let now = Instant::now();
        let mut patience = started(None, now);
        patience.told(Signal::SIGTERM, now);
        patience.told(Signal::SIGHUP, now + SECOND);
        assert_eq!((patience.due(now + SECOND), patience.next()), (None, Some(now + GRACE)));
        assert_eq!(patience.due(now + GRACE), Some(Due::Kill));
        assert_eq!((patience.due(now + GRACE), patience.next()), (None, None));
        assert_eq!(patience.verdict(&Event::Ended(Exit::Code(0))), None);
        let why = patience.verdict(&Event::Lost).map(Cut::reason).expect("a reason");
        assert!(why.contains("10 s of SIGTERM"), "{why}");
    }

    #[test]
    fn three_interrupts_at_once_mean_it() {
        let now = Instant::now();
        let mut patience = started(None, now);
        // As to a debugger, one now and then.
        for turn in 0..10 {
            patience.told(Signal::SIGINT, now + turn * AT_ONCE);
        }
        let now = now + 10 * AT_ONCE;
        assert_eq!(patience.due(now), None);
        for turn in 1..=2 {
            patience.told(Signal::SIGINT, now + turn * SECOND);
            assert_eq!(patience.due(now + turn * SECOND), None);
        }
        patience.told(Signal::SIGINT, now + 3 * SECOND);
        assert_eq!(patience.due(now + 3 * SECOND), Some(Due::Kill));
    }

    #[test]
    fn a_limit_asks_first_and_kills_then() {
        let now = Instant::now();
        let limit = "2s".parse().expect("a span");
        let mut patience = started(Some(limit), now);
        assert_eq!((patience.due(now + SECOND), patience.next()), (None, Some(now + 2 * SECOND)));
        assert_eq!(patience.due(now + 2 * SECOND), Some(Due::End));
        assert_eq!(patience.due(now + 3 * SECOND), None);
        assert_eq!(patience.due(now + 2 * SECOND + END), Some(Due::Kill));
        let ended = Event::Ended(Exit::Signal(15));
        assert_eq!(patience.verdict(&ended), Some(Cut::TooLong(limit)));
    }
}
