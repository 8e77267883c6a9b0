//! Starting a helper: the agent's last act before another process joins namespaces.
//!
//! The helper gets an empty environment and a connection. It waits there for its order, so that it
//! can be started ahead of need, and be where it belongs before it does anything. It is started by
//! `posix_spawn`, which shares memory until the exec, so that a large agent costs no copying.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::cgroup::Memory;
use crate::child::Child;
use crate::image::{FIRST_FREE, HelperImage};
use crate::ipc::Connection;
use crate::message::{Relayed, ToHelper, ToRelay, ToSupervisor};
use crate::name;
use crate::plan::Plan;
use crate::privilege::open_up;
use crate::pty::Terminals;
use crate::rehearsal::Rehearsal;
use crate::session::Session;
use crate::target::Target;

/// The first argument of a program that is to be a helper. See [`crate::helper_main`].
pub const HELPER_ARG: &str = "__enter";
const HELPER_ARG_C: &CStr = c"__enter";

/// The first argument of a program that is to be a relay. See [`crate::relay_main`].
pub const RELAY_ARG: &str = "__relay";
const RELAY_ARG_C: &CStr = c"__relay";

/// A helper's connection, and a relay's to the agent.
pub(crate) const CONTROL: RawFd = 3;
/// A relay's connection to its session.
pub(crate) const SESSION: RawFd = 4;

/// Descriptors 0, 1 and 2 of the tool.
#[derive(Debug)]
pub struct Stdio {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// A helper that waits for its order. It exits when this is dropped.
#[derive(Debug)]
pub struct Waiting(Connection, Memory);

/// A helper and its relay that wait for their order. They exit when this is dropped.
#[derive(Debug)]
pub struct WaitingRelay {
    connection: Connection,
    rings: Memory,
    /// The relay's end, past it, until the helper is told.
    helpers: Option<Connection>,
}

/// What stands for the tool's streams at the agent's side of a relay.
#[derive(Debug)]
pub struct RelayedStdio {
    pub streams: Relayed,
    /// A socket for each stream that is relayed, and for the others what the tool is to have.
    pub ends: Stdio,
}

/// Why no helper was started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("cannot send the plan to the helper")]
    Order { source: io::Error },
    #[error("cannot create the helper's descriptors")]
    Descriptors { source: io::Error },
    #[error("cannot start the helper")]
    Start { source: io::Error },
    #[error("the helper exited before it received the plan")]
    Gone { source: io::Error },
}

/// Starts a helper, which joins nothing before [`Waiting::begin`]. For a caller that has one session only:
/// it may have to wait for the tool. A confined session's packet rings, for which no control group is
/// charged, are together within `rings`.
pub fn start(image: &HelperImage, rings: Memory) -> Result<(Waiting, Child), SpawnError> {
    let (ours, theirs) = pair()?;
    Ok((Waiting(ours, rings), spawn_helper(image, &theirs)?))
}

/// Starts a helper and, in front of it, a relay: nothing that the caller then does with the session waits for
/// the tool. Returns both processes, the helper's first.
pub fn start_relayed(
    image: &HelperImage,
    rings: Memory,
) -> Result<(WaitingRelay, [Child; 2]), SpawnError> {
    let (ours, agents) = pair()?;
    let (sessions, theirs) = pair()?;
    let helper = spawn_helper(image, &theirs)?;
    let relay = spawn(image, [name::RELAY, RELAY_ARG_C], &[agents.as_fd(), sessions.as_fd()]);
    drop(theirs);
    match relay {
        Ok(relay) => {
            let waiting = WaitingRelay { connection: ours, rings, helpers: Some(sessions) };
            Ok((waiting, [helper, relay]))
        }
        Err(error) => {
            // A helper whose connection ends has nothing to do.
            drop(sessions);
            let _ = helper.wait();
            Err(error)
        }
    }
}

fn spawn_helper(image: &HelperImage, connection: &Connection) -> Result<Child, SpawnError> {
    spawn(image, [name::HELPER, HELPER_ARG_C], &[connection.as_fd()])
}

fn pair() -> Result<(Connection, Connection), SpawnError> {
    Connection::pair().map_err(|source| SpawnError::Descriptors { source })
}

impl Waiting {
    /// Tells the helper, which is where it belongs now, to do what can be done before there is an order.
    pub fn ready(&mut self) {
        tell_ready(&self.0);
    }

    /// Has the helper carry out `plan` on `target`; `terminals` are what a confined tool's terminal is one of.
    ///
    /// Nothing has been joined when this returns: see [`Session`] for what follows.
    pub fn begin(
        self,
        target: &Target,
        plan: &Plan,
        stdio: &Stdio,
        terminals: Option<&Terminals>,
    ) -> Result<Session, SpawnError> {
        let Self(connection, rings) = self;
        let order = write_order(plan, rings).map_err(|source| SpawnError::Order { source })?;
        let gone = |source| SpawnError::Gone { source };
        let opened_up = plan.is_confined();
        let helpers = [target.pidfd(), order.as_fd()].into_iter();
        let helpers: Vec<_> = helpers.chain(terminals.map(AsFd::as_fd)).collect();
        hand_on(&connection, &helpers, stdio, opened_up).map_err(gone)?;
        Ok(Session::new(connection))
    }

