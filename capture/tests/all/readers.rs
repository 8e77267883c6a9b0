//! Files of ours, read by two libraries of other projects.

use std::io::Cursor;

use capture::pcapng::{self, Counts, Head, Interface};
use capture::section::Section;
use pcap_file::pcapng::PcapNgReader;
use pcap_file::pcapng::blocks::Block as Theirs;
use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Block, NameRecordType, OptionCode, PcapBlockOwned, PcapError, PcapNGReader};

use crate::numbers::Numbers;

const TIME: u64 = 1_795_891_133_123_456_789;

/// What a reader of any kind should find.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    interfaces: Vec<(String, u32)>,
    packets: Vec<(u32, u64, u32, Vec<u8>)>,
    /// By interface: received, all losses, those of the kernel, delivered.
    statistics: Vec<(u32, [u64; 4])>,
    names: Vec<String>,
}

fn interface(name: &str) -> Interface {
    Interface {
        link: capture::LINUX_SLL2,
        snaplen: 96,
        name: name.to_owned(),
        description: "node n1, container app, pod 0f".to_owned(),
        filter: "tcp port 80".to_owned(),
        addresses: vec!["10.0.0.7".parse().expect("IPv4"), "fd00::7".parse().expect("IPv6")],
    }
}

/// Three sources, one of which appears after packets; then `packets` of them; then what became of them.
fn file(packets: u64) -> (Vec<u8>, Found) {
    let (mut out, mut found, mut numbers) = (Vec::new(), Found::default(), Numbers(packets));
    let head = Head { application: "nsdebug".into(), system: "Linux".into(), comment: "x".into() };
    let mut section = Section::new(head);
    section.begin(&mut out);
    let names = [("10.0.0.7", "web.shop"), ("fd00::7", "web.shop"), ("10.96.0.1", "web.shop.svc")];
    let names = names.map(|(of, name)| (of.parse().expect("an address"), name.to_owned()));
    found.names = vec!["web.shop".into(), "web.shop.svc".into(), "web.shop".into()];
    section.name(names, &mut out);
    for number in 0..packets {
        if number % 5 == 0 && number < 15 {
            let name = format!("shop/web-{number}:any");
            let of = section.add(interface(&name), TIME, &mut out);
            assert_eq!(u64::from(of), number / 5);
            found.interfaces.push((name, 96));
        }
        let from = u32::try_from(number.min(10) / 5).expect("32 bits");
        let length = numbers.below(97);
        let data = numbers.bytes(length);
        pcapng::packet(&mut out, from, TIME + number, 1500, &data);
        found.packets.push((from, TIME + number, 1500, data));
    }
    for number in 0..u32::try_from(found.interfaces.len()).expect("32 bits") {
        let counts =
            Counts { received: packets, dropped_by_kernel: 3, dropped_by_us: 4, written: 5 };
        section.statistics(number, TIME + packets, &counts, &mut out);
        found.statistics.push((number, [packets, 7, 3, 5]));
    }
    (out, found)
}

