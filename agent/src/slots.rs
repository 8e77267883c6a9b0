//! How many sessions run at once: one slot each, and a way to wait until all are free.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::num::NonZeroU16;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use daemon::{Quota, QuotaFull, QuotaPlace};
use tokio::sync::{Notify, watch};

use crate::listen::Caller;

/// All slots of this agent; clones share them.
#[derive(Clone, Debug)]
pub struct Slots {
    quota: Quota<Caller>,
    limit: NonZeroU16,
    taken: Arc<Mutex<Taken>>,
    per_caller: NonZeroU16,
    /// Processes of sessions that are over that a caller may leave unreaped without a slot being taken for them.
    forgiven: u64,
    /// Whether nobody is let in any more.
    closing: Arc<watch::Sender<bool>>,
    /// Told whenever something that was forgiven is gone.
    settled: Arc<Notify>,
}

/// What sessions that are over have left.
#[derive(Debug, Default)]
struct Taken {
    /// Of those that have a slot, whose sessions are over though processes of them are not reaped, and in which containers.
    left: Vec<(Caller, String)>,
    /// How many processes of their sessions that are over each caller is forgiven; nobody is in here with none.
    forgiven: HashMap<Caller, u64>,
}

/// The right to run one session.
#[derive(Debug)]
#[must_use = "the slot is free again when this is dropped"]
pub struct Slot {
    place: QuotaPlace<Caller>,
    taken: Arc<Mutex<Taken>>,
    left_in: OnceLock<String>,
    forgiven: u64,
    closing: watch::Receiver<bool>,
    settled: Arc<Notify>,
}

/// Processes that are not reaped and are forgiven their caller. Counted until this is dropped.
#[derive(Debug)]
pub struct Forgiven {
    taken: Arc<Mutex<Taken>>,
    caller: Caller,
    processes: u64,
    settled: Arc<Notify>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error(
        "all {limit} sessions of this agent are in use: end one, or raise --max-sessions{left}"
    )]
    Node { limit: NonZeroU16, left: Left },
    #[error(
        "{caller} has {limit} sessions here already: end one, or raise --max-sessions-per-caller{left}"
    )]
    Caller { caller: Caller, limit: NonZeroU16, left: Left },
}

/// In which containers there are processes of sessions that are over: for each such session one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left(Vec<String>);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(containers) = self;
        if containers.is_empty() {
            return Ok(());
        }
        let names: BTreeSet<_> = containers.iter().map(String::as_str).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        write!(
            f,
            "; {} of them ended and left zombies that the first process of their container does not reap, and count until that container is restarted: {names}",
            containers.len()
        )
    }
}

impl Slots {
    #[must_use]
    pub fn new(limit: NonZeroU16, per_caller: NonZeroU16) -> Self {
        let quota = Quota::new(limit.get().into(), per_caller.get().into());
        let closing = Arc::new(watch::Sender::new(false));
        let (taken, settled) = (Arc::default(), Arc::default());
        Self { quota, limit, taken, per_caller, forgiven: 0, closing, settled }
    }

    /// Of each caller's sessions that are over, as many processes are forgiven: many containers reap nobody, and a tool
    /// that is killed in one leaves a few.
    #[must_use]
    pub fn forgiving(self, processes: u64) -> Self {
        Self { forgiven: processes, ..self }
    }

    /// A slot, or at once the refusal: a queue would only hide that the node is busy.
    pub fn take(&self, caller: Caller) -> Result<Slot, Full> {
        let place = self.quota.take(caller.clone()).map_err(|full| self.refusal(full, caller))?;
        let (taken, closing) = (Arc::clone(&self.taken), self.closing.subscribe());
        let (left_in, settled) = (OnceLock::new(), Arc::clone(&self.settled));
        Ok(Slot { place, taken, left_in, forgiven: self.forgiven, closing, settled })
    }

    /// Whether there is a slot, which is not taken.
    pub fn look(&self, caller: &Caller) -> Result<(), Full> {
        self.quota.look(caller).map_err(|full| self.refusal(full, caller.clone()))
    }

    fn refusal(&self, full: QuotaFull, caller: Caller) -> Full {
        let taken = lock(&self.taken);
        match full {
            QuotaFull::All => Full::Node { limit: self.limit, left: taken.left(|_| true) },
            QuotaFull::Caller => {
                let left = taken.left(|one| *one == caller);
                Full::Caller { caller, limit: self.per_caller, left }
            }
        }
    }

    /// How many sessions run, and are over with processes that are not reaped.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.quota.taken()
    }

    /// Completes when no session runs and nothing is forgiven: what has been forgiven still has a control group. To be
    /// awaited once no new one is admitted: what only counts against new ones counts no more.
    pub async fn all_free(&self) {
        self.closing.send_replace(true);
        self.quota.all_free().await;
        loop {
            let mut settled = pin!(self.settled.notified());
            settled.as_mut().enable();
            if lock(&self.taken).forgiven.is_empty() {
                return;
            }
            settled.await;
        }
    }
}

impl Slot {
    /// Notes that the session is over and that processes of it in `container` are not reaped. Whether that is new.
    pub fn is_left_in(&self, container: &str) -> bool {
        let is_new = self.left_in.set(container.to_owned()).is_ok();
        if is_new {
            lock(&self.taken).left.push((self.place.caller().clone(), container.to_owned()));
        }
        is_new
    }

    /// Counts `processes` that are not reaped for the caller instead of this slot, if that is not too many.
    pub fn forgive(&self, processes: u64) -> Option<Forgiven> {
        let mut taken = lock(&self.taken);
        let all = taken.forgiven.get(self.place.caller()).copied().unwrap_or_default() + processes;
        if all > self.forgiven {
            return None;
        }
        let caller = self.place.caller().clone();
        taken.forgiven.insert(caller.clone(), all);
        let (taken, settled) = (Arc::clone(&self.taken), Arc::clone(&self.settled));
        Some(Forgiven { taken, caller, processes, settled })
    }

