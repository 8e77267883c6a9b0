//! The relay: a process of its own between one session and the agent that serves many.
//!
//! A pipe has one lock, which read, write, splice, `FIONREAD` and the last close take without regard to
//! `O_NONBLOCK`, and which nothing interrupts. A tool can sleep with it, and then a process that touches the other end
//! sleeps too, past SIGKILL: `splice(2)` from a silent socket into its stdout is enough. A terminal's locks
//! are like that, and to let go of a descriptor that a tool has sent may take one of them. So the agent holds
//! sockets, whose two ends have a lock each, and the process that holds pipes, terminal and the connection
//! to the supervisor is this one. What a tool can make wait is its own relay and nobody else.
//!
//! It is outside of the target's pid namespace, of the session's control group, which is killed before all
//! output is passed on, and of the helper's line: nobody waits for it to reap, or to end the session.
//! It can move bytes and do nothing else ([`filter`]).

mod filter;
mod flow;
mod open;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{DumpableBehavior, set_dumpable_behavior, setsid};

use self::flow::Flow;
use self::open::OpenedStreams;
use crate::image::FIRST_FREE;
use crate::ipc::{Connection, Received};
use crate::message::{Failure, FromSession, Step, ToRelay, ToSession};
use crate::name::{self, CommandLine};
use crate::pty;
use crate::spawn::{self, CONTROL, SESSION};
use crate::sys;

/// Runs the relay. To be called first thing in `main` when the first argument is [`crate::RELAY_ARG`].
#[must_use]
pub fn relay_main() -> ExitCode {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let adopt = || {
        sys::close_from(FIRST_FREE)?;
        Ok::<_, io::Error>((sys::inherited(CONTROL)?, sys::inherited(SESSION)?))
    };
    let Ok((agent, session)) = adopt() else {
        return ExitCode::FAILURE; // not started by an agent, so there is none to tell
    };
    match serve(&Connection::from(agent), session.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Waits to be needed, and then until nothing is left to be passed on.
fn serve(agent: &Connection, session: Connection) -> io::Result<()> {
    setsid()?;
    CommandLine::find()?.rename(name::RELAY)?;
    let Some((asked, [stdin, stdout, stderr, target, order])) =
        agent.take::<ToRelay, { open::HANDED }>()?
    else {
        return Ok(()); // a spare one that was not needed
    };
    let opened = OpenedStreams::of(asked, [stdin, stdout, stderr]);
    let begun = opened.and_then(|OpenedStreams { stdio, flows, terminal, terminals }| {
        let helpers = [target.as_fd(), order.as_fd()].into_iter();
        let helpers: Vec<_> = helpers.chain(terminals.as_ref().map(AsFd::as_fd)).collect();
        spawn::hand_on(&session, &helpers, &stdio, asked.confined.is_some())?;
        Ok((flows, terminal))
    });
    drop((target, order));
    let (flows, terminal) = begun.inspect_err(|error| {
        let failure = Failure::new(Step::OpenStreams, error);
        let _ = agent.send(&FromSession::Failed(failure));
    })?;
    filter::apply()?;
    let (word, finishes) = (None, false);
    Relay { agent, session: Some(session), flows, terminal, word, finishes }.until_all_passed_on();
    Ok(())
}

/// What is between the agent and a session that has begun.
struct Relay<'a> {
    agent: &'a Connection,
    /// Until nobody is at its other end.
    session: Option<Connection>,
    flows: Vec<Flow>,
    terminal: Option<OwnedFd>,
    /// The session's, which the agent had no room for.
    word: Option<Vec<u8>>,
    /// The tool has ended: what is there is passed on, and no more is waited for.
    finishes: bool,
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Leave,
}

impl Relay<'_> {
    /// Returns when the session and its output have ended, or the agent has.
    fn until_all_passed_on(mut self) {
        while self.has_more() {
            let [agent, session] = self.wait();
            if agent && self.hear_agent() == Next::Leave {
                return;
            }
            if session || self.word.is_some() {
                self.hear_session();
            }
            self.flows.retain_mut(Flow::pass_on);
            if self.finishes {
                self.flows.retain_mut(|flow| !flow.has_finished());
            }
        }
    }

    fn has_more(&self) -> bool {
        let speaks = !self.finishes && (self.session.is_some() || self.word.is_some());
        speaks || self.flows.iter().any(Flow::is_output)
    }

    /// Until something can be done; whether agent or session have something to say.
    fn wait(&mut self) -> [bool; 2] {
        let now = Instant::now();
        let limit = self.flows.iter().filter_map(|flow| flow.rests_for(now)).min();
        let limit = limit.and_then(|limit: Duration| Timespec::try_from(limit).ok());
        let (none, word) = (PollFlags::empty(), self.word.is_some());
        let speaking = if word { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut interests = vec![PollFd::from_borrowed_fd(self.agent.as_fd(), speaking)];
        let listens = self.session.as_ref().filter(|_| !word);
        interests.extend(
            listens.map(|session| PollFd::from_borrowed_fd(session.as_fd(), PollFlags::IN)),
        );
        let heard = interests.len();
        let flows: Vec<_> = (0..)
            .zip(&self.flows)
            .filter_map(|(at, flow)| Some((at, flow.interest(now)?)))
            .collect();
        interests.extend(flows.iter().map(|(_, interest)| interest.clone()));
        // A signal, or whatever else went wrong, is nothing to do: the next turn sees.
        let _ = poll(&mut interests, limit.as_ref());
        let ready: Vec<_> = interests.iter().map(PollFd::revents).collect();
        let indices: Vec<usize> = flows.iter().map(|(at, _)| *at).collect();
        drop((flows, interests));
        for (at, events) in indices.into_iter().zip(ready.iter().skip(heard)) {
            if let Some(flow) = self.flows.get_mut(at) {
                flow.told(*events != none);
            }
        }
        let agent = ready.first().is_some_and(|events| events.intersects(!PollFlags::OUT));
        [agent, heard > 1 && ready.get(1).is_some_and(|events| *events != none)]
    }

    /// Passes the agent's words on; without one there is no session to relay for.
    fn hear_agent(&mut self) -> Next {
        loop {
            match self.agent.receive() {
                Ok(Received::Message(ToSession::Resize { width, height })) => {
                    let _ =
                        self.terminal.as_ref().map(|ours| pty::resize(ours.as_fd(), width, height));
                }
                Ok(Received::Message(ToSession::Finish)) => self.finishes = true,
                Ok(Received::Message(word)) => {
                    // A supervisor that does not listen is killed when its time is over.
                    let _ = self.session.as_ref().map(|session| session.send(&word));
                }
                Ok(Received::NothingYet) => return Next::GoOn,
                Ok(Received::Ended) | Err(_) => return Next::Leave,
            }
        }
    }

    /// Passes the session's words on, as they are: it is for the agent to make sense of them.
    fn hear_session(&mut self) {
        loop {
            if let Some(word) = self.word.take() {
                // An agent that is gone is noticed by its silence.
                if self.agent.send_bytes(&word) == Err(rustix::io::Errno::AGAIN) {
                    self.word = Some(word);
                    return;
                }
            }
            match self.session.as_ref().map(Connection::receive_bytes) {
                Some(Ok(Received::Message(word))) => self.word = Some(word),
                Some(Ok(Received::NothingYet)) | None => return,
                Some(Ok(Received::Ended) | Err(_)) => {
                    self.session = None;
                    self.agent.say_no_more();
                }
            }
        }
    }
}
