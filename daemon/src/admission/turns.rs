//! Whose turn it is to have its handshake computed: one of each network, and of all networks one at a time.
//!
//! A handshake costs a stranger little and its server a signature and the checks of whatever chain it is shown.
//! Those of one network wait for one another, so that any other network's is next but one; and all of them
//! together take half of the time of one processor, so that the rest is for those who are known.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::places::Network;

/// What may be computed without a pause: some handshakes of those who come at once.
const BURST: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub(super) struct Turns {
    /// First come, first served.
    all: Semaphore,
    budget: Mutex<Budget>,
    networks: Mutex<HashMap<Network, Weak<Semaphore>>>,
}

/// A network's own turn: its first connection.
pub(super) type Own = Arc<Semaphore>;

impl Turns {
    pub(super) fn new() -> Self {
        let budget = Mutex::new(Budget { spent_until: Instant::now() });
        Self { all: Semaphore::new(1), budget, networks: Mutex::default() }
    }

    pub(super) fn of(&self, network: Network) -> Own {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = networks.get(&network).and_then(Weak::upgrade) {
            return own;
        }
        // Not more than there are places, and those whose network has gone.
        networks.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(1));
        networks.insert(network, Arc::downgrade(&own));
        own
    }

    /// Does `work` in turns: what it does between two waits is one. Between two turns of a network, all others
    /// that the runtime has to do come first.
    pub(super) async fn take<T>(&self, own: &Own, work: impl Future<Output = T>) -> T {
        let (mut work, bell) = (pin!(work), Arc::new(Bell::default()));
        let waker = Waker::from(Arc::clone(&bell));
        loop {
            let turn = own.acquire().await;
            let one = self.all.acquire().await;
            let pause = self.budget().pause(Instant::now());
            if let Some(until) = pause {
                sleep_until(until).await;
            }
            let begun = Instant::now();
            let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
            self.budget().spend(begun, Instant::now());
            drop(one);
            yield_now().await;
            drop(turn);
            match polled {
                Poll::Ready(done) => return done,
                Poll::Pending => bell.rung().await,
            }
        }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remembers that the work can go on, while its task waits for something else.
#[derive(Default)]
struct Bell {
    is_rung: AtomicBool,
    listener: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.is_rung.store(true, Ordering::Release);
        self.listener.wake();
    }
}

impl Bell {
    async fn rung(&self) {
        poll_fn(|context| {
            self.listener.register(context.waker());
            let is_rung = self.is_rung.swap(false, Ordering::AcqRel);
            if is_rung { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Half of the time of one processor.
#[derive(Debug)]
struct Budget {
    /// When all that was spent will have been earned.
    spent_until: Instant,
}

impl Budget {
    /// Until when the next one has to wait.
    fn pause(&self, now: Instant) -> Option<Instant> {
        let until = self.spent_until.checked_sub(BURST)?;
        (until > now).then_some(until)
    }

    fn spend(&mut self, begun: Instant, now: Instant) {
        let cost = now.saturating_duration_since(begun) * 2;
        self.spent_until = self.spent_until.max(begun) + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(last: u8) -> Network {
        Network::of(std::net::IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn one_of_another_network_is_next_but_one_however_many_are_there_of_the_first() {
        let turns = Turns::new();
        let order = Mutex::new(Vec::new());
        // Three turns each: what it does, and then waits for its client.
        let shakes = async |who: u8| {
            for _ in 0..3 {
                order.lock().expect("an order").push(who);
                yield_now().await;
            }
        };
        let crowd: Vec<_> = (0..30).map(|_| turns.of(network(1))).collect();
        let other = turns.of(network(2));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let crowd = crowd.iter().map(|own| turns.take(own, shakes(1)));
            let crowd = futures_util::future::join_all(crowd);
            tokio::join!(crowd, turns.take(&other, shakes(2)));
        });
        let order = order.into_inner().expect("an order");
        let last = order.iter().rposition(|who| *who == 2).expect("it had its turns");
        assert!(order.len() == 93 && last <= 8, "{last} {order:?}");
    }

    #[test]
    fn a_network_that_is_gone_takes_no_room() {
        let turns = Turns::new();
        for last in 0..=255 {
            drop(turns.of(network(last)));
        }
        assert_eq!(turns.networks.lock().expect("some").len(), 1);
    }

    #[test]
    fn all_together_take_half_of_the_time() {
        let start = Instant::now();
        let mut budget = Budget { spent_until: start };
        let (mut now, mut spent) = (start, Duration::ZERO);
        let cost = Duration::from_millis(7);
        while now < start + Duration::from_secs(10) {
            now = budget.pause(now).unwrap_or(now);
            budget.spend(now, now + cost);
            now += cost;
            spent += cost;
        }
        let most = (now - start) / 2 + BURST;
        assert!(spent <= most && spent * 10 >= most * 9, "{spent:?} of {:?}", now - start);
        // Who has been idle does not wait.
        assert_eq!(budget.pause(now + Duration::from_secs(1)), None);
    }
}
