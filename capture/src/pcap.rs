//! The classic pcap stream that tcpdump writes, read piece by piece as it arrives.
//!
//! Who sends it may be hostile: nothing is kept but one packet that is not yet whole, whose length is checked
//! before a byte of it is kept. A stream that breaks a rule is over; it is not searched for the next packet.

use bytes::{Bytes, BytesMut};

/// Bytes before the first packet, and before each.
const FILE_HEAD: usize = 24;
const PACKET_HEAD: usize = 16;

/// The version of the format that every program has written since 1998.
const VERSION: (u16, u16) = (2, 4);

const BILLION: u32 = 1_000_000_000;

/// What every packet of a stream must be like, as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub link: u16,
    /// Bytes that a packet has at most.
    pub snaplen: u32,
}

/// One packet, as the kernel gave it to tcpdump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Nanoseconds since 1970 by the clock of its node.
    pub time: u64,
    /// Bytes that it had on the wire; `data` may be its beginning only.
    pub length: u32,
    pub data: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadStream {
    #[error("it does not begin as a pcap file: its first bytes are {0:#010x}")]
    Magic(u32),
    #[error("it has version {0}.{1} of pcap, and 2.4 is expected")]
    Version(u16, u16),
    #[error("its packets have the link type {got}, and {expected} is expected")]
    Link { got: u32, expected: u16 },
    #[error("a packet of {got} bytes is longer than the {snaplen} that were asked for")]
    TooLong { got: u32, snaplen: u32 },
    #[error("of a packet of {length} bytes {got} are said to follow")]
    LongerThanItself { got: u32, length: u32 },
    #[error("a packet's time has {0} parts of a second, which is more than one second")]
    Time(u32),
    #[error("it ends in the middle of a packet")]
    Cut,
}

/// How numbers and times of a stream are written, once its beginning has been read.
#[derive(Clone, Copy, Debug)]
struct Format {
    big_endian: bool,
    /// Nanoseconds that a part of a second has: 1 or 1000.
    part: u32,
}

/// Reads one stream. Give it a piece, then take packets until there is none.
#[derive(Debug)]
pub struct Reader {
    expected: Expected,
    format: Option<Format>,
    /// What has come and is not read yet.
    piece: Bytes,
    /// The beginning of a head or packet whose rest has not come yet.
    partial: BytesMut,
}

impl Reader {
    #[must_use]
    pub fn new(expected: Expected) -> Self {
        Self { expected, format: None, piece: Bytes::new(), partial: BytesMut::new() }
    }

    /// Adds what came next. Without a copy where all packets have been taken, as they should have been.
    pub fn add(&mut self, piece: Bytes) {
        if self.piece.is_empty() {
            self.piece = piece;
        } else {
            let mut both = BytesMut::from(&self.piece[..]);
            both.extend_from_slice(&piece);
            self.piece = both.freeze();
        }
    }

    /// The next packet, if all of it has come. After an error there is nothing more to be asked.
    pub fn packet(&mut self) -> Result<Option<Packet>, BadStream> {
        let expected = self.expected;
        let format = match self.format {
            Some(format) => format,
            None => match self.peek(FILE_HEAD) {
                None => return Ok(None),
                Some(head) => {
                    let format = judge_file(head, expected)?;
                    self.take(FILE_HEAD);
                    *self.format.insert(format)
                }
            },
        };
        let Some(head) = self.peek(PACKET_HEAD) else { return Ok(None) };
        let PacketHead { time, kept, length } = judge_packet(head, format, expected)?;
        let whole = PACKET_HEAD + kept as usize;
        if self.peek(whole).is_none() {
            return Ok(None);
        }
        let data = self.take(whole).slice(PACKET_HEAD..);
        Ok(Some(Packet { time, length, data }))
    }

    /// Whether the stream may end here.
    pub fn finish(&self) -> Result<(), BadStream> {
        let is_between = self.piece.is_empty() && self.partial.is_empty();
        if is_between { Ok(()) } else { Err(BadStream::Cut) }
    }

    /// The next `length` bytes, if so many have come. What is there of fewer is kept for the next piece.
    fn peek(&mut self, length: usize) -> Option<&[u8]> {
        if self.partial.is_empty() && self.piece.len() >= length {
            return Some(&self.piece[..length]);
        }
        let missing = length.saturating_sub(self.partial.len()).min(self.piece.len());
        self.partial.extend_from_slice(&self.piece.split_to(missing));
        (self.partial.len() >= length).then(|| &self.partial[..length])
    }

    /// Removes and gives what [`peek`](Self::peek) has shown.
    fn take(&mut self, length: usize) -> Bytes {
        if self.partial.is_empty() {
            self.piece.split_to(length)
        } else {
            self.partial.split_to(length).freeze()
        }
    }
}

impl Format {
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let four = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }

    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let two = [bytes[at], bytes[at + 1]];
        if self.big_endian { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) }
    }
}

fn judge_file(head: &[u8], expected: Expected) -> Result<Format, BadStream> {
    let little = Format { big_endian: false, part: 1 };
    let format = match little.u32(head, 0) {
        0xa1b2_3c4d => little,
        0xa1b2_c3d4 => Format { part: 1000, ..little },
        0x4d3c_b2a1 => Format { big_endian: true, ..little },
        0xd4c3_b2a1 => Format { big_endian: true, part: 1000 },
        other => return Err(BadStream::Magic(other)),
    };
    let version = (format.u16(head, 4), format.u16(head, 6));
    if version != VERSION {
        return Err(BadStream::Version(version.0, version.1));
    }
    match format.u32(head, 20) {
        link if link == u32::from(expected.link) => Ok(format),
        got => Err(BadStream::Link { got, expected: expected.link }),
    }
}

struct PacketHead {
    time: u64,
    kept: u32,
    length: u32,
}

fn judge_packet(
    head: &[u8],
    format: Format,
    Expected { snaplen, .. }: Expected,
) -> Result<PacketHead, BadStream> {
    let [seconds, parts, kept, length] = [0, 4, 8, 12].map(|at| format.u32(head, at));
    if parts >= BILLION / format.part {
        return Err(BadStream::Time(parts));
    }
    if kept > snaplen {
        return Err(BadStream::TooLong { got: kept, snaplen });
    }
    if kept > length {
        return Err(BadStream::LongerThanItself { got: kept, length });
    }
    let time = u64::from(seconds) * u64::from(BILLION) + u64::from(parts) * u64::from(format.part);
    Ok(PacketHead { time, kept, length })
}
