//! How many sessions run at once, in all and of one user: refused at once, never queued.

use std::num::NonZeroU32;

use daemon::{Quota, QuotaFull, QuotaPlace};

/// All places; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Quotas {
    most: NonZeroU32,
    most_per_user: NonZeroU32,
    quota: Quota<String>,
}

/// The right to run one session.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub(crate) struct SessionPlace(
    #[expect(dead_code, reason = "it counts while it lives")] QuotaPlace<String>,
);

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
        let numbers =
            [most, most_per_user].map(|most| usize::try_from(most.get()).unwrap_or(usize::MAX));
        Self { most, most_per_user, quota: Quota::new(numbers[0], numbers[1]) }
    }

    pub(crate) fn take(&self, user: &str) -> Result<SessionPlace, Full> {
        self.quota.take(user.to_owned()).map(SessionPlace).map_err(|full| self.refusal(full))
    }

    /// Whether there is a place, which is not taken.
    pub(crate) fn look(&self, user: &str) -> Result<(), Full> {
        self.quota.look(user).map_err(|full| self.refusal(full))
    }

    fn refusal(&self, full: QuotaFull) -> Full {
        match full {
            QuotaFull::All => Full::All { most: self.most },
            QuotaFull::Caller => Full::User { most: self.most_per_user },
        }
    }

    pub(crate) fn taken(&self) -> usize {
        self.quota.taken()
    }

    /// Completes when no session runs. To be awaited once no new one is admitted.
    pub(crate) async fn all_free(&self) {
        self.quota.all_free().await;
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
