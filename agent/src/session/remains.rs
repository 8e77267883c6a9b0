//! The end of a session's processes and of its control group, in a task of its own: whatever happens
//! to the session's, no zombie and no process of it stays.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use daemon::chain;
use entry::{Closed, Helper, SessionCgroup};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tracing::warn;

use super::prepared::Rest;
use super::watched::watched;

/// Between a supervisor's last word and its helper's exit lies only the end of both processes.
const GONE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Remains {
    task: JoinHandle<Closed>,
    kill: Arc<Notify>,
    closed: Option<Closed>,
}

impl Remains {
    /// Drops `over` when nothing of the session is left.
    pub(super) fn of(rest: Rest, over: oneshot::Sender<Infallible>) -> Self {
        let kill = Arc::new(Notify::new());
        let closing = close(rest, Arc::clone(&kill));
        let task = tokio::spawn(async {
            let closed = closing.await;
            drop(over);
            closed
        });
        Self { task, kill, closed: None }
    }

    /// Does not wait for the session to end by itself.
    pub(super) fn kill(&self) {
        self.kill.notify_one();
    }

    /// Completes when nothing of the session is left; `None` where that takes too long.
    pub(super) async fn gone(&mut self) -> Option<Closed> {
        if self.closed.is_none() {
            let closed = timeout(GONE, &mut self.task).await.ok()?;
            self.closed = Some(closed.unwrap_or_default());
        }
        self.closed
    }
}

async fn close(Rest { helper, cgroup }: Rest, kill: Arc<Notify>) -> Closed {
    let reaped = {
        let mut reaping = std::pin::pin!(reap(helper));
        tokio::select! {
            () = &mut reaping => Ok(()),
            () = must_end(&kill, cgroup.as_ref()) => {
                let killed = cgroup.as_ref().map_or(Ok(()), SessionCgroup::kill);
                reaping.await;
                killed
            }
        }
    };
    let Some(cgroup) = cgroup else { return Closed::default() };
    // The kernel takes its time to tell whether the last process has gone.
    let closed = spawn_blocking(move || cgroup.close()).await;
    match closed.map(|closed| reaped.and(closed)) {
        Ok(Ok(closed)) => closed,
        Ok(Err(error)) => {
            warn!(error = chain(&error), "a session's control group stays behind");
            Closed::default()
        }
        Err(_) => Closed::default(),
    }
}

/// Completes when somebody says so, or when the session wants more memory than it may have: what is
/// left of it after the kernel has killed some of it is not what its user started.
async fn must_end(kill: &Notify, cgroup: Option<&SessionCgroup>) {
    tokio::select! {
        () = kill.notified() => {}
        () = runs_out(cgroup) => {}
    }
}

async fn runs_out(cgroup: Option<&SessionCgroup>) {
    let events = cgroup.and_then(|cgroup| Some((cgroup, cgroup.memory_events()?)));
    let events = events.and_then(|(cgroup, events)| {
        Some((cgroup, watched(events.try_clone_to_owned().ok()?).ok()?))
    });
    // Without such events the session's end says it.
    let Some((cgroup, events)) = events else { return std::future::pending().await };
    while let Ok(mut ready) = events.readable().await {
        if cgroup.runs_out() {
            return;
        }
        ready.clear_ready();
    }
    std::future::pending::<()>().await;
}

async fn reap(helper: Helper) {
    let Ok(helper) = watched(helper) else { return };
    loop {
        let Ok(mut ready) = helper.readable().await else { return };
        if helper.get_ref().try_wait().unwrap_or(true) {
            return;
        }
        ready.clear_ready();
    }
}
