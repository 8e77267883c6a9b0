//! How many requests have the API server asked at once, of one user and in all.
//!
//! Taken before the first review, as any client may ask for a session. A client that has to wait
//! does so for seconds, behind their own requests first: one user takes no more than a part of all turns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Requests of one user that are being reviewed; each is some four questions.
const EACH: usize = 8;

/// Requests of all users together.
const ALL: usize = 64;

/// Requests of one user that wait for their turn: as many as a user may have sessions by default.
const WAITING: usize = 256;

/// How long one waits.
const LIMIT: Duration = Duration::from_secs(10);

/// All turns; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    users: Arc<Mutex<HashMap<String, User>>>,
}

/// Nobody is one without a request.
#[derive(Debug)]
struct User {
    requests: usize,
    turns: Arc<Semaphore>,
}

/// The right to ask, while this is kept.
#[derive(Debug)]
#[must_use = "the turn is over when this is dropped"]
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _request: Request,
}

/// A request that is counted.
#[derive(Debug)]
struct Request {
    user: String,
    users: Arc<Mutex<HashMap<String, User>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Busy {
    #[error(
        "too many requests of this user ({WAITING}) wait for an access review: try again later"
    )]
    Own,
    #[error("the gateway is busy: the request waited {} s; try again", LIMIT.as_secs())]
    All,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL)), users: Arc::default() }
    }

    /// A turn of `user`'s.
    pub(crate) async fn take(&self, user: &str) -> Result<Turn, Busy> {
        let (request, turns) = self.enter(user)?;
        let waiting = async {
            // An error would say that a semaphore is closed, which nothing does.
            let own = turns.acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some((own, all))
        };
        match timeout(LIMIT, waiting).await {
            Ok(Some((own, all))) => Ok(Turn { _own: own, _all: all, _request: request }),
            _ => Err(Busy::All),
        }
    }

    fn enter(&self, name: &str) -> Result<(Request, Arc<Semaphore>), Busy> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || User { requests: 0, turns: Arc::new(Semaphore::new(EACH)) };
        let user = users.entry(name.to_owned()).or_insert_with(new);
        if user.requests >= WAITING {
            return Err(Busy::Own);
        }
        user.requests += 1;
        let turns = Arc::clone(&user.turns);
        Ok((Request { user: name.to_owned(), users: Arc::clone(&self.users) }, turns))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        match users.get_mut(&self.user) {
            Some(user) if user.requests > 1 => user.requests -= 1,
            _ => drop(users.remove(&self.user)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_user_waits_behind_nobody_but_itself_until_all_turns_are_taken() {
        let turns = Turns::new();
        let mut taken = Vec::new();
        for _ in 0..EACH {
            taken.push(turns.take("alice").await.expect("a turn"));
        }
        assert!(turns.take("alice").now_or_never().is_none(), "she waits");
        drop(turns.take("bob").await.expect("he does not"));
        taken.pop();
        drop(turns.take("alice").await.expect("a turn again"));
        drop(taken);
        assert!(turns.users.lock().expect("no panic").is_empty(), "nobody is remembered");
        let mut all = Vec::new();
        for user in 0..ALL / EACH {
            for _ in 0..EACH {
                all.push(turns.take(&user.to_string()).await.expect("a turn"));
            }
        }
        assert!(turns.take("bob").now_or_never().is_none(), "all are taken");
    }

    #[tokio::test]
    async fn no_user_has_more_wait_than_a_bound() {
        let turns = Turns::new();
        let entered: Vec<_> = (0..WAITING).map(|_| turns.enter("alice").expect("room")).collect();
        assert_eq!(turns.take("alice").await.expect_err("one more"), Busy::Own);
        drop(entered);
        assert!(turns.take("alice").await.is_ok());
    }
}
