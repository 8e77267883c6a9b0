//! The end of a capture: what has come is given to the files, and their thread is waited for until all is written, or
//! until the user has had enough.

use std::time::Duration;

use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::files::PacketFileError;
use super::flow::{Due, Flow, Halt};
use crate::ending::{EndingSignal, is_ending};

/// What a reader may take for the rest once the user waits for nothing.
const GOODBYE: Duration = Duration::from_secs(1);

/// Whether the files have all that they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteEnd {
    Written,
    /// Their reader took no more in time.
    Left,
}

impl Flow {
    /// Writes what has come and waits for it. The packets of each pod are those that are in files then.
    pub(super) async fn finish(&mut self, is_hurried: bool) -> WriteEnd {
        self.sessions.shutdown().await;
        for number in 0..self.pods.len() {
            self.take_rest(number);
        }
        let rest = if self.has_no_thread() {
            self.write();
            WriteEnd::Written
        } else {
            self.write_rest(is_hurried.then(|| Instant::now() + GOODBYE)).await
        };
        let has_had_enough = self.is_left_by_its_reader();
        for pod in &mut self.pods {
            pod.settle(self.files.written(pod.place), !has_had_enough);
        }
        rest
    }

    async fn write_rest(&mut self, mut until: Option<Instant>) -> WriteEnd {
        let mut is_counted = false;
        loop {
            let is_empty = self.write() == Due::Never;
            if is_empty && !is_counted {
                (0..self.pods.len()).for_each(|number| self.count(number));
                is_counted = true;
            }
            let is_waiting = self.files.pass_on();
            if is_empty && !is_waiting {
                self.files.close();
            }
            let Self { files, written, signals, signalled, .. } = self;
            select! {
                ended = written => {
                    if let Ok(Err(error)) = ended {
                        self.lose_files(error);
                    }
                    return WriteEnd::Written;
                }
                () = files.taking(), if is_waiting => {}
                signal = signals.next() => {
                    let now = Instant::now();
                    // No tool runs any longer: also the first has nothing else to end.
                    if is_ending(signal) && signalled.hear(signal, now.into_std()) != EndingSignal::Echo {
                        until = until.or(Some(now + GOODBYE));
                    }
                }
                () = reached(until) => return WriteEnd::Left,
            }
        }
    }

    /// Takes what a session left behind that nothing waits for any longer.
    fn take_rest(&mut self, number: usize) {
        let now = std::time::Instant::now();
        while let Some(output) = &mut self.pods[number].output {
            let piece = output.try_recv().ok();
            self.take(number, piece, now);
        }
    }

    fn lose_files(&mut self, error: PacketFileError) {
        if !matches!(self.stop, Some(Halt::Files(_))) {
            self.stop = Some(Halt::Files(error));
        }
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
