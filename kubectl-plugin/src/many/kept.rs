//! What a pod said, kept until all pods have answered: a bounded part of it, and a mark of all.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use crate::stdio::{Piece, Sink};

/// Bytes that are kept of one pod.
pub(crate) const KEPT: usize = 128 << 10;

/// Bytes of a session's streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
}

/// Pieces of output in their order.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) pieces: Vec<Piece>,
    bytes: usize,
    is_full: bool,
}

impl Kept {
    /// Whether `piece` still has room; one that has none is not kept, and none after it.
    pub(crate) fn add(&mut self, piece: &Piece) -> bool {
        let fits = !self.is_full && self.bytes + piece.bytes.len() <= KEPT;
        self.is_full |= !fits;
        if fits {
            self.bytes += piece.bytes.len();
            // Of its own, for a piece may be a small part of a large message.
            let bytes = piece.bytes.to_vec().into();
            self.pieces.push(Piece { to: piece.to, bytes });
        }
        fits
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// All that was said to one stream.
    pub(crate) fn of(&self, stream: Sink) -> Vec<u8> {
        let of_it = self.pieces.iter().filter(|piece| piece.to == stream);
        of_it.flat_map(|piece| piece.bytes.iter().copied()).collect()
    }
}

/// What two pods are told apart by that said more than is kept: a number of all bytes of each stream.
#[derive(Debug)]
pub(crate) struct Rest {
    hashers: [<RandomState as BuildHasher>::Hasher; 2],
    pub(crate) bytes: u64,
}

impl Rest {
    /// Pods whose marks are compared have one `state`, which no pod can know.
    pub(crate) fn of(state: &RandomState) -> Self {
        Self { hashers: [state.build_hasher(), state.build_hasher()], bytes: 0 }
    }

    pub(crate) fn add(&mut self, piece: &Piece) {
        self.bytes += piece.bytes.len() as u64;
        self.hashers[usize::from(piece.to == Sink::Stderr)].write(&piece.bytes);
    }

    pub(crate) fn mark(&self) -> [u64; 2] {
        [self.hashers[0].finish(), self.hashers[1].finish()]
    }
}
