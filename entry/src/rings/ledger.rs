//! What rings a session's sockets have, and what those cost the node: the books, and nobody's orders.
//!
//! A socket is held by its place in the file system of sockets and not opened: so a ring goes, with
//! its pages, when the tool closes it, and the place tells that it has gone.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::libc;
use rustix::fs::{AtFlags, Uid, chownat, fstat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::net::AddressFamily;
use rustix::net::sockopt::{socket_cookie, socket_domain};

use crate::cgroup::Memory;
use crate::sys;

/// `struct tpacket_req`, and `struct tpacket_req3` of version 3, in bytes.
pub(super) const SHORTEST: usize = 16;
pub(super) const LONGEST: usize = 28;

/// Sockets with rings of one session: each is a descriptor of the broker's. A capture has one; of the
/// default size, of libpcap and of the limit, this many fit.
const MOST_SOCKETS: usize = 128;

/// What a tool wants to have done.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// `PACKET_RX_RING` or `PACKET_TX_RING`.
    option: libc::c_int,
    bytes: Vec<u8>,
}

impl Request {
    /// At least [`SHORTEST`] bytes.
    pub(super) fn new(option: libc::c_int, bytes: &[u8]) -> Self {
        Self { option, bytes: bytes.to_vec() }
    }

    /// What takes it back.
    pub(super) fn undone(&self) -> Self {
        Self { bytes: vec![0; self.bytes.len()], ..*self }
    }

    fn word(&self, number: usize) -> u64 {
        let bytes = self.bytes.chunks_exact(4).nth(number).and_then(|word| word.try_into().ok());
        bytes.map_or(0, |word| u64::from(u32::from_ne_bytes(word)))
    }

    /// Bytes of the kernel's for it. A block is that many pages as is a power of two, whatever part
    /// of them is asked for; then there is an address a block, and a bit a frame.
    fn size(&self, page: u64) -> u64 {
        let [block, blocks, _, frames] = [0, 1, 2, 3].map(|number| self.word(number));
        if blocks == 0 {
            return 0;
        }
        let block = block.max(page).next_power_of_two();
        let (addresses, bits) =
            ((blocks * 8).next_power_of_two(), (frames / 8).next_power_of_two());
        block.saturating_mul(blocks).saturating_add(addresses + bits)
    }

    fn direction(&self) -> usize {
        usize::from(self.option == libc::PACKET_TX_RING)
    }
}

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
    pub(super) fn set(&mut self, socket: BorrowedFd<'_>, request: &Request) -> Result<(), Errno> {
        if socket_domain(socket)? != AddressFamily::PACKET {
            return Err(Errno::NOPROTOOPT);
        }
        let size = request.size(rustix::param::page_size() as u64);
        if size > 0 {
            self.sockets.retain(|socket| !socket.is_released());
            if self.held().saturating_add(size) > self.budget {
                return Err(Errno::NOMEM);
            }
        }
        let known = self.find(socket)?;
        sys::set_ring(socket, request.option, &request.bytes)?;
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

    const MIB: u64 = 1 << 20;

    fn request(words: [u32; 4]) -> Request {
        Request::new(libc::PACKET_RX_RING, &words.map(u32::to_ne_bytes).concat())
    }

    fn size(words: [u32; 4]) -> u64 {
        request(words).size(4096)
    }

    #[test]
    fn a_ring_is_counted_with_what_goes_with_it() {
        let plain = size([1 << 20, 128, 2048, 512 * 128]);
        assert_eq!(plain, 128 * MIB + 1024 + 8192);
        assert_eq!(size([0; 4]), 0);
        assert_eq!(request([1 << 20, 128, 2048, 512 * 128]).undone().size(4096), 0);
    }

    #[test]
    fn a_block_of_five_pages_takes_eight() {
        assert!(size([5 * 4096, 1024, 2048, 10 * 1024]) > 8 * 4096 * 1024);
    }

    #[test]
    fn no_numbers_make_a_ring_that_counts_for_little() {
        for words in [[u32::MAX, u32::MAX, 1, 1], [1, u32::MAX, 1, 1], [u32::MAX, 1, 1, u32::MAX]] {
            assert!(size(words) >= 4096 * MIB, "{words:?}");
        }
    }

    #[test]
    fn what_has_no_rings_is_told_so() {
        let mut ledger = Ledger::new("256Mi".parse().expect("memory"));
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let refused = ledger.set(std::os::fd::AsFd::as_fd(&socket), &request([4096, 1, 2048, 2]));
        assert_eq!(refused, Err(Errno::NOPROTOOPT));
        let file = tempfile::tempfile().expect("a file");
        let refused = ledger.set(std::os::fd::AsFd::as_fd(&file), &request([4096, 1, 2048, 2]));
        assert_eq!(refused, Err(Errno::NOTSOCK));
        assert!(ledger.sockets.is_empty());
    }

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
