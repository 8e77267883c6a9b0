//! Which places are taken and whom a newcomer displaces: a pure decision, without a clock or a task.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long nobody is displaced by who holds as much: enough for a handshake. Without it, many who come
/// at once would displace one another and nobody would ever be through.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long a withdrawn connection has to be closed before it is looked at again.
const CLOSING: Duration = Duration::from_secs(1);

/// How many strangers there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrangerLimits {
    pub all: usize,
    /// Of one network: an IPv4 address, or the /64 of an IPv6 address.
    pub per_network: usize,
}

/// What one party can take any number of addresses from: of IPv6 it is given a /64, of IPv4 an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Network {
    V4(Ipv4Addr),
    V6(u64),
}

impl Network {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[derive(Debug)]
struct Held {
    id: u64,
    address: IpAddr,
    since: Instant,
    withdrawn: watch::Sender<bool>,
}

/// The places, in the order in which they were taken.
#[derive(Debug)]
pub(super) struct Places {
    limits: StrangerLimits,
    held: Vec<Held>,
    /// Withdrawn and not free yet: they still cost what they cost.
    closing: Vec<Held>,
    next: u64,
}

#[derive(Debug)]
pub(super) enum Decision {
    Admitted { id: u64, withdrawn: watch::Receiver<bool> },
    Refused,
    Wait { until: Instant },
}

impl Places {
    pub(super) fn new(limits: StrangerLimits) -> Self {
        Self { limits, held: Vec::new(), closing: Vec::new(), next: 0 }
    }

    pub(super) fn taken(&self) -> usize {
        self.held.len() + self.closing.len()
    }

    pub(super) fn free(&mut self, id: u64) {
        self.held.retain(|held| held.id != id);
        self.closing.retain(|held| held.id != id);
    }

    /// What becomes of a newcomer from `source`: where it has to wait, it asks again.
    pub(super) fn decide(&mut self, source: IpAddr, now: Instant) -> Decision {
        let source = source.to_canonical();
        let network = Network::of(source);
        let counts = self.counts(source);
        if counts.of(network) > self.limits.per_network {
            let own = |held: &Held| Network::of(held.address) == network;
            let Some(oldest) = self.heaviest(&counts, own) else { return Decision::Refused };
            let held = &self.held[oldest];
            let holds_more = counts.addresses[&held.address] > counts.addresses[&source];
            if !holds_more && !is_ripe(held, now) {
                return Decision::Refused;
            }
            self.withdraw(oldest);
        }
        if self.taken() < self.limits.all {
            return self.take(source, now);
        }
        // A stranger on its way out makes room for this one too, or for one that came before it.
        if !self.closing.is_empty() {
            return Decision::Wait { until: now + CLOSING };
        }
        let Some(heaviest) = self.heaviest(&counts, |_| true) else { return Decision::Refused };
        let held = &self.held[heaviest];
        let holds_more = counts.of(Network::of(held.address)) > counts.of(network);
        if holds_more || is_ripe(held, now) {
            self.withdraw(heaviest);
            return Decision::Wait { until: now + CLOSING };
        }
        // None holds more than the newcomer's network. Where that is because it holds most itself, the
        // ones behind it must not wait with it.
        match counts.of(network) {
            1 => Decision::Wait { until: held.since + PATIENCE },
            _ => Decision::Refused,
        }
    }

    fn take(&mut self, address: IpAddr, now: Instant) -> Decision {
        let id = self.next;
        self.next += 1;
        let (sender, withdrawn) = watch::channel(false);
        self.held.push(Held { id, address, since: now, withdrawn: sender });
        Decision::Admitted { id, withdrawn }
    }

    fn withdraw(&mut self, index: usize) {
        let held = self.held.remove(index);
        held.withdrawn.send_replace(true);
        self.closing.push(held);
    }

    /// Of those that `may` go: from the network with most, the address with most, the oldest.
    fn heaviest(&self, counts: &Counts, may: impl Fn(&Held) -> bool) -> Option<usize> {
        let candidates = self.held.iter().enumerate().filter(|(_, held)| may(held));
        let weight =
            |held: &Held| (counts.of(Network::of(held.address)), counts.addresses[&held.address]);
        // The last of equals is taken, so they are compared from the youngest to the oldest.
        candidates.rev().max_by_key(|(_, held)| weight(held)).map(|(index, _)| index)
    }

