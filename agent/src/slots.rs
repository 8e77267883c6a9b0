//! How many sessions run at once: one slot each, and a way to wait until all are free.

use std::num::NonZeroU16;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All slots of this agent; clones share them.
#[derive(Clone, Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    limit: NonZeroU16,
}

/// The right to run one session.
#[derive(Debug)]
#[must_use = "the slot is free again when this is dropped"]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {limit} sessions of this agent are in use: end one, or raise --max-sessions")]
pub struct Full {
    limit: NonZeroU16,
}

impl Slots {
    #[must_use]
    pub fn new(limit: NonZeroU16) -> Self {
        Self { free: Arc::new(Semaphore::new(usize::from(limit.get()))), limit }
    }

    /// A slot, or at once the refusal: a queue would only hide that the node is busy.
    pub fn take(&self) -> Result<Slot, Full> {
        match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => Ok(Slot { _permit: permit }),
            Err(_) => Err(Full { limit: self.limit }),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn one_session_more_than_the_limit_is_refused_until_one_ends() {
        let slots = Slots::new(NonZeroU16::MIN);
        let slot = slots.take().expect("the only slot");
        let refusal = slots.take().expect_err("a second").to_string();
        assert!(refusal.contains("all 1 ") && refusal.contains("--max-sessions"), "{refusal}");
        assert_eq!(slots.taken(), 1);
        assert!(slots.all_free().now_or_never().is_none());
        drop(slot);
        assert!(slots.all_free().now_or_never().is_some());
        assert!(slots.take().is_ok());
    }
}
