//! The connection between the agent and a session.
//!
//! `SOCK_SEQPACKET`: a message is whole or absent, and the death of either side is seen as the end
//! of the connection. Descriptors travel towards a session only. A tool that may trace can have its
//! supervisor send some the other way, and to let go of one may wait for that tool: so an agent that
//! serves many sessions has a relay at the other end of its connection (see [`crate::relay`]).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt};
use nix::unistd::Pid;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of the longest message: a failure that names a path (`PATH_MAX` is 4096).
const LONGEST: usize = 8 << 10;

/// The most descriptors that come with one message: a relay's order.
const HANDED: usize = 5;

/// One end of it.
#[derive(Debug)]
pub(crate) struct Connection(OwnedFd);

/// What a look at the connection gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<M> {
    Message(M),
    NothingYet,
    Ended,
}

impl Connection {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(one), Self(other)))
    }

    /// Never waits: a side that does not read has its messages refused with `EAGAIN`.
    pub(crate) fn send<M: Serialize>(&self, message: &M) -> io::Result<()> {
        let bytes = postcard::to_allocvec(message).map_err(io::Error::other)?;
        Ok(self.send_bytes(&bytes)?)
    }

    /// Sends a message that descriptors come with. Never waits.
    pub(crate) fn hand<M: Serialize>(
        &self,
        message: &M,
        handed: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let bytes = postcard::to_allocvec(message).map_err(io::Error::other)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(handed)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::net::sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, flags)?;
        Ok(())
    }

    /// Waits for a message that `N` descriptors come with, or for the end: `None`.
    pub(crate) fn take<M: DeserializeOwned, const N: usize>(
        &self,
    ) -> io::Result<Option<(M, [OwnedFd; N])>> {
        let Some((message, handed)) = self.take_some()? else { return Ok(None) };
        let handed = handed.try_into();
        Ok(Some((message, handed.map_err(|_| invalid("a message without its descriptors"))?)))
    }

    /// The same, with however many there are.
    pub(crate) fn take_some<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let mut buffer = [0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut into = [IoSliceMut::new(&mut buffer)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match rustix::net::recvmsg(&self.0, &mut into, &mut control, flags) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                other => break other?,
            }
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        let message = postcard::from_bytes(&buffer[..received.bytes]).map_err(invalid)?;
        let descriptors = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
            _ => Vec::new(),
        });
        Ok(Some((message, descriptors.collect())))
    }

    /// Has what comes here name the process that has sent it.
    pub(crate) fn name_senders(&self) -> io::Result<()> {
        Ok(setsockopt(&self.0, PassCred, &true)?)
    }

    /// Waits for a message without descriptors and who has sent it, or for the end: `None`.
    pub(crate) fn take_named<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Pid)>> {
        let mut buffer = [0; LONGEST];
        let mut space = nix::cmsg_space!(UnixCredentials);
        let mut into = [IoSliceMut::new(&mut buffer)];
        let (length, sender) = loop {
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(self.0.as_raw_fd(), &mut into, Some(&mut space), flags) {
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::ECONNRESET) => return Ok(None),
                received => {
                    let received = received?;
                    let sender = received.cmsgs()?.find_map(|message| match message {
                        ControlMessageOwned::ScmCredentials(who) => Some(Pid::from_raw(who.pid())),
                        _ => None,
                    });
                    break (received.bytes, sender);
                }
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let sender = sender.ok_or_else(|| invalid("a message of nobody"))?;
        Ok(Some((postcard::from_bytes(&buffer[..length]).map_err(invalid)?, sender)))
    }

    /// Never waits.
    pub(crate) fn receive<M: DeserializeOwned>(&self) -> io::Result<Received<M>> {
        Ok(match self.receive_bytes()? {
            Received::Message(bytes) => {
                Received::Message(postcard::from_bytes(&bytes).map_err(invalid)?)
            }
            Received::NothingYet => Received::NothingYet,
            Received::Ended => Received::Ended,
        })
    }

    /// The same, of a message that is for another process to read. Never waits.
    pub(crate) fn receive_bytes(&self) -> io::Result<Received<Vec<u8>>> {
        let mut buffer = [0; LONGEST];
        // That the other side has left something unread is told once, before what it has said itself.
        for _ in 0..2 {
            match rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::DONTWAIT) {
                Err(rustix::io::Errno::CONNRESET) => {}
                Ok((0, _)) => break,
                Ok((length, _)) => return Ok(Received::Message(buffer[..length].to_vec())),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                    return Ok(Received::NothingYet);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(Received::Ended)
    }

    /// Passes a message on. Never waits.
    pub(crate) fn send_bytes(&self, bytes: &[u8]) -> rustix::io::Result<()> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::net::send(&self.0, bytes, flags).map(drop)
    }

    /// Says that nothing follows. What the other side says is heard all the same.
    pub(crate) fn say_no_more(&self) {
        // An end that is gone has heard it.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write);
    }

    /// A second handle of the same end.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl From<OwnedFd> for Connection {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Connection> for OwnedFd {
    fn from(Connection(fd): Connection) -> Self {
        fd
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ToHelper, ToSession};

    #[test]
    fn messages_arrive_whole_and_in_order_and_then_the_end() {
        let (ours, theirs) = Connection::pair().expect("a pair");
        assert_eq!(ours.receive::<ToSession>().expect("empty"), Received::NothingYet);
        theirs.send(&ToSession::Signal(2)).expect("sent");
        theirs.send(&ToSession::End).expect("sent");
        drop(theirs);
        let receive = || ours.receive::<ToSession>().expect("received");
        assert_eq!(receive(), Received::Message(ToSession::Signal(2)));
        assert_eq!(receive(), Received::Message(ToSession::End));
        assert_eq!(receive(), Received::Ended);
    }

    #[test]
    fn descriptors_arrive_with_their_message_and_in_their_order() {
        let (ours, theirs) = Connection::pair().expect("a pair");
        let files = [(); HANDED].map(|()| tempfile::tempfile().expect("a file"));
        ours.hand(&ToHelper::Begin, &files.each_ref().map(AsFd::as_fd)).expect("handed");
        let (message, taken) =
            theirs.take::<ToHelper, HANDED>().expect("taken").expect("a message");
        assert_eq!(message, ToHelper::Begin);
        let inode = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).expect("open").st_ino;
        assert_eq!(taken.map(|fd| inode(fd.as_fd())), files.map(|file| inode(file.as_fd())));
        ours.send(&ToHelper::Begin).expect("sent");
        let error = theirs.take::<ToHelper, HANDED>().expect_err("nothing came with it");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(ours);
        assert!(theirs.take::<ToHelper, HANDED>().expect("the end").is_none());
    }

    #[test]
    fn a_message_names_its_sender_where_that_is_asked_for() {
        let (ours, theirs) = Connection::pair().expect("a pair");
        theirs.name_senders().expect("named");
        ours.send(&ToSession::Signal(2)).expect("sent");
        let (message, sender) = theirs.take_named::<ToSession>().expect("taken").expect("one");
        assert_eq!((message, sender), (ToSession::Signal(2), nix::unistd::getpid()));
        ours.say_no_more();
        assert!(theirs.take_named::<ToSession>().expect("the end").is_none());
    }

    #[test]
    fn last_words_are_heard_of_a_side_that_has_left_something_unread() {
        let (ours, theirs) = Connection::pair().expect("a pair");
        ours.send(&ToSession::Signal(2)).expect("sent");
        theirs.send(&ToSession::End).expect("sent");
        drop(theirs);
        let receive = || ours.receive::<ToSession>().expect("received");
        assert_eq!(receive(), Received::Message(ToSession::End));
        assert_eq!(receive(), Received::Ended);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let (ours, theirs) = Connection::pair().expect("a pair");
        rustix::net::send(&theirs.0, b"\xff\xff\xff", SendFlags::empty()).expect("sent");
        let error = ours.receive::<ToSession>().expect_err("no message");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_side_that_does_not_read_is_not_waited_for() {
        let (ours, _theirs) = Connection::pair().expect("a pair");
        let refused = (0..100_000).find_map(|_| ours.send(&ToSession::End).err());
        assert_eq!(refused.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    }
}
