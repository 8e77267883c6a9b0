//! Where sessions begin: with a helper that was started ahead of need.
//!
//! The first move into a control group after a quiet moment makes the kernel wait for all
//! processors, ten times as long as all the rest of a start. An engineer on call always comes after
//! a quiet moment. So one helper sits in its control group already, and is replaced when it is used.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use entry::{Cgroups, HelperImage, Plan, RelayedStdio, Session, SpawnError, Target, WaitingRelay};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tracing::warn;
use wire::chain;

use super::held::{Held, Over};
use super::prepared::Prepared;
use super::rehearsal;
use crate::session::StartError;
use crate::session::end::cleanup::Remains;

/// See the module.
#[derive(Debug)]
pub struct Launcher {
    means: Arc<Means>,
    stock: Mutex<Stock>,
    /// Sessions of which something is left, refused ones and rehearsals too.
    open: watch::Sender<usize>,
    /// They take no slot, so that nobody may have many of them at once.
    rehearsals: Arc<Semaphore>,
}

#[derive(Debug)]
enum Stock {
    Empty,
    Spare(Preparing),
    /// No task is left that would end a spare helper.
    Closed,
}

/// How long a session that goes on is left alone before its successor is prepared. Most are over
/// by then, and those that are not have their start behind them.
const SETTLED: Duration = Duration::from_secs(1);

/// How many sessions are rehearsed at once; the others wait their turn, of some milliseconds.
const REHEARSALS: usize = 2;

/// What is left of a session that has ended is the end of its processes.
const REMAINS: Duration = Duration::from_secs(5);

type Preparing = JoinHandle<Result<Prepared<WaitingRelay>, StartError>>;

#[derive(Debug)]
struct Means {
    image: HelperImage,
    cgroups: Option<Cgroups>,
}

impl Launcher {
    /// For helpers made of `image`, in groups of `cgroups`. To be called under the runtime.
    #[must_use]
    pub fn new(image: HelperImage, cgroups: Option<Cgroups>) -> Self {
        let launcher = Self {
            means: Arc::new(Means { image, cgroups }),
            stock: Mutex::new(Stock::Empty),
            open: watch::Sender::new(0),
            rehearsals: Arc::new(Semaphore::new(REHEARSALS)),
        };
        launcher.restock();
        launcher
    }

    /// Has a helper carry out `plan` on `target`; what stands for the session is `held` until that is over.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        target: &Target,
        plan: &Plan,
        stdio: RelayedStdio,
        held: &Held,
    ) -> Result<(Session, Remains, Over), StartError> {
        let spare = self.take_spare();
        if let Some(spare) = spare {
            match self.begin_with(spare, target, plan, &stdio, held).await {
                // A process of the node has killed it meanwhile, or it could not be made then: now there may be room.
                Err(StartError::Spawn(_) | StartError::Cgroup(_)) => {}
                other => return other,
            }
        }
        self.begin_with(self.prepare(), target, plan, &stdio, held).await
    }

    /// Has a helper rehearse `plan` on `target`: all that becomes of it but a tool. Returns the users into whose
    /// processes the tool could not look.
    pub async fn rehearse(&self, target: Target, plan: Plan) -> Result<Vec<u32>, StartError> {
        let lost = |_| StartError::Lost;
        let turn =
            Arc::clone(&self.rehearsals).acquire_owned().await.map_err(|_| StartError::Lost)?;
        let (means, open) = (Arc::clone(&self.means), self.open.clone());
        // To its end, whether anybody still waits for it or not.
        let rehearsed = spawn_blocking(move || {
            open.send_modify(|open| *open += 1);
            let said = rehearsal::run(&means.image, means.cgroups.as_ref(), &target, &plan);
            open.send_modify(|open| *open -= 1);
            drop(turn);
            said
        });
        rehearsed.await.map_err(lost)?
    }

    async fn begin_with(
        self: &Arc<Self>,
        preparing: Preparing,
        target: &Target,
        plan: &Plan,
        stdio: &RelayedStdio,
        held: &Held,
    ) -> Result<(Session, Remains, Over), StartError> {
        let lost = |_| StartError::Lost;
        let Prepared { waiting, rest } = preparing.await.map_err(lost)??;
        let is_gone = rest.is_gone();
        let (over, ended) = oneshot::channel();
        self.restock_after(ended);
        let over = Over::new(over);
        // Whatever comes of it: from here on a task waits for the helper.
        let remains = Remains::of(rest, held.clone(), over.clone());
        if is_gone {
            let source = io::ErrorKind::BrokenPipe.into();
            return Err(SpawnError::Gone { source }.into());
        }
        Ok((waiting.begin(target, plan, stdio)?, remains, over))
    }

    /// Prepares for the next session when this one is over, or settled. Not before: the move into
    /// a control group holds the kernel's lock of all groups, for as long as it waits for the
    /// processors, and this session's end needs that too.
    fn restock_after(self: &Arc<Self>, over: oneshot::Receiver<Infallible>) {
        let launcher = Arc::clone(self);
        launcher.open.send_modify(|open| *open += 1);
        tokio::spawn(async move {
            let mut over = over;
            let goes_on = timeout(SETTLED, &mut over).await.is_err();
            launcher.restock();
            if goes_on {
                let _ = over.await;
            }
            launcher.open.send_modify(|open| *open -= 1);
        });
    }

    fn restock(&self) {
        let mut stock = self.stock();
        if let Stock::Empty = *stock {
            *stock = Stock::Spare(self.prepare());
        }
    }

    /// Ends the helper that is not needed any more, and prepares no other. Waits for what is left of
    /// sessions, whose control groups lie below those that the last owner removes.
    pub async fn retire(&self) {
        let mut open = self.open.subscribe();
        if timeout(REMAINS, open.wait_for(|open| *open == 0)).await.is_err() {
            warn!("control groups of sessions not removed");
        }
        let stock = mem::replace(&mut *self.stock(), Stock::Closed);
        let Stock::Spare(spare) = stock else { return };
        let Ok(Ok(prepared)) = spare.await else { return };
        let discarded = spawn_blocking(|| prepared.discard()).await;
        if let Ok(Err(error)) = discarded {
            warn!(error = chain(&error), "unused control group not removed");
        }
    }

    fn prepare(&self) -> Preparing {
        let means = Arc::clone(&self.means);
        spawn_blocking(move || Prepared::relayed(&means.image, means.cgroups.as_ref()))
    }

    fn take_spare(&self) -> Option<Preparing> {
        let mut stock = self.stock();
        match mem::replace(&mut *stock, Stock::Empty) {
            Stock::Spare(spare) => Some(spare),
            other => {
                *stock = other;
                None
            }
        }
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
