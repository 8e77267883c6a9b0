//! The connection between the agent and a session.
//!
//! `SOCK_SEQPACKET`: a message is whole or absent, and the death of either side is seen as the end
//! of the connection. No descriptor travels here: the helper is started with all it needs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of the longest message: a failure that names a path (`PATH_MAX` is 4096).
const LONGEST: usize = 8 << 10;

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
        rustix::net::send(&self.0, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// Never waits.
    pub(crate) fn receive<M: DeserializeOwned>(&self) -> io::Result<Received<M>> {
        let mut buffer = [0; LONGEST];
        let length = match rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => return Ok(Received::Ended),
            Ok((length, _)) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                return Ok(Received::NothingYet);
            }
            Err(errno) => return Err(errno.into()),
        };
        let message = postcard::from_bytes(&buffer[..length])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Received::Message(message))
    }
}

impl From<OwnedFd> for Connection {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
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
    use crate::message::ToSession;

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
