//! The five blocks of pcapng that a capture is made of, as draft-ietf-opsawg-pcapng has them: section, interface,
//! packet, statistics, names. Appended to a buffer of the caller, which keeps it: a packet costs no allocation.
//!
//! Little-endian, as every system that nsdebug is built for. What belongs in a file, and when, is in `section`.

use std::net::IpAddr;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const NAMES: u32 = 4;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

/// What tells a reader the byte order of a section.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// A section whose length is not said: it goes on to the end of the file.
const NO_LENGTH: u64 = u64::MAX;

/// Options of any block.
const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;

/// `if_tsresol`: timestamps count 10^-9 s.
const NANOSECONDS: u8 = 9;

/// `if_filter`: the filter is text for libpcap.
const FILTER_TEXT: u8 = 0;

/// Bytes of a text that are written: an option's length has 16 bits, and nobody reads a longer line.
const LONGEST_TEXT: usize = 8 << 10;

/// What begins a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// `shb_userappl`: the program that wrote it.
    pub application: String,
    /// `shb_os`: where that program ran.
    pub system: String,
    /// How the capture was asked for.
    pub comment: String,
}

/// Where packets come from: one link type and one snapshot length in a file, or libpcap does not read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub link: u16,
    pub snaplen: u32,
    pub name: String,
    pub description: String,
    /// What the kernel was told to select; empty where everything is.
    pub filter: String,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
}

/// What became of an interface's packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that the filter selected.
    pub received: u64,
    /// Of them, those that the kernel had no room for.
    pub dropped_by_kernel: u64,
    /// Of them, those that arrived here and are in no file.
    pub dropped_by_us: u64,
    pub written: u64,
}

/// Appends the block that begins a file.
pub fn section(out: &mut Vec<u8>, head: &Head) {
    block(out, SECTION, |out| {
        out.extend(BYTE_ORDER.to_le_bytes());
        out.extend(1u16.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        out.extend(NO_LENGTH.to_le_bytes());
        text(out, 3, &head.system);
        text(out, 4, &head.application);
        text(out, COMMENT, &head.comment);
        end_of_options(out);
    });
}

/// Appends the next interface. The first has the number 0.
pub fn interface(out: &mut Vec<u8>, interface: &Interface) {
    block(out, INTERFACE, |out| {
        out.extend(interface.link.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        out.extend(interface.snaplen.to_le_bytes());
        text(out, 2, &interface.name);
        text(out, 3, &interface.description);
        for address in &interface.addresses {
            match address {
                IpAddr::V4(address) => option(out, 4, &[&address.octets(), &[255; 4]]),
                IpAddr::V6(address) => option(out, 5, &[&address.octets(), &[128]]),
            }
        }
        option(out, 9, &[&[NANOSECONDS]]);
        if !interface.filter.is_empty() {
            option(out, 11, &[&[FILTER_TEXT], cut(&interface.filter).as_bytes()]);
        }
        end_of_options(out);
    });
}

/// Appends a packet of interface `from`, taken at `time` (nanoseconds since 1970), that had `length` bytes.
pub fn packet(out: &mut Vec<u8>, from: u32, time: u64, length: u32, data: &[u8]) {
    block(out, PACKET, |out| {
        out.extend(from.to_le_bytes());
        time_stamp(out, time);
        out.extend(length_of(data).to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend_from_slice(data);
        pad(out, data.len());
    });
}

/// Appends what is known of interface `from` at `time`, since `start`.
///
/// `isb_ifdrop` has all losses, as dumpcap writes it, because Wireshark shows that one. `isb_osdrop` has the
/// kernel's share.
pub fn statistics(out: &mut Vec<u8>, from: u32, start: u64, time: u64, counts: &Counts) {
    block(out, STATISTICS, |out| {
        out.extend(from.to_le_bytes());
        time_stamp(out, time);
        for (code, at) in [(2, start), (3, time)] {
            let [high, low] = halves(at);
            option(out, code, &[&high.to_le_bytes(), &low.to_le_bytes()]);
        }
        let lost = counts.dropped_by_kernel.saturating_add(counts.dropped_by_us);
        let numbers = [
            (4, counts.received),
            (5, lost),
            (6, counts.received),
            (7, counts.dropped_by_kernel),
            (8, counts.written),
        ];
        for (code, number) in numbers {
            option(out, code, &[&number.to_le_bytes()]);
        }
        end_of_options(out);
    });
}

/// Appends names of addresses.
pub fn names<'a>(out: &mut Vec<u8>, records: impl IntoIterator<Item = (IpAddr, &'a str)>) {
    const END: u16 = 0;
    block(out, NAMES, |out| {
        for (address, name) in records {
            let name = cut(name).as_bytes();
            match address {
                IpAddr::V4(address) => option(out, 1, &[&address.octets(), name, &[0]]),
                IpAddr::V6(address) => option(out, 2, &[&address.octets(), name, &[0]]),
            }
        }
        option(out, END, &[]);
    });
}

/// A block of this type round what `body` appends: its length before and after.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let length = length_of(&out[start..]) + 4;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out.extend(length.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.extend(code.to_le_bytes());
    // Every text is cut long before this.
    out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    pad(out, length);
}

