//! A running session as its agent sees it: a connection and an order of events.
//!
//! Nothing here waits. A caller waits for [`Session::as_fd`] to become readable, with whatever it
//! waits for other things with, and asks again. Dropping a session ends it: the supervisor sees the
//! connection go and kills what runs.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::ipc::{Connection, Received};
use crate::message::{Exit, Expecting, Failure, FromSession, ToSession};

/// The agent's end of a session.
#[derive(Debug)]
#[must_use = "a session ends when this is dropped"]
pub struct Session {
    connection: Connection,
    expecting: Expecting,
}

/// What a session's relay is told, where there is one.
#[derive(Debug)]
pub struct RelayLine(Connection);

/// What happens in a session, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The tool will not be able to look into the processes of these users, at most eight.
    Unseen(Vec<u32>),
    /// The tool runs.
    Started,
    /// The tool and all that it left behind are gone; its output has an end.
    Ended(Exit),
    /// The tool never ran. Nothing follows.
    Failed(Failure),
    /// The supervisor is gone without a word: killed, or its pid namespace has ended. Nothing follows.
    Lost,
}

/// What went wrong between agent and session; the session is over.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("unexpected message from the session: {got} instead of {expected}")]
    OutOfTurn { got: String, expected: String },
    #[error("cannot read from the session")]
    Receive { source: io::Error },
}

impl SessionError {
    pub(crate) fn out_of_turn(got: &FromSession, expected: &str) -> Self {
        Self::OutOfTurn { got: format!("{got:?}"), expected: expected.to_owned() }
    }
}

impl Session {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, expecting: Expecting::Started }
    }

    /// The next event, or `None` where there is none yet.
    pub fn next_event(&mut self) -> Result<Option<Event>, SessionError> {
        let received =
            self.connection.receive().map_err(|source| SessionError::Receive { source })?;
        let message = match received {
            Received::Message(message) => message,
            Received::NothingYet => return Ok(None),
            Received::Ended => return Ok(Some(Event::Lost)),
        };
        let expected = format!("{:?}", self.expecting);
        let out_of_turn = || SessionError::out_of_turn(&message, &expected);
        self.expecting = self.expecting.after(&message).ok_or_else(out_of_turn)?;
        Ok(Some(match message {
            FromSession::Fit => return Err(out_of_turn()),
            FromSession::Unseen(users) => Event::Unseen(users),
            FromSession::Started => Event::Started,
            FromSession::Failed(failure) => Event::Failed(failure),
            FromSession::Ended(exit) => Event::Ended(exit),
        }))
    }

    /// Waits for the next event: for callers that have nothing else to wait for.
    pub fn wait_event(&mut self) -> Result<Event, SessionError> {
        loop {
            if let Some(event) = self.next_event()? {
                return Ok(event);
            }
            let mut news = [rustix::event::PollFd::new(self, rustix::event::PollFlags::IN)];
            match rustix::event::poll(&mut news, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(SessionError::Receive { source: errno.into() }),
            }
        }
    }

    /// Sends a signal to the tool's process group.
    ///
    /// A supervisor that is gone or does not read has no tool to signal: that is no error here.
    pub fn signal(&self, number: i32) {
        let _ = self.connection.send(&ToSession::Signal(number));
    }

    /// Asks for the end: SIGHUP and SIGTERM, a moment to comply, SIGKILL. [`Event::Ended`] follows.
    pub fn end(&self) {
        let _ = self.connection.send(&ToSession::End);
    }
}

impl Session {
    /// A line to the relay, beside whatever else is done with the session.
    pub fn relay_line(&self) -> io::Result<RelayLine> {
        self.connection.try_clone().map(RelayLine)
    }
}

impl RelayLine {
    /// Gives the terminal another size, in character cells. Never waits: a relay that is held up is told nothing.
    pub fn resize(&self, width: u16, height: u16) {
        let _ = self.0.send(&ToSession::Resize { width, height });
    }

    /// Has the relay pass a signal for the tool's process group on to its supervisor. Never waits: neither of them
    /// that is held up hears of it.
    pub fn signal(&self, number: i32) {
        let _ = self.0.send(&ToSession::Signal(number));
    }

    /// Has the relay pass on what there is of output, and then end. Never waits.
    pub fn finish(&self) {
        let _ = self.0.send(&ToSession::Finish);
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl AsRawFd for Session {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
