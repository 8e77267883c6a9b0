//! Starting a helper: the agent's last act before somebody else joins namespaces.
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
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use crate::descendants;
use crate::image::HelperImage;
use crate::ipc::{Connection, Handed};
use crate::message::ToHelper;
use crate::plan::Plan;
use crate::session::Session;
use crate::target::Target;

/// The first argument of a program that is to be a helper. See [`crate::helper_main`].
pub const HELPER_ARG: &str = "__enter";
const HELPER_ARG_C: &CStr = c"__enter";

/// What `ps` shows of helper and supervisor. The kernel keeps 15 bytes of a process's name.
pub(crate) const HELPER_NAME: &CStr = c"nsdebug-session";

pub(crate) const CONTROL: RawFd = 3;
pub(crate) const FIRST_FREE: RawFd = 4;

/// Descriptors 0, 1 and 2 of the tool.
#[derive(Debug)]
pub struct Stdio {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// The helper's process. It stays until the supervisor is gone, and must be waited for.
#[derive(Debug)]
#[must_use = "a helper that nobody waits for becomes a zombie"]
pub struct Helper {
    pid: Pid,
    pidfd: OwnedFd,
}

/// A helper that waits for its order. It exits when this is dropped.
#[derive(Debug)]
pub struct Waiting(Connection);

/// Why no helper was started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("cannot write down what the helper is to do")]
    Order { source: io::Error },
    #[error("cannot make the helper's descriptors")]
    Descriptors { source: io::Error },
    #[error("cannot start the helper")]
    Start { source: io::Error },
    #[error("the helper was gone before it could be told what to do")]
    Gone { source: io::Error },
}

/// Starts a helper, which joins nothing before [`Waiting::begin`].
pub fn start(image: &HelperImage) -> Result<(Waiting, Helper), SpawnError> {
    let descriptors = |source| SpawnError::Descriptors { source };
    let (ours, theirs) = Connection::pair().map_err(descriptors)?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(descriptors)?;
    let handed =
        [(null.as_fd(), 0), (null.as_fd(), 1), (null.as_fd(), 2), (theirs.as_fd(), CONTROL)];
    Ok((Waiting(ours), spawn(image, &handed)?))
}

impl Waiting {
    /// Has the helper carry out `plan` on `target`.
    ///
    /// Nothing has been joined when this returns: see [`Session`] for what follows.
    pub fn begin(self, target: &Target, plan: &Plan, stdio: &Stdio) -> Result<Session, SpawnError> {
        let Self(connection) = self;
        let order = write_order(plan).map_err(|source| SpawnError::Order { source })?;
        let Stdio { stdin, stdout, stderr } = stdio;
        let handed = Handed {
            stdin: stdin.as_fd(),
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
            target: target.pidfd(),
            order: order.as_fd(),
        };
        connection.hand(&ToHelper::Begin, &handed).map_err(|source| SpawnError::Gone { source })?;
        Ok(Session::new(connection))
    }
}

/// A memfd: of any length, and read by nobody but the helper.
fn write_order(plan: &Plan) -> io::Result<File> {
    let bytes = postcard::to_allocvec(plan).map_err(io::Error::other)?;
    let mut order = File::from(memfd_create("nsdebug-order", MemfdFlags::CLOEXEC)?);
    order.write_all(&bytes)?;
    order.rewind()?;
    Ok(order)
}

fn spawn(image: &HelperImage, handed: &[(BorrowedFd<'_>, RawFd)]) -> Result<Helper, SpawnError> {
    // Clones far above the fixed numbers, so that no `dup2` below overwrites a later one's source.
    let mut clones = Vec::with_capacity(handed.len());
    let actions =
        descriptors(handed, &mut clones).map_err(|source| SpawnError::Descriptors { source })?;
    let failed = |errno: nix::Error| SpawnError::Start { source: errno.into() };
    let attributes = attributes().map_err(failed)?;
    let arguments = [HELPER_NAME, HELPER_ARG_C];
    let environment: [&CStr; 0] = [];
    let pid = posix_spawn(image.path().as_str(), &actions, &attributes, &arguments, &environment)
        .map_err(failed)?;
    // Ours and not waited for: the number cannot have become anybody else's.
    let pid = Pid::from_raw(pid.as_raw()).ok_or(SpawnError::Start { source: gone() })?;
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)
        .map_err(|errno| SpawnError::Start { source: errno.into() })?;
    Ok(Helper { pid, pidfd })
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

fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Helper {
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until the helper, and with it the whole session, is gone, and reaps it.
    pub fn wait(&self) -> io::Result<()> {
        loop {
            if self.try_wait()? {
                return Ok(());
            }
            let mut exit = [rustix::event::PollFd::new(&self.pidfd, rustix::event::PollFlags::IN)];
            match rustix::event::poll(&mut exit, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Kills all that the helper started and that is still below it: for a session without a control
    /// group. The helper itself ends when it has reaped them.
    pub fn kill_session(&self) {
        descendants::kill_below(self.pid.as_raw_pid().unsigned_abs());
    }

    /// Reaps the helper if it is gone; its descriptor becomes readable then.
    pub fn try_wait(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(status) => Ok(status.is_some()),
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(rustix::io::Errno::CHILD) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Helper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl AsRawFd for Helper {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}
