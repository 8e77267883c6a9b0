//! What a tool may want of a packet socket that nobody is charged for, as it was asked: bytes, and no deeds.

use nix::libc;
use rustix::io::Errno;

use crate::seccomp::PACKET_ADD_MEMBERSHIP;

/// `struct tpacket_req` and `struct packet_mreq`, in bytes.
pub(super) const SHORTEST: usize = 16;
/// `struct tpacket_req3` of version 3.
pub(super) const LONGEST: usize = 28;

/// What a tool wants to have done.
#[derive(Clone, Debug)]
pub(super) enum BrokerRequest {
    Ring(Ring),
    Capture(Capture),
}

impl BrokerRequest {
    /// Of at least [`SHORTEST`] bytes.
    pub(super) fn read(option: libc::c_int, bytes: &[u8]) -> Result<Self, Errno> {
        if option == PACKET_ADD_MEMBERSHIP {
            return Capture::read(bytes).map(Self::Capture);
        }
        Ok(Self::Ring(Ring { option, bytes: bytes.to_vec() }))
    }

    /// What takes it back.
    pub(super) fn undone(&self) -> Self {
        match self {
            Self::Ring(ring) => Self::Ring(ring.undone()),
            Self::Capture(capture) => Self::Capture(capture.undone()),
        }
    }
}

/// A ring of a packet socket, or none any more.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    /// `PACKET_RX_RING` or `PACKET_TX_RING`.
    option: libc::c_int,
    bytes: Vec<u8>,
}

impl Ring {
    pub(super) fn option(&self) -> libc::c_int {
        self.option
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What takes it back.
    fn undone(&self) -> Self {
        Self { bytes: vec![0; self.bytes.len()], ..*self }
    }

    fn word(&self, number: usize) -> u64 {
        let bytes = self.bytes.chunks_exact(4).nth(number).and_then(|word| word.try_into().ok());
        bytes.map_or(0, |word| u64::from(u32::from_ne_bytes(word)))
    }

    /// Bytes of the kernel's for it. A block is that many pages as is a power of two, whatever part
    /// of them is asked for; then there is an address a block, and a bit a frame.
    pub(super) fn size(&self, page: u64) -> u64 {
        let [block, blocks, _, frames] = [0, 1, 2, 3].map(|number| self.word(number));
        if blocks == 0 {
            return 0;
        }
        let block = block.max(page).next_power_of_two();
        let (addresses, bits) =
            ((blocks * 8).next_power_of_two(), (frames / 8).next_power_of_two());
        block.saturating_mul(blocks).saturating_add(addresses + bits)
    }

    pub(super) fn direction(&self) -> usize {
        usize::from(self.option == libc::PACKET_TX_RING)
    }
}

/// What an interface receives besides its own packets: all, or all that are to groups. The kernel keeps
/// that once for each socket, interface and address, of which there is none here: so it is bounded.
#[derive(Clone, Debug)]
pub(super) struct Capture {
    /// `PACKET_ADD_MEMBERSHIP` or `PACKET_DROP_MEMBERSHIP`.
    option: libc::c_int,
    interface: [u8; 4],
    kind: [u8; 2],
}

// linux/if_packet.h.
const PACKET_DROP_MEMBERSHIP: libc::c_int = 2;
/// Every packet, and every packet to a group.
const KINDS: [u16; 2] = [1, 2]; // PACKET_MR_PROMISC, PACKET_MR_ALLMULTI

impl Capture {
    /// Single addresses are refused: a socket may have any number of them, and nobody is charged.
    fn read(bytes: &[u8]) -> Result<Self, Errno> {
        let [a, b, c, d, kind @ ..] = bytes else { return Err(Errno::INVAL) };
        let Some(&kind) = kind.first_chunk() else { return Err(Errno::INVAL) };
        if !KINDS.contains(&u16::from_ne_bytes(kind)) {
            return Err(Errno::PERM);
        }
        Ok(Self { option: PACKET_ADD_MEMBERSHIP, interface: [*a, *b, *c, *d], kind })
    }

    fn undone(&self) -> Self {
        Self { option: PACKET_DROP_MEMBERSHIP, ..self.clone() }
    }

    pub(super) fn option(&self) -> libc::c_int {
        self.option
    }

    /// With an address of no bytes.
    pub(super) fn bytes(&self) -> [u8; SHORTEST] {
        let mut bytes = [0; SHORTEST];
        bytes[..4].copy_from_slice(&self.interface);
        bytes[4..6].copy_from_slice(&self.kind);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn request(words: [u32; 4]) -> Ring {
        let bytes = words.map(u32::to_ne_bytes).concat();
        match BrokerRequest::read(libc::PACKET_RX_RING, &bytes) {
            Ok(BrokerRequest::Ring(ring)) => ring,
            other => panic!("{other:?} is no ring"),
        }
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

    /// `struct packet_mreq`.
    fn capture(interface: u32, kind: u16, address: [u8; 8]) -> Result<BrokerRequest, Errno> {
        let kinds = [kind, 6].map(u16::to_ne_bytes).concat();
        BrokerRequest::read(1, &[&interface.to_ne_bytes()[..], &kinds, &address].concat())
    }

    #[test]
    fn who_captures_everything_is_kept_without_an_address() {
        for kind in [1, 2] {
            let Ok(BrokerRequest::Capture(asked)) = capture(7, kind, [9; 8]) else {
                panic!("kind {kind} is refused");
            };
            let mut expected = [0; 16];
            expected[..4].copy_from_slice(&7_u32.to_ne_bytes());
            expected[4..6].copy_from_slice(&kind.to_ne_bytes());
            assert_eq!((asked.option(), asked.bytes()), (1, expected));
            let undone = asked.undone();
            assert_eq!((undone.option(), undone.bytes()), (2, expected));
        }
    }

    #[test]
    fn single_addresses_are_nobodys_to_collect() {
        // PACKET_MR_MULTICAST, PACKET_MR_UNICAST, and what is none.
        for kind in [0, 3, 4, 257] {
            assert_eq!(capture(7, kind, [0; 8]).err(), Some(Errno::PERM), "kind {kind}");
        }
    }
}
