//! What all sessions are told: the signals to this process, also while nobody reads its output.
//!
//! A handler of ours that waits for the reader of stdout hears nothing. So signals are heard beside all handlers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};
use wire::Signal;

use crate::ending::{is_echo, is_ending};
use crate::signals::Signals;

/// What the sessions and the output may take after the second signal.
const GOODBYE: Duration = Duration::from_secs(2);

/// The sessions that run, and whether they were told to end.
#[derive(Debug, Default)]
pub(crate) struct Told {
    state: Mutex<ToldState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct ToldState {
    running: BTreeMap<usize, mpsc::Sender<Signal>>,
    end: Option<Signal>,
}

impl Told {
    /// The session of `who` begins, and is told of a signal that was before it.
    pub(crate) fn begins(&self, who: usize, session: mpsc::Sender<Signal>) {
        let mut state = self.state();
        if let Some(signal) = state.end {
            let _ = session.try_send(signal);
        }
        state.running.insert(who, session);
    }

    pub(crate) fn has_ended(&self, who: usize) {
        self.state().running.remove(&who);
    }

    /// Tells all sessions. One that has as many signals before it as it can have hears no other.
    pub(crate) fn tell(&self, signal: Signal) {
        let mut state = self.state();
        for session in state.running.values() {
            let _ = session.try_send(signal);
        }
        if is_ending(signal) {
            state.end.get_or_insert(signal);
            self.changed.notify_one();
        }
    }

    /// Whether no further session is to begin.
    pub(crate) fn is_over(&self) -> bool {
        self.state().end.is_some()
    }

    /// Completes when that may have changed.
    pub(crate) async fn changes(&self) {
        self.changed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, ToldState> {
        // What is in it is whole at all times.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes on what this process hears. Completes a while after the second signal that ends a command, and returns the
/// first.
pub(crate) async fn pass_on(told: &Told, signals: &mut Signals) -> Signal {
    let mut first: Option<(Signal, Instant)> = None;
    loop {
        let signal = signals.next().await;
        told.tell(signal);
        match first {
            _ if !is_ending(signal) => {}
            None => first = Some((signal, Instant::now())),
            Some((same, at)) if is_echo(signal, same, at.elapsed()) => {}
            Some((first, _)) => {
                sleep(GOODBYE).await;
                return first;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_begins_after_the_signal_is_told_too() {
        let told = Told::default();
        let (session, mut first) = mpsc::channel(2);
        told.begins(0, session);
        told.tell(Signal::Usr1);
        assert!(!told.is_over());
        told.tell(Signal::Term);
        assert!(told.is_over());
        let (session, mut second) = mpsc::channel(2);
        told.begins(1, session);
        assert_eq!([first.try_recv(), first.try_recv()], [Ok(Signal::Usr1), Ok(Signal::Term)]);
        assert_eq!(second.try_recv(), Ok(Signal::Term));
        told.has_ended(0);
        told.tell(Signal::Int);
        assert!(first.try_recv().is_err(), "it has ended");
        assert_eq!(second.try_recv(), Ok(Signal::Int));
    }
}
