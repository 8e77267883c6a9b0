//! The end of a session's processes and of its control group, in a task of its own: whatever happens
//! to the session's, no zombie and no process of it stays.
//!
//! A session is over when its helper is reaped and none of its processes lives, whatever any of them has said.
//! Its relay may stay longer, held up by a process that the tool has handed its output to; and so may processes
//! that have ended, where the first process of their container does not reap them. Both are counted, and nobody
//! waits for them.

use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use entry::{Child, Closed, SessionCgroup};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::warn;
use wire::chain;

use super::reaping::Reaping;
use crate::session::start::held::{Held, Over};
use crate::session::start::prepared::Rest;
use crate::session::stream::readiness::watched;
use crate::slots::Slot;

/// Between a supervisor's last word and its helper's exit lies only the end of both processes.
const GONE: Duration = Duration::from_secs(5);

/// What a session that is abandoned may take to end by itself: its supervisor kills after a second.
const ABANDONED: Duration = Duration::from_secs(4);

/// How often what does not end is killed again: a process that was forked meanwhile.
const KILL_AGAIN: Duration = Duration::from_millis(100);

/// How often a control group that cannot be emptied is tried again.
const CLOSE_AGAIN: Duration = Duration::from_secs(1);

/// How soon it is looked again whether processes that have ended are reaped, at first and at last.
const REAPED_AGAIN: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// See the module.
#[derive(Debug)]
pub(crate) struct Remains {
    closed: watch::Receiver<Option<Closed>>,
    told: Arc<EndRequests>,
}

/// What the task is told.
#[derive(Debug, Default)]
struct EndRequests {
    end: Notify,
    kill: Notify,
    abandon: Notify,
}

impl Remains {
    /// Gives up its entry, which stands for the session, when it is over, `over` when its relay is gone too, and its
    /// slot when all that it has started is reaped.
    pub(crate) fn of(
        Rest { helper, relay, cgroup }: Rest,
        Held { slot, registered }: Held,
        over: Over,
    ) -> Self {
        let told = Arc::new(EndRequests::default());
        let (closing, closed) = watch::channel(None);
        let hears = Arc::clone(&told);
        tokio::spawn(async move {
            let session = async {
                let (closed, cgroup) = close(helper, cgroup, &hears).await;
                let container = registered.container();
                drop(registered);
                closing.send_replace(Some(closed));
                cgroup.zip(container)
            };
            let relay = async {
                if let Some(relay) = relay {
                    Reaping::of(relay).done().await;
                }
            };
            let (left, ()) = tokio::join!(session, relay);
            drop(over);
            if let Some((cgroup, container)) = left {
                reaped(cgroup, &container, slot).await;
            }
        });
        Self { closed, told }
    }

    /// Asks the session to end.
    pub(crate) fn end(&self) {
        self.told.end.notify_one();
    }

    /// Does not wait for the session to end by itself.
    pub(crate) fn kill(&self) {
        self.told.kill.notify_one();
    }

    /// Completes when the session is over; `None` where that takes too long.
    pub(crate) async fn gone(&mut self) -> Option<Closed> {
        timeout(GONE, self.over()).await.ok()
    }

    /// Completes when the session is over, however long that takes.
    pub(crate) async fn over(&mut self) -> Closed {
        let closed = self.closed.wait_for(Option::is_some).await;
        // An error says that the runtime ends, and everything with it.
        closed.ok().and_then(|closed| *closed).unwrap_or_default()
    }
}

/// A session that nobody looks after is ended: neither its relay nor its supervisor can be relied on for that.
impl Drop for Remains {
    fn drop(&mut self) {
        self.told.abandon.notify_one();
    }
}

/// Ends all of a session; with its group, where that still counts processes.
async fn close(
    helper: Child,
    cgroup: Option<SessionCgroup>,
    told: &EndRequests,
) -> (Closed, Option<SessionCgroup>) {
    let helper = Reaping::of(helper);
    let cgroup = match end(&helper, cgroup.as_ref(), told).await {
        HelperEnd::ByItself => cgroup,
        HelperEnd::NotYet => kill(&helper, cgroup).await,
    };
    let Some(mut cgroup) = cgroup else { return (Closed::default(), None) };
    let mut is_told = false;
    loop {
        // The kernel takes its time to tell whether the last process has gone.
        let Some((back, closed)) = aside(cgroup, SessionCgroup::end).await else {
            return (Closed::default(), None);
        };
        match closed {
            Ok(closed) => return (closed, Some(back).filter(SessionCgroup::is_kept)),
            Err(error) if !is_told => {
                warn!(error = chain(&error), "a session's processes do not end");
                is_told = true;
            }
            Err(_) => {}
        }
        cgroup = back;
        sleep(CLOSE_AGAIN).await;
    }
}

