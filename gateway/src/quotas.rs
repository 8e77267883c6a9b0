//! How many sessions run at once, in all and of one user: refused at once, never queued.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// All places; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Quotas {
    most: NonZeroU32,
    most_per_user: NonZeroU32,
    taken: Arc<Taken>,
}

#[derive(Debug)]
struct Taken {
    all: watch::Sender<u32>,
    /// Nobody is in here with none.
    users: Mutex<HashMap<String, u32>>,
}

/// The right to run one session.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub(crate) struct SessionPlace {
    taken: Arc<Taken>,
    user: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error(
        "all {most} sessions of this gateway are in use: end one, or raise the limit (chart: gateway.maxSessions)"
    )]
    All { most: NonZeroU32 },
    #[error(
        "you already have {most} sessions, the most for one user (chart: gateway.maxSessionsPerUser)"
    )]
    User { most: NonZeroU32 },
}

impl Quotas {
    pub(crate) fn new(most: NonZeroU32, most_per_user: NonZeroU32) -> Self {
        let taken = Taken { all: watch::Sender::new(0), users: Mutex::default() };
        Self { most, most_per_user, taken: Arc::new(taken) }
    }

    pub(crate) fn take(&self, user: &str) -> Result<SessionPlace, Full> {
        let mut users = self.taken.users.lock().unwrap_or_else(PoisonError::into_inner);
        let has = self.room(&users, user)?;
        users.insert(user.to_owned(), has + 1);
        self.taken.all.send_modify(|all| *all += 1);
        Ok(SessionPlace { taken: Arc::clone(&self.taken), user: user.to_owned() })
    }

    /// Whether there is a place, which is not taken.
    pub(crate) fn look(&self, user: &str) -> Result<(), Full> {
        let users = self.taken.users.lock().unwrap_or_else(PoisonError::into_inner);
        self.room(&users, user).map(drop)
    }

    /// How many `user` has, where there is room for one more.
    fn room(&self, users: &HashMap<String, u32>, user: &str) -> Result<u32, Full> {
        if *self.taken.all.borrow() >= self.most.get() {
            return Err(Full::All { most: self.most });
        }
        let has = users.get(user).copied().unwrap_or_default();
        if has >= self.most_per_user.get() {
            return Err(Full::User { most: self.most_per_user });
        }
        Ok(has)
    }

    pub(crate) fn taken(&self) -> u32 {
        *self.taken.all.borrow()
    }

    /// Completes when no session runs. To be awaited once no new one is admitted.
    pub(crate) async fn all_free(&self) {
        // The sender lives as long as this does.
        let _ = self.taken.all.subscribe().wait_for(|all| *all == 0).await;
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        let mut users = self.taken.users.lock().unwrap_or_else(PoisonError::into_inner);
        match users.get_mut(&self.user) {
            Some(has) if *has > 1 => *has -= 1,
            _ => drop(users.remove(&self.user)),
        }
        self.taken.all.send_modify(|all| *all -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_user_and_all_together_have_their_limit_until_a_session_ends() {
        let most = |n| NonZeroU32::new(n).expect("not zero");
        let quotas = Quotas::new(most(3), most(2));
        let first = quotas.take("alice").expect("one");
        let _second = quotas.take("alice").expect("two");
        assert_eq!(quotas.take("alice").expect_err("three"), Full::User { most: most(2) });
        assert_eq!(quotas.look("alice"), Err(Full::User { most: most(2) }));
        assert_eq!(quotas.look("bob"), Ok(()));
        let _other = quotas.take("bob").expect("another's");
        assert_eq!(quotas.look("carol"), Err(Full::All { most: most(3) }));
        assert_eq!(quotas.take("carol").expect_err("full"), Full::All { most: most(3) });
        assert!(quotas.all_free().now_or_never().is_none());
        drop(first);
        assert!(quotas.take("alice").is_ok());
        assert_eq!(quotas.taken(), 2);
    }
}
