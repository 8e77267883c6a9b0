//! Where sessions begin: with a helper that was started ahead of need.
//!
//! The first move into a control group after a quiet moment makes the kernel wait for all
//! processors, ten times as long as all the rest of a start. An engineer on call always comes after
//! a quiet moment. So one helper sits in its control group already, and is replaced when it is used.

use std::sync::{Arc, Mutex, PoisonError};

use entry::{Cgroups, HelperImage, Plan, Session, SpawnError, Stdio, Target};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::warn;

use super::StartError;
use super::prepared::Prepared;
use super::remains::Remains;
use crate::chain::chain;

/// See the module.
#[derive(Debug)]
pub struct Launcher {
    means: Arc<Means>,
    spare: Mutex<Option<Preparing>>,
}

type Preparing = JoinHandle<Result<Prepared, StartError>>;

#[derive(Debug)]
struct Means {
    image: HelperImage,
    cgroups: Option<Cgroups>,
}

impl Launcher {
    /// For helpers made of `image`, in groups of `cgroups`. To be called under the runtime.
    #[must_use]
    pub fn new(image: HelperImage, cgroups: Option<Cgroups>) -> Self {
        let launcher = Self { means: Arc::new(Means { image, cgroups }), spare: Mutex::new(None) };
        launcher.restock();
        launcher
    }

    /// Has a helper carry out `plan` on `target`.
    pub(super) async fn begin(
        &self,
        target: &Target,
        plan: &Plan,
        stdio: Stdio,
    ) -> Result<(Session, Remains), StartError> {
        let spare = self.take_spare();
        if let Some(spare) = spare {
            match begin_with(spare, target, plan, &stdio).await {
                // Somebody has killed it meanwhile, or it could not be made then.
                Err(StartError::Spawn(SpawnError::Gone { .. }) | StartError::Cgroup(_)) => {}
                other => return other,
            }
        }
        begin_with(self.prepare(), target, plan, &stdio).await
    }

    /// Starts what the next session begins with.
    pub(super) fn restock(&self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.is_none() {
            *spare = Some(self.prepare());
        }
    }

    /// Ends the helper that is not needed any more. To be called when no session begins any more.
    pub async fn retire(&self) {
        let Some(spare) = self.take_spare() else { return };
        let Ok(Ok(prepared)) = spare.await else { return };
        let discarded = spawn_blocking(|| prepared.discard()).await;
        if let Ok(Err(error)) = discarded {
            warn!(error = chain(&error), "a spare control group stays behind");
        }
    }

    fn prepare(&self) -> Preparing {
        let means = Arc::clone(&self.means);
        spawn_blocking(move || Prepared::new(&means.image, means.cgroups.as_ref()))
    }

    fn take_spare(&self) -> Option<Preparing> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn begin_with(
    preparing: Preparing,
    target: &Target,
    plan: &Plan,
    stdio: &Stdio,
) -> Result<(Session, Remains), StartError> {
    let lost = |_| StartError::Lost;
    let Prepared { waiting, rest } = preparing.await.map_err(lost)??;
    // Whatever comes of it: from here on somebody waits for the helper.
    let remains = Remains::of(rest);
    Ok((waiting.begin(target, plan, stdio)?, remains))
}