fn by_pcap_file(file: &[u8]) -> Found {
    use pcap_file::pcapng::blocks::interface_statistics::InterfaceStatisticsOption as Statistic;
    use pcap_file::pcapng::blocks::name_resolution::Record;
    let mut found = Found::default();
    let mut reader = PcapNgReader::new(Cursor::new(file)).expect("a section");
    while let Some(block) = reader.next_block() {
        match block.expect("a block").0.into_owned() {
            Theirs::InterfaceDescription(block) => {
                let name = block.options.iter().find_map(|option| match option {
                    pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption::IfName(name) => {
                        Some(name.to_string())
                    }
                    _ => None,
                });
                found.interfaces.push((name.expect("a name"), block.snaplen));
            }
            Theirs::EnhancedPacket(block) => {
                let time = u64::try_from(block.timestamp.as_nanos()).expect("64 bits");
                found.packets.push((
                    block.interface_id,
                    time,
                    block.original_len,
                    block.data.to_vec(),
                ));
            }
            Theirs::InterfaceStatistics(block) => {
                let mut numbers = [0; 4];
                for option in &block.options {
                    match option {
                        Statistic::IsbIfRecv(number) => numbers[0] = *number,
                        Statistic::IsbIfDrop(number) => numbers[1] = *number,
                        Statistic::IsbOsDrop(number) => numbers[2] = *number,
                        Statistic::IsbUsrDeliv(number) => numbers[3] = *number,
                        _ => {}
                    }
                }
                found.statistics.push((block.interface_id, numbers));
            }
            Theirs::NameResolution(block) => {
                for record in &block.records {
                    let names = match record {
                        Record::Ipv4(record) => &record.names,
                        Record::Ipv6(record) => &record.names,
                        other => panic!("{other:?}"),
                    };
                    found.names.extend(names.iter().map(ToString::to_string));
                }
            }
            _ => {}
        }
    }
    found
}

fn by_pcap_parser(file: &[u8]) -> Found {
    let mut found = Found::default();
    let mut reader = PcapNGReader::new(1 << 16, Cursor::new(file)).expect("a section");
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                if let PcapBlockOwned::NG(block) = block {
                    note(&block, &mut found);
                }
                reader.consume(offset);
            }
            Err(PcapError::Eof) => return found,
            Err(PcapError::Incomplete(_)) => reader.refill().expect("more"),
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn note(block: &Block, found: &mut Found) {
    match block {
        Block::InterfaceDescription(block) => {
            let name = block.options.iter().find(|option| option.code == OptionCode(2));
            let name = name.map(|name| text(&name.value[..usize::from(name.len)]));
            found.interfaces.push((name.expect("a name"), block.snaplen));
        }
        Block::EnhancedPacket(block) => {
            let time = (u64::from(block.ts_high) << 32) | u64::from(block.ts_low);
            let data = block.packet_data().to_vec();
            found.packets.push((block.if_id, time, block.origlen, data));
        }
        Block::InterfaceStatistics(block) => {
            let number = |code| {
                let option = block.options.iter().find(|option| option.code == OptionCode(code));
                let value = option.and_then(|option| option.value.first_chunk::<8>());
                value.map_or(0, |bytes| u64::from_le_bytes(*bytes))
            };
            found.statistics.push((block.if_id, [4, 5, 7, 8].map(number)));
        }
        Block::NameResolution(block) => {
            for record in &block.nr {
                let address = if record.record_type == NameRecordType::Ipv4 { 4 } else { 16 };
                found.names.extend(record.record_value.get(address..).map(text));
            }
        }
        _ => {}
    }
}

/// Up to the zero that ends it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

#[test]
fn two_libraries_read_what_was_written() {
    for packets in [1, 5, 14, 300] {
        let (file, written) = file(packets);
        assert_eq!(by_pcap_file(&file), written, "pcap-file, {packets} packets");
        assert_eq!(by_pcap_parser(&file), written, "pcap-parser, {packets} packets");
    }
}

#[test]
fn a_file_that_follows_can_be_read_alone() {
    let mut section = Section::new(Head::default());
    let mut first = Vec::new();
    section.begin(&mut first);
    section.add(interface("shop/web-0:any"), TIME, &mut first);
    section.name([("10.0.0.7".parse().expect("IPv4"), "web.shop".to_owned())], &mut first);
    let mut second = Vec::new();
    section.begin(&mut second);
    pcapng::packet(&mut second, 0, TIME, 60, &[1; 60]);
    let found = by_pcap_file(&second);
    assert_eq!(found, by_pcap_parser(&second));
    assert_eq!(found.interfaces, [("shop/web-0:any".to_owned(), 96)]);
    assert_eq!((found.packets.len(), found.names.as_slice()), (1, &["web.shop".to_owned()][..]));
}
