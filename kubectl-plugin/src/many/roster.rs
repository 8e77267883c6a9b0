//! Which pods are followed, and what becomes of each when it is seen again.
//!
//! Pure.

use std::collections::{HashMap, HashSet};

use super::follow::PodKey;

/// Pods of one command, those that are gone too: their names and exit codes are kept to its end.
const MOST_EVER: usize = 10_000;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    /// A session in a pod that was not there before, which is this one from now on.
    Join(usize),
    /// A further session in a pod whose container has restarted so often.
    Again(usize, i32),
    Left(usize),
    /// There are too many to enter this one, which is said once.
    NoRoom,
}

/// A pod as it is now.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    /// By which selector.
    pub(crate) place: usize,
    pub(crate) key: PodKey,
    pub(crate) uid: String,
    /// How often the container was restarted; nothing if it does not run.
    pub(crate) runs: Option<i32>,
}

#[derive(Debug)]
struct Known {
    place: usize,
    who: usize,
    uid: String,
    restarts: i32,
    /// Whether a session is in it, or waits to be.
    is_in_session: bool,
    /// Seen while the session before was not over.
    next: Option<i32>,
}

#[derive(Debug)]
pub(crate) struct Roster {
    known: HashMap<PodKey, Known>,
    without_room: HashSet<PodKey>,
    all: usize,
    most: usize,
}

impl Roster {
    /// Of at most `most` pods at a time.
    pub(crate) fn of(most: usize) -> Self {
        Self { known: HashMap::new(), without_room: HashSet::new(), all: 0, most }
    }

    pub(crate) fn seen(&mut self, sighting: Sighting) -> Step {
        let Sighting { place, key, uid, runs: Some(restarts) } = sighting else {
            return Step::Nothing;
        };
        let is_full = self.known.len() >= self.most || self.all >= MOST_EVER;
        match self.known.get_mut(&key) {
            Some(known) if known.uid == uid && known.restarts >= restarts => Step::Nothing,
            Some(known) if known.is_in_session => {
                (known.uid, known.restarts, known.next) = (uid, restarts, Some(restarts));
                Step::Nothing
            }
            Some(known) => {
                (known.uid, known.restarts, known.is_in_session) = (uid, restarts, true);
                Step::Again(known.who, restarts)
            }
            None if is_full => {
                if self.without_room.len() < MOST_EVER && self.without_room.insert(key) {
                    Step::NoRoom
                } else {
                    Step::Nothing
                }
            }
            None => {
                let who = self.all;
                self.all += 1;
                self.without_room.remove(&key);
                let known = Known { place, who, uid, restarts, is_in_session: true, next: None };
                self.known.insert(key, known);
                Step::Join(who)
            }
        }
    }

    pub(crate) fn gone(&mut self, key: &PodKey) -> Step {
        self.without_room.remove(key);
        self.known.remove(key).map_or(Step::Nothing, |known| Step::Left(known.who))
    }

    /// The session in `who` is over.
    pub(crate) fn ended(&mut self, who: usize) -> Step {
        let Some(known) = self.known.values_mut().find(|known| known.who == who) else {
            return Step::Nothing;
        };
        if let Some(restarts) = known.next.take() {
            return Step::Again(who, restarts);
        }
        known.is_in_session = false;
        Step::Nothing
    }

    /// Those that are known by the selector `place` and not in `all`, which is all that it has now.
    pub(crate) fn missing(&self, place: usize, all: &HashSet<PodKey>) -> Vec<PodKey> {
        let of_it = self.known.iter().filter(|(_, known)| known.place == place);
        of_it.filter(|(key, _)| !all.contains(*key)).map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str, runs: Option<i32>) -> Sighting {
        let key = ("shop".to_owned(), name.to_owned());
        Sighting { place: 0, key, uid: uid.to_owned(), runs }
    }

    #[test]
    fn a_pod_joins_when_its_container_runs_and_again_at_each_restart() {
        let mut roster = Roster::of(9);
        assert_eq!(roster.seen(pod("a", "1", None)), Step::Nothing);
        assert_eq!(roster.seen(pod("a", "1", Some(0))), Step::Join(0));
        assert_eq!(roster.seen(pod("a", "1", Some(0))), Step::Nothing);
        assert_eq!(roster.ended(0), Step::Nothing);
        assert_eq!(roster.seen(pod("a", "1", Some(0))), Step::Nothing, "its tool has answered");
        assert_eq!(roster.seen(pod("a", "1", Some(3))), Step::Again(0, 3));
        assert_eq!(roster.seen(pod("a", "1", Some(4))), Step::Nothing, "a session is in it still");
        assert_eq!(roster.ended(0), Step::Again(0, 4));
        assert_eq!(roster.ended(0), Step::Nothing);
    }

    #[test]
    fn another_pod_of_the_same_name_is_entered_too() {
        let mut roster = Roster::of(9);
        assert_eq!(roster.seen(pod("db-0", "1", Some(2))), Step::Join(0));
        roster.ended(0);
        assert_eq!(roster.seen(pod("db-0", "2", Some(0))), Step::Again(0, 0));
    }

    #[test]
    fn a_pod_that_leaves_makes_room() {
        let mut roster = Roster::of(1);
        assert_eq!(roster.seen(pod("a", "1", Some(0))), Step::Join(0));
        assert_eq!(roster.seen(pod("b", "2", Some(0))), Step::NoRoom);
        assert_eq!(roster.seen(pod("b", "2", Some(0))), Step::Nothing, "it is said once");
        let key = roster.missing(0, &HashSet::new()).remove(0);
        assert!(roster.missing(1, &HashSet::new()).is_empty(), "another selector knows none");
        assert_eq!(roster.gone(&key), Step::Left(0));
        assert_eq!(roster.gone(&key), Step::Nothing);
        assert_eq!(roster.seen(pod("b", "2", Some(0))), Step::Join(1));
    }
}
