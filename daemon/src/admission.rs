//! Who may connect before anybody knows who they are: so many connections in all, so many from one network.
//!
//! A stranger costs memory, and the network that floods a port must be the one that pays. So a newcomer is let in at
//! the expense of the network that holds most, and one that itself holds most waits for its own.
//! Who has proved who they are gives its [`StrangerPlace`] back: what they may hold is the program's to say.

mod places;
mod turns;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use places::{Decision, Network, Places};
pub use places::{PATIENCE, StrangerLimits};
use turns::{Own, Turns};

/// Places for strangers of one port, or of several that share them; clones share it too.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    places: Mutex<Places>,
    /// Told of each place that was given back.
    freed: watch::Sender<()>,
    turns: Turns,
}

/// A stranger's place. It is free again when this is dropped: with the connection, or when its other end
/// has proved who it is.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct StrangerPlace {
    id: u64,
    withdrawn: watch::Receiver<bool>,
    own: Own,
    shared: Arc<Shared>,
}

impl Admission {
    #[must_use]
    pub fn new(limits: StrangerLimits) -> Self {
        let places = Mutex::new(Places::new(limits));
        Self(Arc::new(Shared { places, freed: watch::Sender::new(()), turns: Turns::new() }))
    }

    /// A place for a connection from `source`; none where its own network holds all that one may, and
    /// nothing of that is older than [`PATIENCE`]: then it is to be closed.
    ///
    /// Waits, for as long as [`PATIENCE`] or until a withdrawn connection is closed, and never for a
    /// network that holds more than the newcomer's.
    pub async fn admit(&self, source: IpAddr) -> Option<StrangerPlace> {
        let Self(shared) = self;
        let mut freed = shared.freed.subscribe();
        loop {
            freed.mark_unchanged();
            let decision = shared.lock().decide(source, Instant::now().into_std());
            let until = match decision {
                Decision::Admitted { id, withdrawn } => {
                    let own = shared.turns.of(Network::of(source));
                    return Some(StrangerPlace { id, withdrawn, own, shared: Arc::clone(shared) });
                }
                Decision::Refused => return None,
                Decision::Wait { until } => until,
            };
            // Either way it is looked at again; the sender lives as long as `shared`.
            let _ = timeout_at(Instant::from_std(until), freed.changed()).await;
        }
    }

    /// How many places are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.lock().taken()
    }
}

impl StrangerPlace {
    /// Does `work` that costs processor time: a handshake, or a check of what was shown. Of one network one is
    /// computed at a time, and all together have half of the time of one processor.
    pub async fn compute<T>(&self, work: impl Future<Output = T>) -> T {
        self.shared.turns.take(&self.own, work).await
    }

    /// Completes when the connection is to be closed at once for the sake of a newcomer.
    pub async fn withdrawn(&self) {
        // The sender goes only with the place itself, which is borrowed here.
        let _ = self.withdrawn.clone().wait_for(|withdrawn| *withdrawn).await;
    }
}

impl Drop for StrangerPlace {
    fn drop(&mut self) {
        self.shared.lock().free(self.id);
        self.shared.freed.send_replace(());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().expect("a runtime")
    }

    #[test]
    fn a_newcomer_takes_the_place_of_whom_it_displaces_once_that_one_is_gone() {
        let admission = Admission::new(StrangerLimits { all: 2, per_network: 2 });
        runtime().block_on(async {
            let first = admission.admit(ATTACKER).await.expect("a place");
            let _second = admission.admit(ATTACKER).await.expect("a place");
            assert!(admission.admit(ATTACKER).await.is_none(), "its own places are all young");
            assert!(first.withdrawn().now_or_never().is_none());
            let admitting = admission.admit(STRANGER);
            tokio::pin!(admitting);
            assert!(admitting.as_mut().now_or_never().is_none(), "the place is not free yet");
            assert!(first.withdrawn().now_or_never().is_some());
            assert!(first.withdrawn().now_or_never().is_some(), "it stays withdrawn");
            drop(first);
            let place = admitting.await.expect("a place");
            assert_eq!(admission.taken(), 2);
            drop(place);
            assert_eq!(admission.taken(), 1);
        });
    }

    #[test]
    fn who_has_proved_who_they_are_makes_room() {
        let admission = Admission::new(StrangerLimits { all: 1, per_network: 1 });
        runtime().block_on(async {
            for _ in 0..3 {
                drop(admission.admit(ATTACKER).await.expect("a place"));
            }
        });
    }
}
