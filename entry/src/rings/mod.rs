//! Packet rings, the one memory of a capture that no control group is charged for: a session's, all
//! together, are no more than its memory limit.
//!
//! A tool's filter has the kernel ask before a ring is made. Who answers is the *broker*, a process of
//! the session outside of the target's pid namespace, where no tool can reach it. It makes the ring
//! itself, from a copy of the request that it has read once. Nobody waits for it but the tool that
//! asked: it may well be held up, by whoever else has that socket, and ends with the session's group.

mod broker;
mod ledger;

use std::ffi::CStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use rustix::process::{PidfdFlags, pidfd_open};

use crate::capability::Capability;
use crate::cgroup::Memory;
use crate::message::{During, Failure, Step};
use crate::plan::Confinement;
use crate::spawn::CONTROL;
use crate::sys::{self, Alone, Forked};

/// What `ps` shows of a broker.
const BROKER_NAME: &CStr = c"nsdebug-rings";

/// Where the tool-to-be hands over the listener of its filter. Its end is the broker's, until then.
#[derive(Debug)]
pub(crate) struct Desk(OwnedFd);

/// The broker's process, a child of the helper's.
#[derive(Debug)]
pub(crate) struct Broker(Pid);

/// What a broker that is killed may take to be gone: it takes longer only while somebody else holds it
/// up in the kernel, and then it is for the session's control group to end.
const END: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

impl Broker {
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
    }
}

/// Starts a broker for a session that may capture. To be called before anything has been joined: the
/// children of a process that has joined a pid namespace are in there.
pub(crate) fn open(
    limits: &Confinement,
    budget: Memory,
    alone: &Alone,
) -> Result<Option<(Desk, Broker)>, Failure> {
    if !limits.profile.capabilities().contains(Capability::NetRaw) {
        return Ok(None);
    }
    let pair = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    );
    let (tools, brokers) = pair.during(Step::StartBroker)?;
    let helper = getpid();
    match sys::fork(alone).during(Step::StartBroker)? {
        Forked::Parent { child } => Ok(Some((Desk(tools), Broker(child)))),
        Forked::Child => sys::keep_only(CONTROL, brokers, |brokers| {
            broker::run(&Desk(brokers), &limits.who, budget, helper);
        }),
    }
}

impl Desk {
    /// Gives the broker what it is asked through.
    pub(crate) fn hand_over(self, listener: &OwnedFd) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let listener = [listener.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&listener));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::net::sendmsg(&self.0, &[IoSlice::new(b"l")], &mut control, flags)?;
        Ok(())
    }

    /// Waits for it; none comes where there is no tool, or a kernel without listeners.
    fn take(&self) -> io::Result<Option<OwnedFd>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        loop {
            let mut into = [IoSliceMut::new(&mut byte)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match rustix::net::recvmsg(&self.0, &mut into, &mut control, flags) {
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) => break,
            }
        }
        Ok(control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        }))
    }
}
