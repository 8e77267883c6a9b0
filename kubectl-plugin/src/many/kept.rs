//! What a pod said, kept until all pods have answered: a bounded part of it, and a mark of all.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use bytes::Bytes;

use crate::stdio::{Piece, Sink};

/// Bytes that are kept of one pod.
pub(crate) const KEPT: usize = 128 << 10;

/// Bytes of a session's streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
}

/// The beginning of what was said, in its order. How it was cut into pieces does not matter.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    /// Which stream has how many of the bytes: never the same one twice in a row.
    runs: Vec<(Sink, u32)>,
}

impl Kept {
    /// Keeps what of `piece` still has room, and returns the rest.
    pub(crate) fn add(&mut self, piece: Piece) -> Option<Piece> {
        let Piece { to, mut bytes } = piece;
        let fits = bytes.split_to(bytes.len().min(KEPT - self.bytes.len()));
        self.bytes.extend_from_slice(&fits);
        // It is never longer than what is kept.
        let length = u32::try_from(fits.len()).unwrap_or(u32::MAX);
        match self.runs.last_mut() {
            Some((last, run)) if *last == to => *run += length,
            _ if length > 0 => self.runs.push((to, length)),
            _ => {}
        }
        (!bytes.is_empty()).then_some(Piece { to, bytes })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// All that was said to one stream.
    pub(crate) fn of(&self, stream: Sink) -> Vec<u8> {
        let mut at = 0;
        let mut of_it = Vec::new();
        for (to, length) in &self.runs {
            let end = at + *length as usize;
            if *to == stream {
                of_it.extend_from_slice(&self.bytes[at..end]);
            }
            at = end;
        }
        of_it
    }

    /// In the order in which it was said.
    pub(crate) fn into_pieces(self) -> impl Iterator<Item = Piece> {
        let mut bytes = Bytes::from(self.bytes);
        let cut = move |(to, length): (Sink, u32)| {
            let bytes = bytes.split_to(length as usize);
            Piece { to, bytes }
        };
        self.runs.into_iter().map(cut)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(to: Sink, bytes: &[u8]) -> Piece {
        Piece { to, bytes: bytes.to_vec().into() }
    }

    #[test]
    fn what_is_kept_does_not_depend_on_how_it_was_cut() {
        let said = vec![b'x'; KEPT + 5000];
        for size in [1, 1000, KEPT - 1, KEPT, said.len()] {
            let mut kept = Kept::default();
            let rest = said.chunks(size).filter_map(|bytes| kept.add(piece(Sink::Stdout, bytes)));
            assert_eq!(rest.map(|rest| rest.bytes.len()).sum::<usize>(), 5000, "cut at {size}");
            assert_eq!((kept.bytes(), kept.runs.len()), (KEPT as u64, 1), "cut at {size}");
        }
    }

    #[test]
    fn streams_are_told_apart_and_stay_in_order() {
        let said =
            [(Sink::Stdout, "a"), (Sink::Stdout, "b"), (Sink::Stderr, "c"), (Sink::Stdout, "d")];
        let mut kept = Kept::default();
        for (to, text) in said {
            assert_eq!(kept.add(piece(to, text.as_bytes())), None);
        }
        assert_eq!(
            (kept.of(Sink::Stdout), kept.of(Sink::Stderr)),
            (b"abd".to_vec(), b"c".to_vec())
        );
        let pieces: Vec<_> = kept.into_pieces().collect();
        let expected = [(Sink::Stdout, "ab"), (Sink::Stderr, "c"), (Sink::Stdout, "d")];
        assert_eq!(pieces, expected.map(|(to, text)| piece(to, text.as_bytes())));
    }
}
