//! How many sessions run at once: one slot each, and a way to wait until all are free.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::listen::Caller;

/// All slots of this agent; clones share them.
#[derive(Clone, Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    limit: NonZeroU16,
    /// How many each caller has; nobody is in here with none.
    callers: Arc<Mutex<HashMap<Caller, u16>>>,
    per_caller: NonZeroU16,
}

/// The right to run one session.
#[derive(Debug)]
#[must_use = "the slot is free again when this is dropped"]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    callers: Arc<Mutex<HashMap<Caller, u16>>>,
    caller: Caller,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("all {limit} sessions of this agent are in use: end one, or raise --max-sessions")]
    Node { limit: NonZeroU16 },
    #[error(
        "{caller} has {limit} sessions here already: end one, or raise --max-sessions-per-caller"
    )]
    Caller { caller: Caller, limit: NonZeroU16 },
}

impl Slots {
    #[must_use]
    pub fn new(limit: NonZeroU16, per_caller: NonZeroU16) -> Self {
        let free = Arc::new(Semaphore::new(usize::from(limit.get())));
        Self { free, limit, callers: Arc::default(), per_caller }
    }

    /// A slot, or at once the refusal: a queue would only hide that the node is busy.
    pub fn take(&self, caller: Caller) -> Result<Slot, Full> {
        let permit = Arc::clone(&self.free)
            .try_acquire_owned()
            .map_err(|_| Full::Node { limit: self.limit })?;
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let has = callers.entry(caller.clone()).or_default();
        if *has >= self.per_caller.get() {
            return Err(Full::Caller { caller, limit: self.per_caller });
        }
        *has += 1;
        Ok(Slot { _permit: permit, callers: Arc::clone(&self.callers), caller })
    }

    /// How many sessions run.
    #[must_use]
    pub fn taken(&self) -> usize {
        usize::from(self.limit.get()).saturating_sub(self.free.available_permits())
    }

    /// Completes when no session runs. To be awaited once no new one is admitted.
    pub async fn all_free(&self) {
        // An error would say that the semaphore is closed, which nothing does.
        let _ = self.free.acquire_many(u32::from(self.limit.get())).await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        match callers.get_mut(&self.caller) {
            Some(has) if *has > 1 => *has -= 1,
            _ => drop(callers.remove(&self.caller)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const TWO: NonZeroU16 = NonZeroU16::MIN.saturating_add(1);

    #[test]
    fn one_session_more_than_the_limit_is_refused_until_one_ends() {
        let slots = Slots::new(NonZeroU16::MIN, TWO);
        let slot = slots.take(Caller::user("a")).expect("the only slot");
        let refusal = slots.take(Caller::user("b")).expect_err("a second").to_string();
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
        let refusal = slots.take(Caller::user("a")).expect_err("a second").to_string();
        assert!(refusal.starts_with("user a has 1 sessions here already"), "{refusal}");
        assert_eq!(slots.taken(), 1, "a refusal holds no slot");
        let other = slots.take(Caller::user("b")).expect("another's slot");
        drop((slot, other));
        assert!(slots.callers.lock().expect("a map").is_empty());
    }
}