fn text(out: &mut Vec<u8>, code: u16, text: &str) {
    if !text.is_empty() {
        option(out, code, &[cut(text).as_bytes()]);
    }
}

fn end_of_options(out: &mut Vec<u8>) {
    option(out, END_OF_OPTIONS, &[]);
}

fn time_stamp(out: &mut Vec<u8>, time: u64) {
    for half in halves(time) {
        out.extend(half.to_le_bytes());
    }
}

/// The upper half of a time, and the lower one.
fn halves(time: u64) -> [u32; 2] {
    let low = u32::try_from(time & u64::from(u32::MAX)).unwrap_or_default();
    [u32::try_from(time >> 32).unwrap_or_default(), low]
}

/// Zeros up to the next multiple of four, after `length` bytes.
fn pad(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&[0; 3][..length.next_multiple_of(4) - length]);
}

/// The beginning of `text` that is written, without the zeros that would end it for a reader.
fn cut(text: &str) -> &str {
    let text = text.split('\0').next().unwrap_or_default();
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The caller's packets and texts are bounded far below 4 GiB.
fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        let byte = |(at, byte): (usize, &u8)| {
            let space = if at > 0 && at % 4 == 0 { " " } else { "" };
            format!("{space}{byte:02x}")
        };
        bytes.iter().enumerate().map(byte).collect::<Vec<_>>().concat()
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        hex(&out)
    }

    #[test]
    fn a_section_has_no_length_and_says_who_wrote_it() {
        let head = Head { application: "a".into(), system: "os".into(), comment: "why".into() };
        assert_eq!(
            written(|out| section(out, &head)),
            "0a0d0d0a 38000000 4d3c2b1a 01000000 ffffffff ffffffff \
             03000200 6f730000 04000100 61000000 01000300 77687900 00000000 38000000"
        );
    }

    #[test]
    fn an_interface_has_its_name_addresses_resolution_and_filter() {
        let of = Interface {
            link: 276,
            snaplen: 96,
            name: "a/b:any".into(),
            description: String::new(),
            filter: "tcp".into(),
            addresses: vec!["10.0.0.1".parse().expect("an address")],
        };
        assert_eq!(
            written(|out| interface(out, &of)),
            "01000000 40000000 14010000 60000000 02000700 612f623a 616e7900 \
             04000800 0a000001 ffffffff 09000100 09000000 0b000400 00746370 00000000 40000000"
        );
    }

    #[test]
    fn a_packet_has_its_time_in_two_halves_and_is_padded() {
        assert_eq!(
            written(|out| packet(out, 2, 0x1_0000_0002, 60, &[1, 2, 3, 4, 5])),
            "06000000 28000000 02000000 01000000 02000000 05000000 3c000000 01020304 05000000 28000000"
        );
    }

    #[test]
    fn statistics_have_what_was_received_lost_and_written() {
        let counts = Counts { received: 9, dropped_by_kernel: 3, dropped_by_us: 1, written: 5 };
        assert_eq!(
            written(|out| statistics(out, 1, 7, 8, &counts)),
            "05000000 70000000 01000000 00000000 08000000 \
             02000800 00000000 07000000 03000800 00000000 08000000 \
             04000800 09000000 00000000 05000800 04000000 00000000 06000800 09000000 00000000 \
             07000800 03000000 00000000 08000800 05000000 00000000 00000000 70000000"
        );
    }

    #[test]
    fn losses_past_every_number_are_no_overflow() {
        let counts = Counts { dropped_by_kernel: u64::MAX, dropped_by_us: 1, ..Counts::default() };
        let said = written(|out| statistics(out, 1, 7, 8, &counts));
        assert!(said.contains("05000800 ffffffff ffffffff"), "{said}");
    }

    #[test]
    fn names_end_with_a_zero_and_a_record_of_the_end() {
        let records = [("10.0.0.1".parse().expect("an address"), "web.shop")];
        assert_eq!(
            written(|out| names(out, records)),
            "04000000 24000000 01000d00 0a000001 7765622e 73686f70 00000000 00000000 24000000"
        );
    }

    #[test]
    fn a_text_is_cut_between_characters_and_before_a_zero() {
        let long = "é".repeat(LONGEST_TEXT);
        assert_eq!(cut(&long).len(), LONGEST_TEXT);
        let odd = format!("x{long}");
        assert_eq!(cut(&odd).len(), LONGEST_TEXT - 1);
        assert_eq!(cut("a\0b"), "a");
    }
}
