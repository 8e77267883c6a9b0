//! Packet rings, the one memory of a capture that no control group is charged for: a session's, all
//! together, are no more than its memory limit.
//!
//! A tool's filter has the kernel ask before a ring is made. Who answers is the *broker*, a process of
//! the session outside of the target's pid namespace, where no tool can reach it. It makes the ring
//! itself, from a copy of the request that it has read once. Nobody waits for it but the tool that
//! asked: it may well be held up, by any other process that has that socket, and ends with the session's group.
//! What a socket is to receive besides goes the same way, for it may be any number of addresses.

mod broker;
mod desk;
mod ledger;
mod request;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use self::desk::ToBroker;
pub(crate) use self::desk::{Desk, Offered};
use crate::capability::Capability;
use crate::cgroup::Memory;
use crate::ipc::Connection;
use crate::message::{During, Failure, Step};
use crate::plan::Confinement;
use crate::spawn::CONTROL;
use crate::sys::{self, Alone, Forked};

/// The broker's process, a child of the helper's.
#[derive(Debug)]
pub(crate) struct Broker(Pid);

/// What a broker that is killed may take to be gone: it takes longer only while another process holds it
/// up in the kernel, and then it is for the session's control group to end.
const END: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

impl Broker {
    /// Reaps one that has no desk. It has never had anything of a tool's that could hold it up.
    pub(crate) fn leave(self) {
        let Self(pid) = self;
        while let Err(nix::Error::EINTR) = waitpid(pid, None) {}
    }

    /// Ends it, so that the session's control group is empty when the helper ends. Only what waits for
    /// nothing else any more may call this.
    pub(crate) fn end(self) {
        let Self(pid) = self;
        // Not reaped yet: the number is its own.
        let _ = kill(pid, Signal::SIGKILL);
        let pidfd = rustix::process::Pid::from_raw(pid.as_raw())
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        if let Some(pidfd) = pidfd {
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&END));
        }
        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
    }
}

/// A broker that has not been told yet what to serve.
#[derive(Debug)]
pub(crate) struct IdleBroker(Desk, Broker);

/// Starts a broker. To be called before anything has been joined: the children of a process that has joined
/// a pid namespace are in there. One that is never told what to serve ends when this is dropped.
pub(crate) fn open(alone: &Alone) -> Result<IdleBroker, Failure> {
    let (ours, brokers) = Connection::pair().during(Step::StartBroker)?;
    brokers.name_senders().during(Step::StartBroker)?;
    let helper = getpid();
    match sys::fork(alone).during(Step::StartBroker)? {
        Forked::Parent { child } => Ok(IdleBroker(Desk::of(ours), Broker(child))),
        Forked::Child => sys::keep_only(CONTROL, brokers.into(), |brokers| {
            broker::run(&Desk::of(brokers.into()), helper);
        }),
    }
}

impl IdleBroker {
    /// Tells the broker what to serve, where a session may capture. Another's broker has no desk and ends.
    pub(crate) fn appoint(
        self,
        limits: &Confinement,
        budget: Memory,
    ) -> Result<(Option<Desk>, Broker), Failure> {
        let Self(desk, broker) = self;
        if !limits.profile.capabilities().contains(Capability::NetRaw) {
            return Ok((None, broker));
        }
        let serve = ToBroker::Serve(limits.who.clone(), budget);
        desk.send(&serve).during(Step::StartBroker)?;
        Ok((Some(desk), broker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process to look at")]
    fn a_broker_that_has_ended_is_reaped() {
        let mut sleep = std::process::Command::new("sleep");
        let mut child = sleep.arg("600").spawn().expect("a process");
        Broker(Pid::from_raw(child.id().try_into().expect("a number"))).end();
        let left = child.wait().expect_err("it has been reaped");
        assert_eq!(left.raw_os_error(), Some(nix::libc::ECHILD));
    }
}
