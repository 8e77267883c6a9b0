//! The order of time over many sources: one queue a source, and the oldest of their first packets is next.
//!
//! A source that is silent may still have an older packet on its way. So a packet waits until every other source
//! has shown a later one or is known to have had none, but no longer than the lateness bound, and no longer than
//! there is room. What arrives later than that is passed on all the same, and counted as late.
//! The time is told from outside.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use crate::pcap::Packet;

/// What a packet that waits takes beside its bytes.
const OVERHEAD: usize = size_of::<Waiting>();

/// What may wait, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one source.
    pub source: usize,
    /// Bytes of all sources together.
    pub all: usize,
    /// The wait of one packet for those of other sources.
    pub lateness: Duration,
}

impl Default for Bounds {
    /// 200 000 packets a second of one source fill its share in 0.1 s; sixteen such sources fill all of it.
    fn default() -> Self {
        Self { source: 4 << 20, all: 64 << 20, lateness: Duration::from_secs(1) }
    }
}

/// One of the sources of a [`Merge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source(u32);

impl Source {
    /// Sources are counted from 0, in the order in which they were added.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Write(Source, Packet),
    /// The first packet waits for other sources, until then at most.
    Wait(Instant),
    /// No packet is held.
    Empty,
}

#[derive(Debug)]
struct Waiting {
    packet: Packet,
    arrived: Instant,
}

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Waiting>,
    bytes: usize,
    /// All that it had before then has arrived.
    heard: Option<Instant>,
    ended: bool,
}

/// Packets of many sources on their way into one file.
#[derive(Debug)]
pub struct Merge {
    bounds: Bounds,
    queues: Vec<Queue>,
    /// The first packet of each queue that has one.
    heads: BinaryHeap<Reverse<(u64, Source)>>,
    bytes: usize,
    /// Queues that have no room.
    full: usize,
    newest: u64,
    late: u64,
}

