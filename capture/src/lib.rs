//! Packets of many sources in one file: what tcpdump writes is read (`pcap`), brought into the order of time
//! (`merge`), and written as pcapng (`pcapng`, `section`), in as many files as are asked for (`rotation`).
//!
//! Pure: bytes in, bytes out, and the time is told from outside. Nothing here reads, writes or waits.

pub mod merge;
pub mod pcap;
pub mod pcapng;
pub mod rotation;
pub mod section;

/// `LINUX_SLL2`: what the interface `any` has, with the index of the real interface in each packet.
pub const LINUX_SLL2: u16 = 276;

/// `EN10MB`: what an Ethernet interface has.
pub const ETHERNET: u16 = 1;

/// Bytes of a packet that are kept where no other number is asked for: tcpdump's own.
pub const SNAPLEN: u32 = 262_144;
