//! How many of something there may be at once, in all and of one caller: refused at once, never queued.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// So many in all, so many of one caller; clones count together.
#[derive(Clone, Debug)]
pub struct Quota<C: Eq + Hash>(Arc<QuotaState<C>>);

#[derive(Debug)]
struct QuotaState<C> {
    most: usize,
    most_per_caller: usize,
    all: watch::Sender<usize>,
    /// How many each caller has; no caller is in here with none.
    callers: Mutex<HashMap<C, usize>>,
}

/// One of them, of one caller.
#[derive(Debug)]
#[must_use = "it counts no more when this is dropped"]
pub struct QuotaPlace<C: Eq + Hash> {
    state: Arc<QuotaState<C>>,
    caller: C,
}

/// Which of the two numbers is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaFull {
    All,
    Caller,
}

impl<C: Clone + Eq + Hash> Quota<C> {
    #[must_use]
    pub fn new(most: usize, most_per_caller: usize) -> Self {
        let (all, callers) = (watch::Sender::new(0), Mutex::default());
        Self(Arc::new(QuotaState { most, most_per_caller, all, callers }))
    }

    /// One more for `caller`.
    pub fn take(&self, caller: C) -> Result<QuotaPlace<C>, QuotaFull> {
        let Self(state) = self;
        let mut callers = state.lock();
        let has = state.room(&callers, &caller)?;
        callers.insert(caller.clone(), has + 1);
        state.all.send_modify(|all| *all += 1);
        Ok(QuotaPlace { state: Arc::clone(state), caller })
    }

    /// Whether there is room for one more of `caller`, which is not taken.
    pub fn look<Q: Eq + Hash + ?Sized>(&self, caller: &Q) -> Result<(), QuotaFull>
    where
        C: Borrow<Q>,
    {
        let Self(state) = self;
        state.room(&state.lock(), caller).map(drop)
    }

    /// How many there are.
    #[must_use]
    pub fn taken(&self) -> usize {
        *self.0.all.borrow()
    }

    /// Completes when there are none. To be awaited once no new one is admitted.
    pub async fn all_free(&self) {
        // The sender lives as long as this does.
        let _ = self.0.all.subscribe().wait_for(|all| *all == 0).await;
    }
}

impl<C: Eq + Hash> QuotaPlace<C> {
    pub fn caller(&self) -> &C {
        &self.caller
    }
}

impl<C: Eq + Hash> QuotaState<C> {
    /// How many `caller` has, where there is room for one more.
    fn room<Q: Eq + Hash + ?Sized>(
        &self,
        callers: &HashMap<C, usize>,
        caller: &Q,
    ) -> Result<usize, QuotaFull>
    where
        C: Borrow<Q>,
    {
        if *self.all.borrow() >= self.most {
            return Err(QuotaFull::All);
        }
        let has = callers.get(caller).copied().unwrap_or_default();
        if has >= self.most_per_caller { Err(QuotaFull::Caller) } else { Ok(has) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<C, usize>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Eq + Hash> Drop for QuotaPlace<C> {
    fn drop(&mut self) {
        let mut callers = self.state.lock();
        match callers.get_mut(&self.caller) {
            Some(has) if *has > 1 => *has -= 1,
            _ => drop(callers.remove(&self.caller)),
        }
        self.state.all.send_modify(|all| *all -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn one_caller_and_all_together_have_their_limit_until_one_ends() {
        let quota = Quota::new(3, 2);
        let first = quota.take("a").expect("one");
        let _second = quota.take("a").expect("two");
        assert_eq!(quota.take("a").expect_err("three"), QuotaFull::Caller);
        assert_eq!((quota.look("a"), quota.look("b")), (Err(QuotaFull::Caller), Ok(())));
        assert_eq!(quota.taken(), 2, "neither a refusal nor a look takes any");
        let _other = quota.take("b").expect("another's");
        assert_eq!(quota.take("c").expect_err("full"), QuotaFull::All);
        drop(first);
        assert!(quota.take("a").is_ok());
        assert_eq!(quota.taken(), 2);
    }

    #[test]
    fn all_are_free_when_the_last_is_and_no_caller_is_remembered() {
        let quota = Quota::new(3, 3);
        let (one, other) = (quota.take("a").expect("one"), quota.take("a").expect("two"));
        drop(one);
        assert!(quota.all_free().now_or_never().is_none());
        drop(other);
        assert!(quota.all_free().now_or_never().is_some());
        assert!(quota.0.lock().is_empty());
    }
}
