//! Which of the pods are in a session, which wait, and which were turned away because their caller had too many.
//!
//! Pure. Nothing that runs is ever ended to make room.

use std::collections::{HashMap, VecDeque};

/// How often a pod is asked again that was turned away while no other session of ours ran: then the place is another
/// command's, or that of a session of ours whose end its agent has not seen yet.
const TRIES_ALONE: u32 = 5;

#[derive(Debug)]
pub(crate) struct Queue {
    waiting: VecDeque<usize>,
    /// Wait for the end of a session of ours.
    aside: VecDeque<usize>,
    tries: HashMap<usize, u32>,
    running: usize,
    all: usize,
    most: usize,
}

impl Queue {
    /// Of the pods below `all`, with at most `most` sessions at a time.
    pub(crate) fn of(all: usize, most: usize) -> Self {
        let (waiting, tries) = ((0..all).collect(), HashMap::new());
        Self { waiting, aside: VecDeque::new(), tries, running: 0, all, most }
    }

    /// The next to begin, and how often it was asked in vain; it runs from now on.
    pub(crate) fn next(&mut self) -> Option<(usize, u32)> {
        if self.running == self.most {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.running += 1;
        Some((next, self.tries.get(&next).copied().unwrap_or(0)))
    }

    /// One more that is to begin: one that was not there before, or a further session of one that was.
    pub(crate) fn add(&mut self, one: usize) {
        self.all = self.all.max(one + 1);
        self.tries.remove(&one);
        self.waiting.push_back(one);
    }

    /// A session has ended: one that was turned away may have its place.
    pub(crate) fn ended(&mut self) {
        self.running -= 1;
        let back = if self.running == 0 { self.aside.len() } else { self.aside.len().min(1) };
        for one in self.aside.drain(..back).rev() {
            self.waiting.push_front(one);
        }
    }

    /// `one` was refused because its caller has too many sessions. Says whether it is asked again.
    pub(crate) fn turned_away(&mut self, one: usize) -> bool {
        self.running -= 1;
        if self.running > 0 {
            self.aside.push_back(one);
            return true;
        }
        let tries = self.tries.entry(one).or_default();
        *tries += 1;
        let again = *tries <= TRIES_ALONE;
        if again {
            self.waiting.push_back(one);
        }
        self.waiting.extend(self.aside.drain(..));
        again
    }

    /// All that have not begun, which will not.
    pub(crate) fn give_up(&mut self) -> Vec<usize> {
        self.waiting.drain(..).chain(self.aside.drain(..)).collect()
    }

    /// `16 of 40 run; 24 wait`, if any waits.
    pub(crate) fn state(&self) -> Option<String> {
        let waiting = self.waiting.len() + self.aside.len();
        let (running, all) = (self.running, self.all);
        (waiting > 0).then(|| format!("{running} of {all} run; {waiting} wait"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(queue: &mut Queue) -> Vec<usize> {
        std::iter::from_fn(|| queue.next()).map(|(one, _)| one).collect()
    }

    #[test]
    fn the_rest_waits_for_places_and_all_begin_in_order() {
        let mut queue = Queue::of(5, 2);
        assert_eq!(started(&mut queue), [0, 1]);
        assert_eq!(queue.state().as_deref(), Some("2 of 5 run; 3 wait"));
        queue.ended();
        assert_eq!(started(&mut queue), [2]);
        queue.ended();
        queue.ended();
        assert_eq!(started(&mut queue), [3, 4]);
        assert_eq!(queue.state(), None);
    }

    #[test]
    fn one_that_is_turned_away_has_the_place_of_the_next_that_ends() {
        let mut queue = Queue::of(3, 3);
        assert_eq!(started(&mut queue), [0, 1, 2]);
        assert!(queue.turned_away(2));
        assert!(queue.turned_away(1));
        assert!(started(&mut queue).is_empty(), "no place is free before one has ended");
        queue.ended();
        assert_eq!(started(&mut queue), [2, 1]);
    }

    #[test]
    fn one_that_is_turned_away_while_nothing_runs_is_given_up_in_the_end() {
        let mut queue = Queue::of(1, 1);
        for tries in 0..TRIES_ALONE {
            assert_eq!(queue.next(), Some((0, tries)));
            assert!(queue.turned_away(0));
        }
        assert_eq!(queue.next(), Some((0, TRIES_ALONE)));
        assert!(!queue.turned_away(0));
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn what_has_not_begun_is_given_up_at_once() {
        let mut queue = Queue::of(4, 2);
        started(&mut queue);
        assert!(queue.turned_away(1));
        assert_eq!(queue.give_up(), [2, 3, 1]);
        assert_eq!((queue.next(), queue.state()), (None, None));
    }
}
