//! Packet files of `capture`, as tcpdump, tshark and capinfos of Debian read them: whole, and while they grow.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use capture::pcapng::{self, Counts, Head, Interface};
use capture::section::Section;
use harness::{Requirement, Running, may_skip, run};
use tempfile::TempDir;

const TIME: u64 = 1_795_891_133_123_456_789;

/// An ARP request as `any` has it: `LINUX_SLL2`, then 28 bytes.
const ARP: [u8; 48] = [
    0x08, 0x06, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, // LINUX_SLL2
    0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 10, 0, 0, 8,
];

fn interface(name: &str) -> Interface {
    Interface {
        link: capture::LINUX_SLL2,
        snaplen: capture::SNAPLEN,
        name: name.to_owned(),
        description: "node n1, container app".to_owned(),
        filter: "arp".to_owned(),
        addresses: Vec::new(),
    }
}

/// A file of two sources, the second of which appears after a packet of the first; in the pieces in which it is
/// written.
fn pieces() -> Vec<Vec<u8>> {
    let mut section = Section::new(Head { application: "nsdebug".into(), ..Head::default() });
    let mut pieces = vec![Vec::new(), Vec::new(), Vec::new()];
    section.begin(&mut pieces[0]);
    let address: IpAddr = "10.0.0.7".parse().expect("an address");
    section.name([(address, "web-1.shop".to_owned())], &mut pieces[0]);
    let first = section.add(interface("shop/web-1:any"), TIME, &mut pieces[0]);
    pcapng::packet(&mut pieces[0], first, TIME, 48, &ARP);
    let second = section.add(interface("shop/web-2:any"), TIME, &mut pieces[1]);
    pcapng::packet(&mut pieces[1], second, TIME + 2, 48, &ARP);
    // Late: readers take it as it comes.
    pcapng::packet(&mut pieces[1], first, TIME + 1, 48, &ARP);
    let counts = Counts { received: 5, dropped_by_kernel: 3, dropped_by_us: 0, written: 2 };
    section.statistics(first, TIME + 9, &counts, &mut pieces[2]);
    section.statistics(second, TIME + 9, &counts, &mut pieces[2]);
    pcapng::packet(&mut pieces[2], second, TIME + 10, 48, &ARP);
    pieces
}

fn whole(scratch: &TempDir) -> PathBuf {
    let path = scratch.path().join("whole.pcapng");
    std::fs::write(&path, pieces().concat()).expect("the folder can be written");
    path
}

#[test]
fn tcpdump_reads_every_packet_of_every_source() {
    if may_skip(Requirement::program("tcpdump")) {
        return;
    }
    let scratch = TempDir::new().expect("a folder");
    let read = run(Command::new("tcpdump").args(["-nnr"]).arg(whole(&scratch))).expect_success();
    assert_eq!(
        read.out().matches("ARP, Request who-has 10.0.0.8 tell 10.0.0.7").count(),
        4,
        "{read}"
    );
    assert!(read.err().contains("link-type LINUX_SLL2"), "{read}");
}

#[test]
fn tshark_shows_the_name_of_each_packets_source_and_those_of_addresses() {
    if may_skip(Requirement::program("tshark")) {
        return;
    }
    let scratch = TempDir::new().expect("a folder");
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(whole(&scratch)).args(["-T", "fields", "-e", "frame.interface_name"]);
    tshark.args(["-e", "frame.time_epoch", "-e", "_ws.col.Info"]);
    let read = run(tshark.args(["-N", "n"])).expect_success();
    let lines: Vec<_> = read.out().lines().map(str::to_owned).collect();
    let expected = [("web-1", 789), ("web-2", 791), ("web-1", 790), ("web-2", 799)];
    assert_eq!(lines.len(), expected.len(), "{read}");
    for (line, (pod, nanoseconds)) in lines.iter().zip(expected) {
        let start = format!("shop/{pod}:any\t1795891133.123456{nanoseconds}\t");
        assert!(line.starts_with(&start), "{read}");
    }
}

#[test]
fn capinfos_knows_the_sources_and_their_counts() {
    if may_skip(Requirement::program("capinfos")) {
        return;
    }
    let scratch = TempDir::new().expect("a folder");
    let read = run(Command::new("capinfos").arg(whole(&scratch))).expect_success();
    let lines = read.out();
    for line in [
        "Number of packets:   4",
        "Number of interfaces in file: 2",
        "Name = shop/web-1:any",
        "Name = shop/web-2:any",
        "Description = node n1, container app",
        "Encapsulation = Linux cooked-mode capture v2 (210 - linux-sll2)",
        "Filter string = arp",
        "Number of stat entries = 1",
        "Number of packets = 2",
    ] {
        assert!(lines.contains(line), "no {line:?}: {read}");
    }
}

/// Gives `reader` a piece, and waits until its packets are shown, before the next.
fn grows(reader: &mut Command, shown: [&str; 3]) {
    let mut reading = Running::start(reader);
    for (piece, shown) in pieces().into_iter().zip(shown) {
        assert!(reading.write(&piece), "it reads no further");
        reading.wait_for_stdout(shown);
    }
    reading.finish().expect_success();
}

#[test]
fn a_file_that_grows_is_shown_packet_by_packet() {
    let programs = ["tcpdump", "tshark"].map(Requirement::program);
    if may_skip(Requirement::all(programs)) {
        return;
    }
    let tcpdump_shows = ["53.123456789", "53.123456790", "53.123456799"];
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.env("TZ", "UTC").args(["-nnl", "--time-stamp-precision=nano", "-r", "-"]);
    grows(&mut tcpdump, tcpdump_shows);
    // As Wireshark does: dumpcap takes the packets from the pipe.
    let mut tshark = Command::new("tshark");
    tshark.args(["-l", "-i", "-", "-T", "fields", "-e", "frame.time_epoch"]);
    grows(&mut tshark, ["3.123456789", "3.123456790", "3.123456799"]);
}