impl Merge {
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let (queues, heads) = (Vec::new(), BinaryHeap::new());
        Self { bounds, queues, heads, bytes: 0, full: 0, newest: 0, late: 0 }
    }

    /// Adds a source, for which packets wait from now on.
    ///
    /// # Panics
    ///
    /// If there are 2^32 sources.
    pub fn add(&mut self) -> Source {
        let source = u32::try_from(self.queues.len()).expect("fewer sources than 2^32");
        self.queues.push(Queue::default());
        Source(source)
    }

    /// Whether more of `source` may be read. Where there is none its packets wait in its node's kernel, which
    /// drops and counts those that it has no room for.
    #[must_use]
    pub fn has_room(&self, source: Source) -> bool {
        self.bytes < self.bounds.all && self.queues[source.index()].bytes < self.bounds.source
    }

    /// Takes a packet, also where there is no room: what was read already has to go somewhere.
    pub fn push(&mut self, source: Source, packet: Packet, now: Instant) {
        let queue = &mut self.queues[source.index()];
        let (size, limit) = (packet.data.len() + OVERHEAD, self.bounds.source);
        if queue.packets.is_empty() {
            self.heads.push(Reverse((packet.time, source)));
        }
        self.full += usize::from(queue.bytes < limit && queue.bytes + size >= limit);
        queue.bytes += size;
        self.bytes += size;
        queue.packets.push_back(Waiting { packet, arrived: now });
    }

    /// All that `source` had before `at` has arrived.
    pub fn heard(&mut self, source: Source, at: Instant) {
        let heard = &mut self.queues[source.index()].heard;
        *heard = (*heard).max(Some(at));
    }

    /// Nothing more comes from `source`.
    pub fn end(&mut self, source: Source) {
        self.queues[source.index()].ended = true;
    }

    /// The oldest packet, if it need not wait.
    pub fn next(&mut self, now: Instant) -> Next {
        let Some(&Reverse((time, source))) = self.heads.peek() else { return Next::Empty };
        // A queue with a head has a packet.
        let Some(arrived) = self.queues[source.index()].packets.front().map(|head| head.arrived)
        else {
            return Next::Empty;
        };
        let due = arrived.checked_add(self.bounds.lateness);
        let is_pressed = self.full > 0 || self.bytes >= self.bounds.all;
        match due {
            Some(due) if now < due && !is_pressed && self.silent(arrived).next().is_some() => {
                Next::Wait(due)
            }
            _ => {
                self.late += u64::from(time < self.newest);
                self.newest = self.newest.max(time);
                self.pop(source).map_or(Next::Empty, |packet| Next::Write(source, packet))
            }
        }
    }

    /// The sources that the first packet waits for: to ask them whether they have anything is to go on sooner.
    pub fn awaited(&self) -> impl Iterator<Item = Source> {
        let head = self.heads.peek();
        let head = head.and_then(|Reverse((_, of))| self.queues[of.index()].packets.front());
        head.into_iter().flat_map(|head| self.silent(head.arrived))
    }

    /// Packets that were passed on after a later one.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Packets of `source` that wait.
    #[must_use]
    pub fn waiting(&self, source: Source) -> usize {
        self.queues[source.index()].packets.len()
    }

    /// Bytes that wait, and what they are kept in.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sources that have no packet, may have one, and were last heard of before `arrived`.
    fn silent(&self, arrived: Instant) -> impl Iterator<Item = Source> {
        let all_have_one = self.heads.len() == self.queues.len();
        let queues = if all_have_one { &[] } else { self.queues.as_slice() };
        let is_silent = move |queue: &Queue| {
            !queue.ended && queue.packets.is_empty() && queue.heard < Some(arrived)
        };
        (0..).zip(queues).filter(move |(_, queue)| is_silent(queue)).map(|(of, _)| Source(of))
    }

    fn pop(&mut self, source: Source) -> Option<Packet> {
        let queue = &mut self.queues[source.index()];
        let Waiting { packet, .. } = queue.packets.pop_front()?;
        let (size, limit) = (packet.data.len() + OVERHEAD, self.bounds.source);
        self.full -= usize::from(queue.bytes >= limit && queue.bytes - size < limit);
        queue.bytes -= size;
        self.bytes -= size;
        self.heads.pop();
        if let Some(next) = queue.packets.front() {
            self.heads.push(Reverse((next.packet.time, source)));
        }
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn packet(time: u64) -> Packet {
        Packet { time, length: 1, data: Bytes::from_static(b"x") }
    }

    fn two() -> (Merge, Source, Source, Instant) {
        let mut merge = Merge::new(Bounds::default());
        let (one, two) = (merge.add(), merge.add());
        (merge, one, two, Instant::now())
    }

    #[test]
    fn the_oldest_is_first_once_every_source_has_one() {
        let (mut merge, one, two, now) = two();
        merge.push(one, packet(2), now);
        merge.push(two, packet(1), now);
        assert_eq!(merge.next(now), Next::Write(two, packet(1)));
        assert_eq!(merge.next(now), Next::Wait(now + SECOND));
        merge.push(two, packet(3), now);
        assert_eq!(merge.next(now), Next::Write(one, packet(2)));
    }

    #[test]
    fn a_silent_source_is_waited_for_a_second_and_what_it_sends_after_that_is_late() {
        let (mut merge, one, two, now) = two();
        merge.push(one, packet(2), now);
        assert_eq!(merge.next(now), Next::Wait(now + SECOND));
        assert_eq!(merge.next(now + SECOND), Next::Write(one, packet(2)));
        merge.push(two, packet(1), now + SECOND);
        assert_eq!(merge.next(now + 2 * SECOND), Next::Write(two, packet(1)));
        assert_eq!(merge.late(), 1);
    }

    #[test]
    fn a_source_that_had_nothing_is_not_waited_for() {
        let (mut merge, one, two, now) = two();
        merge.push(one, packet(2), now);
        assert_eq!(merge.awaited().collect::<Vec<_>>(), [two]);
        merge.heard(two, now);
        assert_eq!(merge.awaited().count(), 0);
        assert_eq!(merge.next(now), Next::Write(one, packet(2)));
        let later = now + SECOND / 2;
        merge.push(one, packet(3), later);
        assert_eq!(merge.next(later), Next::Wait(later + SECOND));
    }

    #[test]
    fn at_the_end_nothing_waits() {
        let (mut merge, one, two, now) = two();
        merge.push(one, packet(1), now);
        merge.end(two);
        assert_eq!(merge.next(now), Next::Write(one, packet(1)));
        assert_eq!(merge.next(now), Next::Empty);
    }

    #[test]
    fn where_there_is_no_room_the_oldest_does_not_wait() {
        let bounds = Bounds { source: 3 * (OVERHEAD + 1), ..Bounds::default() };
        let mut merge = Merge::new(bounds);
        let (one, _two) = (merge.add(), merge.add());
        let now = Instant::now();
        for time in 0..3 {
            assert!(merge.has_room(one));
            merge.push(one, packet(time), now);
        }
        assert!(!merge.has_room(one));
        assert_eq!(merge.next(now), Next::Write(one, packet(0)));
        assert!(merge.has_room(one));
        assert_eq!(merge.next(now), Next::Wait(now + SECOND));
    }
}
