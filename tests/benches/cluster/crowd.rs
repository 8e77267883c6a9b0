//! Many people at once, all on one node.

use std::sync::Barrier;
use std::time::Instant;

use harness::Client;

use crate::footprint;
use crate::stage::Stage;
use crate::table::{Reach, Row};

/// Fewer than agent and gateways allow here.
const SESSIONS: usize = 200;

pub(crate) fn rows(stage: &Stage) -> Vec<Row> {
    let all_open = Barrier::new(SESSIONS);
    let start = Instant::now();
    let opened = std::thread::scope(|scope| {
        let person = || {
            let session = std::panic::catch_unwind(|| footprint::open(stage)).ok();
            let since = start.elapsed();
            // Each stays until all have come.
            all_open.wait();
            session.map(|session: Client| {
                footprint::end(session);
                since.as_secs_f64()
            })
        };
        let people: Vec<_> = (0..SESSIONS).map(|_| scope.spawn(person)).collect();
        let opened = people.into_iter().map(|person| person.join().expect("no panic outside"));
        opened.flatten().collect::<Vec<f64>>()
    });
    #[expect(clippy::cast_precision_loss, reason = "200 is exact")]
    let (succeeded, wanted) = (opened.len() as f64, SESSIONS as f64);
    let measure = format!("{SESSIONS} sessions opened at once: succeeded");
    vec![Row::of(&measure, "", &[succeeded], Reach::AtLeast(wanted)), slowest(&opened)]
}

/// Nobody waits until a gateway gives up on an agent.
fn slowest(opened: &[f64]) -> Row {
    Row::of("… until each was open", " s", opened, Reach::AtMost(30.0))
}
