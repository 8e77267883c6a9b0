//! The broker's life: takes the listener, answers until nobody is left who could ask.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{Pid, getppid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;
use rustix::process::{
    PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open, set_parent_process_death_signal,
};

use super::desk::{Desk, ToBroker};
use super::ledger::Ledger;
use super::request::{BrokerRequest, LONGEST, SHORTEST};
use crate::capability::{Capabilities, Capability};
use crate::name::{self, CommandLine};
use crate::privilege::{Identity, become_session};
use crate::sys::{self, PendingCall};

/// Of a thread and not of its process: `PIDFD_THREAD`, Linux 6.9.
const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());

/// Answers the tool whose filter's listener comes through `desk`.
pub(super) fn run(desk: &Desk, helper: Pid) {
    // What it fails in ends it, and then a tool's rings are refused. No process waits for its word.
    let _ = wait_and_serve(desk, helper);
}

fn wait_and_serve(desk: &Desk, helper: Pid) -> io::Result<()> {
    CommandLine::find()?.rename(name::BROKER)?;
    let Some((ToBroker::Serve(who, budget), _)) = desk.take()? else { return Ok(()) };
    ready(&who, helper)?;
    match listener(desk)? {
        Some(listener) => serve(listener.as_fd(), &mut Ledger::new(budget)),
        None => Ok(()),
    }
}

/// Takes the listener from the tool-to-be, which waits for that.
fn listener(desk: &Desk) -> io::Result<Option<OwnedFd>> {
    let Some((ToBroker::Listener(number), tool)) = desk.take()? else { return Ok(None) };
    let pidfd = rustix::process::Pid::from_raw(tool.as_raw()).ok_or(Errno::SRCH)?;
    let pidfd = pidfd_open(pidfd, PidfdFlags::empty())?;
    let listener = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty())?;
    desk.say_done();
    // Who speaks now has had that number when the pidfd was opened: it is no other's.
    let Some((ToBroker::Handed, same)) = desk.take()? else { return Ok(None) };
    Ok((same == tool).then_some(listener))
}

/// As who the tool is, for its sockets to be its own, with the power over it and no other.
fn ready(who: &Identity, helper: Pid) -> io::Result<()> {
    become_session(who, Capabilities::NONE.with(Capability::SysPtrace))?;
    // A session without a control group ends with its helper. After the change of user, which clears it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == helper { Ok(()) } else { Err(Errno::SRCH.into()) }
}

/// Until no process is left that is under the filter.
fn serve(listener: BorrowedFd<'_>, ledger: &mut Ledger) -> io::Result<()> {
    loop {
        let mut news = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
        match poll(&mut news, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let revents = news[0].revents();
        if revents.contains(PollFlags::IN) {
            match sys::receive(listener) {
                Ok(asked) => answer(listener, &asked, ledger),
                // The thread that asked was killed meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        } else if !revents.is_empty() {
            return Ok(());
        }
    }
}

fn answer(listener: BorrowedFd<'_>, asked: &PendingCall, ledger: &mut Ledger) {
    let taken = take(asked);
    // Only now is it certain that all of it was the asking thread's.
    if !sys::still_waits(listener, asked) {
        return;
    }
    let done = taken.as_ref().map_err(|errno| *errno).and_then(|(socket, request)| {
        carry_out(request, socket.as_fd(), ledger)?;
        Ok((socket, request))
    });
    let told = sys::answer(listener, asked, done.map(drop));
    // Nobody knows of a ring that was made for one who is gone, or was interrupted and asks again.
    if let (Err(_), Ok((socket, request))) = (told, done) {
        let _ = carry_out(&request.undone(), socket.as_fd(), ledger);
    }
}

fn carry_out(
    request: &BrokerRequest,
    socket: BorrowedFd<'_>,
    ledger: &mut Ledger,
) -> Result<(), Errno> {
    if socket_domain(socket)? != AddressFamily::PACKET {
        return Err(Errno::NOPROTOOPT);
    }
    match request {
        BrokerRequest::Ring(ring) => ledger.set(socket, ring),
        BrokerRequest::Capture(capture) => {
            sys::set_packet_option(socket, capture.option(), &capture.bytes())
        }
    }
}

/// The asking thread's socket, and a copy of its request: whatever is written there later changes
/// nothing any more.
fn take(asked: &PendingCall) -> Result<(OwnedFd, BrokerRequest), Errno> {
    let [socket, _, option, address, length, _] = asked.arguments;
    let [socket, option, length] = [socket, option, length].map(int);
    let length = usize::try_from(length).map_err(|_| Errno::INVAL)?.min(LONGEST);
    if length < SHORTEST {
        return Err(Errno::INVAL);
    }
    let thread = thread(asked.thread)?;
    let socket = pidfd_getfd(thread.as_fd(), socket, PidfdGetfdFlags::empty())?;
    let mut bytes = [0; LONGEST];
    let base = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    let remote = [RemoteIoVec { base, len: length }];
    let mut local = [IoSliceMut::new(&mut bytes[..length])];
    let read = process_vm_readv(Pid::from_raw(asked.thread), &mut local, &remote);
    match read {
        Ok(read) if read == length => Ok((socket, BrokerRequest::read(option, &bytes[..length])?)),
        Ok(_) => Err(Errno::FAULT),
        Err(errno) => Err(Errno::from_raw_os_error(errno as i32)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "as the kernel does with these")]
fn int(argument: u64) -> libc::c_int {
    (argument as u32).cast_signed()
}

/// An older kernel knows the first thread of a process only: the others make no rings there.
fn thread(number: libc::pid_t) -> Result<OwnedFd, Errno> {
    let number = rustix::process::Pid::from_raw(number).ok_or(Errno::SRCH)?;
    match pidfd_open(number, THREAD) {
        Err(Errno::INVAL) => pidfd_open(number, PidfdFlags::empty()).map_err(|_| Errno::PERM),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_packet_socket_is_told_so() {
        let mut ledger = Ledger::new("256Mi".parse().expect("memory"));
        let page = [4096, 1, 2048, 2_u32].map(u32::to_ne_bytes).concat();
        let everything = [1, 1_u32, 0, 0].map(u32::to_ne_bytes).concat();
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let file = tempfile::tempfile().expect("a file");
        for (option, bytes) in [(libc::PACKET_RX_RING, page), (1, everything)] {
            let request = BrokerRequest::read(option, &bytes).expect("a request");
            let refused = carry_out(&request, socket.as_fd(), &mut ledger);
            assert_eq!(refused, Err(Errno::NOPROTOOPT));
            let refused = carry_out(&request, file.as_fd(), &mut ledger);
            assert_eq!(refused, Err(Errno::NOTSOCK));
        }
    }
}
