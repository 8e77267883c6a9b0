//! What a file of packets begins with, and begins with again where another file follows: each can be read alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::pcapng::{self, Counts, Head, Interface};

/// Names in one block, so that its length stays far from what a reader takes.
const NAMES_IN_A_BLOCK: usize = 1024;

/// One interface of a section, with what became of its packets.
#[derive(Clone, Debug, Default)]
struct Source {
    interface: Interface,
    /// When it began, in nanoseconds since 1970.
    began: u64,
}

/// The beginning of every file of a capture.
#[derive(Clone, Debug, Default)]
pub struct Section {
    head: Head,
    sources: Vec<Source>,
    names: BTreeMap<IpAddr, String>,
}

impl Section {
    #[must_use]
    pub fn new(head: Head) -> Self {
        Self { head, ..Self::default() }
    }

    /// Appends all that packets need before them: to a file that is new.
    pub fn begin(&self, out: &mut Vec<u8>) {
        pcapng::section(out, &self.head);
        for source in &self.sources {
            pcapng::interface(out, &source.interface);
        }
        let names = self.names.iter().map(|(address, name)| (*address, name.as_str()));
        let names: Vec<_> = names.collect();
        for some in names.chunks(NAMES_IN_A_BLOCK) {
            pcapng::names(out, some.iter().copied());
        }
    }

    /// Adds an interface, also to the file that is being written, and gives its number.
    pub fn add(&mut self, interface: Interface, began: u64, out: &mut Vec<u8>) -> u32 {
        let number = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        pcapng::interface(out, &interface);
        self.sources.push(Source { interface, began });
        number
    }

    /// Adds names, also to the file that is being written. The last name of an address is its name.
    pub fn name(&mut self, names: impl IntoIterator<Item = (IpAddr, String)>, out: &mut Vec<u8>) {
        let new: BTreeMap<IpAddr, String> = names.into_iter().collect();
        let records: Vec<_> = new.iter().map(|(address, name)| (*address, name.as_str())).collect();
        for some in records.chunks(NAMES_IN_A_BLOCK) {
            pcapng::names(out, some.iter().copied());
        }
        self.names.extend(new);
    }

    /// Appends what became of the packets of interface `number` until `time`.
    pub fn statistics(&self, number: u32, time: u64, counts: &Counts, out: &mut Vec<u8>) {
        let began = self.sources.get(number as usize).map_or(time, |source| source.began);
        pcapng::statistics(out, number, began, time, counts);
    }
}
