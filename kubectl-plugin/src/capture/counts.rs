//! What tools count, on its way into the files: a block of statistics when there is something new, but no more often
//! than is worth their room.

use std::time::Instant;

use wire::Signal;

use super::flow::{Flow, unix_nanoseconds};
use crate::stdio::Piece;

impl Flow {
    /// Asks every tool for its counts, and writes those that had to wait.
    pub(super) fn ask_for_counts(&mut self) {
        for number in 0..self.pods.len() {
            if self.pods[number].is_uncounted() && self.files.has_room() {
                self.count(number);
            }
        }
        self.tell(Signal::Usr1);
    }

    pub(super) fn take(&mut self, number: usize, piece: Option<Piece>, now: Instant) {
        let pod = &mut self.pods[number];
        if !pod.take(piece, &mut self.merge, now) {
            return;
        }
        if pod.may_be_counted(now) && self.files.has_room() {
            self.count(number);
        } else {
            self.pods[number].count_later();
        }
    }

    /// Writes what is known of the packets of a pod.
    pub(super) fn count(&mut self, number: usize) {
        let pod = &self.pods[number];
        let counts = pod.counts(self.merge.waiting(pod.source), self.is_left_out());
        self.files.statistics(pod.place, unix_nanoseconds(), &counts);
        self.pods[number].is_counted(Instant::now());
    }
}