    /// Has the helper rehearse `plan` on `target`. Nothing has been joined when this returns.
    pub fn rehearse(self, target: &Target, plan: &Plan) -> Result<Rehearsal, SpawnError> {
        let Self(connection, rings) = self;
        let order = write_order(plan, rings).map_err(|source| SpawnError::Order { source })?;
        let handed = [target.pidfd(), order.as_fd()];
        let gone = |source| SpawnError::Gone { source };
        connection.hand(&ToHelper::Rehearse, &handed).map_err(gone)?;
        Ok(Rehearsal::new(connection))
    }
}

/// One that is gone by now is missed by who has an order for it.
fn tell_ready(helper: &Connection) {
    let _ = helper.send(&ToHelper::Ready);
}

impl WaitingRelay {
    /// The same as [`Waiting::ready`].
    pub fn ready(&mut self) {
        if let Some(helper) = self.helpers.take() {
            tell_ready(&helper);
        }
    }

    /// Has the helper carry out `plan` on `target`, with what the relay makes of `stdio` as the tool's streams.
    ///
    /// Nothing has been joined when this returns: see [`Session`] for what follows.
    pub fn begin(
        self,
        target: &Target,
        plan: &Plan,
        stdio: &RelayedStdio,
    ) -> Result<Session, SpawnError> {
        let Self { connection, rings, helpers: _ } = self;
        let order = write_order(plan, rings).map_err(|source| SpawnError::Order { source })?;
        let RelayedStdio { streams, ends: Stdio { stdin, stdout, stderr } } = stdio;
        let handed = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd(), target.pidfd(), order.as_fd()];
        let confined = plan.confinement.as_ref().map(|limits| limits.who.uid);
        let message = ToRelay { streams: *streams, confined };
        connection.hand(&message, &handed).map_err(|source| SpawnError::Gone { source })?;
        Ok(Session::new(connection))
    }
}

/// Tells a helper to begin, and leaves the tool's streams for the supervisor: `opened_up` for a tool that may
/// be another user.
pub(crate) fn hand_on(
    connection: &Connection,
    helpers: &[BorrowedFd<'_>],
    Stdio { stdin, stdout, stderr }: &Stdio,
    opened_up: bool,
) -> io::Result<()> {
    connection.hand(&ToHelper::Begin, helpers)?;
    let streams = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    if opened_up {
        open_up(streams);
    }
    match connection.hand(&ToSupervisor::Streams, &streams) {
        // A helper that has failed by now has said why, and that is waiting to be read.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A memfd: of any length, and read by nobody but the helper.
fn write_order(plan: &Plan, rings: Memory) -> io::Result<File> {
    let bytes = postcard::to_allocvec(&(plan, rings)).map_err(io::Error::other)?;
    let mut order = File::from(memfd_create("nsdebug-order", MemfdFlags::CLOEXEC)?);
    order.write_all(&bytes)?;
    order.rewind()?;
    Ok(order)
}

/// Starts the program with `arguments`, which say what it is to be, and `connections` from [`CONTROL`] on.
#[expect(clippy::disallowed_methods, reason = "the room where helpers and relays are started")]
fn spawn(
    image: &HelperImage,
    arguments: [&CStr; 2],
    connections: &[BorrowedFd<'_>],
) -> Result<Child, SpawnError> {
    let failed = |source| SpawnError::Descriptors { source };
    let null = File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    let streams = [(null.as_fd(), 0), (null.as_fd(), 1), (null.as_fd(), 2)];
    let handed: Vec<_> =
        streams.into_iter().chain(connections.iter().copied().zip(CONTROL..)).collect();
    // Clones far above the fixed numbers, so that no `dup2` below overwrites a later one's source.
    let mut clones = Vec::with_capacity(handed.len());
    let actions = descriptors(&handed, &mut clones).map_err(failed)?;
    let failed = |errno: nix::Error| SpawnError::Start { source: errno.into() };
    let attributes = attributes().map_err(failed)?;
    let environment: [&CStr; 0] = [];
    let pid = posix_spawn(image.path().as_str(), &actions, &attributes, &arguments, &environment)
        .map_err(failed)?;
    // Ours and not waited for: the number cannot have become anybody else's.
    Child::of(pid.as_raw()).map_err(|source| SpawnError::Start { source })
}

fn descriptors(
    handed: &[(BorrowedFd<'_>, RawFd)],
    clones: &mut Vec<OwnedFd>,
) -> io::Result<PosixSpawnFileActions> {
    let mut actions = PosixSpawnFileActions::init()?;
    for (fd, number) in handed {
        let clone = rustix::io::fcntl_dupfd_cloexec(fd, FIRST_FREE)?;
        actions.add_dup2(clone.as_raw_fd(), *number)?;
        clones.push(clone);
    }
    Ok(actions)
}

/// No signal blocked, whatever this thread blocks.
fn attributes() -> nix::Result<PosixSpawnAttr> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK)?;
    attributes.set_sigmask(&SigSet::empty())?;
    Ok(attributes)
}
