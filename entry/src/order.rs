//! What helper, supervisor and tool are to do, and what they are handed for it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::cgroup::Memory;
use crate::ipc::Connection;
use crate::message::{During, Failure, Step, ToSupervisor};
use crate::plan::Plan;

/// What the helper is to do.
pub(crate) struct Order {
    pub(crate) plan: Plan,
    pub(crate) target: OwnedFd,
    /// The `/dev/pts` that the tool's terminal is in, until it is mounted.
    pub(crate) terminals: Option<OwnedFd>,
}

/// Reads what was handed to a helper with its order.
pub(crate) fn read_order(handed: Vec<OwnedFd>) -> Result<(Order, Memory), Failure> {
    let mut handed = handed.into_iter();
    let (Some(target), Some(order), terminals) = (handed.next(), handed.next(), handed.next())
    else {
        return Err(io::Error::from(io::ErrorKind::InvalidData)).during(Step::ReadOrder);
    };
    let mut bytes = Vec::new();
    File::from(order).read_to_end(&mut bytes).during(Step::ReadOrder)?;
    let order = postcard::from_bytes(&bytes).map_err(io::Error::other);
    let (plan, rings) = order.during(Step::ReadOrder)?;
    Ok((Order { plan, target, terminals }, rings))
}

/// Makes the tool's streams, which have been sent with the order, this process's own.
pub(crate) fn take_stdio(agent: &Connection) -> io::Result<()> {
    let Some((ToSupervisor::Streams, [stdin, stdout, stderr])) = agent.take()? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    dup2_stdin(stdin)?;
    dup2_stdout(stdout)?;
    dup2_stderr(stderr)?;
    Ok(())
}

/// Lets go of the tool's descriptors, which would keep its output from ending.
pub(crate) fn release_stdio() {
    // Without a /dev/null the descriptors stay, and the agent's time limit ends the output.
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ =
            dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null));
    }
}
