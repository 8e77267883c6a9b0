//! What is said between a session and its broker.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::cgroup::Memory;
use crate::ipc::Connection;
use crate::privilege::Identity;

/// What a broker is told, in this order. Without the first it has nothing to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToBroker {
    /// Whose sockets it works on, and what their rings may have together.
    Serve(Identity, Memory),
    /// This descriptor of who says so is the tool's listener. It is taken from there and not sent: the kernel
    /// counts what each user has on its way, so that all sessions of a user could be kept from sending.
    Listener(RawFd),
    /// It has been taken.
    Handed,
}

/// Where the helper, and then the tool-to-be, tell the broker what it needs. Nobody waits there but that.
#[derive(Debug)]
pub(crate) struct Desk(Connection);

impl Desk {
    pub(super) fn of(connection: Connection) -> Self {
        Self(connection)
    }

    pub(super) fn send(&self, message: &ToBroker) -> io::Result<()> {
        self.0.send(message)
    }

    /// Offers the broker what it is asked through. Never waits.
    pub(crate) fn offer(self, listener: OwnedFd) -> io::Result<Offered> {
        self.0.send(&ToBroker::Listener(listener.as_raw_fd()))?;
        Ok(Offered { desk: self, _listener: listener })
    }

    /// Waits for what is said, and by whom; nothing comes where there is no tool, or a kernel without
    /// listeners.
    pub(super) fn take(&self) -> io::Result<Option<(ToBroker, Pid)>> {
        self.0.take_named()
    }

    pub(super) fn say_done(&self) {
        self.0.say_no_more();
    }
}

/// A listener that the broker has not taken yet.
#[derive(Debug)]
pub(crate) struct Offered {
    desk: Desk,
    _listener: OwnedFd,
}

impl Offered {
    /// Waits until the broker has it, or has ended: then a tool's rings are refused.
    pub(crate) fn settle(self) -> io::Result<()> {
        let Self { desk: Desk(connection), _listener } = self;
        let _: Option<(ToBroker, _)> = connection.take_some()?;
        connection.send(&ToBroker::Handed)
    }
}