/// Completes when what `cgroup` counts is reaped by the first process of `container`, or when nobody is let in any more
/// whom it could keep out. A few processes are forgiven, and the slot is free meanwhile.
async fn reaped(cgroup: SessionCgroup, container: &str, slot: Arc<Slot>) {
    let mut needless = pin!(slot.needless());
    let [mut pause, most] = REAPED_AGAIN;
    let (mut slot, mut forgiven) = (Some(slot), None);
    loop {
        let processes = cgroup.unreaped();
        if processes == 0 {
            break;
        }
        if let Some(held) = slot.take() {
            forgiven = held.forgive(processes);
            if forgiven.is_none() && pause == most && held.is_left_in(container) {
                warn!(container, processes, "a session's processes have ended and are not reaped");
            }
            slot = Some(held).filter(|_| forgiven.is_none());
        }
        tokio::select! {
            () = sleep(pause) => pause = most.min(2 * pause),
            () = &mut needless => break,
        }
    }
    let closed = aside(cgroup, SessionCgroup::close).await;
    if let Some((_, Err(error))) = closed {
        warn!(error = chain(&error), "control group of a session not removed");
    }
    drop((slot, forgiven));
}

/// How far the end of a helper has come.
enum HelperEnd {
    ByItself,
    /// It has to be killed.
    NotYet,
}

/// Reaps the helper, and asks the session to end before where that must be.
async fn end(helper: &Reaping, cgroup: Option<&SessionCgroup>, told: &EndRequests) -> HelperEnd {
    let mut reaping = std::pin::pin!(helper.done());
    let mut must_end = std::pin::pin!(must_end(&told.kill, cgroup));
    let mut abandoned = None;
    loop {
        let late = async {
            match abandoned {
                Some(since) => sleep_until(since + ABANDONED).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut reaping => return HelperEnd::ByItself,
            () = told.end.notified() => helper.child().end_session(),
            () = told.abandon.notified() => {
                helper.child().end_session();
                abandoned.get_or_insert_with(Instant::now);
            }
            () = &mut must_end => return HelperEnd::NotYet,
            () = late => return HelperEnd::NotYet,
        }
    }
}

/// Kills the session until its helper is reaped.
async fn kill(helper: &Reaping, mut cgroup: Option<SessionCgroup>) -> Option<SessionCgroup> {
    let mut is_told = false;
    loop {
        if let Some(group) = cgroup {
            let (back, killed) = aside(group, |group| group.kill()).await?;
            if let Err(error) = killed
                && !mem::replace(&mut is_told, true)
            {
                warn!(error = chain(&error), "a session cannot be killed");
            }
            cgroup = Some(back);
        } else {
            // Reads who is below whom, for which the kernel takes no lock that a process sleeps with.
            helper.child().kill_session();
        }
        if timeout(KILL_AGAIN, helper.done()).await.is_ok() {
            return cgroup;
        }
    }
}

/// Does what the kernel may take its time for, on a thread that no other session waits for.
///
/// No tool can hold it up: all changes of control groups have one lock, and who has that waits for processors
/// and for calls that have begun to fork or to exit, never for what a process does of its own. But such a
/// change takes 20 ms, and there may be many. There is a thread for each session that ends, see `serve`.
///
/// None where the runtime ends.
async fn aside<T: Send + 'static>(
    mut cgroup: SessionCgroup,
    work: impl FnOnce(&mut SessionCgroup) -> T + Send + 'static,
) -> Option<(SessionCgroup, T)> {
    let working = spawn_blocking(move || {
        let done = work(&mut cgroup);
        (cgroup, done)
    });
    working.await.ok()
}

/// Completes when a caller says so, or when the session wants more memory than it may have: what is
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
