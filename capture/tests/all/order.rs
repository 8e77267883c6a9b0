//! The merge under any arrival of any packets.

use std::time::{Duration, Instant};

use bytes::Bytes;
use capture::merge::{Bounds, Merge, Next, Source};
use capture::pcap::Packet;

use crate::numbers::Numbers;

/// A packet is known by its source and its place in it.
fn packet(source: usize, place: usize, time: u64) -> Packet {
    let name = format!("{source}/{place}");
    Packet { time, length: 100, data: Bytes::from(name) }
}

/// What came out, and how many of it were late.
struct Merged {
    times: Vec<u64>,
    by_source: Vec<Vec<Packet>>,
    late: u64,
    most: usize,
}

/// Sends sources of ordered packets through a merge: each packet arrives up to `delay` after its time.
fn merged(seed: u64, bounds: Bounds, delay: Duration) -> (Vec<Vec<Packet>>, Merged) {
    let mut numbers = Numbers(seed);
    let start = Instant::now();
    let mut merge = Merge::new(bounds);
    let sources: Vec<Source> = (0..=numbers.below(6)).map(|_| merge.add()).collect();
    let (mut sent, mut arrivals) = (vec![Vec::new(); sources.len()], Vec::new());
    for (source, of) in sent.iter_mut().enumerate() {
        let (mut time, mut arrives) = (0, Duration::ZERO);
        for place in 0..numbers.below(60) {
            time += numbers.next() % 200_000_000;
            let late = delay
                .mul_f64(f64::from(u32::try_from(numbers.below(1000)).expect("32 bits")) / 1000.0);
            // A stream keeps its order.
            arrives = arrives.max(Duration::from_nanos(time) + late);
            let packet: Packet = packet(source, place, time);
            of.push(packet.clone());
            arrivals.push((arrives, source, packet));
        }
    }
    arrivals.sort_by_key(|(at, ..)| *at);
    let mut merged =
        Merged { times: Vec::new(), by_source: vec![Vec::new(); sources.len()], late: 0, most: 0 };
    let mut now = start;
    for (at, source, packet) in arrivals {
        take(&mut merge, now, start + at, &mut merged);
        now = start + at;
        merge.push(sources[source], packet, now);
        merged.most = merged.most.max(merge.bytes());
        take(&mut merge, now, now, &mut merged);
    }
    for &source in &sources {
        merge.end(source);
    }
    take(&mut merge, now, now, &mut merged);
    assert_eq!(merge.next(now), Next::Empty);
    merged.late = merge.late();
    (sent, merged)
}

/// Takes all that may go between `now` and `until`.
fn take(merge: &mut Merge, mut now: Instant, until: Instant, merged: &mut Merged) {
    loop {
        match merge.next(now) {
            Next::Write(source, packet) => {
                merged.times.push(packet.time);
                merged.by_source[source.index()].push(packet);
            }
            Next::Wait(due) if due <= until => now = due,
            Next::Wait(_) | Next::Empty => return,
        }
    }
}

/// Packets that come after a later one.
fn inversions(times: &[u64]) -> u64 {
    let mut newest = 0;
    let late = times.iter().filter(|&&time| {
        let is_late = time < newest;
        newest = newest.max(time);
        is_late
    });
    late.count() as u64
}

#[test]
fn every_packet_comes_out_once_in_the_order_of_its_source_whatever_the_delay() {
    for seed in 0..300 {
        let delay = Duration::from_millis(10 * seed);
        let (sent, merged) = merged(seed, Bounds::default(), delay);
        assert_eq!(merged.by_source, sent, "seed {seed}");
        assert_eq!(merged.late, inversions(&merged.times), "seed {seed}");
    }
}

#[test]
fn what_is_delayed_by_less_than_the_bound_comes_out_in_order() {
    for seed in 0..300 {
        let (_, merged) = merged(seed, Bounds::default(), Duration::from_millis(999));
        assert!(merged.times.is_sorted(), "seed {seed}");
        assert_eq!(merged.late, 0, "seed {seed}");
    }
}

#[test]
fn what_is_delayed_by_more_is_counted_and_not_lost() {
    let all: u64 =
        (0..100).map(|seed| merged(seed, Bounds::default(), Duration::from_secs(9)).1.late).sum();
    assert!(all > 0, "no seed has a packet that is late");
}

#[test]
fn memory_is_bounded_whatever_arrives() {
    let bounds = Bounds { source: 1000, all: 2500, ..Bounds::default() };
    for seed in 0..300 {
        let (sent, merged) = merged(seed, bounds, Duration::from_secs(3));
        assert_eq!(merged.by_source, sent, "seed {seed}");
        assert!(merged.most < bounds.all + 200, "seed {seed}: {} bytes", merged.most);
    }
}

#[test]
fn a_source_that_stalls_delays_the_others_by_the_bound_only() {
    let (mut merge, now) = (Merge::new(Bounds::default()), Instant::now());
    let (stalled, other) = (merge.add(), merge.add());
    let second = Duration::from_secs(1);
    for place in 0..1000 {
        let at = now + Duration::from_millis(100) * place;
        let place = u64::from(place);
        merge.push(other, packet(1, 0, place), at);
        assert_eq!(merge.next(at), Next::Wait(at + second));
        assert!(matches!(merge.next(at + second), Next::Write(of, _) if of == other));
    }
    assert_eq!(merge.waiting(stalled), 0);
}