    /// Completes when nobody is let in any more, whether this is still taken or not.
    pub fn needless(&self) -> impl Future<Output = ()> + use<> {
        let mut closing = self.closing.clone();
        async move {
            // An error says that there are no slots any more.
            let _ = closing.wait_for(|closing| *closing).await;
        }
    }
}

impl Drop for Forgiven {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        match taken.forgiven.get_mut(&self.caller) {
            Some(all) if *all > self.processes => *all -= self.processes,
            _ => drop(taken.forgiven.remove(&self.caller)),
        }
        self.settled.notify_waiters();
    }
}

impl Taken {
    fn left(&self, is_meant: impl Fn(&Caller) -> bool) -> Left {
        let meant = self.left.iter().filter(|(caller, _)| is_meant(caller));
        Left(meant.map(|(_, container)| container.clone()).collect())
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(container) = self.left_in.get() else { return };
        let mut taken = lock(&self.taken);
        let own = self.place.caller();
        let is_own = |(caller, place): &(Caller, String)| caller == own && place == container;
        if let Some(own) = taken.left.iter().position(is_own) {
            taken.left.swap_remove(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const TWO: NonZeroU16 = NonZeroU16::MIN.saturating_add(1);

    #[test]
    fn what_is_forgiven_has_not_ended_before_it_is_gone() {
        let slots = Slots::new(TWO, TWO).forgiving(3);
        let slot = slots.take(Caller::user("a")).expect("a slot");
        let forgiven = slot.forgive(2).expect("few");
        drop(slot);
        let mut all = pin!(slots.all_free());
        assert!(all.as_mut().now_or_never().is_none(), "its group is there");
        drop(forgiven);
        assert!(all.now_or_never().is_some());
    }

    #[test]
    fn one_session_more_than_the_limit_is_refused_until_one_ends() {
        let slots = Slots::new(NonZeroU16::MIN, TWO);
        let slot = slots.take(Caller::user("a")).expect("the only slot");
        let full = slots.take(Caller::user("b")).expect_err("a second");
        assert_eq!(slots.look(&Caller::user("b")), Err(full.clone()));
        let refusal = full.to_string();
        assert!(refusal.contains("all 1 ") && refusal.contains("--max-sessions"), "{refusal}");
        assert_eq!(slots.taken(), 1);
        assert!(slots.all_free().now_or_never().is_none());
        drop(slot);
        assert!(slots.all_free().now_or_never().is_some());
        assert!(slots.take(Caller::user("b")).is_ok());
    }

    #[test]
    fn one_caller_cannot_take_what_is_for_all() {
        let slots = Slots::new(TWO, NonZeroU16::MIN);
        let slot = slots.take(Caller::user("a")).expect("a slot");
        let full = slots.take(Caller::user("a")).expect_err("a second");
        assert_eq!(slots.look(&Caller::user("a")), Err(full.clone()));
        assert_eq!(slots.look(&Caller::user("b")), Ok(()));
        let refusal = full.to_string();
        assert!(refusal.starts_with("user a has 1 sessions here already"), "{refusal}");
        assert_eq!(slots.taken(), 1, "a refusal holds no slot");
        let other = slots.take(Caller::user("b")).expect("another's slot");
        drop((slot, other));
        assert_eq!(slots.taken(), 0);
    }

    #[test]
    fn what_is_not_reaped_keeps_its_slot_and_the_refusal_names_the_container() {
        let slots = Slots::new(TWO.saturating_add(1), NonZeroU16::MIN);
        let (one, two) = (Caller::user("a"), Caller::user("b"));
        let slot = slots.take(one.clone()).expect("a slot");
        assert!(slot.is_left_in("web") && !slot.is_left_in("web"), "once");
        let refusal = slots.take(one.clone()).expect_err("its quota is used up").to_string();
        for word in ["1 of them ended", "zombies", "restarted: web"] {
            assert!(refusal.contains(word), "{word}: {refusal}");
        }
        let other = slots.take(two.clone()).expect("another's");
        let refusal = slots.take(two.clone()).expect_err("no more").to_string();
        assert!(!refusal.contains("web"), "it is none of hers: {refusal}");
        drop((other, slot));
        let _again = slots.take(one.clone()).expect("reaped");
        let refusal = slots.take(one).expect_err("a second").to_string();
        assert!(!refusal.contains("web"), "{refusal}");
    }

    #[test]
    fn a_few_processes_that_are_not_reaped_take_no_slot() {
        let slots = Slots::new(TWO, TWO).forgiving(3);
        let (one, other) = (Caller::user("a"), Caller::user("b"));
        let slot = slots.take(one.clone()).expect("a slot");
        let two = slot.forgive(2).expect("few");
        assert!(slot.forgive(2).is_none(), "four are too many");
        let _third = slot.forgive(1).expect("the last");
        assert!(
            slots.take(other).expect("a slot").forgive(3).is_some(),
            "another's are counted apart"
        );
        drop((slot, two));
        let slot = slots.take(one).expect("a slot");
        assert!(slot.forgive(3).is_none() && slot.forgive(2).is_some());
    }

    #[test]
    fn what_is_not_reaped_is_waited_for_by_nobody_who_stops() {
        let slots = Slots::new(TWO, TWO);
        let slot = slots.take(Caller::user("a")).expect("a slot");
        assert!(slot.needless().now_or_never().is_none());
        assert!(slots.all_free().now_or_never().is_none());
        assert!(slot.needless().now_or_never().is_some());
    }
}
