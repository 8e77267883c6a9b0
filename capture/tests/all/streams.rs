//! The classic stream of a source that may be hostile.

use bytes::Bytes;
use capture::pcap::{BadStream, Expected, Packet, Reader};

use crate::numbers::Numbers;

const EXPECTED: Expected = Expected { link: 276, snaplen: 96 };
const NANO: u32 = 0xa1b2_3c4d;
const MICRO: u32 = 0xa1b2_c3d4;

/// How a stream is written.
#[derive(Clone, Copy, Debug)]
struct Style {
    magic: u32,
    big: bool,
}

impl Style {
    fn words<const N: usize>(self, words: [u32; N]) -> Vec<u8> {
        let bytes = |word: u32| if self.big { word.to_be_bytes() } else { word.to_le_bytes() };
        words.into_iter().flat_map(bytes).collect()
    }

    fn head(self) -> Vec<u8> {
        let version = if self.big { 0x0002_0004 } else { 0x0004_0002 };
        self.words([self.magic, version, 0, 0, EXPECTED.snaplen, u32::from(EXPECTED.link)])
    }

    fn packet(self, packet: &Packet) -> Vec<u8> {
        let part = if self.magic == NANO { 1 } else { 1000 };
        let [seconds, parts] = [packet.time / 1_000_000_000, packet.time % 1_000_000_000 / part]
            .map(|number| u32::try_from(number).expect("32 bits"));
        let kept = u32::try_from(packet.data.len()).expect("32 bits");
        let mut bytes = self.words([seconds, parts, kept, packet.length]);
        bytes.extend_from_slice(&packet.data);
        bytes
    }
}

const USUAL: Style = Style { magic: NANO, big: false };

fn packets(numbers: &mut Numbers) -> Vec<Packet> {
    let packet = |_| {
        let kept = numbers.below(EXPECTED.snaplen as usize + 1);
        let time = numbers.next() % (u64::from(u32::MAX) * 1_000_000_000) / 1000 * 1000;
        let length = u32::try_from(kept + numbers.below(2000)).expect("32 bits");
        Packet { time, length, data: numbers.bytes(kept).into() }
    };
    (0..20).map(packet).collect()
}

/// What a reader makes of `stream` in pieces of these lengths.
fn read(stream: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<Packet>, Result<(), BadStream>) {
    let (mut reader, mut packets) = (Reader::new(EXPECTED), Vec::new());
    let mut rest = stream;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(piece().min(rest.len()));
        rest = after;
        reader.add(Bytes::copy_from_slice(piece));
        loop {
            match reader.packet() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(bad) => return (packets, Err(bad)),
            }
        }
    }
    (packets, reader.finish())
}

fn refused(stream: &[u8]) -> BadStream {
    read(stream, || usize::MAX).1.expect_err("a bad stream")
}

#[test]
fn packets_are_read_as_they_were_written_wherever_the_stream_is_cut_into_pieces() {
    for seed in 0..200 {
        let mut numbers = Numbers(seed);
        let magic = if seed % 2 == 0 { NANO } else { MICRO };
        let style = Style { magic, big: seed % 3 == 0 };
        let packets = packets(&mut numbers);
        let mut stream = style.head();
        for packet in &packets {
            stream.extend(style.packet(packet));
        }
        let most = 1 + numbers.below(200);
        let got = read(&stream, || 1 + numbers.below(most));
        assert_eq!(got, (packets, Ok(())), "seed {seed}, {style:?}");
    }
}

#[test]
fn a_stream_that_is_cut_gives_its_whole_packets_and_says_so() {
    let packets = packets(&mut Numbers(7));
    let mut stream = USUAL.head();
    for packet in &packets {
        stream.extend(USUAL.packet(packet));
    }
    let mut ends = vec![0, 24];
    for packet in &packets {
        ends.push(ends[ends.len() - 1] + 16 + packet.data.len());
    }
    for end in 0..stream.len() {
        let (got, finished) = read(&stream[..end], || 1000);
        let whole = ends.iter().filter(|&&at| at > 24 && at <= end).count();
        assert_eq!(got, packets[..whole], "cut at {end}");
        let is_between = ends.contains(&end);
        assert_eq!(finished, if is_between { Ok(()) } else { Err(BadStream::Cut) }, "at {end}");
    }
}

#[test]
fn what_is_not_the_stream_that_was_asked_for_is_refused() {
    let mut other = USUAL.head();
    other[20] = 1;
    assert_eq!(refused(&other).to_string(), {
        "its packets have the link type 257, and 276 is expected"
    });
    let mut old = USUAL.head();
    old[4] = 1;
    assert_eq!(refused(&old), BadStream::Version(1, 4));
    assert_eq!(refused(b"tcpdump: any: no such device\n"), BadStream::Magic(0x6470_6374));
    // A pcapng file.
    assert_eq!(refused(&[0x0a, 0x0d, 0x0d, 0x0a].repeat(6)), BadStream::Magic(0x0a0d_0d0a));
}

#[test]
fn a_packet_that_cannot_be_is_refused_before_its_bytes_are_waited_for() {
    for (head, why) in [
        ([0, 0, 97, 97], BadStream::TooLong { got: 97, snaplen: 96 }),
        ([0, 0, u32::MAX, u32::MAX], BadStream::TooLong { got: u32::MAX, snaplen: 96 }),
        ([0, 0, 60, 59], BadStream::LongerThanItself { got: 60, length: 59 }),
        ([0, 1_000_000_000, 60, 60], BadStream::Time(1_000_000_000)),
    ] {
        let mut stream = USUAL.head();
        stream.extend(USUAL.words(head));
        assert_eq!(refused(&stream), why);
    }
}

#[test]
fn random_bytes_neither_end_the_program_nor_make_packets_longer_than_the_snapshot() {
    for seed in 0..2_000 {
        let mut numbers = Numbers(seed);
        let mut stream = if seed % 4 == 0 { Vec::new() } else { USUAL.head() };
        let length = numbers.below(4096);
        stream.extend(numbers.bytes(length));
        // A valid stream with a few bytes changed goes further.
        if seed % 2 == 0 {
            for packet in packets(&mut numbers) {
                stream.extend(USUAL.packet(&packet));
            }
            for _ in 0..=numbers.below(4) {
                let (at, bit) = (numbers.below(stream.len()), numbers.below(8));
                stream[at] ^= 1 << bit;
            }
        }
        let length = stream.len();
        let (got, _) = read(&stream, || 1 + numbers.below(300));
        let bytes: usize = got.iter().map(|packet| 16 + packet.data.len()).sum();
        assert!(bytes <= length, "seed {seed}: more than came");
        for Packet { length, data, .. } in got {
            assert!(data.len() <= EXPECTED.snaplen as usize && data.len() <= length as usize);
        }
    }
}
