//! Signals to a capture that end it: the first has the tools end, the second waits for nothing.

use std::time::{Duration, Instant};

use wire::Signal;

/// The same signal so soon after the first is the first, as in a plain session: timeout(1) sends its own twice.
const AT_ONCE: Duration = Duration::from_millis(100);

/// What a signal means after those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndingSignal {
    First,
    /// The first, once more.
    Echo,
    Second,
}

/// The ending signals that came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signalled {
    first: Option<(Signal, Instant)>,
}

impl Signalled {
    pub(super) fn hear(&mut self, signal: Signal, now: Instant) -> EndingSignal {
        match self.first {
            None => {
                self.first = Some((signal, now));
                EndingSignal::First
            }
            Some((first, at)) if first == signal && now.duration_since(at) < AT_ONCE => {
                EndingSignal::Echo
            }
            Some(_) => EndingSignal::Second,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_comes_twice_at_once_as_from_timeout_is_one() {
        let (mut signalled, now) = (Signalled::default(), Instant::now());
        assert_eq!(signalled.hear(Signal::Term, now), EndingSignal::First);
        assert_eq!(signalled.hear(Signal::Term, now + AT_ONCE / 2), EndingSignal::Echo);
        assert_eq!(signalled.hear(Signal::Term, now + AT_ONCE), EndingSignal::Second);
    }

    #[test]
    fn another_signal_is_the_second_at_once() {
        let (mut signalled, now) = (Signalled::default(), Instant::now());
        assert_eq!(signalled.hear(Signal::Int, now), EndingSignal::First);
        assert_eq!(signalled.hear(Signal::Term, now), EndingSignal::Second);
    }
}
