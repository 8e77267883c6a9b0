//! A rehearsal: all that becomes of a session's helper up to its tool, which is only looked for.
//!
//! No tool starts and no relay, and none of our processes is in the target's pid namespace: a helper
//! that has joined one is what the tool would be, looks, says what it found, and ends. What the kernel
//! says to an exec alone stays open.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::wait::waitpid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::confine::confine;
use crate::ipc::{Connection, Received};
use crate::message::{During, Failure, FromSession, Step};
use crate::namespaces::Elsewhere;
use crate::plan::Plan;
use crate::root::{Assembled, Processes};
use crate::session::SessionError;
use crate::sys::{self, Alone, Forked};
use crate::tool;

/// The agent's end of a rehearsal, which ends when this is dropped.
#[derive(Debug)]
#[must_use = "a rehearsal ends when this is dropped"]
pub struct Rehearsal(Connection);

/// What a rehearsal comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rehearsed {
    /// The tool could start. It could not look into the processes of these users.
    Fit { unseen: Vec<u32> },
    /// The session would fail so.
    Failed(Failure),
    /// The helper is gone without a word.
    Lost,
    /// It takes longer than it may.
    Late,
}

impl Rehearsal {
    pub(crate) fn new(connection: Connection) -> Self {
        Self(connection)
    }

    /// Waits for the outcome, at most until `limit` is over.
    pub fn outcome(&self, limit: Duration) -> Result<Rehearsed, SessionError> {
        let deadline = Instant::now() + limit;
        let lost = |source| SessionError::Receive { source };
        let mut unseen = Vec::new();
        loop {
            match self.0.receive().map_err(lost)? {
                Received::Message(FromSession::Unseen(users)) => unseen = users,
                Received::Message(FromSession::Fit) => return Ok(Rehearsed::Fit { unseen }),
                Received::Message(FromSession::Failed(failure)) => {
                    return Ok(Rehearsed::Failed(failure));
                }
                Received::Message(other) => return Err(SessionError::out_of_turn(&other, "Fit")),
                Received::Ended => return Ok(Rehearsed::Lost),
                Received::NothingYet => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(Rehearsed::Late);
                    }
                    wait(self.0.as_fd(), left).map_err(|errno| lost(errno.into()))?;
                }
            }
        }
    }
}

fn wait(connection: BorrowedFd<'_>, limit: Duration) -> rustix::io::Result<()> {
    let limit = Timespec::try_from(limit).unwrap_or_default();
    let mut news = [PollFd::from_borrowed_fd(connection, PollFlags::IN)];
    match poll(&mut news, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// In the helper, which has joined what `plan` says: the rest, as far as it can be known without a tool.
pub(crate) fn run(
    plan: &Plan,
    root: Option<(Assembled, Elsewhere)>,
    agent: &Connection,
    alone: &Alone,
) -> Result<(), Failure> {
    if !plan.needs_own_pids() {
        return look(plan, root, Processes::Joined, agent, alone);
    }
    // Only a process in there shows what is in there: in this case nothing but itself.
    match sys::fork(alone).during(Step::ForkSupervisor)? {
        Forked::Child => {
            if let Err(failure) = look(plan, root, Processes::Own, agent, alone) {
                let _ = agent.send(&FromSession::Failed(failure)); // an agent that is gone needs no word
            }
            #[expect(clippy::exit, reason = "a forked process has no caller to return to")]
            std::process::exit(0)
        }
        Forked::Parent { child } => {
            while let Err(nix::Error::EINTR) = waitpid(child, None) {}
            Ok(())
        }
    }
}

fn look(
    plan: &Plan,
    root: Option<(Assembled, Elsewhere)>,
    processes: Processes,
    agent: &Connection,
    alone: &Alone,
) -> Result<(), Failure> {
    let confine = |(root, elsewhere)| confine(plan, root, processes, &elsewhere, alone);
    let unseen = root.map(confine).transpose()?.unwrap_or_default();
    tool::look(&plan.tool)?;
    // An agent that is gone needs no word.
    let _ = agent.send(&FromSession::Unseen(unseen));
    let _ = agent.send(&FromSession::Fit);
    Ok(())
}
