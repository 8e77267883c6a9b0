//! What a session's start costs after a quiet moment, which is when people come.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::stage::{Stage, with_stage};

/// As the issue has it: longer than the kernel remembers.
const QUIET: Duration = Duration::from_millis(300);

/// Odd, so that there is a middle.
const RUNS: usize = 15;

/// The promise is 1.5. A machine with other tests on it needs some air.
const MOST: f64 = 2.0;

#[test]
#[expect(clippy::print_stderr, reason = "a measurement is to be read")]
fn a_start_after_quiet_costs_about_as_much_as_one_in_a_row() {
    with_stage(|stage| {
        let in_a_row = median(stage, Duration::ZERO);
        let after_quiet = median(stage, QUIET);
        let ratio = after_quiet.as_secs_f64() / in_a_row.as_secs_f64();
        eprintln!("in a row {in_a_row:?}, after quiet {after_quiet:?}, ratio {ratio:.2}");
        assert!(ratio < MOST, "in a row {in_a_row:?}, after quiet {after_quiet:?}");
    });
}

fn median(stage: &Stage<'_>, pause: Duration) -> Duration {
    let mut times: Vec<_> = (0..RUNS)
        .map(|_| {
            sleep(pause);
            let started = Instant::now();
            stage.run("true").expect_success();
            started.elapsed()
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}
