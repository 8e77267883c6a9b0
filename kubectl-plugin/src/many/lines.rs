//! Bytes as lines: whole ones, of a bounded length, and what is left of the last.
//!
//! No byte is lost or changed: the texts, with a newline after each whole one, are the bytes again.

/// Bytes of the longest line. A longer one is split, so that a pod cannot take more memory than this for each stream.
pub(crate) const LONGEST: usize = 64 << 10;

/// How a part of the output ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineEnd {
    /// With a newline, which is not in the text.
    Newline,
    /// It goes on: the line is too long, or was shown before it ended.
    GoesOn,
    /// The output ended without a newline.
    EndOfOutput,
}

/// The beginning of a line that has not ended.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Gives each line that ends in `bytes` to `take`, and keeps the rest.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8], LineEnd)) {
        while let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
            self.push(&bytes[..at], &mut take);
            take(&self.partial, LineEnd::Newline);
            self.partial.clear();
            bytes = &bytes[at + 1..];
        }
        self.push(bytes, &mut take);
    }

    /// Keeps `bytes`, which have no newline, and gives away what is too long to be kept.
    fn push(&mut self, mut bytes: &[u8], take: &mut impl FnMut(&[u8], LineEnd)) {
        while self.partial.len() + bytes.len() > LONGEST {
            let (fits, rest) = bytes.split_at(LONGEST - self.partial.len());
            self.partial.extend_from_slice(fits);
            take(&self.partial, LineEnd::GoesOn);
            self.partial.clear();
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
    }

    /// Gives away what is there of a line, whose rest comes later.
    pub(crate) fn so_far(&mut self, take: impl FnOnce(&[u8], LineEnd)) {
        if !self.partial.is_empty() {
            take(&self.partial, LineEnd::GoesOn);
            self.partial.clear();
        }
    }

    /// Gives away what came after the last newline.
    pub(crate) fn end(self, take: impl FnOnce(&[u8], LineEnd)) {
        if !self.partial.is_empty() {
            take(&self.partial, LineEnd::EndOfOutput);
        }
    }

    pub(crate) fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `pieces`, and the longest.
    fn split(pieces: &[&[u8]]) -> Vec<(Vec<u8>, LineEnd)> {
        let mut split = Vec::new();
        let mut lines = Lines::default();
        for piece in pieces {
            lines.feed(piece, |text, end| split.push((text.to_vec(), end)));
        }
        lines.end(|text, end| split.push((text.to_vec(), end)));
        split
    }

    fn joined(lines: &[(Vec<u8>, LineEnd)]) -> Vec<u8> {
        let with_end = |(text, end): &(Vec<u8>, LineEnd)| {
            let newline: &[u8] = if *end == LineEnd::Newline { b"\n" } else { b"" };
            [text, newline].concat()
        };
        lines.iter().flat_map(with_end).collect()
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_come() {
        let text = b"one\n\ntwo\xff\0\nthree";
        let whole = split(&[text]);
        for size in 1..=text.len() {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(split(&pieces), whole, "pieces of {size}");
        }
        let ends: Vec<_> = whole.iter().map(|(_, end)| *end).collect();
        assert_eq!(ends[..3], [LineEnd::Newline; 3]);
        assert_eq!((whole[3].clone(), whole.len()), ((b"three".to_vec(), LineEnd::EndOfOutput), 4));
        assert_eq!(joined(&whole), text);
    }

    #[test]
    fn a_line_that_is_too_long_is_split_and_loses_nothing() {
        let long = [vec![b'x'; 3 * LONGEST + 5], b"\nshort\n".to_vec()].concat();
        for size in [1000, LONGEST - 1, LONGEST, LONGEST + 1, long.len()] {
            let pieces: Vec<&[u8]> = long.chunks(size).collect();
            let lines = split(&pieces);
            assert!(lines.iter().all(|(text, _)| text.len() <= LONGEST), "pieces of {size}");
            assert_eq!((joined(&lines), lines.len()), (long.clone(), 5), "pieces of {size}");
        }
        let fits = [vec![b'x'; LONGEST], b"\n".to_vec()].concat();
        assert_eq!(split(&[&fits]).len(), 1);
    }

    #[test]
    fn what_is_shown_early_is_not_shown_again() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        lines.feed(b"Passw", |text, end| seen.push((text.to_vec(), end)));
        assert!(lines.has_partial());
        lines.so_far(|text, end| seen.push((text.to_vec(), end)));
        assert!(!lines.has_partial());
        lines.feed(b"ord:\n", |text, end| seen.push((text.to_vec(), end)));
        let words = [(b"Passw".to_vec(), LineEnd::GoesOn), (b"ord:".to_vec(), LineEnd::Newline)];
        assert_eq!(seen, words);
    }
}
