//! A session under the runtime: its events, its target's end, and the end of what it started.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use entry::{Closed, Event, Exit, Plan, RelayLine, RelayedStdio, Session, SessionError, Target};
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::cleanup::Remains;
use crate::session::local::deadline::START;
use crate::session::start::held::Over;
use crate::session::stream::readiness::watched;
use crate::session::{Held, Launcher, StartError};

/// A tool that runs. Dropping this ends it; nothing of it stays in any case.
#[derive(Debug)]
#[must_use = "the session ends when this is dropped"]
pub struct Running {
    session: AsyncFd<Session>,
    target: AsyncFd<OwnedFd>,
    remains: Remains,
    _over: Over,
    unseen: Vec<u32>,
}

impl Running {
    /// Carries out `plan` and returns when the tool runs.
    pub async fn start(
        launcher: &Arc<Launcher>,
        target: &Target,
        plan: &Plan,
        stdio: RelayedStdio,
        held: &Held,
    ) -> Result<Self, StartError> {
        let watch = |source| StartError::Watch { source };
        let pidfd = target.pidfd().try_clone_to_owned().map_err(watch)?;
        let (session, remains, over) = launcher.begin(target, plan, stdio, held).await?;
        let mut running = Self {
            session: watched(session).map_err(watch)?,
            target: watched(pidfd).map_err(watch)?,
            remains,
            _over: over,
            unseen: Vec::new(),
        };
        let Ok(started) = timeout(START, running.first()).await else {
            running.kill();
            return Err(StartError::NotStarted);
        };
        match started? {
            Event::Started => Ok(running),
            Event::Failed(failure) => Err(StartError::of(&failure, plan)),
            Event::Ended(_) | Event::Lost | Event::Unseen(_) => Err(running.lost_at_start().await),
        }
    }

    /// The first event that says what becomes of the session.
    async fn first(&mut self) -> Result<Event, SessionError> {
        loop {
            match self.parts().0.next().await? {
                Event::Unseen(users) => self.unseen = users,
                other => return Ok(other),
            }
        }
    }

    /// Users into whose processes the tool cannot look, though its profile is for that.
    #[must_use]
    pub fn unseen(&self) -> &[u32] {
        &self.unseen
    }

    async fn lost_at_start(mut self) -> StartError {
        match self.gone().await {
            Some(Closed { out_of_memory: Some(limit), .. }) => StartError::OutOfMemory { limit },
            _ if self.target_has_exited().await => StartError::TargetExited,
            _ => StartError::Lost,
        }
    }

    /// The three things that happen by themselves: what the session says, its target's end, and its own.
    pub(crate) fn parts(&mut self) -> (Events<'_>, TargetExit<'_>, &mut Remains) {
        (Events(&mut self.session), TargetExit(&self.target), &mut self.remains)
    }

    /// Whether the target is the reason: it may take a moment to be gone after what it took along.
    pub(crate) async fn target_has_exited(&self) -> bool {
        const MOMENT: Duration = Duration::from_secs(2);
        timeout(MOMENT, TargetExit(&self.target).wait()).await.is_ok()
    }

    /// Asks for the end; an event says when it has come.
    pub(crate) fn end(&self) {
        self.session.get_ref().end();
        // Past the relay, which the tool may hold up.
        self.remains.end();
    }

    /// Kills whatever is left of the session.
    pub(crate) fn kill(&self) {
        self.remains.kill();
    }

    /// A line to the session's relay, beside whatever else is done with it.
    pub(crate) fn relay_line(&self) -> io::Result<RelayLine> {
        self.session.get_ref().relay_line()
    }

    /// Completes when no process of the session is left; `None` where that takes too long.
    pub(crate) async fn gone(&mut self) -> Option<Closed> {
        self.remains.gone().await
    }

    /// Completes when no process of the session is left, however long that takes.
    pub(crate) async fn over(&mut self) {
        self.remains.over().await;
    }
}

/// What the session has to say.
pub(crate) struct Events<'a>(&'a mut AsyncFd<Session>);

/// The end of the target's process.
pub(crate) struct TargetExit<'a>(&'a AsyncFd<OwnedFd>);

impl Events<'_> {
    /// The next event. Nothing is lost when this is dropped half-way.
    pub(crate) async fn next(&mut self) -> Result<Event, SessionError> {
        loop {
            let lost = |source| SessionError::Receive { source };
            let mut ready = self.0.readable_mut().await.map_err(lost)?;
            let event = ready.try_io(|session| match session.get_mut().next_event() {
                Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
                other => Ok(other),
            });
            if let Ok(event) = event
                && let Some(event) = event.map_err(lost)??
            {
                return Ok(event);
            }
        }
    }
}

impl TargetExit<'_> {
    pub(crate) async fn wait(&self) {
        // A pidfd that cannot be watched is as good as one that never becomes readable.
        if self.0.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The exit that a session has when it ends without a word of its own.
pub(crate) const KILLED: Exit = Exit::Signal(9);
