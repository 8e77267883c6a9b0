//! Signals that end a command: the first has its tools end, the second waits for nothing.

use std::time::{Duration, Instant};

use wire::Signal;

/// The same signal so soon after the first is the first: timeout(1) sends its own to the process and again to the
/// process' group. No person presses a key twice within this.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Whether `signal` ends a command; the others are only passed on to its tools.
pub(crate) fn is_ending(signal: Signal) -> bool {
    !matches!(signal, Signal::Usr1 | Signal::Usr2)
}

/// Whether `signal` is the `first` of them once more, which came so long before.
pub(crate) fn is_echo(signal: Signal, first: Signal, before: Duration) -> bool {
    signal == first && before < AT_ONCE
}

/// What a signal means after those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndingSignal {
    First,
    /// The first, once more.
    Echo,
    Second,
}

/// The ending signals that came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signalled {
    first: Option<(Signal, Instant)>,
}

impl Signalled {
    pub(crate) fn hear(&mut self, signal: Signal, now: Instant) -> EndingSignal {
        match self.first {
            None => {
                self.first = Some((signal, now));
                EndingSignal::First
            }
            Some((first, at)) if is_echo(signal, first, now.duration_since(at)) => {
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
