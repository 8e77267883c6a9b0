//! What rings a session's sockets have, and what those cost the node: the books, and nobody's orders.
//!
//! A socket is held by its place in the file system of sockets and not opened: so a ring goes, with
//! its pages, when the tool closes it, and the place tells that it has gone.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Uid, chownat, fstat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::net::sockopt::socket_cookie;

use super::request::Ring;
use crate::cgroup::Memory;
use crate::sys;

/// Sockets with rings of one session: each is a descriptor of the broker's. A capture has one; of the
/// default size, of libpcap and of the limit, this many fit.
const MOST_SOCKETS: usize = 128;

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    budget: u64,
    sockets: Vec<Socket>,
}

/// A socket that has, or had, rings.
#[derive(Debug)]
struct Socket {
    /// The kernel's name for it, which is never another's.
    cookie: u64,
    place: OwnedFd,
    /// Bytes to receive with and to send with.
    rings: [u64; 2],
}

impl Ledger {
    pub(super) fn new(budget: Memory) -> Self {
        Self { budget: budget.bytes(), sockets: Vec::new() }
    }

    /// Does what is asked, where it is within the budget: past it, it is as where the node has no
    /// more memory, for which libpcap asks for less.
    pub(super) fn set(&mut self, socket: BorrowedFd<'_>, request: &Ring) -> Result<(), Errno> {
        let size = request.size(rustix::param::page_size() as u64);
        if size > 0 {
            self.sockets.retain(|socket| !socket.is_released());
            if self.held().saturating_add(size) > self.budget {
                return Err(Errno::NOMEM);
            }
        }
        let known = self.find(socket)?;
        sys::set_packet_option(socket, request.option(), request.bytes())?;
        if let Some(socket) = self.sockets.get_mut(known) {
            socket.rings[request.direction()] = size;
        }
        Ok(())
    }

    fn held(&self) -> u64 {
        self.sockets.iter().flat_map(|socket| socket.rings).fold(0, u64::saturating_add)
    }

    /// Where the socket is in the books, from now on.
    fn find(&mut self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        let cookie = socket_cookie(socket)?;
        if let Some(known) = self.sockets.iter().position(|socket| socket.cookie == cookie) {
            return Ok(known);
        }
        if self.sockets.len() >= MOST_SOCKETS {
            return Err(Errno::NOMEM);
        }
        let flags = OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let place = open_tree(socket, "", flags)?;
        self.sockets.push(Socket { cookie, place, rings: [0; 2] });
        Ok(self.sockets.len() - 1)
    }
}

impl Socket {
    /// Whether it is closed everywhere and its rings are freed: the kernel gives away nothing that is
    /// not there any more, here to whom it belongs already. It waits for a close that is under way.
    fn is_released(&self) -> bool {
        let Ok(stat) = fstat(&self.place) else { return false };
        let owner = Uid::from_raw(stat.st_uid);
        chownat(&self.place, "", Some(owner), None, AtFlags::EMPTY_PATH) == Err(Errno::NOENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_released_when_the_last_who_has_it_closes_it() {
        let mut ledger = Ledger::new("256Mi".parse().expect("memory"));
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let again = socket.try_clone().expect("another descriptor");
        let known = ledger.find(std::os::fd::AsFd::as_fd(&socket)).expect("a place");
        assert_eq!(ledger.find(std::os::fd::AsFd::as_fd(&again)), Ok(known));
        drop(socket);
        assert!(!ledger.sockets[known].is_released());
        drop(again);
        assert!(ledger.sockets[known].is_released());
    }
}