    /// How much each holds, a newcomer from `source` included.
    fn counts(&self, source: IpAddr) -> Counts {
        let mut counts = Counts::default();
        for address in self.held.iter().map(|held| held.address).chain([source]) {
            *counts.networks.entry(Network::of(address)).or_default() += 1;
            *counts.addresses.entry(address).or_default() += 1;
        }
        counts
    }
}

fn is_ripe(held: &Held, now: Instant) -> bool {
    now.saturating_duration_since(held.since) >= PATIENCE
}

#[derive(Debug, Default)]
struct Counts {
    networks: HashMap<Network, usize>,
    addresses: HashMap<IpAddr, usize>,
}

impl Counts {
    fn of(&self, network: Network) -> usize {
        self.networks.get(&network).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StrangerLimits = StrangerLimits { all: 6, per_network: 4 };

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn admit(places: &mut Places, source: &str, now: Instant) -> watch::Receiver<bool> {
        match places.decide(ip(source), now) {
            Decision::Admitted { withdrawn, .. } => withdrawn,
            other => panic!("{source}: {other:?}"),
        }
    }

    fn gone(withdrawn: &watch::Receiver<bool>) -> bool {
        *withdrawn.borrow()
    }

    #[test]
    fn a_flood_from_one_address_displaces_only_itself() {
        let (mut places, now) = (Places::new(LIMITS), Instant::now());
        let other = admit(&mut places, "10.0.0.2", now);
        let flood: Vec<_> = (0..4).map(|_| admit(&mut places, "10.0.0.1", now)).collect();
        assert!(matches!(places.decide(ip("10.0.0.1"), now), Decision::Refused));
        let later = now + PATIENCE;
        let newer = admit(&mut places, "10.0.0.1", later);
        assert_eq!(flood.iter().map(gone).collect::<Vec<_>>(), [true, false, false, false]);
        assert!(!gone(&newer) && !gone(&other));
    }

    #[test]
    fn where_it_is_full_who_holds_most_makes_room_at_once() {
        let (mut places, now) = (Places::new(LIMITS), Instant::now());
        let few = admit(&mut places, "10.0.0.2", now);
        let flood: Vec<_> = (0..4).map(|_| admit(&mut places, "10.0.0.1", now)).collect();
        let few_too = admit(&mut places, "10.0.0.2", now);
        let Decision::Wait { until } = places.decide(ip("10.0.0.3"), now) else {
            panic!("no room")
        };
        assert_eq!(until, now + CLOSING);
        assert_eq!(flood.iter().map(gone).collect::<Vec<_>>(), [true, false, false, false]);
        assert!(!gone(&few) && !gone(&few_too));
        assert!(matches!(places.decide(ip("10.0.0.3"), now), Decision::Wait { .. }));
        assert_eq!(places.closing.len(), 1, "one newcomer displaces one");
        places.free(places.closing[0].id);
        admit(&mut places, "10.0.0.3", now);
        assert_eq!(places.taken(), LIMITS.all);
    }

    #[test]
    fn many_who_come_at_once_let_one_another_finish() {
        let (mut places, now) = (Places::new(LIMITS), Instant::now());
        let all: Vec<_> =
            (1..=6).map(|host| admit(&mut places, &format!("10.0.0.{host}"), now)).collect();
        let soon = now + PATIENCE / 2;
        let Decision::Wait { until } = places.decide(ip("10.0.0.9"), soon) else { panic!("room") };
        assert_eq!((until, all.iter().filter(|it| gone(it)).count()), (now + PATIENCE, 0));
        assert!(matches!(places.decide(ip("10.0.0.1"), soon), Decision::Refused), "a second one");
        let mut places = Places::new(LIMITS);
        for host in 1..=3 {
            admit(&mut places, &format!("10.0.0.{host}"), now);
            admit(&mut places, &format!("10.0.0.{host}"), now);
        }
        let Decision::Wait { .. } = places.decide(ip("10.0.0.9"), until) else { panic!("room") };
        assert_eq!(places.closing.len(), 1);
    }

    #[test]
    fn of_one_ipv6_network_the_address_with_most_goes_first() {
        let (mut places, now) = (Places::new(LIMITS), Instant::now());
        let neighbour = admit(&mut places, "fd00::2", now);
        let flood: Vec<_> = (0..3).map(|_| admit(&mut places, "fd00::1", now)).collect();
        assert!(matches!(places.decide(ip("fd00::1"), now), Decision::Refused));
        admit(&mut places, "fd00::3", now);
        assert_eq!(flood.iter().map(gone).collect::<Vec<_>>(), [true, false, false]);
        assert!(!gone(&neighbour));
        admit(&mut places, "fd00:0:0:1::1", now);
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        let (mut places, now) =
            (Places::new(StrangerLimits { all: 6, per_network: 1 }), Instant::now());
        admit(&mut places, "10.0.0.1", now);
        assert!(matches!(places.decide(ip("::ffff:10.0.0.1"), now), Decision::Refused));
        admit(&mut places, "::ffff:10.0.0.2", now);
    }
}
